"""Clips into a study: a clip list's rows, each to one normalised file and one row of the database.

A clip list is a CSV file, read by `core.tables`, with the columns ``file,prompt,system`` and, where wanted,
``kind`` (stimulus, anchor or practice; stimulus where it is empty), ``expected_<scale>`` for each scale of the
study and ``explanation`` (what practice tells the rater). Paths are relative to the list. A list that cannot be
read to its end is refused; a row that fails is reported and stops nothing else. Ingesting it again adds what is
new.

What a clip *is* (its kind, system, prompt and the source's bytes) decides whether the study has it already.
The file is on disk, whole and under an opaque name, before the row says so: whatever interrupts, no row is
without its file.

Anchors must not be known by anything but the music. They go through the same form as the clips
(`annotation.material.sound`), and a recording longer than the longest clip is cut to a length drawn from
those of the clips; so the clips come first. What still differs is said in `IngestReport.parity`.
"""

import hashlib
import math
import secrets
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.life import refuse_archived
from annotation.material.scripts import other_scripts
from annotation.material.sound import FINDINGS, Normalised, parity, read_normalised, to_wav
from annotation.schema import CLIP_KINDS, Clip, Prompt, Study, System
from annotation.studies import clip_path, find_study, refuse_imported
from core.audio import AudioLimits, ClipSource, read_clip
from core.errors import AudioError, ReadingError, StudyError, counted, shown_name
from core.files import Problems, find_file, first_of, sha256_of, write_atomically
from core.scales import MAX_SCORE, MIN_SCORE, Scales, keys
from core.tables import Line, means_nothing, open_table

REQUIRED = ("file", "prompt", "system")
_OLD_KINDS = {"training": "practice"}  # in lists of older studies
_EXPECTED = "expected_"  # before a scale's key
_NAME_BYTES = 16
_MOST_NAMES = 10


@dataclass(frozen=True)
class Entry:
    """What a clip list says of a clip; `file` is the source as it is named there."""

    file: str
    prompt: str
    system: str
    kind: str = "stimulus"
    expected: dict[str, float] = field(default_factory=dict)  # scores by scale
    explanation: str | None = None


@dataclass(frozen=True)
class Failure:
    """A row that was not added, by the line on which it begins."""

    line: int
    file: str
    reason: str


@dataclass
class IngestReport:
    """What came of a clip list."""

    rows: int = 0  # that were read
    added: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLIP_KINDS, 0))
    already_there: int = 0
    failed: list[Failure] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=lambda: {code: [] for code in FINDINGS})  # files; added as are
    same_audio: list[str] = field(default_factory=list)  # of several systems, a sentence each
    unexplained: list[str] = field(default_factory=list)  # practice without an answer on each scale, or why
    other_scripts: list[str] = field(default_factory=list)  # prompts, in a sentence
    unused_columns: list[str] = field(default_factory=list)
    parity: list[str] = field(default_factory=list)  # where anchors differ from the clips, a sentence each

    def count(self, entry: Entry, sound: Normalised | None, scales: Scales) -> None:
        """Note what came of a row that did not fail; without a sound, the study had it already."""
        if sound is None:
            self.already_there += 1
            return
        self.added[entry.kind] += 1
        for code in sound.findings:
            self.found[code].append(f"{entry.file} ({sound.gain_db:.0f} dB)" if code == "louder" else entry.file)
        explained = entry.explanation and entry.expected.keys() >= {*keys(scales)}
        if entry.kind == "practice" and not explained:
            self.unexplained.append(entry.file)

    def __str__(self) -> str:
        words = {"stimulus": "clip", "anchor": "anchor", "practice": "practice clip"}
        counts = [(count, words[kind]) for kind, count in self.added.items() if count]
        added = ", ".join(counted(count, word) for count, word in counts)
        there = f" There already: {self.already_there}." if self.already_there else ""
        lines = [f"Rows read: {self.rows:,}. Added: {added or 'nothing'}.{there}"]
        lines += [f"! Line {failure.line}: {failure.reason}" for failure in self.failed]
        for meaning, names in (
            *((meaning, self.found[code]) for code, meaning in FINDINGS.items()),
            ("Practice clips without scores or explanation, so practice explains nothing", self.unexplained),
            ("Columns that were not used", self.unused_columns),
        ):
            if names:
                lines.append(f"! {meaning}: {first_of(names, _MOST_NAMES)}.")
        return "\n".join(
            [*lines, *(f"! {sentence}" for sentence in (*self.same_audio, *self.other_scripts, *self.parity))]
        )


