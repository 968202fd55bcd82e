"""Predicted scores beside rated ones: read and measured. `core.table_one` lays out what was measured.

A *table* is a CSV file with a heading: ``clip_id``, ``system_id`` where systems are known and, for one scale or
more, the rated score under the scale's key and the predicted one under ``predicted_`` and that key; more columns
are left alone. An *answer* is what was handed in to the AudioMOS Challenge 2025, track 1: lines ``wav,musical
impression,textual alignment`` without a heading, the wav's name with or without ``.wav``. It has no truth, so it
goes with rated clips, and is measured on those that it names; how many it lacks is noted. A prediction may lie up
to one point outside 1 to 5, as a regression's do, which is noted; farther out it is an error. *System scores* are
lines ``system,musical impression,textual alignment`` without a heading, as in ``system_mos`` of the MusicEval
release.

*Utterance level* compares clips; *system level* compares the unweighted means over each system's clips
(MusicEval, section V.B), or sets the predicted means against system scores that are given, as the challenge
does. For intervals systems are drawn, and at utterance level prompts too, where they are known; where neither
is, clips. What would mean nothing, as a correlation over two systems, is left out with the reason beside it; the
rest stands all the same.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import DataError, MetricError, counted, shown_name
from core.files import Problems, first_of, line_place
from core.metrics import LEAST_GROUPS, LEAST_POINTS, METRICS, Agreement, agreement, bootstrap_intervals, shortage
from core.musiceval import WavName, is_published
from core.ranges import LEVEL, bounded, coverage, held_error, why_no_range
from core.rated_clips import RatedClips, count_systems, scales_beside, write_csv, write_scales_beside
from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL, Scale, Scales, keys
from core.tables import means_nothing, open_table, parse_number, parse_score

RESAMPLES = 1000
LEVELS = ("utterance", "system")
_UNITS = {"utterance": "clips", "system": "systems"}
NO_SYSTEMS = "the data does not say which system made a clip."

_NAMES = ("clip_id", "system_id")
_MOST_OUTSIDE = 1.0  # points that a regression may miss the scales by

SystemScores = Mapping[str, Mapping[str, float]]  # by scale and system


def predicted(key: str) -> str:
    """Return the name of the column of a scale's predictions."""
    return f"predicted_{key}"


def columns_of(scales: Iterable[Scale]) -> list[str]:
    """Return the columns of rated and predicted scores."""
    return [*keys(scales), *map(predicted, keys(scales))]


@dataclass(frozen=True)
class Predictions:
    """Predicted scores beside rated ones.

    The table has ``clip_id``, ``system_id`` (empty where systems are not known), ``prompt_id`` where prompts are known,
    and `columns_of` the scales; NaN where nothing was predicted, and then the clip is left out on that scale.
    The notes say in sentences what is special about them.
    """

    table: pd.DataFrame
    scales: Scales
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, clips: RatedClips, values: NDArray[np.float64], scales: Scales) -> Self:
        """Put predictions, (n_clips, n_scales) with the columns of `scales`, beside the ratings.

        What both have counts, a DataError where that is nothing; but where a prompt is not read (`RatedClips.unread`),
        there is no prediction of what needs one.
        """
        common = tuple(scale for scale in clips.scales if scale.key in keys(scales))
        if not common:
            raise DataError(
                f"The clips are rated on {', '.join(keys(clips.scales))}, and what is predicted is "
                f"{', '.join(keys(scales))}: they have no scale in common."
            )
        said = {predicted(key): np.array(values[:, keys(scales).index(key)], dtype=float) for key in keys(common)}
        for scale in common:
            if scale.needs_prompt:
                said[predicted(scale.key)][clips.unread_rows()] = np.nan
        names = ["clip_id", "system_id", *(["prompt_id"] if clips.has_prompts else []), *keys(common)]
        return cls(clips.table[names].assign(**said), common)

    def on(self, scale: Scale) -> pd.DataFrame:
        """Return the rows that have a prediction on a scale."""
        return self.table[self.table[predicted(scale.key)].notna()]

    def to_csv(self, path: Path) -> None:
        """Write what `read_predictions` reads."""
        unknown = [] if count_systems(self.table) else ["system_id"]
        write_csv(self.table.drop(columns=unknown), path)
        write_scales_beside(path, self.scales)


