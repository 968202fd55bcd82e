"""Predicted scores beside rated ones: read, measured, and laid out as Table I of the MusicEval paper.

A *table* is a CSV file with a heading: ``clip_id``, ``system_id`` and, for one scale or more, the rated score
under the scale's key and the predicted one under ``predicted_`` and that key; more columns are left alone. An
*answer* is what was handed in to the AudioMOS Challenge 2025, track 1: lines ``wav,musical impression,textual
alignment`` without a heading, the wav's name with or without ``.wav``. It has no truth, so it goes with rated
clips, and is measured on those that it names. *System scores* are lines ``system,musical impression,textual
alignment`` without a heading, as in ``system_mos`` of the MusicEval release.

*Utterance level* compares clips; *system level* compares the unweighted means over each system's clips
(MusicEval, section V.B), or sets the predicted means against system scores that are given, as the challenge
does. Clips are resampled at utterance level, systems at system level. What cannot be measured, as a
correlation over two systems, is left out with the reason beside it; the rest stands all the same.

The paper's row of Table I is its test part, a random 15 % of the clips that was not published
(https://arxiv.org/abs/2501.10811). The baseline's row is what the authors' released code reaches on the
official dev part; of its metrics only SRCC is given here, and its system truth is a file.

A trained model is best measured on the part that its own split held out; the folder of its training run says
which that is, and of what data. With other data, or another split, some of the clips may be ones that it was
trained on: then that is said.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.checkpoint import RUN_FILE, SPLIT_FILE, damaged
from core.errors import DataError, MetricError, shown_name
from core.files import Problems, line_place, parse_number, parse_score, read_csv, read_lines
from core.metrics import METRICS, Agreement, agreement
from core.musiceval import WavName, is_published
from core.rated_clips import RatedClips, data_sha256, scales_beside, unescape_cell, write_csv, write_scales_beside
from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL, Scale, Scales, keys
from core.splits import SPLITS, Split, split_clips

RESAMPLES = 1000
LEVELS = ("utterance", "system")
INTERVAL_LEVEL = 0.9
ALL = "all"
PARTS = (*SPLITS, ALL)

SystemScores = Mapping[str, Mapping[str, float]]  # by scale and system


def predicted(key: str) -> str:
    """Return the name of the column of a scale's predictions."""
    return f"predicted_{key}"


def columns_of(scales: Iterable[Scale]) -> list[str]:
    """Return the columns of rated and predicted scores."""
    return [*keys(scales), *map(predicted, keys(scales))]


@dataclass(frozen=True)
class Predictions:
    """Predicted scores beside rated ones: ``clip_id``, ``system_id``, and the columns of `columns_of`."""

    table: pd.DataFrame
    scales: Scales

    @classmethod
    def of(cls, clips: RatedClips, values: NDArray[np.float64], scales: Scales) -> Self:
        """Put predictions, (n_clips, n_scales) with the columns of `scales`, beside the ratings.

        What both have counts; a DataError where that is nothing.
        """
        common = tuple(scale for scale in clips.scales if scale.key in keys(scales))
        if not common:
            raise DataError(
                f"The clips are rated on {', '.join(keys(clips.scales))}, and what is predicted is "
                f"{', '.join(keys(scales))}: they have no scale in common."
            )
        said = {predicted(key): values[:, keys(scales).index(key)] for key in keys(common)}
        return cls(clips.table[["clip_id", "system_id", *keys(common)]].assign(**said), common)

    def to_csv(self, path: Path) -> None:
        """Write what `read_predictions` reads."""
        write_csv(self.table, path)
        write_scales_beside(path, self.scales)


def judged(clips: RatedClips, values: NDArray[np.float64], scales: Scales) -> Predictions:
    """Put what heads say of clips, clamped here, beside the ratings; as :meth:`Predictions.of`."""
    return Predictions.of(clips, np.clip(values, MIN_SCORE, MAX_SCORE), scales)


def read_predictions(path: Path) -> Predictions:
    """Read a table.

    Raises
    ------
    DataError
        With all that is wrong, by line: cells that are empty or no numbers, rated scores outside 1 to 5,
        clips that are there twice. Or a column is missing.
    """
    read, known = read_csv(path), scales_beside(path)
    scales = _scales_in(read.heading, known)
    checks: dict[str, Callable[[str], Any]] = {"clip_id": _name, "system_id": _name}
    for key in keys(scales):
        checks |= {key: parse_score, predicted(key): parse_number}
    columns: dict[str, list[Any]] = {column: [] for column in checks}
    seen: set[str] = set()
    for line, row in read.rows:
        place = line_place(path.name, line)
        for column, check in checks.items():
            try:
                columns[column].append(check(row[column]))
            except ValueError as error:
                read.problems.add(place, f"{column}: {error}")
        if row["clip_id"] in seen:
            read.problems.add(place, f"the clip {shown_name(row['clip_id'])} is there twice")
        seen.add(row["clip_id"])
    read.problems.stop_if_any()
    return Predictions(pd.DataFrame(columns), scales)