def ingest(
    database: Database,
    data: Path,
    study_name: str,
    clip_list: Path,
    at: datetime,
    limits: AudioLimits | None = None,
    progress: Callable[[int, int], None] | None = None,
    find: Callable[[str], ClipSource] | None = None,
    read: Callable[..., Normalised] = read_normalised,
) -> IngestReport:
    """Add the clips of a clip list to a study.

    `find` returns the source that a row names, without it a file beside the list; `read` does what `read_normalised`
    does, perhaps in another process.
    """
    with database.read() as session:
        study = find_study(session, study_name)
    refuse_archived(study)
    refuse_imported(study)
    optional = ("kind", *(f"{_EXPECTED}{key}" for key in keys(study.scales)), "explanation")
    columns, rows = _read(clip_list, optional)
    unused = [name for name in columns if name not in (*REQUIRED, *optional)]
    report = IngestReport(rows=len(rows), unused_columns=unused)
    rows.sort(key=lambda row: row.cells.get("kind") == "anchor")  # stable: the others keep their order
    for done, row in enumerate(rows, 1):
        try:
            entry = _entry(row, study.scales)
            source = find(entry.file) if find else find_file(clip_list.parent / entry.file)
            sound = _take(database, data, study, entry, source, at, partial(read, limits=limits))
        except (AudioError, ReadingError, StudyError) as error:
            report.failed.append(Failure(row.number, row.cells["file"], str(error)))
        else:
            report.count(entry, sound, study.scales)
        if progress is not None:
            progress(done, len(rows))
    report.failed.sort(key=lambda failure: failure.line)
    report.parity = parity(database, data, study)
    with database.read() as session:
        report.same_audio = same_audio(session, study)
        report.other_scripts = other_scripts(session, study)
    return report


def _read(clip_list: Path, optional: tuple[str, ...]) -> tuple[tuple[str, ...], list[Line]]:
    """Return the columns and the rows of a clip list."""
    scores = [name for name in optional if name.startswith(_EXPECTED)]
    texts = [name for name in (*REQUIRED, *optional) if name not in scores]
    table, problems = open_table(clip_list, texts, scores), Problems(clip_list.name)
    missing = [column for column in REQUIRED if column not in table.columns]
    if missing:
        raise StudyError(
            f"{shown_name(clip_list.name)} has no column {', '.join(missing)}. It needs {', '.join(REQUIRED)} "
            f"and may have {', '.join(optional)}."
        )
    rows = list(table.rows(problems))
    problems.stop_if_any()
    return table.columns, rows


def _entry(row: Line, scales: Scales) -> Entry:
    for column in REQUIRED:
        if means_nothing(row.cells[column]):
            said = f"says {shown_name(row.cells[column])}, so there is none" if row.cells[column] else "is empty"
            raise StudyError(f"The cell {column} {said}. Fill it in.")
    named = row.cells.get("kind") or "stimulus"
    kind = _OLD_KINDS.get(named, named)
    if kind not in CLIP_KINDS:
        raise StudyError(f"The kind is {shown_name(kind)}. It can be {', '.join(CLIP_KINDS)}.")
    expected = {key: text for key in keys(scales) if (text := row.cells.get(f"{_EXPECTED}{key}"))}
    return Entry(
        row.cells["file"],
        row.cells["prompt"],
        row.cells["system"],
        kind,
        {key: _expected(key, text) for key, text in expected.items()},
        row.cells.get("explanation") or None,
    )


