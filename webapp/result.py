"""The right side of the Score tab as HTML: empty, done or failed. (While it works, Gradio's progress covers it.)

Conventions: whatever a visitor gave (file name, prompt, a message that quotes them) passes `html.escape`. Numbers
are rounded here and nowhere before.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from core.audio import Clip
from core.faults import ScoreWarning, show_time
from core.scales import MAX_SCORE, SCALE_TITLES, SCALES, describe
from core.scorer import Score
from webapp.plots import legend, score_track, timeline

_SHOWN_PROMPT_CHARACTERS = 280
_QUIET_WARNINGS = ("demo_model",)  # said already by the banner: told, but not as an alarm


def empty() -> str:
    """Show what will stand here."""
    scores = "".join(
        f'<div class="me-score"><div><h3>{SCALE_TITLES[scale]}</h3>'
        f'<p class="me-value me-quiet" aria-hidden="true">–</p></div>{score_track(scale)}</div>'
        for scale in SCALES
    )
    return (
        '<section class="me-result" aria-label="Result"><p class="me-announce" role="status"></p><h2>Result</h2>'
        '<p class="me-lead">Two scores will stand here, each from 1 to 5 with the range in which it is likely to lie;'
        f" below them how both change over the clip.</p>{scores}"
        '<p class="me-fine">No clip at hand? Choose one of the examples.</p></section>'
    )


def failed(message: str) -> str:
    """Show why there is no score, and what to do.

    Parameters
    ----------
    message : str
        A `MusicEvalError`'s, or another plain sentence.
    """
    return (
        '<section class="me-result me-failed" aria-label="Result">'
        f'<p class="me-announce" role="status">No score. {escape(message)}</p>'
        f"<h2>No score</h2><p>{escape(message)}</p></section>"
    )


def done(score: Score, clip: Clip, path: str, prompt: str) -> str:
    """Show a score.

    Parameters
    ----------
    score : Score
    clip : Clip
        What was scored, for its waveform.
    path : str
        Where the upload lies: the player asks the server for it. Its last part is the visitor's own file name.
    prompt : str
    """
    scores = "".join(_score(score, scale) for scale in SCALES)
    name = Path(path).name
    windows = [vars(window) for window in score.windows]
    return (
        f'<section class="me-result" aria-label="Result" data-clip="{escape(path)}" data-prompt="{escape(prompt)}">'
        f'<p class="me-announce" role="status">{_summary(score)}</p>'
        '<p class="me-stale" role="status" hidden>The clip or the prompt has changed since. Press Score again.</p>'
        f"<h2>Result</h2>{_subject(name, prompt)}{scores}{_range_note(score)}{_warnings(score.warnings)}"
        f'<section class="me-time" aria-label="Over time"><div class="me-head"><h3>Over time</h3>{legend()}</div>'
        '<p class="me-fine">Scores from 1 to 5 of each window of 10 s, over the clip’s time in minutes and seconds.</p>'
        f"{timeline(clip.samples, clip.duration_s, windows)}{_player(path, clip.duration_s)}</section>"
        f'<div class="me-foot">{_download(score, name)}{_details(score)}</div></section>'
    )


def _summary(score: Score) -> str:
    """Say both scores in one sentence, for who does not see them appear."""
    parts = (f"{SCALE_TITLES[scale]} {getattr(score, scale):.1f} of {MAX_SCORE:g}" for scale in SCALES)
    return f"{', '.join(parts)}."


def _subject(name: str, prompt: str) -> str:
    shown = prompt if len(prompt) <= _SHOWN_PROMPT_CHARACTERS else f"{prompt[:_SHOWN_PROMPT_CHARACTERS]}…"
    quoted = f' for “<bdi>{escape(shown)}</bdi>”' if prompt.strip() else ", without a prompt"
    return f'<p class="me-subject"><bdi>{escape(name)}</bdi>{quoted}</p>'


def _score(score: Score, scale: str) -> str:
    value, interval = getattr(score, scale), getattr(score.intervals, scale)
    (low, high), level = interval, 100 * score.intervals.level
    return (
        f'<div class="me-score me-{scale.split("_")[1]}"><div><h3>{SCALE_TITLES[scale]}</h3>'
        f'<p class="me-value"><b>{value:.1f}</b> <span class="me-of">of {MAX_SCORE:g}</span></p></div>'
        f'<div>{score_track(scale, value, interval)}<p class="me-range"><b>{describe(scale, value)}</b>;'
        f" {level:.0f} % of similar clips lie between {low:.1f} and {high:.1f}</p></div></div>"
    )


def _range_note(score: Score) -> str:
    held_out = score.provenance["held_out"]
    return (
        f'<p class="me-fine">The ranges are this judge’s error on {held_out["n_clips"]} clips that it was not trained on'
        f" ({escape(held_out['data'])}).</p>"
    )


def _warnings(warnings: Iterable[ScoreWarning]) -> str:
    items = "".join(
        f'<li class="{"me-note" if warning.code in _QUIET_WARNINGS else "me-warning"}">{escape(warning.message)}</li>'
        for warning in warnings
    )
    return f'<ul class="me-warnings" aria-label="Warnings">{items}</ul>' if items else ""


def _player(path: str, duration_s: float) -> str:
    return (
        '<div class="me-player"><button type="button" class="me-play" aria-label="Play">▶</button>'
        f'<span class="me-clock">0:00 / {show_time(duration_s)}</span>'
        '<span class="me-fine">Click in the plot to go there; on the keyboard: arrows and space.</span>'
        f'<audio preload="metadata" src="gradio_api/file={quote(path)}"></audio></div>'
    )


def _download(score: Score, name: str) -> str:
    content = json.dumps(score.to_json(), indent=2, ensure_ascii=False).encode()
    url = f"data:application/json;base64,{base64.b64encode(content).decode()}"
    stem = name.rpartition(".")[0] or name
    return f'<a class="me-download" download="{escape(stem)}.score.json" href="{url}">Download JSON</a>'


def _details(score: Score) -> str:
    provenance = score.provenance
    audio, checkpoint = provenance["audio"], provenance["checkpoint"]
    policy, windows = provenance["input_policy"], provenance["window_policy"]
    facts = {
        "Model": f"{checkpoint['id']}{' (demo)' if checkpoint['demo'] else ''}",
        "Model SHA-256": checkpoint["sha256"],
        "Clip": f"{audio['duration_s']:.2f} s, {audio['sample_rate_hz']} Hz, {_layout(audio['channels'])}",
        "Clip SHA-256": audio["sha256"],
        "Heard as": f"mono, {policy['sample_rate_hz']} Hz, {policy['loudness_lufs']:g} LUFS",
        "Windows": f"{windows['grid']}; short clips {windows['short_clips']}; {windows['pooling']}",
        "Ranges": score.intervals.source,
        "Versions": ", ".join(f"{name} {version}" for name, version in provenance["versions"].items()),
    }
    return f'<details class="me-details"><summary>Details</summary>{_facts(facts)}{_window_table(score)}</details>'


def _layout(channels: int) -> str:
    return {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")


def _facts(facts: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()) + "</dl>"


def _window_table(score: Score) -> str:
    heads = "".join(f'<th scope="col">{title}</th>' for title in ("Window", *SCALE_TITLES.values()))
    rows = "".join(
        f'<tr><th scope="row"><button type="button" data-seek="{window.start_s}">{show_time(window.start_s)} to {show_time(window.end_s)}</button></th>'
        + "".join(f"<td>{getattr(window, scale):.2f}</td>" for scale in SCALES)
        + "</tr>"
        for window in score.windows
    )
    return f'<table><caption>Window by window</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
