"""Studies and who takes part in them: creating, finding, inviting.

A study's clips lie in ``<data>/studies/<name>/clips``, one WAV file each under an opaque name. Raters are
known by pseudonyms (R01, R02, and so on); whoever holds an access code is the rater it was made for. A code
is given out once, and only its hash is stored.
"""

import re
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from annotation.access import hash_code, new_code
from annotation.protocol import Protocol
from annotation.schema import Batch, Rater, Study, Visit
from core.errors import StudyError, shown_name

MOST_RATERS = 1000
_SEEDS = 2**31
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def study_folder(data: Path, study: Study) -> Path:
    """Give the folder of a study's files."""
    return data / "studies" / study.name


def clip_path(data: Path, study: Study, clip_name: str) -> Path:
    """Give the file of a clip, by the opaque name that `Clip.name` holds."""
    return study_folder(data, study) / "clips" / f"{clip_name}.wav"


def create(
    session: Session, name: str, protocol: Protocol, seed: int, at: datetime, demo: bool = False
) -> Study:
    """Create a study; its protocol is fixed from then on.

    Parameters
    ----------
    session : Session
        One that writes.
    name : str
        Up to 64 small letters, digits and hyphens; it becomes the name of a folder.
    protocol : Protocol
    seed : int
        From which all orders of the study are drawn.
    at : datetime
        Now.
    demo : bool
        Composed clips for visitors.

    Raises
    ------
    StudyError
        If the name is taken or is not one of a study, or the seed is out of range.
    """
    if not _NAME.fullmatch(name):
        raise StudyError(
            f"{shown_name(name)} cannot be the name of a study. "
            "Use up to 64 small letters, digits and hyphens, beginning with a letter or digit."
        )
    if not 0 <= seed < _SEEDS:
        raise StudyError(f"The seed is {seed}; it must be a whole number from 0 to {_SEEDS - 1}.")
    if session.scalar(select(Study.id).where(Study.name == name)) is not None:
        raise StudyError(f"There is a study {name!r} already. Choose another name.")
    study = Study(name=name, demo=demo, seed=seed, protocol=protocol.to_json(), created_at=at)
    session.add(study)
    session.flush()
    return study


def find_study(session: Session, name: str) -> Study:
    """Find a study by its name.

    Raises
    ------
    StudyError
        If there is none; the message lists those that there are.
    """
    study = session.scalar(select(Study).where(Study.name == name))
    if study is None:
        known = session.scalars(select(Study.name).order_by(Study.name)).all()
        there_is = f"The studies are {', '.join(known)}." if known else "There is no study yet: create one."
        raise StudyError(f"There is no study {shown_name(name)}. {there_is}")
    return study


def find_rater(session: Session, study: Study, pseudonym: str) -> Rater:
    """Find a rater of a study by the pseudonym.

    Raises
    ------
    StudyError
        If there is none; the message lists those that there are.
    """
    rater = session.scalar(select(Rater).where(Rater.study_id == study.id, Rater.pseudonym == pseudonym))
    if rater is None:
        of_study = select(Rater.pseudonym).where(Rater.study_id == study.id).order_by(Rater.id)
        known = session.scalars(of_study).all()
        there_is = f"Its raters are {', '.join(known)}." if known else "Nobody is invited yet."
        raise StudyError(f"The study {study.name!r} has no rater {shown_name(pseudonym)}. {there_is}")
    return rater


def find_batch(session: Session, rater: Rater, number: int) -> Batch:
    """Find a batch of a rater by its number.

    Raises
    ------
    StudyError
        If there is none; the message says how many there are.
    """
    of_rater = select(Batch).where(Batch.rater_id == rater.id).order_by(Batch.number)
    batches = {batch.number: batch for batch in session.scalars(of_rater)}
    if number not in batches:
        known = ", ".join(str(number) for number in batches if number)
        there_is = f"The batches are {known}." if known else "There is none yet."
        raise StudyError(f"{rater.pseudonym} has no batch {number}. {there_is}")
    return batches[number]


def invite(session: Session, study: Study, count: int, at: datetime) -> list[tuple[str, str]]:
    """Add raters to a study.

    Parameters
    ----------
    session : Session
        One that writes.
    study : Study
    count : int
        How many more, 1 to `MOST_RATERS`.
    at : datetime
        Now.

    Returns
    -------
    list of (pseudonym, code)
        The codes exist nowhere else: whoever loses one needs a new one.
    """
    if not 1 <= count <= MOST_RATERS:
        raise StudyError(f"{count} raters were asked for; invite 1 to {MOST_RATERS} at a time.")
    before = session.scalar(select(func.count()).where(Rater.study_id == study.id)) or 0
    invited = [(f"R{before + number:02d}", new_code()) for number in range(1, count + 1)]
    session.add_all(
        Rater(study_id=study.id, pseudonym=pseudonym, code_sha256=hash_code(code), invited_at=at)
        for pseudonym, code in invited
    )
    session.flush()
    return invited


def renew(session: Session, study: Study, pseudonym: str, at: datetime) -> str:
    """Give a rater a new code; the old one, and every device signed in with it, is out.

    Parameters
    ----------
    session : Session
        One that writes.
    study : Study
    pseudonym : str
    at : datetime
        Now.

    Returns
    -------
    str
        The new code.

    Raises
    ------
    StudyError
        If the study has no such rater.
    """
    rater = find_rater(session, study, pseudonym)
    code = new_code()
    rater.code_sha256 = hash_code(code)
    session.execute(
        update(Visit).where(Visit.rater_id == rater.id, Visit.ended_at.is_(None)).values(ended_at=at)
    )
    return code
