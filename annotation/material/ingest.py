"""Clips into a study: a manifest's rows, each to one normalised file and one row.

A manifest is a CSV file in UTF-8 with the columns ``file,prompt,system`` and, where wanted, ``kind``
(stimulus, anchor or training; stimulus where it is empty), ``expected_musical_impression``,
``expected_textual_alignment`` and ``explanation`` (what practice tells the rater). Paths are relative to the
manifest. Ingesting it again adds what is new; a row that fails is reported and stops nothing else.

Anchors must not be known by anything but the music. They go through the same form as the clips
(`annotation.material.sound`), and a recording longer than the longest clip is cut to a length drawn from
those of the clips; so the clips come first. What still differs is said in `IngestReport.parity`.
"""

import csv
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from sqlalchemy import select

from annotation.database import Database
from annotation.material.clips import Entry, add_clip, find_clip
from annotation.material.parity import parity
from annotation.material.sound import Normalised, normalise
from annotation.protocol import Protocol
from annotation.schema import CLIP_KINDS, Clip, Study
from annotation.studies import find_study
from core.audio import AudioLimits, read_clip
from core.errors import AudioError, StudyError, shown_name
from core.scales import MAX_SCORE, MIN_SCORE, SCALES

REQUIRED = ("file", "prompt", "system")
OPTIONAL = ("kind", *(f"expected_{scale}" for scale in SCALES), "explanation")
_MOST_NAMES = 10


@dataclass(frozen=True)
class Failure:
    """A row that was not added; rows are counted as a spreadsheet shows them, the heading is row 1."""

    row: int
    file: str
    reason: str


@dataclass
class IngestReport:
    """What came of a manifest.

    Attributes
    ----------
    added : dict of str to int
        Clips by kind.
    already_there : int
    failed : list of Failure
    lowered : list of str
        Sources whose peak allowed less gain than the loudness asked for: they are quieter than the others.
    silent : list of str
        Sources without sound; they were added as they are.
    unexplained : list of str
        Practice clips that lack an expected score or the explanation.
    unused_columns : list of str
        Columns of the manifest that mean nothing here.
    parity : list of str
        Where anchors differ from the clips, a sentence each.
    """

    added: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLIP_KINDS, 0))
    already_there: int = 0
    failed: list[Failure] = field(default_factory=list)
    lowered: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    unexplained: list[str] = field(default_factory=list)
    unused_columns: list[str] = field(default_factory=list)
    parity: list[str] = field(default_factory=list)

    def count(self, entry: Entry, sound: Normalised | None) -> None:
        """Note what came of a row that did not fail; without a sound, the study had it already."""
        if sound is None:
            self.already_there += 1
            return
        self.added[entry.kind] += 1
        if sound.gain_lowered:
            self.lowered.append(entry.file)
        if sound.loudness_lufs is None:
            self.silent.append(entry.file)
        taught = (entry.expected_musical_impression, entry.expected_textual_alignment, entry.explanation)
        if entry.kind == "training" and None in taught:
            self.unexplained.append(entry.file)


@dataclass(frozen=True)
class _Row:
    number: int
    cells: Mapping[str, str]
    too_long: bool


