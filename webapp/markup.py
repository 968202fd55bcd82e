"""Markdown that raters read, as a tree of which the page makes elements: no HTML is made on either side.

A node is a text, or a tag of `TAGS` with its children; a link has its address too. HTML in a text stays text, links
lead to ``https`` and ``mailto`` alone, pictures become their description, headings one size.
"""

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

TAGS = frozenset({"p", "h4", "strong", "em", "ul", "ol", "li", "blockquote", "code", "br", "a"})
SCHEMES = frozenset({"https", "mailto"})
_OF_TYPE = {
    **{"paragraph": "p", "heading": "h4", "strong": "strong", "em": "em", "blockquote": "blockquote"},
    **{"bullet_list": "ul", "ordered_list": "ol", "list_item": "li", "softbreak": "br", "hardbreak": "br"},
}
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 20})

Node = str | dict[str, Any]


@lru_cache(maxsize=512)
def tree(text: str) -> list[Node]:
    """Return a text in Markdown as nodes, one a block."""
    return _nodes(SyntaxTreeNode(_MARKDOWN.parse(text)))


def _nodes(parent: SyntaxTreeNode) -> list[Node]:
    return [node for child in parent.children for node in _node(child)]


def _node(node: SyntaxTreeNode) -> list[Node]:
    kind = node.type
    if kind in ("text", "code_inline", "code_block", "fence", "html_inline", "html_block"):
        return [node.content] if kind == "text" else [{"tag": "code", "children": [node.content]}]
    if kind == "image":
        return [node.content]
    if kind == "link":
        address = str(node.attrs.get("href", ""))
        inside = _nodes(node)
        return [{"tag": "a", "href": address, "children": inside}] if _leads(address) else inside
    if kind in _OF_TYPE:
        return [{"tag": _OF_TYPE[kind], "children": _nodes(node)}]
    return _nodes(node)  # what groups others, and what is not shown


def _leads(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool(parts.netloc if parts.scheme == "https" else parts.path)
