"""Who is asking: access codes, and the devices that are signed in with them.

A rater gets a code once, on paper or by mail, and a device that enters it gets a visit token. Only hashes of
both are stored: whoever reads the database can sign in as nobody. Both are random and long, so a plain
SHA-256 is enough; whoever asks without permission learns nothing but that.
"""

import hashlib
import math
import secrets
import unicodedata
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from annotation.schema import Rater, Visit
from core.errors import AccessError

CODE_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"  # nothing that is misread: no 0 O, 1 I L, U
CODE_GROUPS = 3
CODE_GROUP_LENGTH = 4
CODE_BITS = CODE_GROUPS * CODE_GROUP_LENGTH * math.log2(len(CODE_ALPHABET))
_VISIT_BYTES = 32


def new_code() -> str:
    """Draw an access code, like ``K7QM-3TWX-9HRA``.

    Returns
    -------
    str
        Three groups of four; 58.9 bits (`CODE_BITS`).
    """
    groups = [
        "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_GROUP_LENGTH)) for _ in range(CODE_GROUPS)
    ]
    return "-".join(groups)


def hash_code(code: str) -> str:
    """Give what is stored of a code; case, blanks, hyphens and wide letters make no difference.

    Parameters
    ----------
    code : str
        As somebody typed it.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    plain = "".join(sign for sign in unicodedata.normalize("NFKC", code).upper() if sign.isalnum())
    return _hash(plain)


def enter(session: Session, code: str, at: datetime) -> str:
    """Sign a device in with an access code.

    Parameters
    ----------
    session : Session
        In a write transaction, as everywhere in this module.
    code : str
    at : datetime

    Returns
    -------
    str
        The visit token, for the device to keep.

    Raises
    ------
    AccessError
        If no rater has the code.
    """
    rater = session.scalar(select(Rater).where(Rater.code_sha256 == hash_code(code)))
    if rater is None:
        raise AccessError("This code is not known. Check it for typing mistakes.")
    return open_visit(session, rater, at)


def open_visit(session: Session, rater: Rater, at: datetime) -> str:
    """Sign a device in as a rater who needs no code; give the visit token."""
    token = secrets.token_urlsafe(_VISIT_BYTES)
    session.add(Visit(rater_id=rater.id, token_sha256=_hash(token), began_at=at))
    return token


def authorise(session: Session, visit_token: str | None) -> Rater:
    """Give the rater whose device asks.

    Parameters
    ----------
    session : Session
    visit_token : str or None
        None when the device sent none.

    Returns
    -------
    Rater
        With its study loaded.

    Raises
    ------
    AccessError
        If the token is missing, unknown or of a visit that has ended.
    """
    running = (
        select(Rater)
        .join(Visit)
        .where(Visit.token_sha256 == _hash(visit_token or ""), Visit.ended_at.is_(None))
    )
    rater = session.scalar(running.options(joinedload(Rater.study)))
    if rater is None:
        raise AccessError("You are not signed in. Enter your access code.")
    return rater


def leave(session: Session, visit_token: str, at: datetime) -> None:
    """Sign a device out; a device that is not signed in stays so."""
    session.execute(
        update(Visit)
        .where(Visit.token_sha256 == _hash(visit_token), Visit.ended_at.is_(None))
        .values(ended_at=at)
    )


def _hash(word: str) -> str:
    return hashlib.sha256(word.encode("utf-8", "replace")).hexdigest()
