"""What a score depends on, folded away under it: model, clip, policies, versions, every window's values."""

from collections.abc import Mapping
from html import escape
from typing import Any

from core.faults import show_time
from core.scales import SCALE_TITLES, SCALES
from core.scorer import Score


def details(score: Score) -> str:
    """Show a score's provenance and windows as one folded HTML element.

    Parameters
    ----------
    score : Score

    Returns
    -------
    str
        A window's button carries its start in seconds as ``data-seek``.
    """
    facts = "".join(
        f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in _facts(score.provenance).items()
    )
    ranges = escape(score.intervals.source) if score.intervals else "none: nothing is known of the error"
    return (
        f'<details class="me-details"><summary>Details</summary><dl>{facts}'
        f"<dt>Ranges</dt><dd>{ranges}</dd></dl>{_window_table(score)}</details>"
    )


def _facts(provenance: Mapping[str, Any]) -> dict[str, str]:
    audio, checkpoint = provenance["audio"], provenance["checkpoint"]
    policy, windows = provenance["input_policy"], provenance["window_policy"]
    layout = {1: "mono", 2: "stereo"}.get(audio["channels"], f"{audio['channels']} channels")
    return {
        "Model": f"{checkpoint['id']}{' (demo)' if checkpoint['demo'] else ''}",
        "Model SHA-256": checkpoint["sha256"],
        "Clip": f"{audio['duration_s']:.2f} s, {audio['sample_rate_hz']} Hz, {layout}",
        "Clip SHA-256": audio["sha256"],
        "Heard as": f"mono, {policy['sample_rate_hz']} Hz, up to {policy['bandwidth_hz']:g} Hz,"
        f" {policy['loudness_lufs']:g} LUFS",
        "Windows": f"{windows['grid']}; short clips {windows['short_clips']}; {windows['pooling']}",
        "Versions": ", ".join(f"{name} {version}" for name, version in provenance["versions"].items()),
    }


def _window_table(score: Score) -> str:
    heads = "".join(f'<th scope="col">{title}</th>' for title in ("Window", *SCALE_TITLES.values()))
    rows = ""
    for window in score.windows:
        span = f"{show_time(window.start_s)} to {show_time(window.end_s)}"
        cells = "".join(f"<td>{getattr(window, scale):.2f}</td>" for scale in SCALES)
        button = f'<button type="button" data-seek="{window.start_s}">{span}</button>'
        rows += f'<tr><th scope="row">{button}</th>{cells}</tr>'
    return (
        f"<table><caption>Window by window</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )
