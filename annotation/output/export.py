"""A study's results as files, for analysis, for training a judge, and for code that reads MusicEval.

    ratings.csv       every rating ever given, valid or why not
    mos.csv           mean opinion scores of the clips, with their intervals
    systems.csv       mean opinion scores of the systems
    clips.csv         every clip: what it is, where it came from, what normalising did, its name in musiceval/
    raters.csv        when raters were invited and agreed, and what they said of themselves
    exclusions.csv    what was left out or put back, by whom and why
    rated_clips.csv   `core.ratings.RatedClips`, what a judge learns from
    musiceval/        the layout of the MusicEval release, see `annotation.output.musiceval_layout`
    manifest.json     protocol, times, counts, versions, and a hash of every file and of them all

Clips go by their opaque names, raters by their pseudonyms; times are UTC. All files show one state of the
database. A text that a spreadsheet would run as a formula has an apostrophe before it.
"""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from annotation.database import Database
from annotation.output.musiceval_layout import Named, name_clips, write_layout
from annotation.output.new_folder import new_folder
from annotation.output.training_data import to_rated_clips, write_manifest
from annotation.results.changes import change_log
from annotation.results.ratings import mos_table, ratings_table, system_table
from annotation.schema import Answer, Clip, Consent, Rater, Study
from annotation.session.questionnaire import QUESTIONS
from annotation.studies import clip_path, find_study
from core import __version__
from core.ratings import write_csv

_PACKAGES = ("numpy", "pandas", "scipy", "sqlalchemy", "soundfile", "soxr", "pyloudnorm")


@dataclass(frozen=True)
class _State:
    """One state of a study, as tables."""

    study: Study
    clips: Sequence[Clip]
    names: dict[str, Named]
    tables: dict[str, pd.DataFrame]


def export(database: Database, data: Path, study_name: str, folder: Path, at: datetime) -> dict[str, Any]:
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

    Returns
    -------
    dict
        The manifest.

    Raises
    ------
    StudyError
        If there is no such study, or the folder has files or cannot be written.
    """
    with database.read() as session:
        state = _state(session, find_study(session, study_name))
    with new_folder(folder) as unfinished:
        return _write(state, data, unfinished, at)


def _state(session: Session, study: Study) -> _State:
    of_study = select(Clip).where(Clip.study_id == study.id).order_by(Clip.id)
    clips = session.scalars(of_study.options(joinedload(Clip.system), joinedload(Clip.prompt))).all()
    names = name_clips([clip for clip in clips if clip.kind == "stimulus"])
    ratings = ratings_table(session, study)
    tables = {
        "ratings": ratings,
        "mos": mos_table(ratings),
        "systems": system_table(ratings),
        "clips": _clips(clips, names),
        "raters": _raters(session, study),
        "exclusions": change_log(session, study),
    }
    return _State(study, clips, names, tables)


def _write(state: _State, data: Path, folder: Path, at: datetime) -> dict[str, Any]:
    for name, table in state.tables.items():
        write_csv(table, folder / f"{name}.csv")
    files = {clip.name: clip_path(data, state.study, clip.name) for clip in state.clips}
    ratings, mos, systems = (state.tables[name] for name in ("ratings", "mos", "systems"))
    write_layout(folder / "musiceval", state.names, files, ratings, mos, systems)
    wavs = {name: folder / "musiceval" / "wav" / named.wav for name, named in state.names.items()}
    rated = [clip for clip in state.clips if clip.name in state.names]
    to_rated_clips(mos, rated, state.names, wavs).to_csv(folder / "rated_clips.csv")
    manifest = _manifest(state, folder, at)
    write_manifest(manifest, folder)
    return manifest


def _clips(clips: Sequence[Clip], names: dict[str, Named]) -> pd.DataFrame:
    columns = ("duration_s", "loudness_lufs", "gain_db", "gain_lowered", "source_file", "source_sha256")
    rows = [
        {
            "clip": clip.name,
            "kind": clip.kind,
            "system": clip.system.name,
            "prompt": clip.prompt.text,
            "musiceval": names[clip.name].wav if clip.name in names else "",
            **{column: getattr(clip, column) for column in columns},
        }
        for clip in clips
    ]
    return pd.DataFrame(rows, columns=["clip", "kind", "system", "prompt", "musiceval", *columns])


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


def _manifest(state: _State, folder: Path, at: datetime) -> dict[str, Any]:
    ratings, mos = state.tables["ratings"], state.tables["mos"]
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    hashes = {name: _sha256(path) for name, path in files.items()}
    listing = "".join(f"{sha256}  {name}\n" for name, sha256 in hashes.items())
    needed = state.study.protocol["raters_per_clip"]
    return {
        "study": state.study.name,
        "demo": state.study.demo,
        "seed": state.study.seed,
        "protocol": state.study.protocol,
        "created_at": state.study.created_at.isoformat(),
        "exported_at": at.isoformat(),
        "first_rating_at": None if ratings.empty else ratings["given_at"].min().isoformat(),
        "last_rating_at": None if ratings.empty else ratings["given_at"].max().isoformat(),
        "counts": {
            "clips": len(state.names),
            "clips_done": int((mos["n_ratings"] >= needed).sum()),
            "raters": len(state.tables["raters"]),
            "ratings": {str(status): int(n) for status, n in ratings["status"].value_counts().items()},
        },
        "versions": {
            "musiceval": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in _PACKAGES},
        },
        "files": hashes,
        "content_sha256": hashlib.sha256(listing.encode()).hexdigest(),
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
