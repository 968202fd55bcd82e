"""A study's results as files, for analysis, for training a judge, and for code that reads MusicEval.

    ratings.csv       every rating ever given, valid or why not
    mos.csv           mean opinion scores of the clips, with their intervals
    systems.csv       mean opinion scores of the systems
    clips.csv         every clip: what it is, where it came from, what normalising did, its name in musiceval/
    raters.csv        when raters were invited and agreed, and what they said of themselves
    exclusions.csv    what was left out or put back, by whom and why
    rated_clips.csv   `core.rated_clips.RatedClips`, what a judge learns from
    musiceval/        the layout of the MusicEval release, see `core.musiceval`
    manifest.json     protocol, scales, times, counts, versions, and a hash of every file and of them all

Clips go by their opaque names, raters by their pseudonyms; times are UTC. All files show one state of the
database. A text that a spreadsheet would run as a formula has an apostrophe before it. A judge also learns
from ``rated_clips.csv`` and ``manifest.json`` alone, with the audio where it lies in the study's folder.
"""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.ratings import mos_table, ratings_table, system_table
from annotation.schema import Answer, Clip, Consent, Prompt, Rater, Study, System
from annotation.session.answers import QUESTIONS
from annotation.session.exclusions import change_log
from annotation.studies import clip_path, find_study
from core import __version__
from core.errors import StudyError
from core.files import json_text, new_folder, sha256_of, write_atomically
from core.musiceval import EXPORTED, key_of, wav_names, write_release
from core.rated_clips import MANIFEST, RatedClips, write_csv
from core.scales import Scales, keys

_PACKAGES = ("numpy", "pandas", "scipy", "sqlalchemy", "soundfile", "soxr", "pyloudnorm")
_CLIP_COLUMNS = ("duration_s", "loudness_lufs", "gain_db", "gain_lowered", "source_file", "source_sha256")
# What exports have called practice clips from the first on; whoever reads them knows that word.
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
    seed: int
    protocol: Protocol
    scales: Scales
    created_at: str
    exported_at: str
    first_rating_at: str | None
    last_rating_at: str | None
    counts: Counts
    versions: dict[str, str]
    files: dict[str, str]
    content_sha256: str


def export(database: Database, data: Path, study_name: str, folder: Path, at: datetime) -> ExportManifest:
    """Write a study's results into a new folder.

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

    Raises
    ------
    StudyError
        If there is no such study, or the folder has files or cannot be written.
    """
    with database.read() as session:
        study = find_study(session, study_name)
        ratings = ratings_table(session, study)
        tables = {
            "ratings": ratings.replace({"kind": _AS_EXPORTED, "role": _AS_EXPORTED}),
            "mos": mos_table(ratings, keys(study.scales)),
            "systems": system_table(ratings, keys(study.scales)),
            "clips": _clips(session, study).replace({"kind": _AS_EXPORTED}),
            "raters": _raters(session, study),
            "exclusions": change_log(session, study),
        }
    with new_folder(folder) as unfinished:
        for name, table in tables.items():
            write_csv(table, unfinished / f"{name}.csv")
        clips = tables["clips"][tables["clips"]["kind"] == "stimulus"]
        audio = {clip: clip_path(data, study, clip) for clip in clips["clip"]}
        copies = _write_release(unfinished / "musiceval", study.scales, tables, audio)
        _rated_clips(tables["mos"], clips, study.scales, copies).to_csv(unfinished / EXPORTED)
        manifest = _manifest(study, tables, unfinished, at)
        write_atomically(unfinished / MANIFEST, json_text(asdict(manifest)))
    return manifest


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