def _expected(scale: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not MIN_SCORE <= value <= MAX_SCORE:
        raise StudyError(
            f"expected_{scale} is {shown_name(text)}. "
            f"It must be a number from {MIN_SCORE:g} to {MAX_SCORE:g}, or empty."
        )
    return value


def _take(
    database: Database,
    data: Path,
    study: Study,
    entry: Entry,
    source: ClipSource,
    at: datetime,
    read: Callable[..., Normalised],
) -> Normalised | None:
    """Add one clip; None where the study has it already."""
    digest = digest_of(source)
    with database.read() as session:
        if find_clip(session, study, entry, digest) is not None:
            return None
        _refuse_second_role(session, study, entry, digest)
    longest_s = _drawn_length_s(database, study, digest) if entry.kind == "anchor" else math.inf
    sound = read(source, study.protocol, longest_s, name=shown_name(Path(entry.file).name))
    return sound if add_clip(database, data, study, entry, digest, sound, at) else None


def digest_of(source: ClipSource) -> str:
    """Return the SHA-256 of a source; AudioError where there is none."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    path = Path(str(source))
    if not path.is_file():
        read_clip(path)  # which says what is wrong
    try:
        return sha256_of(path)
    except OSError as error:
        raise AudioError(f"{shown_name(path.name)} cannot be opened. Check that you may read it.") from error


def _refuse_second_role(session: Session, study: Study, entry: Entry, source_sha256: str) -> None:
    """Raise StudyError where the study has the recording already, as another kind of clip.

    A rater would rate as a clip what practice has explained, or know an anchor from the clip that it is.
    """
    same = select(Clip.kind).where(Clip.study_id == study.id, Clip.source_sha256 == source_sha256)
    other = session.scalar(same.where(Clip.kind != entry.kind, Clip.retired_at.is_(None)).limit(1))
    if other is not None:
        names = {"stimulus": "a clip to rate", "anchor": "an anchor", "practice": "a practice clip"}
        raise StudyError(
            f"{shown_name(Path(entry.file).name)} is {names[other]} of this study already, and cannot be "
            f"{names[entry.kind]} as well. Give another recording."
        )


def _drawn_length_s(database: Database, study: Study, source_sha256: str) -> float:
    """Draw an anchor's greatest length from the clips' lengths, the same for the same recording."""
    of_clips = select(Clip.duration_s).where(
        Clip.study_id == study.id, Clip.kind == "stimulus", Clip.retired_at.is_(None)
    )
    with database.read() as session:
        lengths_s = [length_s for length_s in session.scalars(of_clips.order_by(Clip.duration_s)) if length_s]
    if not lengths_s:
        raise StudyError(
            "An anchor is cut to the length of a clip, and the study has no clips yet. "
            "Add clips first, or in the same clip list."
        )
    return float(np.random.default_rng([study.seed, int(source_sha256[:8], 16)]).choice(lengths_s))


def same_audio(session: Session, study: Study) -> list[str]:
    """Say of which recordings several systems have the same bytes."""
    query = (
        select(Clip.source_sha256, Clip.source_file, System.name)
        .join(System)
        .where(Clip.study_id == study.id, Clip.kind == "stimulus", Clip.retired_at.is_(None))
        .order_by(Clip.id)
    )
    of_bytes: dict[str, dict[str, str]] = defaultdict(dict)  # file by system
    for sha256, file, system in session.execute(query.where(Clip.source_sha256.is_not(None))):
        of_bytes[str(sha256)].setdefault(system, file)
    several = [
        [f"{file} ({system})" for system, file in found.items()] for found in of_bytes.values() if len(found) > 1
    ]
    return [f"The same recording stands under {len(names)} systems: {first_of(names)}." for names in several]


def find_clip(session: Session, study: Study, entry: Entry, source_sha256: str) -> Clip | None:
    """Return a clip that the study has already."""
    return session.scalar(
        select(Clip)
        .join(System)
        .join(Prompt)
        .where(
            Clip.study_id == study.id,
            Clip.kind == entry.kind,
            Clip.source_sha256 == source_sha256,
            System.name == entry.system,
            Prompt.text == entry.prompt,
        )
    )


def add_clip(
    database: Database, data: Path, study: Study, entry: Entry, source_sha256: str, sound: Normalised, at: datetime
) -> bool:
    """Write a clip's file, then its row.

    Returns False if another process has added the clip meanwhile; then its file stays the only one. Raises
    `StudyError` if the file cannot be written.
    """
    wav = to_wav(sound.samples, sound.sample_rate_hz)
    name = write_clip_file(data, study, wav)
    with database.write() as session:
        if find_clip(session, study, entry, source_sha256) is not None:
            clip_path(data, study, name).unlink()
            return False
        session.add(clip_row(session, study, entry, source_sha256, sound, wav, name, at))
    return True


def write_clip_file(data: Path, study: Study, wav: bytes) -> str:
    """Write the file of a new clip; return the opaque name that it has."""
    name = secrets.token_hex(_NAME_BYTES)
    path = clip_path(data, study, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, wav, durable=True)
    except OSError as error:
        raise StudyError(f"The clip cannot be written to the data folder: {error.strerror}.") from error
    return name


def clip_row(
    session: Session,
    study: Study,
    entry: Entry,
    source_sha256: str,
    sound: Normalised,
    wav: bytes,
    name: str,
    at: datetime,
) -> Clip:
    """Return the row of a clip whose file is written, with its system and prompt."""
    made_by = select(System).where(System.study_id == study.id, System.name == entry.system)
    return Clip(
        study_id=study.id,
        kind=entry.kind,
        system=session.scalar(made_by) or System(study_id=study.id, name=entry.system),
        prompt=prompt_row(session, study, entry.prompt),
        name=name,
        source_file=entry.file,
        source_sha256=source_sha256,
        wav_sha256=hashlib.sha256(wav).hexdigest(),
        duration_s=sound.duration_s,
        loudness_lufs=sound.loudness_lufs,
        gain_db=sound.gain_db,
        gain_lowered=sound.gain_lowered,
        expected=entry.expected,
        explanation=entry.explanation,
        added_at=at,
        findings=list(sound.findings),
    )


def prompt_row(session: Session, study: Study, text: str) -> Prompt:
    """Return the row of a prompt, a new one if the study has none."""
    known = select(Prompt).where(Prompt.study_id == study.id, Prompt.text == text)
    return session.scalar(known) or Prompt(study_id=study.id, text=text)
