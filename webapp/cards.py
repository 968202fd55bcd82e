"""The examples on the Score tab: one card each, a click away from being the clip and the prompt."""

from collections.abc import Sequence
from html import escape

from core.demo.examples import Example


def example_cards(examples: Sequence[Example]) -> str:
    """Show each example as a button that says what is in it.

    Parameters
    ----------
    examples : sequence of Example

    Returns
    -------
    str
        HTML; a card carries its place in the sequence as ``data-number``.
    """
    cards = "".join(
        f'<li><button type="button" data-number="{number}"><b>{escape(example.title)}</b>'
        f"<span>“{escape(example.prompt)}”</span><i>In it: {escape(example.note)}.</i></button></li>"
        for number, example in enumerate(examples)
    )
    return f'<section aria-label="Examples"><h2>Examples</h2><ul>{cards}</ul></section>'
