"""The look of Gradio's pages: its theme, made from the two palettes, and the note on the judge."""

from typing import TYPE_CHECKING

import gradio as gr
from gradio.themes.utils import colors, sizes

from webapp.html import render
from webapp.palette import DARK, LIGHT, MONO, SANS

if TYPE_CHECKING:
    from core.model_files import Described


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


def banner(checkpoint: "Described") -> str:
    """Say what was not real in what a model learned from, and how to get a real one; "" for a real one."""
    if not checkpoint.caveat:
        return ""
    measured = checkpoint.metrics.get("people", {})
    people = {scale: measured[scale.key] for scale in checkpoint.scales if scale.key in measured}
    return render("banner.html", judge=checkpoint, people=people)