def read_answer(path: Path, clips: RatedClips) -> Predictions:
    """Read an answer, and put it beside the ratings of its clips; a DataError names all wrong lines."""
    places = {clip_id: row for row, clip_id in enumerate(clips.table["clip_id"])}
    problems = Problems(path.name)
    scores: dict[int, tuple[float, ...]] = {}
    for line in _named_scores(path, parse_number, problems):
        row = places.get(line.name.removesuffix(".wav"))
        if row is None:
            problems.add(line.place, f"there is no rated clip {shown_name(line.name)}")
        elif row in scores:
            problems.add(line.place, f"the clip {shown_name(line.name)} is there twice")
        else:
            scores[row] = line.scores
    problems.stop_if_any()
    values = np.reshape([*scores.values()], (-1, len(MUSICEVAL)))
    return Predictions.of(clips.take([*scores]), values, MUSICEVAL)


def read_system_scores(path: Path) -> SystemScores:
    """Read system scores; a DataError names all that is wrong, by line."""
    problems = Problems(path.name)
    systems: dict[str, tuple[float, ...]] = {}
    for line in _named_scores(path, parse_score, problems):
        if line.name in systems:
            problems.add(line.place, f"the system {shown_name(line.name)} is there twice")
        systems[line.name] = line.scores
    problems.stop_if_any()
    return {
        key: {system: scores[place] for system, scores in systems.items()} for place, key in enumerate(keys(MUSICEVAL))
    }


def _scales_in(heading: Sequence[str], known: Scales) -> Scales:
    scales = tuple(scale for scale in known if {scale.key, predicted(scale.key)} & set(heading))
    needed = ["clip_id", "system_id", *(columns_of(scales) or keys(known))]
    missing = [column for column in needed if column not in heading]
    if missing:
        names = ", ".join(["clip_id", "system_id", *keys(known), *map(predicted, keys(known))])
        raise DataError(
            f"The table has no column {', '.join(missing)}. Its columns are {names}; one scale alone is fine."
        )
    return scales


@dataclass(frozen=True)
class _NamedScores:
    place: str
    name: str
    scores: tuple[float, ...]


def _named_scores(path: Path, parse: Callable[[str], float], problems: Problems) -> Iterator[_NamedScores]:
    """Each good line of a name and its scores on MusicEval's scales."""
    for number, line in read_lines(path):
        place = line_place(path.name, number)
        cells = [cell.strip() for cell in line.split(",")]
        try:
            if len(cells) != 1 + len(MUSICEVAL):
                raise ValueError(f"{len(cells)} instead of {1 + len(MUSICEVAL)} cells")
            yield _NamedScores(place, _name(cells[0]), tuple(map(parse, cells[1:])))
        except ValueError as error:
            problems.add(place, str(error))


def _name(cell: str) -> str:
    if not cell.strip():
        raise ValueError("it is empty")
    return cell.strip()


