"""The look of the pages: one accent colour, system fonts, the same contrast in light and dark.

Gradio's theme variables and `style.css` both take their colours from the two palettes here, so a colour is
written down once. Text on its background meets WCAG 2.2 AA (4.5 to 1; 3 to 1 for what is not text); a test
computes it.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import gradio as gr
from gradio.themes.utils import colors, sizes
from markupsafe import Markup

from core.checkpoint import Checkpoint
from webapp.html import render


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


def build_theme() -> gr.themes.Base:
    """Return Gradio's theme, made from the two palettes."""
    theme = gr.themes.Base(
        primary_hue=colors.teal,
        neutral_hue=colors.stone,
        text_size=sizes.text_md,
        spacing_size=sizes.spacing_lg,
        radius_size=sizes.radius_md,
        font=SANS,
        font_mono=MONO,
    )
    both = {name: role for role, names in _VARIABLES.items() for name in names}
    light = {name: getattr(LIGHT, role) for name, role in both.items()}
    dark = {f"{name}_dark": getattr(DARK, role) for name, role in both.items()}
    return theme.set(**light, **dark, **_SHAPE)


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


# Palette colour -> the variables of Gradio that take it.
_VARIABLES = {
    "page": ("body_background_fill",),
    "surface": ("background_fill_primary", "block_background_fill", "input_background_fill"),
    "sunken": ("background_fill_secondary", "code_background_fill", "button_secondary_background_fill_hover"),
    "line": ("border_color_primary", "block_border_color", "button_secondary_border_color"),
    "control": ("input_border_color", "button_secondary_border_color_hover"),
    "ink": (
        "body_text_color",
        "block_label_text_color",
        "block_title_text_color",
        "accordion_text_color",
        "button_secondary_text_color",
        "button_secondary_text_color_hover",
    ),
    "quiet": ("body_text_color_subdued", "block_info_text_color", "input_placeholder_color"),
    "accent": (
        "border_color_accent",
        "input_border_color_focus",
        "button_primary_background_fill",
        "button_primary_border_color",
        "link_text_color",
        "link_text_color_visited",
        "loader_color",
        "slider_color",
    ),
    "accent_hover": (
        "button_primary_background_fill_hover",
        "button_primary_border_color_hover",
        "link_text_color_hover",
        "link_text_color_active",
    ),
    "on_accent": ("button_primary_text_color", "button_primary_text_color_hover"),
    "accent_soft": ("color_accent_soft",),
    "error": ("error_text_color", "error_icon_color", "error_border_color"),
}
_SHAPE = {
    "color_accent": "*border_color_accent",
    "block_border_width": "0px",
    "block_shadow": "none",
    "block_label_background_fill": "transparent",
    "block_label_background_fill_dark": "transparent",
    "block_label_border_width": "0px",
    "input_border_width": "1px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "button_secondary_background_fill": "transparent",
    "button_secondary_background_fill_dark": "transparent",
    "button_large_text_weight": "600",
    "layout_gap": "24px",
}


STYLE = (Path(__file__).parent / "static" / "style.css").read_text(encoding="utf-8")


def banner(checkpoint: Checkpoint) -> str:
    """Say what was not real in what a model learned from, and how to get a real one; "" for a real one."""
    if not checkpoint.caveat:
        return ""
    measured = checkpoint.metrics.get("people", {})
    people = {scale: measured[scale.key] for scale in checkpoint.scales if scale.key in measured}
    return render("banner.html", judge=checkpoint, people=people)


def login_page(said: str, way: str) -> str:
    """Return the page on which the administrator signs in, or reads how; `way` is of `webapp.auth.Way`."""
    return render("login.html", css=Markup(f"{palette_css(alone=True)}\n{STYLE}"), said=said, way=way)
