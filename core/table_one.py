"""Table I of the MusicEval paper: agreement of predicted and rated scores, published rows beside ours.

Two levels, two scales, four metrics. The paper's row is its test part, a random 15 % of the clips that was
not published (https://arxiv.org/abs/2501.10811, Table I). The baseline's row is what the authors' released
code reaches on the official dev part; of its metrics only SRCC is given here. Its system truth is a file, not
the means of the clips evaluated.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from core.metrics import METRICS
from core.musiceval import WavName, is_published
from core.predictions import LEVELS, Levels
from core.ratings import RatedClips
from core.scales import SCALE_TITLES, SCALES

Figures = Mapping[str, Mapping[str, Mapping[str, float]]]

PUBLISHED: Mapping[str, Figures] = {
    "paper, its test part": {
        "utterance": {
            "musical_impression": {"mse": 0.647, "lcc": 0.606, "srcc": 0.633, "ktau": 0.461},
            "textual_alignment": {"mse": 0.616, "lcc": 0.438, "srcc": 0.443, "ktau": 0.314},
        },
        "system": {
            "musical_impression": {"mse": 0.446, "lcc": 0.839, "srcc": 0.926, "ktau": 0.767},
            "textual_alignment": {"mse": 0.354, "lcc": 0.757, "srcc": 0.784, "ktau": 0.617},
        },
    },
    "released baseline, dev": {
        "utterance": {"musical_impression": {"srcc": 0.688}, "textual_alignment": {"srcc": 0.543}},
        "system": {"musical_impression": {"srcc": 0.776}, "textual_alignment": {"srcc": 0.720}},
    },
}
_UNKNOWN = (None, None)
_TITLE_WIDTH, _CELL_WIDTH = 28, 7


def table_one(measured: Levels) -> str:
    """Lay the table out as text.

    Parameters
    ----------
    measured : dict
        Of `core.predictions.measure`; what is not in it is shown as unknown.
    """
    scales = [scale for scale in SCALES if any(scale in measured[level] for level in LEVELS)]
    width = _CELL_WIDTH * len(METRICS)
    lines = [" " * _TITLE_WIDTH + "  ".join(f"{SCALE_TITLES[scale]:^{width}}" for scale in scales)]
    lines.append(_line("", [[name.upper() for name in METRICS] for _ in scales]))
    for level in LEVELS:
        lines += ["", f"{level.capitalize()} level", *_rows(level, measured[level], scales)]
    return "\n".join(line.rstrip() for line in lines)


def _rows(level: str, measured: Mapping[str, Mapping[str, Any]], scales: Sequence[str]) -> Iterator[str]:
    own = {scale: measured.get(scale, {}) for scale in scales}
    n = next((row["n"] for row in own.values() if row), 0)
    yield _line(f"  this result (n = {n})", [[_figure(own[s].get(m)) for m in METRICS] for s in scales])
    if any(f"{next(iter(METRICS))}_ci95" in row for row in own.values()):
        for end, title in enumerate(("  95 % interval from", "  to")):
            ends = [[_figure(own[s].get(f"{m}_ci95", _UNKNOWN)[end]) for m in METRICS] for s in scales]
            yield _line(title, ends)
    for title, figures in PUBLISHED.items():
        yield _line(f"  {title}", [[_figure(figures[level][s].get(m)) for m in METRICS] for s in scales])


def _line(title: str, groups: Sequence[Sequence[str]]) -> str:
    cells = "  ".join("".join(f"{cell:>{_CELL_WIDTH}}" for cell in group) for group in groups)
    return f"{title:<{_TITLE_WIDTH}}{cells}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def comparison(clip_ids: Sequence[str], data: RatedClips | None) -> str:
    """Say how far the published rows can be compared with a result.

    Parameters
    ----------
    clip_ids : sequence of str
        The clips that were measured.
    data : RatedClips, optional
        Where their ratings come from, with the official split where there is one; None if only a table is
        known.
    """
    no = "the published rows are no comparison"
    if any(WavName.parse(clip_id) is None for clip_id in clip_ids):
        return f"These are not clips of MusicEval: {no}."
    if data is None or "train" not in set(data.table["split"]):
        return f"It cannot be told whether these are MusicEval's held-out clips. If they are not, {no}."
    if not is_published(data):
        return f"These ratings are not those that MusicEval published: {no}."
    for part in ("dev", "test"):
        if set(clip_ids) == set(data.table.loc[data.table["split"] == part, "clip_id"]):
            return {
                "dev": "This is MusicEval's official dev part, the baseline's; the paper's part is another.",
                "test": "This is MusicEval's official test part; the paper's and the baseline's are others.",
            }[part]
    return f"These clips of MusicEval are neither its whole dev part nor its whole test part: {no}."
