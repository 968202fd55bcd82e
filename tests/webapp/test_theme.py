"""Contrast by WCAG 2.2: text 4.5 to 1 on what it stands on, what marks a control or a line 3 to 1."""

import re

import pytest

from webapp.palette import DARK, LIGHT, STYLE, Palette, palette_css
from webapp.theme import build_theme

TEXT = {
    "ink": ("page", "surface", "sunken", "accent_soft"),
    "quiet": ("page", "surface", "sunken"),
    "accent": ("page", "surface", "accent_soft"),
    "accent_hover": ("page", "surface"),
    "warn": ("surface",),
    "error": ("surface",),
    "on_accent": ("accent", "accent_hover"),
}
SHAPES = {"control": ("page", "surface"), "accent": ("page", "surface"), "ink": ("surface",), "warn": ("sunken",)}


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def pairs(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(front, back) for front, backs in table.items() for back in backs]


def test_contrast_is_computed_as_wcag_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), pairs(TEXT))
def test_text_can_be_read(palette: Palette, front: str, back: str) -> None:
    assert contrast(getattr(palette, front), getattr(palette, back)) >= 4.5


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("front", "back"), pairs(SHAPES))
def test_shapes_can_be_seen(palette: Palette, front: str, back: str) -> None:
    assert contrast(getattr(palette, front), getattr(palette, back)) >= 3


def test_the_two_courses_differ_in_lightness() -> None:
    assert contrast(LIGHT.accent, LIGHT.ink) > 2
    assert contrast(DARK.accent, DARK.ink) > 1.5


def test_the_style_uses_only_colours_of_the_palette() -> None:
    assert re.findall(r"#[0-9a-f]{3,8}\b(?=[^{}]*;)", STYLE) == []
    used = set(re.findall(r"var\(--me-([a-z-]+)\)", STYLE)) - {"series", "border"}
    known = set(re.findall(r"--me-([a-z-]+):", palette_css()))
    assert used <= known


def test_fonts_are_the_systems() -> None:
    theme = build_theme()
    assert theme._stylesheets == []
    assert "@font-face" not in theme._get_theme_css()
    assert "url(" not in STYLE
