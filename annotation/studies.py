"""Studies and who takes part in them: creating, finding, inviting, signing in.

A study's clips lie in ``<data>/studies/<name>/clips``, one WAV file each under an opaque name. Raters are
known by pseudonyms (R01, R02, and so on). A rater gets an access code once, on paper or by mail, and a device
that enters it gets a visit token. Only hashes of both are stored: whoever reads the database can sign in as
nobody. Both are random and long, so a plain SHA-256 is enough; whoever asks without permission learns nothing
but that. Functions that change something take the session of a write transaction, and the time of now.
"""

import hashlib
import itertools
import math
import re
import secrets
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import bindparam, exists, func, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy.orm import Session, joinedload

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Rater, Study, Visit
from annotation.wording import parse_json
from core.errors import AccessError, StudyError, shown_name
from core.scales import MUSICEVAL, Scale, Scales

CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is misread: no 0 O, 1 I L, U
CODE_GROUPS = 3
CODE_GROUP_LENGTH = 4
CODE_BITS = CODE_GROUPS * CODE_GROUP_LENGTH * math.log2(len(CODE_ALPHABET))
MOST_RATERS = 1000
MOST_SCALES = 8
MOST_NOTE = 200
MOST_NAMED = 20  # raters in a message
MOST_VISITS = 10  # of a rater: further devices sign the oldest out
VISIT_DAYS = 30
_VISIT_BYTES = 32
_SEEDS = 2**31
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# Every request of a rater asks it, and putting it together takes longer than to run it.
_OF_VISIT = (
    select(Rater)
    .join(Visit)
    .where(Visit.token_sha256 == bindparam("visit"), Visit.ended_at.is_(None), Visit.began_at > bindparam("since"))
    .options(joinedload(Rater.study))
)


def study_names(database: Database) -> list[str]:
    """Name all studies, the newest first."""
    with database.read() as session:
        return list(session.scalars(select(Study.name).order_by(Study.created_at.desc(), Study.id.desc())))


def shown_time(iso: str) -> str:
    """Show a time to the minute."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC"


def imported_from(study: Study) -> str:
    """Say in a sentence where the ratings of a study came from; nothing where they were given here."""
    if study.imported is None:
        return ""
    source = shown_name(study.imported["source"])
    if study.has_batches:
        return f"Imported from an export of the study {source}, with its batches, checks and times."
    return f"Imported from {source}, which tells no batches, order, times or checks: nothing was screened."


def refuse_imported(study: Study) -> None:
    """Raise `StudyError` where ratings came from elsewhere: what raters heard there cannot go on here."""
    if study.imported is not None:
        raise StudyError(
            f"The ratings of the study {study.name!r} were imported, so nobody goes on rating in it. Create a study of "
            "your own for further ratings."
        )


def study_folder(data: Path, study: Study) -> Path:
    """Return the folder of a study's files."""
    return data / "studies" / study.name


def clip_path(data: Path, study: Study, clip_name: str) -> Path:
    """Return the file of a clip, by the opaque name that `Clip.name` holds."""
    return study_folder(data, study) / "clips" / f"{clip_name}.wav"


def create(
    session: Session,
    name: str,
    protocol: Protocol,
    seed: int,
    at: datetime,
    demo: bool = False,
    scales: Scales = MUSICEVAL,
    state: str = "open",
) -> Study:
    """Create a study; its protocol and its scales are fixed from then on.

    Parameters
    ----------
    session : Session
        In a write transaction.
    name : str
        Up to 64 small letters, digits and hyphens; it becomes the name of a folder.
    protocol : Protocol
    seed : int
        From which all orders of the study are drawn.
    at : datetime
    demo : bool
        Whether it is for visitors, and nothing that they say counts.
    scales : tuple of Scale
        What is asked of each clip, in this order.
    state : str
        `draft`, until `annotation.life.move` opens it; or `open` at once.

    Raises
    ------
    StudyError
        If the name is taken or is not one of a study, the seed is out of range, or anchors would be judged on
        a scale that the study does not have.
    """
    check_name(session, name)
    if not 0 <= seed < _SEEDS:
        raise StudyError(f"The seed is {seed}; it must be a whole number from 0 to {_SEEDS - 1}.")
    protocol.check_new(scales)
    study = Study(name=name, demo=demo, seed=seed, protocol=protocol, scales=scales, created_at=at, state=state)
    session.add(study)
    session.flush()
    return study


