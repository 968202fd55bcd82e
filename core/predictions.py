"""Predicted scores beside rated ones: read from files, and measured.

A *table* is a CSV file with a heading: ``clip_id``, ``system_id`` and, for one scale or both, the rated score
under the scale's name and the predicted one under ``predicted_`` and that name. More columns are left alone.

An *answer* is what was handed in to the AudioMOS Challenge 2025, track 1: lines ``wav,musical impression,
textual alignment`` without a heading, the wav's name with or without ``.wav`` (the organisers' baseline
writes it without). It has no truth, so it goes with rated clips, and is measured on those that it names.

*System scores* are lines ``system,musical impression,textual alignment`` without a heading, as in
``system_mos`` of the MusicEval release.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from core import metrics
from core.errors import DataError, MetricError, shown_name
from core.ratings import RatedClips
from core.scales import SCALE_TITLES, SCALES
from core.tables import Problems, line_place, parse_number, parse_score, read_csv, read_lines

RESAMPLES = 1000
LEVELS = ("utterance", "system")

Levels = dict[str, dict[str, dict[str, Any]]]
SystemScores = Mapping[str, Mapping[str, float]]


def predicted(scale: str) -> str:
    """Name of the column of a scale's predictions."""
    return f"predicted_{scale}"


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a table.

    Returns
    -------
    DataFrame
        ``clip_id``, ``system_id``, and two columns for each scale that the file has.

    Raises
    ------
    DataError
        With all that is wrong, by line: cells that are empty or no numbers, rated scores outside 1 to 5,
        clips that are there twice. Or a column is missing.
    """
    heading, rows, problems = read_csv(path)
    checks = _checks(heading)
    columns: dict[str, list[Any]] = {column: [] for column in checks}
    seen: set[str] = set()
    for line, row in rows:
        place = line_place(path.name, line)
        for column, check in checks.items():
            try:
                columns[column].append(check(row[column]))
            except ValueError as error:
                problems.add(place, f"{column}: {error}")
        if row["clip_id"] in seen:
            problems.add(place, f"the clip {shown_name(row['clip_id'])} is there twice")
        seen.add(row["clip_id"])
    problems.stop_if_any()
    return pd.DataFrame(columns)


def read_answer(path: Path, clips: RatedClips) -> pd.DataFrame:
    """Read an answer and put it beside the ratings of its clips.

    Returns
    -------
    DataFrame
        As `read_predictions` gives it, with both scales; in the order of the answer.

    Raises
    ------
    DataError
        With all that is wrong, by line: other than three cells, cells that are no numbers, clips that are
        not among the rated ones or there twice.
    """
    rated = clips.table.set_index("clip_id")
    problems = Problems(path.name)
    rows: dict[str, dict[str, Any]] = {}
    for place, name, scores in _lines_of_three(path, parse_number, problems):
        clip_id = name.removesuffix(".wav")
        if clip_id not in rated.index:
            problems.add(place, f"there is no rated clip {shown_name(name)}")
        elif clip_id in rows:
            problems.add(place, f"the clip {shown_name(name)} is there twice")
        else:
            rows[clip_id] = {"clip_id": clip_id, **rated.loc[clip_id, ["system_id", *SCALES]]}
            rows[clip_id] |= {predicted(scale): score for scale, score in zip(SCALES, scores, strict=True)}
    problems.stop_if_any()
    columns = ["clip_id", "system_id", *SCALES, *map(predicted, SCALES)]
    return pd.DataFrame(rows.values(), columns=columns)


def read_system_scores(path: Path) -> SystemScores:
    """Read system scores.

    Returns
    -------
    mapping
        Scale to system to score.

    Raises
    ------
    DataError
        With all that is wrong, by line.
    """
    problems = Problems(path.name)
    scores: dict[str, dict[str, float]] = {scale: {} for scale in SCALES}
    for place, system, pair in _lines_of_three(path, parse_score, problems):
        if system in scores[SCALES[0]]:
            problems.add(place, f"the system {shown_name(system)} is there twice")
        for scale, score in zip(SCALES, pair, strict=True):
            scores[scale][system] = score
    problems.stop_if_any()
    return scores


def measure(
    table: pd.DataFrame,
    system_scores: SystemScores | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Levels:
    """Measure predictions.

    Parameters
    ----------
    table : DataFrame
        As `read_predictions` gives it.
    system_scores : mapping, optional
        What the systems' predicted means are compared with; without it the rated means of their clips.
    resamples, seed : int
        Of the intervals.

    Returns
    -------
    dict
        ``{level: {scale: {"n": ..., "mse": ..., "mse_ci95": [low, high], ...}}}``, levels `LEVELS`.

    Raises
    ------
    MetricError
        Something cannot be correlated; the message names scale and level.
    """
    levels: Levels = {level: {} for level in LEVELS}
    for scale in (scale for scale in SCALES if scale in table):
        truth, prediction = (table[column].to_numpy(dtype=float) for column in (scale, predicted(scale)))
        of_systems = None if system_scores is None else system_scores[scale]
        try:
            both = metrics.both_levels(
                truth, prediction, list(table["system_id"]), resamples, seed, of_systems
            )
        except MetricError as error:
            raise MetricError(f"{SCALE_TITLES[scale]}: {error}") from error
        for level in LEVELS:
            levels[level][scale] = both[level]
    return levels


def _checks(heading: list[str]) -> dict[str, Callable[[str], Any]]:
    """What each column of a table must hold."""
    pairs = [(scale, predicted(scale)) for scale in SCALES if {scale, predicted(scale)} & set(heading)]
    needed = ["clip_id", "system_id", *(column for pair in pairs or [SCALES] for column in pair)]
    missing = [column for column in needed if column not in heading]
    if missing:
        known = ", ".join(["clip_id", "system_id", *SCALES, *map(predicted, SCALES)])
        raise DataError(
            f"The table has no column {', '.join(missing)}. Its columns are {known}; one scale alone is fine."
        )
    scores = {
        column: check
        for pair in pairs
        for column, check in zip(pair, (parse_score, parse_number), strict=True)
    }
    return {"clip_id": _name, "system_id": _name, **scores}


def _lines_of_three(
    path: Path, parse: Callable[[str], float], problems: Problems
) -> Iterator[tuple[str, str, tuple[float, float]]]:
    """Place, name and two scores of each good line."""
    for number, line in read_lines(path):
        place = line_place(path.name, number)
        cells = [cell.strip() for cell in line.split(",")]
        try:
            if len(cells) != 3:
                raise ValueError(f"{len(cells)} instead of 3 cells")
            yield place, _name(cells[0]), (parse(cells[1]), parse(cells[2]))
        except ValueError as error:
            problems.add(place, str(error))


def _name(cell: str) -> str:
    if not cell.strip():
        raise ValueError("it is empty")
    return cell.strip()
