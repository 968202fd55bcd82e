"""A run of the gate over a clip list: every row scored and measured, in order, whatever a file does.

Scoring is that of a batch (`core.batch.run.score_rows`); the signal is measured beside it, by readers of its own:
those of the scorer wait for the scorer, which waits here for both. Memory does not grow with the rows but for their
values.

A system's mean has a place among reference clips: those of a table of their scores, as a batch writes it. Scores of two
judges, or at two precisions, cannot be compared, so the table must be of the judge that the gate runs.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.audio import AudioLimits
from core.batch.manifest import OK, Cells, ClipList, Row, from_cells, read_records
from core.batch.run import local_file, score_rows
from core.errors import AudioError, DataError, ReadingError, counted, shown_name
from core.feed import READERS, in_order
from core.files import Problems
from core.gate.measures import Signal, measure_file
from core.gate.outcome import Checked, Conditions, Outcome, is_no_music, outcome, reasons_of
from core.preference import LEAST_REFERENCES
from core.prompts import UNREADABLE, prompt_warnings
from core.readers import Readers, readers_for
from core.scales import keys
from core.scorer import Scorer

Report = Callable[[int, int, int], None]  # clips done, those of them that failed, and clips of the list


@dataclass(frozen=True)
class References:
    """Values of reference clips by scale, and the file that they come from."""

    source: str
    values: Mapping[str, NDArray[np.float64]]

    def place_of(self, mean: float, scale: str) -> str:
        """Say how many of the clips a mean is above; empty where too few have a value on the scale."""
        values = self.values[scale]
        if len(values) < LEAST_REFERENCES:
            return ""
        percent = int(100 * np.mean(values < mean))
        return f"better than {percent} % of {counted(len(values), 'reference clip')} ({self.source})"


def run_gate(path: Path, conditions: Conditions, scorer: Scorer, report: Report, among: Path | None = None) -> Outcome:
    """Score and measure the clips of a list, and hold them against conditions.

    Where `among` names a table of scores of reference clips, means have a place among them. DataError where the list
    or the table is not in order, or a condition asks about a scale that the judge does not have.
    """
    scales = scorer.checkpoint.scales
    conditions.check(scales)
    references = read_references(among, scorer) if among else None
    clip_list = ClipList.check(path)
    scorer.expect(clip_list.n_rows)
    notes = [*clip_list.notes, *(warning.message for warning in scorer.model_warnings())]
    with readers_for(clip_list.n_rows, batch=scorer.batch) as scorer.readers, readers_for(clip_list.n_rows, 2) as own:
        clips = _reported(checked_clips(clip_list, conditions, scorer, own), clip_list.n_rows, report)
        checkpoint = scorer.checkpoint
        found = outcome(clips, conditions, scales, notes, (checkpoint.id, checkpoint.sha256))
    return _placed(found, references) if references else found


def _placed(found: Outcome, references: References) -> Outcome:
    told = ((one, "" if one.mean is None else references.place_of(one.mean, one.scale)) for one in found.means)
    return replace(found, means=tuple(replace(one, place=place) for one, place in told))


def read_references(path: Path, scorer: Scorer) -> References:
    """Read a table of scores; DataError where it is none, is of another judge, or has too few clips."""
    scales, problems = scorer.checkpoint.scales, Problems(path.name)
    found: dict[str, list[float]] = {key: [] for key in keys(scales)}
    for place, cells in read_records(path, problems, keys(scales)):
        try:
            _take(cells, found, scorer)
        except ValueError as error:
            problems.add(place, str(error))
    problems.stop_if_any()
    if not any(len(values) >= LEAST_REFERENCES for values in found.values()):
        raise DataError(f"{shown_name(path.name)} has fewer than {LEAST_REFERENCES} reference clips with scores.")
    return References(path.name, {key: np.array(values) for key, values in found.items()})


def _take(cells: Cells, found: dict[str, list[float]], scorer: Scorer) -> None:
    """Note the values of a row; ValueError where it is no row of this judge's scores."""
    judged = cells.get("model_sha256"), cells.get("precision")
    if judged != (scorer.checkpoint.sha256, scorer.precision):
        raise ValueError("it was not scored by the judge of the gate, or at another precision; score it again")
    if cells.get("status") != OK or is_no_music(cells):
        return
    numbers = from_cells({key: cells.get(key) for key in found}, dict.fromkeys(found, float))
    for key, value in numbers.items():
        if value is not None:
            found[key].append(value)


def checked_clips(
    clip_list: ClipList, conditions: Conditions, scorer: Scorer, readers: Readers | None = None
) -> Iterator[Checked]:
    """Yield each clip of a list, scored and measured."""
    measure = functools.partial(_measure, limits=scorer.limits, readers=readers)
    records = score_rows(scorer, clip_list.rows())
    with ThreadPoolExecutor(READERS) as threads:
        signals = in_order(threads, measure, clip_list.rows(), 2 * READERS)
        for record, signal in zip(records, signals, strict=True):
            yield Checked(record, tuple(reasons_of(record, signal, conditions, _untold(record, scorer))))


def _measure(row: Row, limits: AudioLimits, readers: Readers | None) -> Signal | str:
    """Measure a row's clip; why that cannot be done, where it cannot."""
    try:
        path = str(local_file(row))
        if readers is None:
            return measure_file(path, limits)
        return readers.call(measure_file, path, limits, name=shown_name(Path(row.file).name))
    except (AudioError, ReadingError) as error:
        return str(error)


def _untold(record: Cells, scorer: Scorer) -> dict[str, str]:
    """Why the judge tells no value of a clip that it scored, by scale."""
    silent = [key for key in keys(scorer.checkpoint.scales) if record["status"] == OK and record[key] is None]
    if not silent:
        return {}
    said = prompt_warnings(record["prompt"], scorer.checkpoint.tower)
    why = next((warning.message for warning in said if warning.code in UNREADABLE), "The judge tells none.")
    return dict.fromkeys(silent, why)


def _reported(clips: Iterator[Checked], n_rows: int, report: Report) -> Iterator[Checked]:
    n_failed = 0
    for n_done, clip in enumerate(clips, 1):
        n_failed += bool(clip.reasons)
        report(n_done, n_failed, n_rows)
        yield clip
