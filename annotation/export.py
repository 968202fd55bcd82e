"""A study's results as files, for analysis, for training a judge, and for code that reads MusicEval.

    ratings.csv       every rating ever given, valid or why not
    mos.csv           mean opinion scores of the clips, with their intervals
    systems.csv       mean opinion scores of the systems
    clips.csv         every clip: what it is, where it came from, what normalising did, its name in musiceval/
    raters.csv        when raters were invited and agreed, and what they said of themselves
    consents.csv      the text that each rater agreed to, and the study's other texts as they read them then
    answers.csv       what raters said of themselves, each with the words of its question
    batches.csv       every batch: its state, when it was opened, closed and screened, whether it was short
    trials.csv        every presentation, those that were let go too, with the stretches that were played
    headphones.csv    how raters did in the headphone check
    problems.csv      clips that did not play
    anchors.csv       what anchors got, and how often too little
    checks.csv        what each rater gave anchors and repeats, and what they lost by it
    exclusions.csv    what was left out or put back, by whom and why
    pauses.csv        when raters were paused or let go on, by whom and why
    reliability.json  what the command ``reliability --json`` prints
    rated_clips.csv   `core.rated_clips.RatedClips`, what a judge learns from
    musiceval/        with audio alone: the layout of the MusicEval release, see `core.musiceval`
    manifest.json     protocol, scales, times, counts, versions, and a hash of every file and of them all

Clips go by their opaque names, raters by their pseudonyms; times are UTC. All files show one state of the
database. A text that a spreadsheet would run as a formula has an apostrophe before it. Tables need no audio: a
clip whose file is missing, or is not what raters heard, is in all of them but ``rated_clips.csv`` and
``musiceval/``, and the manifest names it. Without audio, ``rated_clips.csv`` leads to the study's folder; so a judge
learns from it and ``manifest.json`` alone.
"""

import hashlib
import json
import platform
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.archive import Archive
from annotation.database import Database
from annotation.material.files import ClipFile, clip_files
from annotation.protocol import Protocol
from annotation.results.ratings import ratings_table
from annotation.results.reliability import reliability
from annotation.results.scores import Results, mos_table
from annotation.results.screening import screening
from annotation.schema import (
    Answer,
    Batch,
    Clip,
    Consent,
    HeadphoneCheck,
    Problem,
    Prompt,
    Rater,
    Response,
    Study,
    System,
    Trial,
)
from annotation.session.exclusions import change_log, close_abandoned
from annotation.session.holds import pause_log
from annotation.studies import find_study
from annotation.wording import questions_of
from core import __version__
from core.errors import StudyError
from core.files import json_text, new_folder, sha256_of, write_atomically
from core.musiceval import EXPORTED, key_of, wav_names, write_release
from core.rated_clips import MANIFEST, RatedClips, write_csv
from core.scales import Scales, keys

_PACKAGES = ("numpy", "pandas", "scipy", "sqlalchemy", "soundfile", "soxr")
_CLIP_COLUMNS = ("duration_s", "loudness_lufs", "gain_db", "gain_lowered", "source_file", "source_sha256")
# What exports have called practice clips from the first on; whoever reads them knows that word.
_READ = ["language", "title", "instructions", "contact"]  # texts as a rater read them when they agreed
_AS_EXPORTED = {"practice": "training"}


@dataclass(frozen=True)
class Counts:
    """What an export holds; ratings by status."""

    clips: int
    clips_done: int
    raters: int
    ratings: dict[str, int]


@dataclass(frozen=True)
class ExportManifest:
    """What ``manifest.json`` says of an export; times are ISO 8601."""

    study: str
    demo: bool
    imported: dict[str, Any] | None  # where the ratings came from, if they were not given here
    seed: int
    protocol: Protocol | None  # None: the ratings were imported without rules
    scales: Scales
    created_at: str
    exported_at: str
    first_rating_at: str | None
    last_rating_at: str | None
    counts: Counts
    versions: dict[str, str]
    files: dict[str, str]
    content_sha256: str
    audio: bool
    missing_audio: list[str]  # rated clips whose file is not there, or not what was ingested


def export(
    database: Database, data: Path, study_name: str, folder: Path, at: datetime, audio: bool = False
) -> ExportManifest:
    """End a study's abandoned batches, and write its results into a new folder.

    Parameters
    ----------
    database : Database
    data : Path
        Folder of the listening tests.
    study_name : str
    folder : Path
        A new or an empty folder. It appears when everything is in it.
    at : datetime
        Now.
    audio : bool
        Whether the clips are copied too, in the layout of the MusicEval release.

    Raises
    ------
    StudyError
        If there is no such study, or the folder has files or cannot be written.
    """
    found = _find(database, data, study_name, at)
    with new_folder(folder) as unfinished:
        for name, clip in _write_tables(found, unfinished, audio).items():
            (unfinished / name).write_bytes(clip.read()[0])
        files = {name: sha256_of(path) for name, path in sorted(_written(unfinished).items())}
        manifest = _manifest(found, files, at, audio)
        write_atomically(unfinished / MANIFEST, json_text(asdict(manifest)))
    return manifest