@dataclass(frozen=True)
class Measured:
    """How well a judge agrees with the raters on its scales: by level and scale, or why that is not known."""

    scales: Scales
    agreement: Mapping[tuple[str, str], Agreement]
    reasons: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)

    def on(self, level: str) -> dict[str, Agreement]:
        """Return what was measured on a level, by scale."""
        found = {key: self.agreement.get((level, key)) for key in keys(self.scales)}
        return {key: figures for key, figures in found.items() if figures is not None}

    def why_not(self) -> list[str]:
        """Say in sentences what is not measured, and why."""
        titles = {scale.key: scale.title for scale in self.scales}
        return [
            f"{titles[key]}, {level} level, is not measured: {reason}" for (level, key), reason in self.reasons.items()
        ]

    def complete(self) -> Self:
        """Return this if everything was measured, else raise a MetricError that names scale and level."""
        titles = {scale.key: scale.title for scale in self.scales}
        for (level, key), reason in self.reasons.items():
            raise MetricError(f"{titles[key]}: At {level} level: {reason}")
        return self

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return ``{level: {scale: {"n": ..., "mse": ..., "mse_ci95": [low, high], ...}}}``."""
        found = _nested({at: of.to_json() for at, of in self.agreement.items()})
        return {level: found.get(level, {}) for level in LEVELS}

    def reasons_to_json(self) -> dict[str, dict[str, Any]]:
        """Return ``{level: {scale: reason}}``."""
        return _nested(self.reasons)

    @classmethod
    def from_json(cls, metrics: Mapping[str, Any], scales: Scales) -> Self:
        """Read ``metrics.json``; what is missing in it was not measured."""
        stored = _flat({level: metrics.get(level, {}) for level in LEVELS}, scales)
        reasons = _flat(metrics.get("not_measured", {}), scales)
        return cls(scales, {at: Agreement.from_json(of) for at, of in stored.items()}, reasons)


def _nested(of: Mapping[tuple[str, str], Any]) -> dict[str, dict[str, Any]]:
    return {level: {key: value for (there, key), value in of.items() if there == level} for level, _ in of}


def _flat(levels: Mapping[str, Mapping[str, Any]], scales: Scales) -> dict[tuple[str, str], Any]:
    return {(level, key): of[key] for level, of in levels.items() for key in keys(scales) if key in of}


def measure(
    predictions: Predictions, system_scores: SystemScores | None = None, resamples: int | None = None, seed: int = 0
) -> Measured:
    """Measure predictions on both levels and all their scales, as far as possible.

    Parameters
    ----------
    predictions : Predictions
    system_scores : mapping, optional
        What the systems' predicted means are compared with; without it the rated means of their clips.
    resamples : int, optional
        For the intervals; `RESAMPLES` where left out, 0 for no intervals.
    seed : int
        Of the intervals.

    Raises
    ------
    MetricError
        The given system scores lack a system.
    """
    resamples = RESAMPLES if resamples is None else resamples
    columns = columns_of(predictions.scales)
    tables = {LEVELS[0]: predictions.table, LEVELS[1]: predictions.table.groupby("system_id")[columns].mean()}
    found: dict[tuple[str, str], Agreement] = {}
    reasons: dict[tuple[str, str], str] = {}
    for level, table in tables.items():
        for scale in predictions.scales:
            truth, said = (table[of].to_numpy(dtype=float) for of in (scale.key, predicted(scale.key)))
            if system_scores is not None and level == LEVELS[1]:
                truth = _given(system_scores, scale, list(table.index))
            try:
                found[level, scale.key] = agreement(truth, said, resamples, seed)
            except MetricError as error:
                reasons[level, scale.key] = str(error)
    return Measured(predictions.scales, found, reasons)


def _given(system_scores: SystemScores, scale: Scale, systems: list[str]) -> NDArray[np.float64]:
    scores = system_scores.get(scale.key, {})
    unknown = [system for system in systems if system not in scores]
    if unknown:
        raise MetricError(f"{scale.title}: The given system scores have none for {', '.join(unknown)}.")
    return np.array([scores[system] for system in systems])


def error_estimate(predictions: Predictions, data: str) -> dict[str, Any]:
    """Return the error that a checkpoint's intervals are made of, as ``metrics.json`` has it."""
    table = predictions.table
    quantiles = {
        key: float(np.quantile((table[key] - table[predicted(key)]).abs(), INTERVAL_LEVEL))
        for key in keys(predictions.scales)
    }
    return {
        "data": data,
        "n_clips": len(table),
        "n_systems": int(table["system_id"].nunique()),
        "interval_level": INTERVAL_LEVEL,
        "absolute_error_quantile": quantiles,
    }


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
    """A row of Table I on one level: figures by scale, for every scale; "" is the source of those of here."""

    source: str
    of_scales: Mapping[str, Agreement]


def table_one(measured: Measured, level: str) -> list[TableRow]:
    """Return the rows of a level: what was measured, then what was published."""
    known = {("", key): of for key, of in measured.on(level).items()}
    for (source, of_level, key), figures in PUBLISHED.items():
        if of_level == level:
            there = {name: f for name, f in zip(METRICS, figures, strict=True) if f is not None}
            known[source, key] = Agreement(None, there)
    sources = dict.fromkeys(["", *(source for source, _, _ in PUBLISHED)])
    scales = keys(measured.scales)
    return [TableRow(of, {key: known.get((of, key), _NONE) for key in scales}) for of in sources]


