"""What was measured (`core.evaluation`), laid out as Table I of the MusicEval paper.

The paper's row of Table I is its test part, a random 15 % of the clips that was not published
(https://arxiv.org/abs/2501.10811). The baseline's row is what the authors' released code reaches on the
official dev part; of its metrics only SRCC is given here, and its system truth is a file.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from core.evaluation import LEVELS, Measured
from core.metrics import METRICS, Agreement
from core.scales import keys

# By source, level and scale; in the order of `METRICS`.
PUBLISHED: Mapping[tuple[str, str, str], tuple[float | None, ...]] = {
    ("paper, its test part", "utterance", "musical_impression"): (0.647, 0.606, 0.633, 0.461),
    ("paper, its test part", "utterance", "textual_alignment"): (0.616, 0.438, 0.443, 0.314),
    ("paper, its test part", "system", "musical_impression"): (0.446, 0.839, 0.926, 0.767),
    ("paper, its test part", "system", "textual_alignment"): (0.354, 0.757, 0.784, 0.617),
    ("released baseline, dev", "utterance", "musical_impression"): (None, None, 0.688, None),
    ("released baseline, dev", "utterance", "textual_alignment"): (None, None, 0.543, None),
    ("released baseline, dev", "system", "musical_impression"): (None, None, 0.776, None),
    ("released baseline, dev", "system", "textual_alignment"): (None, None, 0.720, None),
}
_NONE = Agreement(None, {})
_TITLE_WIDTH, _CELL_WIDTH = 28, 7


@dataclass(frozen=True)
class TableRow:
    """A row of Table I on one level: figures by scale, for every scale; the source "" is what was measured here."""

    source: str
    of_scales: Mapping[str, Agreement]


def table_one(measured: Measured, level: str, controls: Mapping[str, Measured] | None = None) -> list[TableRow]:
    """Return the rows of a level: what was measured, then its controls by title, then what was published."""
    shown = keys(measured.scales)
    rows = [TableRow("", _for_all(measured.on(level), shown))]
    rows += [TableRow(title, _for_all(of.on(level), shown)) for title, of in (controls or {}).items()]
    for source in dict.fromkeys(source for source, _, _ in PUBLISHED):
        published = {
            key: Agreement(None, {name: f for name, f in zip(METRICS, figures, strict=True) if f is not None})
            for (of, of_level, key), figures in PUBLISHED.items()
            if (of, of_level) == (source, level)
        }
        rows.append(TableRow(source, _for_all(published, shown)))
    return rows


def _for_all(found: Mapping[str, Agreement], scales: Sequence[str]) -> dict[str, Agreement]:
    return {key: found.get(key, _NONE) for key in scales}


def table_one_as_text(measured: Measured, controls: Mapping[str, Measured] | None = None) -> str:
    """Lay Table I out for a terminal."""
    scales = [scale for scale in measured.scales if any(scale.key in measured.on(level) for level in LEVELS)]
    width = _CELL_WIDTH * len(METRICS)
    lines = [" " * _TITLE_WIDTH + "  ".join(f"{scale.title:^{width}}" for scale in scales)]
    lines.append(_line("", [[name.upper() for name in METRICS] for _ in scales]))
    for level in LEVELS:
        lines += ["", f"{level.capitalize()} level"]
        for row in table_one(measured, level, controls):
            lines += _text_lines(row, [row.of_scales[scale.key] for scale in scales])
    return "\n".join(line.rstrip() for line in lines)


def _text_lines(row: TableRow, shown: Sequence[Agreement]) -> Iterator[str]:
    n = next((of.n for of in shown if of.n), None)
    title = row.source or ("this result (not measured)" if n is None else f"this result (n = {n})")
    yield _line(f"  {title}", [[_figure(of.figures.get(name)) for name in METRICS] for of in shown])
    if any(of.intervals for of in shown):
        for end, title in enumerate(("  95 % interval from", "  to")):
            ends = [[of.intervals.get(name, (None, None))[end] for name in METRICS] for of in shown]
            yield _line(title, [[_figure(value) for value in of_scale] for of_scale in ends])


def _line(title: str, groups: Sequence[Sequence[str]]) -> str:
    cells = "  ".join("".join(f"{cell:>{_CELL_WIDTH}}" for cell in group) for group in groups)
    return f"{title:<{_TITLE_WIDTH}}{cells}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