def judged(clips: RatedClips, values: NDArray[np.float64], scales: Scales) -> Predictions:
    """Put what heads say of clips, clamped here, beside the ratings; as :meth:`Predictions.of`."""
    return Predictions.of(clips, np.clip(values, MIN_SCORE, MAX_SCORE), scales)


def read_predictions(path: Path) -> Predictions:
    """Read a table; a DataError names all that is wrong, by line. A prediction may be empty, which is noted."""
    known, problems = scales_beside(path), Problems(path.name)
    read = open_table(path, (*_NAMES, "prompt_id"), columns_of(known))
    scales = _scales_in(read.columns, known)
    names = [name for name in (*_NAMES, "prompt_id") if name in read.columns]
    checks: dict[str, Callable[[str], Any]] = dict.fromkeys(names, _name)
    for key in keys(scales):
        checks |= {key: parse_score, predicted(key): lambda text: np.nan if means_nothing(text) else _prediction(text)}
    columns: dict[str, list[Any]] = {column: [] for column in checks}
    seen: set[str] = set()
    for line in read.rows(problems):
        place, clip_id = line_place(path.name, line.number), line.cells["clip_id"]
        for column, check in checks.items():
            try:
                columns[column].append(check(line.cells[column]))
            except ValueError as error:
                problems.add(place, f"{column}: {error}")
        if clip_id in seen:
            problems.add(place, f"the clip {shown_name(clip_id)} is there twice")
        seen.add(clip_id)
    problems.stop_if_any()
    columns.setdefault("system_id", [""] * len(seen))
    return _noted(Predictions(pd.DataFrame(columns), scales))


def read_answer(path: Path, clips: RatedClips) -> Predictions:
    """Read an answer, and put it beside the ratings of its clips; a DataError names all wrong lines."""
    places = {clip_id: row for row, clip_id in enumerate(clips.table["clip_id"])}
    problems = Problems(path.name)
    scores: dict[int, tuple[float, ...]] = {}
    for line in _named_scores(path, _prediction, problems):
        row = places.get(line.name.removesuffix(".wav"))
        if row is None:
            problems.add(line.place, f"there is no rated clip {shown_name(line.name)}")
        elif row in scores:
            problems.add(line.place, f"the clip {shown_name(line.name)} is there twice")
        else:
            scores[row] = line.scores
    problems.stop_if_any()
    values = np.reshape([*scores.values()], (-1, len(MUSICEVAL)))
    missing = [clip_id for clip_id, row in places.items() if row not in scores]
    said = f"The answer has {len(scores):,} of the {len(places):,} rated clips, and lacks {first_of(missing)}."
    return _noted(Predictions.of(clips.take([*scores]), values, MUSICEVAL), *([said] if missing else []))


def _noted(predictions: Predictions, *notes: str) -> Predictions:
    """Add notes, and one where predictions lie outside the scales, or there are none."""
    said = predictions.table[[*map(predicted, keys(predictions.scales))]].to_numpy(dtype=float)
    outside = said[(said < MIN_SCORE) | (said > MAX_SCORE)]
    for scale in predictions.scales:
        if n_none := len(predictions.table) - len(predictions.on(scale)):
            notes = (*notes, f"{scale.title} leaves out {counted(n_none, 'clip')} without a prediction.")
    if len(outside):
        span = f"they go from {np.nanmin(said):g} to {np.nanmax(said):g}"
        lie = f"{counted(len(outside), 'prediction')} lie{'s' if len(outside) == 1 else ''}"
        notes = (*notes, f"{lie} outside {MIN_SCORE:g} to {MAX_SCORE:g}: {span}.")
    return dataclasses.replace(predictions, notes=notes)


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
    needed = ["clip_id", *(columns_of(scales) or keys(known))]
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
    scales = keys(MUSICEVAL)
    for line in open_table(path, ["name"], scales, has_heading=False).rows(problems):
        place = line_place(path.name, line.number)
        try:
            scores = tuple(parse(line.cells[key]) for key in scales)
            yield _NamedScores(place, _name(line.cells["name"]), scores)
        except ValueError as error:
            problems.add(place, str(error))