def export_as_zip(database: Database, data: Path, study_name: str, work: Path, at: datetime) -> Archive:
    """Return a ZIP of what `export` writes with the clips: the same bytes for one state of the study and one time.

    The clips are neither copied nor held; the manifest comes last. Raises as `export` does.
    """
    found = _find(database, data, study_name, at)
    name = f"{found.study.name}-{at:%Y%m%dT%H%M%SZ}-clips"
    with tempfile.TemporaryDirectory(dir=work) as folder:
        clips = _write_tables(found, Path(folder), audio=True)
        tables = {place: path.read_bytes() for place, path in _written(Path(folder)).items()}
    members: dict[str, bytes | ClipFile] = {**tables, **clips}
    members = {place: members[place] for place in sorted(members)}
    hashes = {
        place: content.digest().sha256 if isinstance(content, ClipFile) else hashlib.sha256(content).hexdigest()
        for place, content in members.items()
    }
    members[MANIFEST] = json_text(asdict(_manifest(found, hashes, at, audio=True))).encode()
    return Archive.of(name, members, at)


@dataclass(frozen=True)
class _Found:
    """One state of a study, to be written."""

    study: Study
    tables: dict[str, pd.DataFrame]
    reliability: dict[str, Any]
    audio: dict[str, ClipFile]  # of the rated clips, by name
    missing: list[str]


def _find(database: Database, data: Path, study_name: str, at: datetime) -> _Found:
    """End a study's abandoned batches, and gather its results."""
    close_abandoned(database, study_name, at)
    with database.read() as session:
        study = find_study(session, study_name)
        ratings = ratings_table(session, study)
        tables = {
            "ratings": exported_ratings(ratings),
            "clips": _clips(session, study).replace({"kind": _AS_EXPORTED}),
            "raters": _raters(session, study),
            "exclusions": change_log(session, study),
            "pauses": pause_log(session, study),
            **_records(session, study),
        }
        files = clip_files(session, data.resolve(), study)
    results = Results.of(ratings, study.scales)
    checks = screening(ratings, study.protocol, study.scales)
    tables |= {"mos": results.clips, "systems": results.systems, "anchors": checks.anchors, "checks": checks.raters}
    rated, missing = _with_audio(files, results.clips)
    audio = {clip: files[clip] for clip in rated["clip"]}
    return _Found(study, tables, reliability(ratings, study.scales).to_json(), audio, missing)


def exported_ratings(ratings: pd.DataFrame) -> pd.DataFrame:
    """Return a table of ratings as ``ratings.csv`` has it."""
    return ratings.replace({"kind": _AS_EXPORTED, "role": _AS_EXPORTED})


def _write_tables(found: _Found, folder: Path, audio: bool) -> dict[str, ClipFile]:
    """Write all but the manifest and the clips; return the clips' files by their places, none without audio."""
    for name, table in found.tables.items():
        write_csv(table, folder / f"{name}.csv")
    write_atomically(folder / "reliability.json", json_text(found.reliability))
    mos, clips = found.tables["mos"], found.tables["clips"]
    rated = mos[mos["clip"].isin(found.audio)].reset_index(drop=True)
    paths, places = {clip: file.path for clip, file in found.audio.items()}, {}
    if audio:
        names = _write_release(folder / "musiceval", found.study.scales, {**found.tables, "mos": rated})
        places = {f"musiceval/wav/{wav}": found.audio[clip] for clip, wav in names.items()}
        paths = {clip: folder / "musiceval" / "wav" / wav for clip, wav in names.items()}
    stimuli = clips[clips["kind"] == "stimulus"]
    _rated_clips(rated, stimuli, found.study.scales, paths).to_csv(folder / EXPORTED)
    return places