def ingest(
    database: Database,
    data: Path,
    study_name: str,
    manifest: Path,
    at: datetime,
    limits: AudioLimits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Add the clips of a manifest to a study.

    Parameters
    ----------
    database : Database
    data : Path
        Folder of the listening tests.
    study_name : str
    manifest : Path
    at : datetime
        Now.
    limits : AudioLimits, optional
        What a source may be.
    progress : callable, optional
        Told the number of rows that are done, and of all.

    Returns
    -------
    IngestReport

    Raises
    ------
    StudyError
        If there is no such study, or the manifest cannot be read as one.
    """
    with database.read() as session:
        study = find_study(session, study_name)
    columns, rows = _read(manifest)
    report = IngestReport(unused_columns=[name for name in columns if name not in (*REQUIRED, *OPTIONAL)])
    rows.sort(key=lambda row: row.cells.get("kind") == "anchor")  # stable: the others keep their order
    for done, row in enumerate(rows, 1):
        try:
            entry = _entry(row)
            sound = _take(database, data, study, entry, manifest.parent / entry.file, at, limits)
        except (AudioError, StudyError) as error:
            report.failed.append(Failure(row.number, row.cells.get("file", ""), str(error)))
        else:
            report.count(entry, sound)
        if progress is not None:
            progress(done, len(rows))
    report.failed.sort(key=lambda failure: failure.row)
    report.parity = parity(database, data, study)
    return report


def report_text(report: IngestReport) -> str:
    """Put a report into words."""
    kinds = {"stimulus": "clip", "anchor": "anchor", "training": "practice clip"}
    counts = [(count, kinds[kind]) for kind, count in report.added.items() if count]
    added = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts)
    there = f" There already: {report.already_there}." if report.already_there else ""
    said = [f"Added: {added or 'nothing'}.{there}"]
    said += [f"! Row {failure.row}: {failure.reason}" for failure in report.failed]
    for meaning, names in (
        ("Quieter than the rest, because more gain would pass the peak limit", report.lowered),
        ("Silent", report.silent),
        ("Practice clips without scores or explanation, so practice explains nothing", report.unexplained),
        ("Columns that were not used", report.unused_columns),
    ):
        if names:
            more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
            said.append(f"! {meaning}: {', '.join(names[:_MOST_NAMES])}{more}.")
    return "\n".join([*said, *(f"! {sentence}" for sentence in report.parity)])


def _take(
    database: Database,
    data: Path,
    study: Study,
    entry: Entry,
    source: Path,
    at: datetime,
    limits: AudioLimits | None,
) -> Normalised | None:
    """Add one clip; None where the study has it already."""
    if source.is_file():
        with database.read() as session:
            if find_clip(session, study, entry, _digest(source)) is not None:
                return None
    clip = read_clip(source, limits)
    if clip.missing_s:
        raise AudioError(
            f"{shown_name(source.name)} breaks off: {clip.missing_s:.1f} s of it are missing. "
            "Export or download it again."
        )
    longest_s = _drawn_length_s(database, study, clip.sha256) if entry.kind == "anchor" else math.inf
    sound = normalise(clip, Protocol.from_json(study.protocol), longest_s)
    return sound if add_clip(database, data, study, entry, clip.sha256, sound, at) else None


def _digest(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise AudioError(
            f"{shown_name(source.name)} cannot be opened. Check that you may read it."
        ) from error


def _drawn_length_s(database: Database, study: Study, source_sha256: str) -> float:
    """Draw an anchor's greatest length from the clips' lengths, the same for the same recording."""
    of_clips = select(Clip.duration_s).where(Clip.study_id == study.id, Clip.kind == "stimulus")
    with database.read() as session:
        lengths_s = session.scalars(of_clips.order_by(Clip.duration_s)).all()
    if not lengths_s:
        raise StudyError(
            "An anchor is cut to the length of a clip, and the study has no clips yet. "
            "Add clips first, or in the same manifest."
        )
    return float(np.random.default_rng([study.seed, int(source_sha256[:8], 16)]).choice(lengths_s))


def _read(manifest: Path) -> tuple[list[str], list[_Row]]:
    """Columns and rows of a manifest, without the empty rows."""
    name = shown_name(manifest.name)
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except OSError as error:
        raise StudyError(f"{name} cannot be opened. Check the path.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{name} is no CSV file in UTF-8. Save it as one.") from error
    columns = [cell.strip() for cell in lines[0]] if lines else []
    missing = [column for column in REQUIRED if column not in columns]
    if missing:
        raise StudyError(
            f"{name} has no column {', '.join(missing)}. It needs {', '.join(REQUIRED)} "
            f"and may have {', '.join(OPTIONAL)}, with commas between them."
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        cells = dict(zip(columns, (cell.strip() for cell in line), strict=False))
        if any(line):
            rows.append(_Row(number, cells, too_long=len(line) > len(columns)))
    return columns, rows


def _entry(row: _Row) -> Entry:
    """Check a row's cells."""
    if row.too_long:
        raise StudyError("The row has more cells than the heading. Put a text with commas in double quotes.")
    for column in REQUIRED:
        if not row.cells.get(column):
            raise StudyError(f"The cell {column} is empty. Fill it in.")
    kind = row.cells.get("kind") or "stimulus"
    if kind not in CLIP_KINDS:
        raise StudyError(f"The kind is {shown_name(kind)}. It can be {', '.join(CLIP_KINDS)}.")
    return Entry(
        file=row.cells["file"],
        prompt=row.cells["prompt"],
        system=row.cells["system"],
        kind=kind,
        expected_musical_impression=_expected(row, "expected_musical_impression"),
        expected_textual_alignment=_expected(row, "expected_textual_alignment"),
        explanation=row.cells.get("explanation") or None,
    )


def _expected(row: _Row, column: str) -> float | None:
    text = row.cells.get(column)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not MIN_SCORE <= value <= MAX_SCORE:
        raise StudyError(
            f"{column} is {shown_name(text)}. "
            f"It must be a number from {MIN_SCORE:g} to {MAX_SCORE:g}, or empty."
        )
    return value
