"""Where a rater stands, as the page gets it: texts as trees, and a study's words in all of its languages.

The page changes the language without asking again, so what a study words itself comes in every language at once.

Raters read Markdown, of which the page makes elements: no HTML is made on either side. A node of a tree is a text, or a
tag of `TAGS` with its children; a link has its address too. HTML in a text stays text, links lead to ``https`` and
``mailto`` alone, pictures become their description, headings one size.
"""

from dataclasses import asdict
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from annotation.enrolment import completion
from annotation.preview import RATER as PREVIEW
from annotation.schema import Rater, Study
from annotation.session.answers import CONSENT
from annotation.session.listening import RaterStep
from annotation.wording import questions_of

TAGS = frozenset({"p", "h4", "strong", "em", "ul", "ol", "li", "blockquote", "code", "br", "a"})
SCHEMES = frozenset({"https", "mailto"})
_OF_TYPE = {
    **{"paragraph": "p", "heading": "h4", "strong": "strong", "em": "em", "blockquote": "blockquote"},
    **{"bullet_list": "ul", "ordered_list": "ol", "list_item": "li", "softbreak": "br", "hardbreak": "br"},
}
_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True, "maxNesting": 20})

Node = str | dict[str, Any]


def shown_place(step: RaterStep, rater: Rater) -> dict[str, Any]:
    """Return what the page shows of a place: no more than its step needs."""
    shown = asdict(step) | {"demo": rater.study.demo, "preview": rater.pseudonym == PREVIEW}
    if step.step in ("ready", "done"):
        ended = step.message in ("complete", "closed")
        shown["completion"] = completion(rater.study, rater, step.batches_done, ended)
    if step.step != "task":
        shown["study"] = _in_all_languages(rater.study, ("title", "instructions", "contact"))
    if step.step == "about":
        shown["consent"] = _in_all_languages(rater.study, ("consent",)) | {"usual": CONSENT}
        shown["questions"] = [
            asdict(question) | {"words": _words(rater.study, "questions", question.key)}
            for question in questions_of(rater.study)
        ]
    if step.step == "task":
        shown["scales"] = [
            scale.to_json() | {"words": _words(rater.study, "scales", scale.key)} for scale in rater.study.scales
        ]
    return shown


def _in_all_languages(study: Study, names: tuple[str, ...]) -> dict[str, Any]:
    """Return texts as trees, and under ``words`` those that there are in other languages."""
    own = {name: tree(getattr(study, name)) for name in names}
    others = {
        tag: {name: tree(words[name]) for name in names if words.get(name)} for tag, words in study.translations.items()
    }
    return {**own, "words": others}


def _words(study: Study, part: str, key: str) -> dict[str, Any]:
    """Return a question or a scale in other languages, by their tags."""
    return {tag: words[part][key] for tag, words in study.translations.items() if key in words.get(part, {})}


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
