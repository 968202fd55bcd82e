"""What a judge learns from a study: its rated clips, with the audio where it lies in the study's folder.

    rated_clips.csv   `core.ratings.RatedClips`: the clips that have valid ratings, paths relative to the file
    manifest.json     study, protocol, counts, and whether its ratings are simulated ("demo")

The same table stands in an export (`annotation.output.export`), there with copies of the clips beside it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from annotation.database import Database
from annotation.output.musiceval_layout import Named, name_clips
from annotation.output.new_folder import new_folder
from annotation.results.ratings import mos_table, ratings_table
from annotation.schema import Clip, Study
from annotation.studies import clip_path, find_study
from core.errors import StudyError
from core.ratings import RatedClips
from core.scales import SCALES


def rated_clips(database: Database, data: Path, study_name: str) -> RatedClips:
    """Give the clips of a study that have valid ratings.

    Parameters
    ----------
    database : Database
    data : Path
        Folder of the listening tests.
    study_name : str

    Returns
    -------
    RatedClips
        In the order of the clips' names; both MOS are means of valid ratings, surplus ones left out.

    Raises
    ------
    StudyError
        If there is no such study, or no clip of it has a valid rating.
    """
    with database.read() as session:
        return _rated_clips(session, data, find_study(session, study_name))


def write_training_data(database: Database, data: Path, study_name: str, folder: Path, at: datetime) -> Path:
    """Write a study's rated clips into a new folder, which is read like an export; no audio is copied.

    Parameters
    ----------
    database : Database
    data : Path
        Folder of the listening tests; the audio is read from here.
    study_name : str
    folder : Path
        A new or an empty folder.
    at : datetime
        Now.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    StudyError
        As for `rated_clips`, or if the folder has files or cannot be written.
    """
    with database.read() as session:
        study = find_study(session, study_name)
        clips = _rated_clips(session, data.resolve(), study)
    manifest = {
        "study": study.name,
        "demo": study.demo,
        "seed": study.seed,
        "protocol": study.protocol,
        "written_at": at.isoformat(),
        "counts": {"clips": len(clips), "ratings": int(clips.table["n_ratings"].sum())},
    }
    with new_folder(folder) as unfinished:
        clips.to_csv(unfinished / "rated_clips.csv")
        write_manifest(manifest, unfinished)
    return folder


def write_manifest(manifest: Mapping[str, Any], folder: Path) -> None:
    """Write ``manifest.json``."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    (folder / "manifest.json").write_text(f"{text}\n", encoding="utf-8")


def _rated_clips(session: Session, data: Path, study: Study) -> RatedClips:
    clips = stimuli(session, study)
    mos = mos_table(ratings_table(session, study))
    if mos.empty:
        raise StudyError(
            f"No clip of the study {study.name!r} has a valid rating yet: ratings count when their batch has "
            "ended and passed its checks."
        )
    audio = {clip.name: clip_path(data, study, clip.name) for clip in clips}
    return to_rated_clips(mos, clips, name_clips(clips), audio)


def stimuli(session: Session, study: Study) -> Sequence[Clip]:
    """Give the clips of a study that are to be rated, in the order of their rows."""
    of_study = select(Clip).where(Clip.study_id == study.id, Clip.kind == "stimulus").order_by(Clip.id)
    return session.scalars(of_study.options(joinedload(Clip.system), joinedload(Clip.prompt))).all()


def to_rated_clips(
    mos: pd.DataFrame, clips: Sequence[Clip], names: Mapping[str, Named], audio: Mapping[str, Path]
) -> RatedClips:
    """Make the table that a judge learns from.

    Parameters
    ----------
    mos : DataFrame
        Of `annotation.results.ratings.mos_table`.
    clips : sequence of Clip
        The stimuli in the order of their rows.
    names : mapping of str to Named
        Of `annotation.output.musiceval_layout.name_clips`.
    audio : mapping of str to Path
        The clips' files; like `names` by opaque name.
    """
    prompt_ids: dict[str, str] = {}
    for clip in clips:
        prompt_ids.setdefault(clip.prompt.text, names[clip.name].prompt)
    table = pd.DataFrame(
        {
            "clip_id": mos["clip"],
            "audio_path": [str(audio[name]) for name in mos["clip"]],
            "prompt": mos["prompt"],
            "prompt_id": mos["prompt"].map(prompt_ids),
            "system_id": mos["system"],
            **{column: mos[column] for scale in SCALES for column in (scale, f"{scale}_sd")},
            "n_ratings": mos["n_ratings"],
            "split": "",
        }
    )
    return RatedClips(table)
