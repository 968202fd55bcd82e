"""The right side of the Score tab: empty, done or failed. While it works, Gradio's progress lies over it.

Conventions: whatever a visitor gave (file name, prompt, a message that quotes them) passes `html.escape`.
Numbers are rounded here and nowhere before. The first line of each state is for those who hear the page: it
says what has happened.
"""

import base64
import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from urllib.parse import quote

from core.audio import Clip
from core.faults import ScoreWarning, show_time
from core.scales import MAX_SCORE, SCALE_TITLES, SCALES, describe
from core.scorer import Score
from webapp.details import details
from webapp.plots import legend, score_track, timeline

_SHOWN_PROMPT_CHARACTERS = 280
QUIET_WARNINGS = ("demo_model",)  # the banner says it already: told, but not as an alarm


def empty() -> str:
    """Show what will stand here."""
    scores = "".join(
        f'<div class="me-score"><div><h3>{SCALE_TITLES[scale]}</h3>'
        f'<p class="me-value me-quiet" aria-hidden="true">–</p></div>{score_track(scale)}</div>'
        for scale in SCALES
    )
    return _state(
        "",
        "<h2>Result</h2>"
        '<p class="me-lead">Two scores will stand here, each from 1 to 5 with the range in which it is likely'
        f" to lie; below them, how both change over the clip.</p>{scores}"
        '<p class="me-fine">No clip at hand? Choose one of the examples.</p>',
    )


def failed(message: str) -> str:
    """Show why there is no score, and what to do.

    Parameters
    ----------
    message : str
        A `MusicEvalError`'s, or another plain sentence.
    """
    shown = escape(message)
    return _state(f"No score. {shown}", f"<h2>No score</h2><p>{shown}</p>", 'class="me-result me-failed"')


def done(score: Score, clip: Clip, path: str, prompt: str, model: str = "") -> str:
    """Show a score.

    Parameters
    ----------
    score : Score
    clip : Clip
        What was scored, for its waveform.
    path : str
        Where the upload lies: the player asks the server for it. It ends in the visitor's own file name.
    prompt : str
    model : str
        What was chosen to judge.
    """
    name = Path(path).name
    said = ", ".join(
        f"{SCALE_TITLES[scale]} {getattr(score, scale):.1f} of {MAX_SCORE:g}" for scale in SCALES
    )
    parts = (
        '<p class="me-stale" role="status" hidden>The clip, the prompt or the model has changed. Press Score'
        " again.</p>",
        f"<h2>Result</h2>{_subject(name, prompt)}",
        *(_score(score, scale) for scale in SCALES),
        _range_note(score),
        _warnings(score.warnings),
        _over_time(score, clip, path),
        f'<div class="me-foot">{_download(score, name)}{details(score)}</div>',
    )
    inputs = f'data-clip="{escape(path)}" data-prompt="{escape(prompt)}" data-model="{escape(model)}"'
    return _state(f"{said}.", "".join(parts), f'class="me-result" {inputs}')


def _state(said: str, shown: str, attributes: str = 'class="me-result"') -> str:
    return (
        f'<section {attributes} aria-label="Result"><p class="me-announce" role="status">{said}</p>'
        f"{shown}</section>"
    )


def _subject(name: str, prompt: str) -> str:
    shown = prompt if len(prompt) <= _SHOWN_PROMPT_CHARACTERS else f"{prompt[:_SHOWN_PROMPT_CHARACTERS]}…"
    quoted = f" for “<bdi>{escape(shown)}</bdi>”" if prompt.strip() else ", without a prompt"
    return f'<p class="me-lead"><bdi>{escape(name)}</bdi>{quoted}</p>'


def _score(score: Score, scale: str) -> str:
    value, around = getattr(score, scale), score.intervals
    interval, likely = None, ""
    if around:
        interval = low, high = getattr(around, scale)
        share = f"{100 * around.level:.0f}\u202f%"
        likely = f"; {share} of similar clips lie between {low:.1f} and {high:.1f}"
    return (
        f'<div class="me-score me-{scale.split("_")[1]}"><div><h3>{SCALE_TITLES[scale]}</h3>'
        f'<p class="me-value"><b>{value:.1f}</b> <span class="me-of">of {MAX_SCORE:g}</span></p></div>'
        f'<div>{score_track(scale, value, interval)}<p class="me-range"><b>{describe(scale, value)}</b>'
        f"{likely}</p></div></div>"
    )


def _range_note(score: Score) -> str:
    held_out = score.provenance["held_out"]
    if held_out is None:
        return '<p class="me-fine">No ranges: nothing is known of this judge’s error.</p>'
    return (
        f'<p class="me-fine">The ranges are this judge’s error on {held_out["n_clips"]} clips that it was not'
        f" trained on ({escape(held_out['data'])}).</p>"
    )


def _warnings(warnings: Iterable[ScoreWarning]) -> str:
    items = "".join(
        f"<li{' class=me-note' if warning.code in QUIET_WARNINGS else ''}>{escape(warning.message)}</li>"
        for warning in warnings
    )
    return f'<ul class="me-warnings" aria-label="Warnings">{items}</ul>' if items else ""


def _over_time(score: Score, clip: Clip, path: str) -> str:
    windows = [vars(window) for window in score.windows]
    return (
        f'<section class="me-time" aria-label="Over time">'
        f'<div class="me-head"><h3>Over time</h3>{legend()}</div>'
        '<p class="me-fine">Scores from 1 to 5 of each window of 10 s, over the clip’s time in minutes and'
        f" seconds.</p>{timeline(clip.samples, clip.duration_s, windows)}"
        '<div class="me-player"><button type="button" class="me-play" aria-label="Play">▶</button>'
        f'<span class="me-clock">0:00 / {show_time(clip.duration_s)}</span>'
        '<span class="me-fine me-hint">Click in the plot to go there; with the keyboard, arrows and space.'
        "</span>"
        f'<audio preload="metadata" src="gradio_api/file={quote(path)}"></audio></div></section>'
    )


def _download(score: Score, name: str) -> str:
    content = json.dumps(score.to_json(), indent=2, ensure_ascii=False).encode()
    url = f"data:application/json;base64,{base64.b64encode(content).decode()}"
    return f'<a download="{escape(Path(name).stem)}.score.json" href="{url}">Download JSON</a>'