def _prediction(text: str) -> float:
    number = parse_number(text)
    if not MIN_SCORE - _MOST_OUTSIDE <= number <= MAX_SCORE + _MOST_OUTSIDE:
        raise ValueError(f"{number:g} is no score from {MIN_SCORE:g} to {MAX_SCORE:g}")
    return number


def _name(cell: str) -> str:
    if means_nothing(cell):
        raise ValueError(f"{shown_name(cell)} is no name" if cell else "it is empty")
    return cell


@dataclass(frozen=True)
class Measured:
    """How well a judge agrees with the raters on its scales.

    `agreement` and `reasons` are by level and scale: what was measured, and why something of it, or all, was
    not. `no_intervals` says by level why there are none.
    """

    scales: Scales
    agreement: Mapping[tuple[str, str], Agreement]
    reasons: Mapping[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    no_intervals: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def on(self, level: str) -> dict[str, Agreement]:
        """Return what was measured on a level, by scale."""
        found = {key: self.agreement.get((level, key)) for key in keys(self.scales)}
        return {key: figures for key, figures in found.items() if figures is not None}

    def why_not(self) -> list[str]:
        """Say in sentences what is not measured, and why."""
        titles = {scale.key: scale.title for scale in self.scales}
        said = []
        for (level, key), reason in self.reasons.items():
            is_partly = (level, key) in self.agreement
            what = "correlations are not measured" if is_partly else "is not measured"
            said.append(f"{titles[key]}, {level} level{':' if is_partly else ','} {what}: {reason}")
        return [*said, *(f"There are no intervals at {level} level: {why}" for level, why in self.no_intervals.items())]

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return ``{level: {scale: {"n": ..., "mse": ..., "mse_ci95": [low, high], ...}}}``; null for no figure."""
        found = _nested({at: of.to_json() for at, of in self.agreement.items()})
        return {level: found.get(level, {}) for level in LEVELS}

    def reasons_to_json(self) -> dict[str, dict[str, Any]]:
        """Return ``{"not_measured": {level: {scale: reason}}, "no_intervals": {level: reason}}``."""
        return {"not_measured": _nested(self.reasons), "no_intervals": dict(self.no_intervals)}

    @classmethod
    def from_json(cls, metrics: Mapping[str, Any], scales: Scales) -> Self:
        """Read ``metrics.json``; what is missing in it was not measured. A ValueError for a number that cannot be.

        Figures of too few points, as models of before have them, are left out like those of today.
        """
        stored = _flat({level: metrics.get(level, {}) for level in LEVELS}, scales)
        found = {at: Agreement.from_json(of) for at, of in stored.items()}
        too_few = {at: of.n for at, of in found.items() if of.n is not None and of.n < LEAST_POINTS}
        reasons = {at: f"{shortage(n, _UNITS[at[0]], LEAST_POINTS)}." for at, n in too_few.items()}
        enough = {at: of for at, of in found.items() if at not in too_few}
        reasons |= _flat(metrics.get("not_measured", {}), scales)
        return cls(scales, enough, reasons, dict(metrics.get("no_intervals", {})))


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
    scales, drawn_n = predictions.scales, RESAMPLES if resamples is None else resamples
    levels = LEVELS if count_systems(predictions.table) else LEVELS[:1]
    found: dict[tuple[str, str], Agreement] = {}
    reasons = {} if LEVELS[1] in levels else {(LEVELS[1], key): NO_SYSTEMS for key in keys(scales)}
    no_intervals: dict[str, str] = {}
    for level in levels:
        for scale in scales:
            table = compared(predictions, scale, level)
            groups = drawn(level, table)
            counts = {of: len(set(names)) for of, names in groups.items()}
            short = next((shortage(n, of, LEAST_GROUPS) for of, n in counts.items() if n < LEAST_GROUPS), "")
            truth, said = (table[of].to_numpy(dtype=float) for of in (scale.key, predicted(scale.key)))
            if system_scores is not None and level == LEVELS[1]:
                truth = _given(system_scores, scale, list(table.index))
            try:
                measured = agreement(truth, said, _UNITS[level])
            except MetricError as error:
                reasons[level, scale.key] = str(error)
                continue
            if len(measured.figures) < len(METRICS):
                reasons[level, scale.key] = f"all {'predicted' if np.ptp(truth) else 'rated'} scores are the same."
            drawn_of = [] if short or not drawn_n else [*groups.values()]
            found[level, scale.key] = _with_intervals(measured, truth, said, drawn_of, drawn_n, seed)
            no_intervals |= {level: f"{short}."} if short else {}
    return Measured(scales, found, reasons, no_intervals)


def compared(predictions: Predictions, scale: Scale, level: str) -> pd.DataFrame:
    """Return what a level compares on a scale: the clips with a prediction, or the means over each system's."""
    rows = predictions.on(scale)
    return rows if level == LEVELS[0] else rows.groupby("system_id")[columns_of([scale])].mean()


def _with_intervals(
    measured: Agreement,
    truth: NDArray[np.float64],
    said: NDArray[np.float64],
    groups: Sequence[Sequence[str]],
    resamples: int,
    seed: int,
) -> Agreement:
    """Add the intervals of the figures that there are; none where no groups are drawn."""
    found = bootstrap_intervals(truth, said, groups, resamples, seed) if groups else {}
    intervals = {name: ends for name, ends in found.items() if name in measured.figures}
    return dataclasses.replace(measured, intervals=intervals)


def drawn(level: str, table: pd.DataFrame) -> dict[str, list[str]]:
    """Return what is drawn for intervals: each row's system, and at utterance level its prompt where it is known.

    Where neither is known, its clip.
    """
    if level == LEVELS[1]:
        return {"systems": list(table.index)}
    known = {"systems": "system_id", "prompts": "prompt_id"}
    named = {of: list(table[column]) for of, column in known.items() if column in table and any(table[column])}
    return named or {"clips": list(table["clip_id"])}


def _given(system_scores: SystemScores, scale: Scale, systems: list[str]) -> NDArray[np.float64]:
    scores = system_scores.get(scale.key, {})
    unknown = [system for system in systems if system not in scores]
    if unknown:
        raise MetricError(f"{scale.title}: The given system scores have none for {', '.join(unknown)}.")
    return np.array([scores[system] for system in systems])


def nothing_estimated(n_clips: int, n_systems: int, data: str, which: str) -> dict[str, Any]:
    """Return an error estimate without errors, and why, if so many clips of so many systems give none."""
    return {
        "data": data,
        "which": which,
        "n_clips": n_clips,
        "n_systems": n_systems,
        "interval_level": LEVEL,
        "absolute_error_quantile": None,
        "no_range": why_no_range(n_clips, n_systems),
    }


def error_estimate(
    predictions: Predictions, data: str, which: str = "", spread: Mapping[str, NDArray[np.float64]] | None = None
) -> dict[str, Any]:
    """Return what ranges are made of (`core.ranges`), as ``metrics.json`` has it.

    The predictions are of clips that what predicted them had not learned: `data` and `which` say in words what they
    are. Where systems are known, clips of none are left out. `spread` is how far the heads themselves expect to be
    wrong, by scale, (n_clips,), in points.
    """
    named = (predictions.table["system_id"] != "").to_numpy()
    table = predictions.table[named] if named.any() else predictions.table
    estimate = nothing_estimated(len(table), count_systems(table), data, which)
    if estimate["no_range"]:
        return estimate
    estimate |= {"absolute_error_quantile": {}, "coverage": {}, **({} if spread is None else {"spread_quantile": {}})}
    for key in keys(predictions.scales):
        is_known = table[predicted(key)].notna().to_numpy()
        of_scale = table[is_known]
        if why := why_no_range(len(of_scale), count_systems(of_scale)):
            estimate["no_range"] = why
            continue
        systems, scores = of_scale["system_id"].to_numpy(dtype=str), of_scale[key].to_numpy(dtype=float)
        errors = np.abs(scores - of_scale[predicted(key)].to_numpy(dtype=float))
        estimate["absolute_error_quantile"][key] = held_error(errors, systems)
        if spread is not None:
            errors = errors / bounded((spread[key][named] if named.any() else spread[key])[is_known])
            estimate["spread_quantile"][key] = held_error(errors, systems)
        estimate["coverage"][key] = coverage(errors, systems, scores)
    if not estimate["absolute_error_quantile"]:
        return {**nothing_estimated(len(table), count_systems(table), data, which), "no_range": estimate["no_range"]}
    return {**estimate, "no_range": ""}


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
