"""Raters who answer by a script, through the same functions as the page."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.schema import Clip, Rater, Trial
from annotation.session import listening
from annotation.session.answers import Reply
from core.scales import keys

Answer = Callable[[Clip, str], tuple[int, ...]]  # the clip and the trial's role -> its scores


ABOUT = {"training": "student of music", "instrument": "=cello()"}


def rate_all(database: Database, rater_id: int, answer: Answer, at: datetime) -> datetime:
    """Take batch after batch until nothing is left; give the time when that is."""
    with database.write() as session:
        listening.about(session, _rater(session, rater_id), ABOUT, at)
    while True:
        with database.write() as session:
            place = listening.start(session, _rater(session, rater_id), at)
        if place.step != "task":
            return at
        while place.task is not None:
            token, duration_s = place.task.token, place.task.duration_s
            with database.write() as session:
                listening.serve(session, _rater(session, rater_id), token, at)
                trial = session.scalars(select(Trial).where(Trial.token == token)).one()
                scores = answer(trial.clip, trial.role)
            at += timedelta(seconds=duration_s + 5)
            with database.write() as session:
                rater = _rater(session, rater_id)
                scored = dict(zip(keys(rater.study.scales), scores, strict=True))
                reply = Reply(scored, played=[[0.0, duration_s]])
                place = listening.submit(session, rater, token, reply, at).place


def _rater(session: Session, rater_id: int) -> Rater:
    return session.get_one(Rater, rater_id)