def parse_scales(text: str) -> Scales:
    """Read scales from JSON, as `Scale.to_json` makes them; `StudyError`, `ScaleError` where they are none."""
    found = parse_json(text, "scales")
    if (
        not isinstance(found, list)
        or not 0 < len(found) <= MOST_SCALES
        or not all(isinstance(one, dict) for one in found)
    ):
        raise StudyError(f"Give a list of 1 to {MOST_SCALES} scales, each with key, title, question and labels.")
    scales = tuple(Scale.from_json(one) for one in found)
    if len({scale.key for scale in scales}) < len(scales):
        raise StudyError("Two scales have the same key. Give each its own.")
    words = [word for scale in scales for word in (scale.title, scale.question, *scale.labels)]
    if not all(isinstance(word, str) and word.strip() and word.isprintable() for word in words):
        raise StudyError("Every title, question and label of a scale must be one line of text.")
    return scales


def check_name(session: Session, name: str) -> None:
    """Refuse (`StudyError`) a name that no study can have, or that one has."""
    if not _NAME.fullmatch(name):
        raise StudyError(
            f"{shown_name(name)} cannot be the name of a study. "
            "Use up to 64 small letters, digits and hyphens, beginning with a letter or digit."
        )
    if session.scalar(select(Study.id).where(Study.name == name)) is not None:
        raise StudyError(f"There is a study {name!r} already. Choose another name.")


def find_study(session: Session, name: str) -> Study:
    """Return a study by its name; if there is none, raise `StudyError`, which lists those that there are."""
    study = session.scalar(select(Study).where(Study.name == name))
    if study is None:
        known = session.scalars(select(Study.name).order_by(Study.name)).all()
        there_is = f"The studies are {', '.join(known)}." if known else "There is no study yet: create one."
        raise StudyError(f"There is no study {shown_name(name)}. {there_is}")
    return study


def rename(session: Session, data: Path, study: Study, name: str) -> None:
    """Give a study another name, and its folder with it; `StudyError` if it cannot be one or is taken."""
    check_name(session, name)
    before = study_folder(data, study)
    study.name = name
    session.flush()
    try:
        if before.exists():
            before.rename(study_folder(data, study))
    except OSError as error:
        raise StudyError(
            f"The folder of the study cannot be renamed: {error.strerror}. Nothing was changed."
        ) from error


def find_rater(session: Session, study: Study, pseudonym: str) -> Rater:
    """Return a rater of a study; if there is none, raise `StudyError`, which lists those that there are."""
    rater = session.scalar(select(Rater).where(Rater.study_id == study.id, Rater.pseudonym == pseudonym))
    if rater is None:
        of_study = select(Rater.pseudonym).where(Rater.study_id == study.id).order_by(Rater.id)
        known = session.scalars(of_study).all()
        more = " …" if len(known) > MOST_NAMED else "."
        there_is = f"Its raters are {', '.join(known[:MOST_NAMED])}{more}" if known else "Nobody is invited yet."
        raise StudyError(f"The study {study.name!r} has no rater {shown_name(pseudonym)}. {there_is}")
    return rater


def find_batch(session: Session, rater: Rater, number: int) -> Batch:
    """Return a batch of a rater; if there is none, raise `StudyError`, which lists those that there are."""
    of_rater = select(Batch).where(Batch.rater_id == rater.id).order_by(Batch.number)
    batches = {batch.number: batch for batch in session.scalars(of_rater)}
    if number not in batches:
        known = ", ".join(str(number) for number in batches if number)
        there_is = f"The batches are {known}." if known else "There is none yet."
        raise StudyError(f"{rater.pseudonym} has no batch {number}. {there_is}")
    return batches[number]