def _write_release(
    folder: Path, scales: Scales, tables: Mapping[str, pd.DataFrame], audio: Mapping[str, Path]
) -> dict[str, Path]:
    """Write the layout of the release, for the clips that have valid ratings; return their files by name."""
    names = tables["clips"].set_index("clip")["musiceval"].astype(str)
    ratings, mos = tables["ratings"], tables["mos"]
    clips = mos.assign(wav=mos["clip"].map(names), audio_path=[audio[clip] for clip in mos["clip"]])
    valid = ratings[ratings["status"] == "valid"].assign(wav=lambda table: table["clip"].map(names))
    numbers = {system: wav.partition("_")[0] for system, wav in zip(clips["system"], clips["wav"], strict=True)}
    systems = tables["systems"].assign(system=tables["systems"]["system"].map(numbers))
    write_release(folder, clips, valid, systems, scales)
    return {clip: folder / "wav" / wav for clip, wav in zip(clips["clip"], clips["wav"], strict=True)}


def _raters(session: Session, study: Study) -> pd.DataFrame:
    """One row a rater, with a column for each question."""
    of_study = Rater.study_id == study.id
    raters = session.scalars(select(Rater).where(of_study).order_by(Rater.id)).all()
    rows = {rater.id: {"rater": rater.pseudonym, "invited_at": rater.invited_at} for rater in raters}
    for consent in session.scalars(select(Consent).join(Rater).where(of_study).order_by(Consent.id)):
        rows[consent.rater_id]["agreed_at"] = consent.given_at
    for answer in session.scalars(select(Answer).join(Rater).where(of_study).order_by(Answer.id)):
        rows[answer.rater_id][answer.question] = answer.answer
    columns = ["rater", "invited_at", "agreed_at", *(question.key for question in QUESTIONS)]
    return pd.DataFrame(rows.values(), columns=columns)


def _manifest(study: Study, tables: Mapping[str, pd.DataFrame], folder: Path, at: datetime) -> ExportManifest:
    ratings, mos = tables["ratings"], tables["mos"]
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    listing = "".join(f"{sha256}  {name}\n" for name, sha256 in files.items())
    first, last = ratings["given_at"].min(), ratings["given_at"].max()
    return ExportManifest(
        study=study.name,
        demo=study.demo,
        seed=study.seed,
        protocol=study.protocol,
        scales=study.scales,
        created_at=study.created_at.isoformat(),
        exported_at=at.isoformat(),
        first_rating_at=None if ratings.empty else first.isoformat(),
        last_rating_at=None if ratings.empty else last.isoformat(),
        counts=Counts(
            clips=int((tables["clips"]["kind"] == "stimulus").sum()),
            clips_done=int((mos["n_ratings"] >= study.protocol.raters_per_clip).sum()),
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
    )


def rated_clips(database: Database, data: Path, study_name: str) -> RatedClips:
    """Return the clips of a study that have valid ratings, in the order of their names.

    The scores are means of valid ratings, surplus ones left out.
    """
    with database.read() as session:
        study = find_study(session, study_name)
        mos = mos_table(ratings_table(session, study), keys(study.scales))
        if mos.empty:
            raise StudyError(
                f"No clip of the study {study.name!r} has a valid rating yet: ratings count when their batch "
                "has ended and passed its checks."
            )
        clips = _clips(session, study)
    audio = {clip: clip_path(data, study, clip) for clip in mos["clip"]}
    return _rated_clips(mos, clips[clips["kind"] == "stimulus"], study.scales, audio)


def write_training_data(database: Database, data: Path, study_name: str, folder: Path, at: datetime) -> Path:
    """Write a study's rated clips into a new folder, which is read like an export; no audio is copied."""
    clips = rated_clips(database, data.resolve(), study_name)
    with database.read() as session:
        study = find_study(session, study_name)
    manifest = {
        "study": study.name,
        "demo": study.demo,
        "seed": study.seed,
        "protocol": study.protocol.to_json(),
        "scales": [scale.to_json() for scale in study.scales],
        "written_at": at.isoformat(),
        "counts": {"clips": len(clips), "ratings": int(clips.table["n_ratings"].sum())},
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