def table_one_as_text(measured: Measured) -> str:
    """Lay Table I out for a terminal."""
    scales = [scale for scale in measured.scales if any(scale.key in measured.on(level) for level in LEVELS)]
    width = _CELL_WIDTH * len(METRICS)
    lines = [" " * _TITLE_WIDTH + "  ".join(f"{scale.title:^{width}}" for scale in scales)]
    lines.append(_line("", [[name.upper() for name in METRICS] for _ in scales]))
    for level in LEVELS:
        lines += ["", f"{level.capitalize()} level"]
        for row in table_one(measured, level):
            lines += _text_lines(row, [row.of_scales[scale.key] for scale in scales])
    return "\n".join(line.rstrip() for line in lines)


def _text_lines(row: TableRow, shown: Sequence[Agreement]) -> Iterator[str]:
    n = next((of.n for of in shown if of.n), 0)
    title = row.source or f"this result (n = {n})"
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


def comparison(clip_ids: Sequence[str], data: RatedClips | None) -> str:
    """Say how far the published rows can be compared with a result on clips of some data, if it is known."""
    no = "the published rows are no comparison"
    if any(WavName.parse(clip_id) is None for clip_id in clip_ids):
        return f"These are not clips of MusicEval: {no}."
    if data is None or "train" not in set(data.table["split"]):
        return f"It cannot be told whether these are MusicEval's held-out clips. If they are not, {no}."
    if not is_published(data):
        return f"These ratings are not those that MusicEval published: {no}."
    sentences = {
        "dev": "This is MusicEval's official dev part, the baseline's; the paper's part is another.",
        "test": "This is MusicEval's official test part; the paper's and the baseline's are others.",
    }
    for part, sentence in sentences.items():
        if set(clip_ids) == set(data.table.loc[data.table["split"] == part, "clip_id"]):
            return sentence
    return f"These clips of MusicEval are neither its whole dev part nor its whole test part: {no}."


@dataclass(frozen=True)
class MeasuredClips:
    """Clips to measure a model on, one of `PARTS`, and what belongs to their figures in sentences."""

    clips: RatedClips
    part: str
    notes: tuple[str, ...]


def choose_clips(clips: RatedClips, model: Path, split: Split | None = None, part: str | None = None) -> MeasuredClips:
    """Choose the clips to measure a model on."""
    own = own_parts(model)
    is_same = bool(own) and _own_data(model) == data_sha256(clips)
    if split is not None:
        parted, how = split_clips(clips, split), f"of the split: {split.in_words()}"
    elif is_same:
        if not own.keys() >= set(clips.table["clip_id"]):
            raise damaged(model / SPLIT_FILE)
        parted, how = clips.with_parts([own[of] for of in clips.table["clip_id"]]), "of the model's own split"
    else:
        parted, how = clips.with_parts([""] * len(clips)), "without a split"
    part = part or next((part for part in ("test", "dev") if parted.rows(part)), ALL)
    chosen = parted if part == ALL else parted.take(parted.rows(part))
    if not len(chosen):
        raise DataError(f"There are no clips in the {part} part {how}. Give a split, or another part.")
    what = f"the {part} part, {len(chosen)} of {len(clips)} clips, {how}"
    what = f"all {len(clips)} clips" if part == ALL else what
    return MeasuredClips(chosen, part, (f"Measured on {what}.", _known(chosen, own, is_same)))


def own_parts(model: Path) -> dict[str, str]:
    """Return the part by clip of a model's own split; empty where its folder does not say."""
    if not (model / SPLIT_FILE).is_file():
        return {}
    read = read_csv(model / SPLIT_FILE)
    parts = {unescape_cell(cells.get("clip_id", "")): cells.get("split", "") for _, cells in read.rows}
    if read.problems.found or "" in parts or not set(parts.values()) <= set(SPLITS):
        raise damaged(model / SPLIT_FILE)
    return parts


def _own_data(model: Path) -> str | None:
    """Hash of the data that a model was trained on, where its folder says."""
    if not (model / RUN_FILE).is_file():
        return None
    try:
        return str(json.loads((model / RUN_FILE).read_bytes())["data"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(model / RUN_FILE) from error


def _known(chosen: RatedClips, own: Mapping[str, str], is_same: bool) -> str:
    """Say how many of the clips the model was trained on, or stopped on."""
    if not own:
        return "The model does not say which clips it was trained on."
    parts = [own.get(clip_id) for clip_id in chosen.table["clip_id"]]
    train, dev = parts.count("train"), parts.count("dev")
    if not is_same:
        return (
            "The model was trained on other data; "
            f"{train + dev} of these {len(parts)} clips have names of clips that it was trained with."
        )
    if train + dev == 0:
        return "The model was trained on none of them."
    return (
        f"The model was trained on {train} of these {len(parts)} clips, and its training was stopped by "
        f"{dev} of them: this is not how well it judges clips that it does not know."
    )