def invite(
    session: Session, study: Study, count: int, at: datetime, without_practice: bool = False, notes: Sequence[str] = ()
) -> list[tuple[str, str]]:
    """Add so many raters (1 to `MOST_RATERS`, or `StudyError`); return their pseudonyms and codes.

    The first of them get the `notes`, which are for whoever runs the study and are never exported. The
    codes exist nowhere else: whoever loses one needs a new one. Raises `StudyError` too if the rules ask for
    practice and there is none, unless that is meant.
    """
    refuse_imported(study)
    if not 1 <= count <= MOST_RATERS:
        raise StudyError(f"{count} raters were asked for; invite 1 to {MOST_RATERS} at a time.")
    if len(notes) > count or any(len(note) > MOST_NOTE for note in notes):
        raise StudyError(f"Give a note of at most {MOST_NOTE} characters for each rater, one a line, and no more.")
    practice = select(exists().where(Clip.study_id == study.id, Clip.kind == "practice", Clip.retired_at.is_(None)))
    if study.protocol.training and not without_practice and not session.scalar(practice):
        raise StudyError(
            f"The rules ask for {study.protocol.training} practice clips and there are none: raters would go from "
            "consent to clips that count. Add practice clips first, or say that you invite without practice."
        )
    before = session.scalar(select(func.count()).where(Rater.study_id == study.id)) or 0
    invited = [(f"R{before + number:02d}", new_code()) for number in range(1, count + 1)]
    noted = itertools.chain(notes, itertools.repeat(""))
    session.add_all(
        Rater(study_id=study.id, pseudonym=pseudonym, code_sha256=hash_code(code), invited_at=at, note=note.strip())
        for (pseudonym, code), note in zip(invited, noted, strict=False)
    )
    session.flush()
    return invited


def renew(session: Session, study: Study, pseudonym: str, at: datetime) -> str:
    """Return a new code for a rater; the old one, and every device signed in with it, is out."""
    refuse_imported(study)
    rater = find_rater(session, study, pseudonym)
    if rater.withdrawn_at is not None:
        raise StudyError(f"{pseudonym} has withdrawn, and gets no code any more. Invite someone new.")
    code = new_code()
    rater.code_sha256 = hash_code(code)
    session.execute(update(Visit).where(Visit.rater_id == rater.id, Visit.ended_at.is_(None)).values(ended_at=at))
    return code


def new_code() -> str:
    """Draw an access code, like ``K7QM-3TWX-9HRA``: 58.9 bits (`CODE_BITS`)."""
    groups = ("".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_GROUP_LENGTH)) for _ in range(CODE_GROUPS))
    return "-".join(groups)


def hash_code(code: str) -> str:
    """Return what is stored of a code; case, blanks, hyphens and wide letters make no difference."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKC", code).upper() if sign.isalnum())
    return _hash(plain)


def is_code(session: Session, code: str) -> bool:
    """Return whether a rater has the code."""
    return session.scalar(select(Rater.id).where(Rater.code_sha256 == hash_code(code))) is not None


def enter(session: Session, code: str, at: datetime) -> str:
    """Sign a device in with a code, and return its visit token; `AccessError` if no rater has the code."""
    rater = session.scalar(select(Rater).where(Rater.code_sha256 == hash_code(code)))
    if rater is None:
        raise AccessError("This code is not known. Check it for typing mistakes.", "code_unknown")
    return open_visit(session, rater, at)


def open_visit(session: Session, rater: Rater, at: datetime) -> str:
    """Sign a device in as a rater who needs no code, and return its visit token; only so many visits are kept."""
    token = secrets.token_urlsafe(_VISIT_BYTES)
    session.add(Visit(rater_id=rater.id, token_sha256=_hash(token), began_at=at))
    session.flush()
    newest = select(Visit.id).where(Visit.rater_id == rater.id).order_by(Visit.id.desc()).limit(MOST_VISITS)
    session.execute(sql_delete(Visit).where(Visit.rater_id == rater.id, Visit.id.not_in(newest)))
    return token


def authorise(session: Session, visit_token: str, at: datetime) -> Rater:
    """Return the rater whose device asks, with their study.

    Raises `AccessError` if no visit of the token runs; after `VISIT_DAYS` it has ended.
    """
    since = at - timedelta(days=VISIT_DAYS)
    rater = session.scalar(_OF_VISIT, {"visit": _hash(visit_token), "since": since})
    if rater is None:
        raise AccessError("You are not signed in. Enter your access code.", "signed_out")
    return rater


def leave(session: Session, visit_token: str, at: datetime) -> None:
    """Sign a device out; a device that is not signed in stays so."""
    session.execute(
        update(Visit).where(Visit.token_sha256 == _hash(visit_token), Visit.ended_at.is_(None)).values(ended_at=at)
    )


def _hash(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()
