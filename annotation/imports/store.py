"""Ratings that were read, as a study that has ended; all of it in one transaction, or nothing.

Of a table or a release it is not known in which batches and in which order ratings were given, nor when, nor whether
anything was screened. Each rater then has one batch, which was never screened and has no time of opening, and every
result says so (`Study.has_batches`). Ratings of an export keep batches, times, checks, exclusions and
pauses as they were.

Nothing here was presented by this program, so trials have no token: a rater may have rated a clip more than once, and
all of these ratings count, as they did for whoever published their means.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import pandas as pd
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.dialects import after_many_rows
from annotation.imports.reading import Found, read_found
from annotation.life import note
from annotation.material.ingest import digest_of, write_clip_file
from annotation.material.sound import Normalised, read_normalised, to_wav
from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Exclusion, Prompt, Rater, Rating, Response, Study, System, Trial
from annotation.session.exclusions import close as end_batch
from annotation.session.holds import record
from annotation.studies import check_name, clip_path, create
from core.audio import AudioLimits, ClipSource
from core.errors import MusicEvalError, StudyError, counted, shown_name
from core.files import Problems
from core.scales import Scales, keys

NO_SYSTEM = "(not named)"
_Read = Callable[..., Normalised]


class AudioThatCame(Interface):
    """Files that came apart from the ratings, as `core.batch.uploads.ClipFiles` has them."""

    @property
    def n_unused(self) -> int:
        """How many files nothing asks for."""

    def find(self, file: str, /) -> ClipSource:
        """Return the clip that is asked for."""


@dataclass(frozen=True)
class ImportReport:
    """What came of an import."""

    study: str
    ratings: int
    clips: int
    raters: int
    with_audio: int
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        what = f"{counted(self.ratings, 'rating')} of {counted(self.clips, 'clip')} by {counted(self.raters, 'rater')}"
        heard = counted(self.with_audio, "clip") if self.with_audio else "no clip"
        lines = [f"The study {self.study} has {what}, and the audio of {heard}. It is closed."]
        return "\n".join([*lines, *(f"! {sentence}" for sentence in self.notes)])


def import_ratings(
    database: Database,
    data: Path,
    name: str,
    path: Path,
    at: datetime,
    columns: Mapping[str, str] | None = None,
    scales: Scales | None = None,
    limits: AudioLimits | None = None,
    progress: Callable[[int, int], None] | None = None,
    read: _Read = read_normalised,
    with_audio: bool = True,
    came: Callable[[Sequence[str]], AbstractContextManager[AudioThatCame]] | None = None,
) -> ImportReport:
    """Make a study that has ended from ratings that exist already; where anything is wrong, nothing is stored.

    `read` does what `read_normalised` does, perhaps in another process; it is told of no file without `with_audio`.
    `came` opens the audio that came apart from the source, given all names that are asked for; no other is read then.
    """
    found = read_found(path, columns, scales, apart=came is not None)
    if not with_audio:
        found = replace(found, ratings=found.ratings.assign(file=""))
    with database.read() as session:  # a name that is taken is told before any audio is read
        check_name(session, name)
    asked = [file for file in found.ratings["file"].unique() if file]
    if came and not asked:
        raise StudyError(
            "The ratings name no sound files, so the audio belongs to none of them. Of a table, say which column does: "
            "file=COLUMN."
        )
    with (
        came(asked) if came else nullcontext() as apart,
        _audio(data, name, found, limits, progress, read, apart.find if apart else Path) as sounds,
        database.write() as session,
    ):
        study = create(session, name, _protocol(found), found.seed, at, found.demo, found.scales, "closed")
        study.imported = {"source": found.source, "sha256": found.sha256, "batches": found.batches is not None}
        _Writing(session, study, found, at).all(sounds)
        clips, raters = found.ratings[["clip", "rater"]].nunique()
        notes = _notes(found, apart.n_unused if apart else 0)
        report = ImportReport(name, len(found.ratings), clips, raters, len(sounds), notes)
        note(session, study, "import", at, details={**study.imported, "ratings": report.ratings})
        session.flush()
        after_many_rows(session.connection())
    return report


def _protocol(found: Found) -> Protocol:
    """Return the rules of an export; of other sources such that no rating is too many and no check is missed."""
    if found.protocol is not None:
        return found.protocol
    most = int(found.ratings.groupby("clip").size().max())
    return Protocol(raters_per_clip=most, anchors=0, duplicates=0, training=0, anchor_scale=found.scales[0].key)


def _notes(found: Found, n_unused: int) -> list[str]:
    notes = list(found.notes)
    if n_unused:
        notes.append(f"Files that came and are the audio of no clip here: {n_unused:,}.")
    again = int(found.ratings.duplicated(["clip", "rater"]).sum())
    if found.batches is None:
        if again:
            notes.append(f"{counted(again, 'rating')} by a rater who had rated the clip before: all of them count.")
        notes.append("Batches, times and checks are not known, so nothing was screened; results say so.")
        notes.append("Raters have pseudonyms here; what the source calls them is their note, and in no export.")
    else:
        notes.append("Clips that nobody rated, raters without a batch, and what raters said, are not imported.")
    return notes


@dataclass(frozen=True)
class _Sound:
    """A clip whose file is written."""

    name: str
    source_sha256: str | None  # None of an export, whose files are normalised ones
    wav_sha256: str
    sound: Normalised


@contextmanager
def _audio(
    data: Path,
    study_name: str,
    found: Found,
    limits: AudioLimits | None,
    progress: Callable[[int, int], None] | None,
    read: _Read,
    find: Callable[[str], ClipSource],
) -> Iterator[dict[str, _Sound]]:
    """Write the files of the clips whose audio is named; whatever is raised, they are taken away again."""
    study = Study(name=study_name, protocol=_protocol(found))
    clips = found.ratings.drop_duplicates("clip").set_index("clip")
    files, about = clips["file"], clips[["system", "prompt"]]
    named, sounds, problems = files[files != ""], dict[str, _Sound](), Problems(found.source)
    same: dict[tuple[str, ...], str] = {}
    try:
        for done, (clip, file) in enumerate(named.items(), 1):
            try:
                source = find(file)
                digest = digest_of(source) if found.batches is None else None
                if digest and (other := same.setdefault((digest, *about.loc[clip]), str(clip))) != clip:
                    raise StudyError(f"it is the same recording, system and prompt as {shown_name(other)}")
                sound = read(source, study.protocol, math.inf, name=str(clip), limits=limits)
                wav = to_wav(sound.samples, sound.sample_rate_hz)
                written = write_clip_file(data, study, wav)
                sounds[str(clip)] = _Sound(written, digest, hashlib.sha256(wav).hexdigest(), sound)
            except MusicEvalError as error:
                problems.add(str(clip), str(error).rstrip("."))
            if progress is not None:
                progress(done, len(named))
        problems.stop_if_any()
        yield sounds
    except BaseException:
        for one in sounds.values():
            clip_path(data, study, one.name).unlink(missing_ok=True)
        raise


class _Writing:
    """The rows of one import, table by table; each knows the numbers of those before."""

    def __init__(self, session: Session, study: Study, found: Found, at: datetime) -> None:
        self._session, self._study, self._found, self._at = session, study, found, at
        ratings = found.ratings
        if found.batches is None:
            order = ratings.groupby("rater", sort=False).cumcount() + 1
            ratings = ratings.assign(kind="stimulus", role="stimulus", batch=1, position=order, status="")
        self._ratings = ratings
        self._rows = ratings.to_dict("records")

    def all(self, sounds: Mapping[str, _Sound]) -> None:
        """Write everything."""
        clips, raters = self._clips(sounds), self._raters()
        batches = self._batches(raters)
        trials = self._trials(clips, raters, batches)
        self._responses(trials)
        self._changes(raters, batches)

    def _named(self, table: type[System] | type[Prompt], column: str, names: Sequence[str]) -> dict[str, int]:
        """Write systems or prompts; return their numbers by name."""
        rows = [{"study_id": self._study.id, column: name} for name in dict.fromkeys(names)]
        self._session.execute(insert(table), rows)
        named = getattr(table, column)
        found = self._session.execute(select(named, table.id).where(table.study_id == self._study.id))
        return dict(found.all())

    def _clips(self, sounds: Mapping[str, _Sound]) -> dict[str, int]:
        # A clip of an export may come again under another kind of role, and is the same clip.
        clips = self._ratings.drop_duplicates("clip").assign(
            system=lambda table: table["system"].replace("", NO_SYSTEM)
        )
        systems = self._named(System, "name", clips["system"].tolist())
        prompts = self._named(Prompt, "text", clips["prompt"].tolist())
        retired = set(self._ratings.loc[self._ratings["status"] == "retired", "clip"])
        rows = []
        for number, row in enumerate(clips.to_dict("records")):
            of = sounds.get(row["clip"])
            rows.append(
                {
                    "study_id": self._study.id,
                    "kind": row["kind"],
                    "system_id": systems[row["system"]],
                    "prompt_id": prompts[row["prompt"]],
                    "name": of.name if of else self._opaque(number, row["clip"]),
                    "source_file": row["clip"],
                    "source_sha256": of.source_sha256 if of else None,
                    "wav_sha256": of.wav_sha256 if of else None,
                    "duration_s": of.sound.duration_s if of else _known(row.get("duration_s")),
                    "loudness_lufs": of.sound.loudness_lufs if of else None,
                    "gain_db": of.sound.gain_db if of else None,
                    "gain_lowered": of.sound.gain_lowered if of else None,
                    "expected": {},
                    "findings": list(of.sound.findings) if of else [],
                    "added_at": self._at,
                    "retired_at": self._at if row["clip"] in retired else None,
                }
            )
        self._session.execute(insert(Clip), rows)
        query = select(Clip.source_file, Clip.id).where(Clip.study_id == self._study.id)
        return dict(self._session.execute(query).all())

    def _opaque(self, number: int, clip: str) -> str:
        """Return a name for a clip without a file: names are unique among all studies."""
        return hashlib.sha256(f"{self._study.id} {number} {clip}".encode()).hexdigest()[:32]

    def _raters(self) -> dict[str, int]:
        names = list(dict.fromkeys(self._ratings["rater"]))
        if self._found.batches is not None:
            names = list(dict.fromkeys([*(row["rater"] for row in self._found.batches), *names]))
            rows = [{"pseudonym": name, "note": ""} for name in names]
        else:
            rows = [{"pseudonym": f"R{number:02d}", "note": name} for number, name in enumerate(names, 1)]
        self._session.execute(insert(Rater), [{**row, "study_id": self._study.id, "external": {}} for row in rows])
        query = select(Rater.id).where(Rater.study_id == self._study.id).order_by(Rater.id)
        return dict(zip(names, self._session.scalars(query), strict=True))

    def _batches(self, raters: Mapping[str, int]) -> dict[tuple[str, int], int]:
        known = self._found.batches
        if known is None:
            known = [{"rater": rater, "batch": 1, "state": "valid", "short": False} for rater in raters]
        rows = [
            {
                "study_id": self._study.id,
                "rater_id": raters[row["rater"]],
                "number": int(row["batch"]),
                "state": row["state"],
                "short": row["short"],
                "opened_at": row.get("opened_at"),
                "lease_until": row.get("lease_until") or self._at,
                "closed_at": row.get("closed_at") or (None if row["state"] == "open" else self._at),
                "screened_at": row.get("screened_at"),
            }
            for row in known
        ]
        self._session.execute(insert(Batch), rows)
        query = (
            select(Rater.id, Batch.number, Batch.id)
            .join(Rater, Batch.rater_id == Rater.id)
            .where(Batch.study_id == self._study.id)
        )
        names = {rater_id: name for name, rater_id in raters.items()}
        return {(names[rater_id], number): batch_id for rater_id, number, batch_id in self._session.execute(query)}

    def _trials(
        self, clips: Mapping[str, int], raters: Mapping[str, int], batches: Mapping[tuple[str, int], int]
    ) -> list[int]:
        """Write a trial for each rating; return their numbers in the order of the ratings."""
        rows = [
            {
                "batch_id": batches[row["rater"], int(row["batch"])],
                "rater_id": raters[row["rater"]],
                "clip_id": clips[row["clip"]],
                "position": int(row["position"]),
                "role": row["role"],
                "token": None,
                "state": "rated",
                "shown_at": _known(row.get("shown_at")),
                "served_at": _known(row.get("served_at")),
            }
            for row in self._rows
        ]
        self._session.execute(insert(Trial), rows)
        query = select(Trial.id).join(Batch).where(Batch.study_id == self._study.id).order_by(Trial.id)
        return list(self._session.scalars(query))

    def _responses(self, trials: Sequence[int]) -> None:
        responses = [
            {
                "trial_id": trial,
                "comment": row["comment"],
                "played": [],
                "heard_s": _known(row.get("heard_s")),
                "given_at": _known(row.get("given_at")),
            }
            for trial, row in zip(trials, self._rows, strict=True)
        ]
        self._session.execute(insert(Response), responses)
        scores = [
            {"trial_id": trial, "scale": key, "score": row[key]}
            for trial, row in zip(trials, self._rows, strict=True)
            for key in keys(self._found.scales)
        ]
        self._session.execute(insert(Rating), scores)

    def _changes(self, raters: Mapping[str, int], batches: Mapping[tuple[str, int], int]) -> None:
        """Write the log of an export, and end the batches that were open in it, as closing the study would have."""
        rows = [
            {
                "rater_id": raters[row["rater"]],
                "batch_id": None if row["batch"] is None else batches[row["rater"], int(row["batch"])],
                **{name: row[name] for name in ("action", "rule", "reason", "evidence", "author", "at")},
            }
            for row in self._found.log
        ]
        if rows:
            self._session.execute(insert(Exclusion), rows)
        for row in self._found.pauses:
            of = self._session.get_one(Rater, raters[row["rater"]])
            record(self._session, of, row["action"], row["reason"], row["author"], row["at"], row["evidence"])
        open_ones = select(Batch).where(Batch.study_id == self._study.id, Batch.state == "open")
        for batch in self._session.scalars(open_ones).all():
            end_batch(self._session, batch, self._at)


def _known(value: Any) -> Any:
    """Return what pandas has of a value, None where it has none."""
    if value is None or pd.isna(value):
        return None
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value
