"""The colours of all pages, and their style sheet, which takes its colours from here.

A colour is written down once. Text on its background meets WCAG 2.2 AA (4.5 to 1; 3 to 1 for what is not text);
a test computes it.
"""

from dataclasses import asdict, dataclass

from markupsafe import Markup

from webapp.html import static


@dataclass(frozen=True)
class Palette:
    """The colours of one mode."""

    page: str
    surface: str  # what lies on the page
    sunken: str  # what lies in that: fields, code
    line: str  # a border that only divides
    control: str  # one that shows where something can be operated
    ink: str
    quiet: str  # text that may be overlooked
    accent: str
    accent_hover: str
    on_accent: str
    accent_soft: str
    warn: str
    error: str


LIGHT = Palette(
    page="#f7f6f3",
    surface="#ffffff",
    sunken="#f1f0ec",
    line="#e2e0da",
    control="#86847c",
    ink="#22221f",
    quiet="#63615a",
    accent="#0f6a62",
    accent_hover="#0b544e",
    on_accent="#ffffff",
    accent_soft="#e3f0ee",
    warn="#7a4d00",
    error="#a3241c",
)
DARK = Palette(
    page="#161614",
    surface="#1e1e1b",
    sunken="#262623",
    line="#35342f",
    control="#7f7d75",
    ink="#ecebe6",
    quiet="#a8a69d",
    accent="#6cc7bb",
    accent_hover="#8ad8cd",
    on_accent="#0c2421",
    accent_soft="#1d3330",
    warn="#e5b567",
    error="#f0938a",
)

SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


STYLE = static("style.css")


def palette_css(alone: bool = False) -> str:
    """Return the palettes as the variables of `style.css`: ``--me-page``, ``--me-ink`` and so on.

    Gradio's script says when it is dark; a page that stands `alone` asks the browser.
    """
    light, dark = (
        "".join(f"--me-{name.replace('_', '-')}:{colour};" for name, colour in asdict(palette).items())
        for palette in (LIGHT, DARK)
    )
    light += f"--me-sans:{', '.join(SANS)};"
    if alone:
        return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"
    return f":root{{{light}}}\n:root.dark, :root .dark{{{dark}}}"


def style_alone() -> Markup:
    """Return the whole style sheet of a page that Gradio does not lay out."""
    return Markup(f"{palette_css(alone=True)}\n{static('alone.css')}\n{STYLE}")
