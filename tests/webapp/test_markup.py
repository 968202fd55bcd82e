"""Markdown as a tree: what of it is shown, and that nothing else can be."""

from typing import Any

import pytest

from webapp.places import SCHEMES, TAGS, Node, tree


def test_what_is_shown() -> None:
    text = "# Hello\n\nListen *well*,\nand **twice**.\n\n- one\n- [two](https://lab.example/a?b=c)\n\n> `x`"
    assert tree(text) == [
        {"tag": "h4", "children": ["Hello"]},
        {"tag": "p", "children": [
            "Listen ", {"tag": "em", "children": ["well"]}, ",", {"tag": "br", "children": []}, "and ",
            {"tag": "strong", "children": ["twice"]}, ".",
        ]},
        {"tag": "ul", "children": [
            {"tag": "li", "children": [{"tag": "p", "children": ["one"]}]},
            {"tag": "li", "children": [{"tag": "p", "children": [
                {"tag": "a", "href": "https://lab.example/a?b=c", "children": ["two"]},
            ]}]},
        ]},
        {"tag": "blockquote", "children": [{"tag": "p", "children": [{"tag": "code", "children": ["x"]}]}]},
    ]  # fmt: skip
    assert tree("") == []


def every(nodes: list[Node]) -> list[dict[str, Any]]:
    return [one for node in nodes if isinstance(node, dict) for one in (node, *every(node["children"]))]


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a <img src=x onerror=alert(1)> b",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,<b>)",
        "[x](http://lab.example)",
        "[x](//lab.example)",
        "[x](https:)",
        "[x](/admin/)",
        "<javascript:alert(1)>",
        "![x](https://lab.example/pixel.png)",
        "[x]: javascript:alert(1)\n\n[x]",
        "```html\n<b>\n```",
        ">" * 5_000,
        "- " * 2_500,
        "[" * 5_000,
        "*a **b " * 700,
    ],
)
def test_what_is_not(text: str) -> None:
    found = every(tree(text))
    assert {node["tag"] for node in found} <= TAGS
    assert [node["href"] for node in found if node["tag"] == "a"] == []


def test_mail_can_be_written() -> None:
    (paragraph,) = tree("[Ada](mailto:ada@lab.example)")
    assert paragraph["children"][0]["href"] == "mailto:ada@lab.example"
    assert {"https", "mailto"} == SCHEMES