def _written(folder: Path) -> dict[str, Path]:
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _with_audio(files: Mapping[str, ClipFile], mos: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the clips whose file is what was ingested, and the names of the others."""
    there = mos["clip"].map(lambda clip: not files[clip].fault()).astype(bool)
    return mos[there].reset_index(drop=True), mos["clip"][~there].tolist()


def _records(session: Session, study: Study) -> dict[str, pd.DataFrame]:
    """What happened, besides the ratings: batches, presentations, problems, consents."""
    rater, clip = Rater.pseudonym.label("rater"), Clip.name.label("clip")
    of_batch = select(rater, Batch.number.label("batch")).join_from(Rater, Batch)
    of_trial = of_batch.join(Trial).join(Clip, Trial.clip_id == Clip.id)
    times = (Batch.opened_at, Batch.lease_until, Batch.closed_at, Batch.screened_at)
    of_clip = (Trial.position, Trial.role, clip, Trial.state, Trial.shown_at, Trial.served_at)
    trials = of_trial.outerjoin(Response).add_columns(*of_clip, Response.given_at, Response.played)
    problem = (Trial.position, clip, Problem.comment, Problem.reported_at)
    consents = select(rater, Consent.given_at, Consent.text, Consent.read).join_from(Rater, Consent)
    answers = select(rater, Answer.question, Answer.asked, Answer.answer, Answer.given_at).join_from(Rater, Answer)
    check = (HeadphoneCheck.correct, HeadphoneCheck.trials, HeadphoneCheck.passed, HeadphoneCheck.at)
    queries = {
        "batches": of_batch.add_columns(Batch.state, Batch.short, *times).order_by(Rater.id, Batch.number),
        "trials": trials.order_by(Rater.id, Batch.number, Trial.position),
        "problems": of_trial.join(Problem).add_columns(*problem).order_by(Problem.id),
        "consents": consents.order_by(Consent.id),
        "answers": answers.order_by(Answer.id),
        "headphones": select(rater, *check).join_from(Rater, HeadphoneCheck).order_by(HeadphoneCheck.id),
    }
    found = {
        name: pd.DataFrame(
            session.execute(query.where(Rater.study_id == study.id)).all(), columns=[*query.selected_columns.keys()]
        )
        for name, query in queries.items()
    }
    read = pd.DataFrame(found["consents"].pop("read").tolist(), found["consents"].index, _READ)
    found["consents"] = found["consents"].join(read)
    found["trials"]["played"] = found["trials"]["played"].map(lambda played: json.dumps(played) if played else "")
    if not study.has_batches:
        found["batches"] = found["batches"].head(0)
        found["trials"] = found["trials"].assign(batch=pd.NA, position=pd.NA)
    return {name: table.replace({"role": _AS_EXPORTED}) for name, table in found.items()}


def _clips(session: Session, study: Study) -> pd.DataFrame:
    """All clips in the order of their rows; those to rate have the name of their wav in a release."""
    query = (
        select(
            Clip.name.label("clip"),
            Clip.kind,
            System.name.label("system"),
            Prompt.text.label("prompt"),
            *(getattr(Clip, column) for column in _CLIP_COLUMNS),
            Clip.system_id,
            Clip.prompt_id,
        )
        .join(System, Clip.system_id == System.id)
        .join(Prompt, Clip.prompt_id == Prompt.id)
        .where(Clip.study_id == study.id)
        .order_by(Clip.id)
    )
    table = pd.DataFrame(session.execute(query).all(), columns=list(query.selected_columns.keys()))
    table.insert(4, "musiceval", "")
    rated = table["kind"] == "stimulus"
    of_clip = zip(table.loc[rated, "system_id"], table.loc[rated, "prompt_id"], strict=True)
    table.loc[rated, "musiceval"] = wav_names(of_clip)
    return table.drop(columns=["system_id", "prompt_id"])


def _write_release(folder: Path, scales: Scales, tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """Write the layout of the release without its clips; return the names of their files, by clip."""
    names = tables["clips"].set_index("clip")["musiceval"].astype(str)
    ratings, mos = tables["ratings"], tables["mos"]
    clips = mos.assign(wav=mos["clip"].map(names))
    valid = ratings[(ratings["status"] == "valid") & ratings["clip"].isin(mos["clip"])]
    valid = valid.assign(wav=lambda table: table["clip"].map(names))
    numbers = {system: wav.partition("_")[0] for system, wav in zip(clips["system"], clips["wav"], strict=True)}
    systems = tables["systems"].assign(system=tables["systems"]["system"].map(numbers)).dropna(subset="system")
    write_release(folder, clips, valid, systems, scales)
    return dict(zip(clips["clip"], clips["wav"], strict=True))


def _raters(session: Session, study: Study) -> pd.DataFrame:
    """One row a rater, with a column for each question."""
    of_study = Rater.study_id == study.id
    raters = session.scalars(select(Rater).where(of_study).order_by(Rater.id)).all()
    rows = {rater.id: {"rater": rater.pseudonym, "invited_at": rater.invited_at} for rater in raters}
    for consent in session.scalars(select(Consent).join(Rater).where(of_study).order_by(Consent.id)):
        rows[consent.rater_id]["agreed_at"] = consent.given_at
    for answer in session.scalars(select(Answer).join(Rater).where(of_study).order_by(Answer.id)):
        rows[answer.rater_id][answer.question] = answer.answer
    asked = [question.key for question in questions_of(study)]
    before = sorted({key for row in rows.values() for key in row} - {"rater", "invited_at", "agreed_at", *asked})
    return pd.DataFrame(rows.values(), columns=["rater", "invited_at", "agreed_at", *asked, *before])


def _manifest(found: _Found, files: dict[str, str], at: datetime, audio: bool) -> ExportManifest:
    study, tables = found.study, found.tables
    ratings, mos = tables["ratings"], tables["mos"]
    listing = "".join(f"{sha256}  {name}\n" for name, sha256 in files.items())
    first, last = ratings["given_at"].min(), ratings["given_at"].max()
    return ExportManifest(
        study=study.name,
        demo=study.demo,
        imported=study.imported,
        seed=study.seed,
        protocol=study.protocol if study.has_batches else None,
        scales=study.scales,
        created_at=study.created_at.isoformat(),
        exported_at=at.isoformat(),
        first_rating_at=None if pd.isna(first) else first.isoformat(),
        last_rating_at=None if pd.isna(last) else last.isoformat(),
        counts=Counts(
            clips=int((tables["clips"]["kind"] == "stimulus").sum()),
            clips_done=int((mos["n_ratings"] >= (study.protocol.raters_per_clip if study.has_batches else 1)).sum()),
            raters=len(tables["raters"]),
            ratings={str(status): int(n) for status, n in ratings["status"].value_counts().items()},
        ),
        versions={
            "musiceval": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        files=files,
        content_sha256=hashlib.sha256(listing.encode()).hexdigest(),
        audio=audio,
        missing_audio=found.missing,
    )


def rated_clips(database: Database, data: Path, study_name: str) -> tuple[RatedClips, list[str]]:
    """Return the clips of a study that have valid ratings, in the order of their names.

    The scores are means of valid ratings, surplus ones left out. Beside them are the names of those that are left
    out because their file is missing or is not what was ingested.
    """
    close_abandoned(database, study_name)
    with database.read() as session:
        study = find_study(session, study_name)
        mos = mos_table(ratings_table(session, study), keys(study.scales))
        if mos.empty:
            raise StudyError(
                f"No clip of the study {study.name!r} has a valid rating yet: ratings count when their batch "
                "has ended and passed its checks."
            )
        clips, files = _clips(session, study), clip_files(session, data, study)
    rated, missing = _with_audio(files, mos)
    if rated.empty:
        raise StudyError(
            f"The audio of all rated clips of the study {study.name!r} is missing, or is not what was ingested. "
            "Put it back."
        )
    audio = {clip: files[clip].path for clip in rated["clip"]}
    return _rated_clips(rated, clips[clips["kind"] == "stimulus"], study.scales, audio), missing


def write_training_data(database: Database, data: Path, study_name: str, folder: Path, at: datetime) -> Path:
    """Write a study's rated clips into a new folder, which is read like an export; no audio is copied."""
    clips, missing = rated_clips(database, data.resolve(), study_name)
    with database.read() as session:
        study = find_study(session, study_name)
    manifest = {
        "study": study.name,
        "demo": study.demo,
        "seed": study.seed,
        "protocol": study.protocol.to_json() if study.has_batches else None,
        "scales": [scale.to_json() for scale in study.scales],
        "written_at": at.isoformat(),
        "counts": {"clips": len(clips), "ratings": int(clips.table["n_ratings"].sum())},
        "missing_audio": missing,
    }
    with new_folder(folder) as unfinished:
        clips.to_csv(unfinished / EXPORTED)
        write_atomically(unfinished / MANIFEST, json_text(manifest))
    return folder


def _rated_clips(mos: pd.DataFrame, stimuli: pd.DataFrame, scales: Scales, audio: Mapping[str, Path]) -> RatedClips:
    """Make the table that a judge learns from; equal prompts have the number of the first of them."""
    first = dict(zip(stimuli["prompt"][::-1], stimuli["musiceval"][::-1], strict=True))
    table = pd.DataFrame(
        {
            "clip_id": mos["clip"],
            "audio_path": [str(audio[name]) for name in mos["clip"]],
            "prompt": mos["prompt"],
            "prompt_id": [key_of(first[prompt]) for prompt in mos["prompt"]],
            "system_id": mos["system"],
            **{column: mos[column] for key in keys(scales) for column in (key, f"{key}_sd")},
            "n_ratings": mos["n_ratings"],
            "split": "",
        }
    )
    return RatedClips(table, scales)
