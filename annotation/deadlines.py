"""Deadlines by name, in the database: what has passed is as if it had never been."""

import math
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.orm import Session

from annotation.schema import Deadline


def left_s(session: Session, name: str, at: datetime) -> float:
    """Return the seconds until a deadline, 0 where there is none."""
    found = session.get(Deadline, name)
    return max((found.ends_at - at).total_seconds(), 0.0) if found else 0.0


def postpone(session: Session, name: str, by_s: float, at: datetime, most_s: float = math.inf) -> float:
    """Put a deadline off, from now on where there is none, unless more than `most_s` would be left then.

    Returns the seconds that are left, or would be.
    """
    session.execute(delete(Deadline).where(Deadline.ends_at <= at))
    left = left_s(session, name, at) + by_s
    if left <= most_s:
        session.merge(Deadline(name=name, ends_at=at + timedelta(seconds=left)))
    return left


def end(session: Session, name: str) -> None:
    """Let a deadline have passed."""
    session.execute(delete(Deadline).where(Deadline.name == name))
