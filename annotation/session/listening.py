"""The rater's session: where a rater stands, what comes next, what they answer. It knows no web page.

Progress lives in the database alone. `place` tells where a rater stands, as often as it is asked, on any
device; it never hands out anything new: `start` does. `serve` names the file of a clip that may be sent now.
`submit` and `problem` take answers, once.

What reaches a rater's device is the prompt, the clip's duration, a position and a random token per trial:
nothing that tells an anchor or a second presentation from the rest. Every function takes the session of a
write transaction, which is all of one action, and a time that was read inside it: writers wait for each
other, and a time from before the wait would let a lease run that another writer saw lapse.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, aliased, joinedload

from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Problem, Prompt, Rater, Rating, Trial
from annotation.session import assignment, ledger, pace, questionnaire, screening
from annotation.session.reply import MAX_COMMENT_LENGTH, Reply, check, checked_text
from core.errors import AccessError, RatingError

Step = Literal["about", "ready", "task", "done"]
Message = Literal["", "complete", "wait"]
# Stored by this call; stored by an earlier one, and not again; not stored, because the clip is not needed.
Outcome = Literal["saved", "already", "released"]


@dataclass(frozen=True)
class Task:
    """One trial as its rater may see it."""

    token: str
    prompt: str
    duration_s: float
    position: int  # from 1, in this batch
    count: int
    practice: bool
    next_token: str | None  # of the trial after it, whose clip may be fetched ahead
    time_left_s: float  # in this batch, this trial included


@dataclass(frozen=True)
class Place:
    """Where a rater stands."""

    step: Step
    task: Task | None = None
    batches_done: int = 0
    clips_rated: int = 0  # hidden checks too: a number that skips them would tell them
    practice_next: bool = False
    estimate_s: float = 0.0  # of the next batch, at step "ready"
    message: Message = ""  # at step "done": nothing is left, or clips that others hold may come free


@dataclass(frozen=True)
class Feedback:
    """What practice tells after an answer."""

    musical_impression: float | None
    textual_alignment: float | None
    explanation: str


@dataclass(frozen=True)
class Submitted:
    """What became of an answer."""

    place: Place
    outcome: Outcome
    feedback: Feedback | None = None

    @property
    def saved(self) -> bool:
        """Whether this call stored it."""
        return self.outcome == "saved"


def place(session: Session, rater: Rater, at: datetime) -> Place:
    """Tell where a rater stands.

    A batch whose lease has lapsed is taken up again as far as its clips are still needed, and one in which
    nothing is left to answer is ended.
    """
    if not questionnaire.has_agreed(session, rater):
        return Place("about")
    batch = _open_batch(session, rater)
    return _between(session, rater, at) if batch is None else _inside(session, rater, batch, at)


def about(session: Session, rater: Rater, answers: object, at: datetime) -> Place:
    """Take a rater's consent, which the call itself gives, and their answers about themselves.

    Raises
    ------
    RatingError
        If an answer cannot be taken.
    """
    questionnaire.record(session, rater, answers, at)
    return place(session, rater, at)


def start(session: Session, rater: Rater, at: datetime) -> Place:
    """Begin the next batch; a rater who is in one stays there.

    Raises
    ------
    StudyError
        If the study is not ready.
    """
    if questionnaire.has_agreed(session, rater) and _open_batch(session, rater) is None:
        screening.close_stale(session, rater.study, at)
        assignment.open_batch(session, rater, at)
    return place(session, rater, at)


def serve(session: Session, rater: Rater, token: object, at: datetime) -> str:
    """Give the name of the clip that may be sent for a token: of the rater's current trial or the one after.

    Raises
    ------
    AccessError
        If the token is of no such trial, or the lease has lapsed; `place` renews it.
    """
    trial = _own_trial(session, rater, token)
    before = aliased(Trial)
    ahead = select(func.count()).where(
        before.batch_id == trial.batch_id, before.state == "open", before.position < trial.position
    )
    leased = trial.state == "open" and trial.batch.state == "open" and trial.batch.lease_until > at
    if not leased or session.execute(ahead).scalar_one() > 1:
        raise _refusal()
    if trial.served_at is None:
        trial.served_at = at
    return trial.clip.name


def submit(session: Session, rater: Rater, token: object, reply: Reply, at: datetime) -> Submitted:
    """Take a rater's answer to their current trial.

    Parameters
    ----------
    session : Session
    rater : Rater
    token : object
        From outside, like the reply.
    reply : Reply
    at : datetime

    Returns
    -------
    Submitted
        With nothing stored where the trial has an answer already, or is not needed any more.

    Raises
    ------
    AccessError
        If the token is not of a trial of this rater in a batch that is open.
    RatingError
        If the reply cannot be taken, or comes before the clip can have been heard.
    """
    trial = _trial_in_hand(session, rater, token, at)
    if trial.state == "released":
        return Submitted(place(session, rater, at), "released")
    if trial.state == "rated":
        return Submitted(place(session, rater, at), "already", _feedback(trial))
    _refuse_unheard(trial, at)
    said = check(reply, trial.clip.duration_s)
    session.add(
        Rating(
            trial_id=trial.id,
            **said.scores,
            comment=said.comment,
            played=said.played,
            heard_s=said.heard_s,
            given_at=at,
        )
    )
    trial.state = "rated"
    _renew(rater, trial.batch, at)
    return Submitted(_inside(session, rater, trial.batch, at), "saved", _feedback(trial))


def problem(session: Session, rater: Rater, token: object, comment: object, at: datetime) -> Place:
    """Note that a rater cannot hear a clip; let go of it, and go on.

    Raises
    ------
    AccessError, RatingError
        As `submit` does.
    """
    trial = _trial_in_hand(session, rater, token, at)
    if trial.state != "open":
        return place(session, rater, at)
    _refuse_later(trial)
    text = checked_text(comment, "The comment", MAX_COMMENT_LENGTH)
    session.add(Problem(trial_id=trial.id, comment=text, reported_at=at))
    protocol = Protocol.from_json(rater.study.protocol)
    ledger.keep_duplicate(session, trial, protocol.duplicate_distance)
    ledger.release(session, [trial])
    _renew(rater, trial.batch, at)
    return _inside(session, rater, trial.batch, at)


def _open_batch(session: Session, rater: Rater) -> Batch | None:
    return session.scalar(select(Batch).where(Batch.rater_id == rater.id, Batch.state == "open"))


def _inside(session: Session, rater: Rater, batch: Batch, at: datetime) -> Place:
    ledger.reclaim(session, batch, at)
    query = (
        select(Trial.id, Trial.role, Trial.state, Trial.token, Trial.shown_at, Clip.duration_s, Prompt.text)
        .join(Clip, Trial.clip_id == Clip.id)
        .join(Prompt, Clip.prompt_id == Prompt.id)
        .where(Trial.batch_id == batch.id, Trial.state != "released")
    )
    trials = session.execute(query.order_by(Trial.position)).all()
    waiting = [trial for trial in trials if trial.state == "open"]
    # Where every clip found other raters, its checks have nothing to check.
    if not waiting or all(trial.role in ("anchor", "duplicate") for trial in trials):
        screening.close(session, batch, at)
        return _between(session, rater, at)
    now = waiting[0]
    if now.shown_at is None:
        session.execute(update(Trial).where(Trial.id == now.id).values(shown_at=at))
    task = Task(
        token=now.token,
        prompt=now.text,
        duration_s=now.duration_s,
        position=len(trials) - len(waiting) + 1,
        count=len(trials),
        practice=batch.number == 0,
        next_token=waiting[1].token if len(waiting) > 1 else None,
        time_left_s=sum(trial.duration_s for trial in waiting)
        + len(waiting) * pace.overhead_s(session, rater),
    )
    return Place("task", task, *_done(session, rater))


def _between(session: Session, rater: Rater, at: datetime) -> Place:
    screening.close_stale(session, rater.study, at)
    history = assignment.history_of(session, rater)
    done = _done(session, rater)
    if assignment.candidates(session, rater, history, at):
        practice = assignment.practice_clips(session, rater, history)
        estimate_s = pace.next_batch_s(session, rater, practice=len(practice))
        return Place("ready", None, *done, practice_next=bool(practice), estimate_s=estimate_s)
    waits = assignment.may_come_free(session, rater, history)
    return Place("done", None, *done, message="wait" if waits else "complete")


def _done(session: Session, rater: Rater) -> tuple[int, int]:
    """Count the batches that a rater has ended, and the trials that they answered."""
    theirs = (Batch.rater_id == rater.id, Batch.number > 0)
    batches = select(func.count()).where(*theirs, Batch.state != "open").scalar_subquery()
    trials = select(func.count()).select_from(Trial).join(Batch).where(*theirs, Trial.state == "rated")
    return session.execute(select(batches, trials.scalar_subquery())).one()


def _own_trial(session: Session, rater: Rater, token: object) -> Trial:
    """Give the trial of a token; one that is made up, misspelt or another rater's makes no difference."""
    trial = None
    if isinstance(token, str) and token.isascii():
        query = select(Trial).where(Trial.token == token, Trial.rater_id == rater.id)
        trial = session.scalar(query.options(joinedload(Trial.batch), joinedload(Trial.clip)))
    if trial is None:
        raise _refusal()
    return trial


def _trial_in_hand(session: Session, rater: Rater, token: object, at: datetime) -> Trial:
    """Give the trial of a token whose batch lives, or that was answered; a lapsed lease is renewed."""
    trial = _own_trial(session, rater, token)
    if trial.state != "rated":
        if trial.batch.state != "open":
            raise _refusal()
        ledger.reclaim(session, trial.batch, at)
    return trial


def _refuse_later(trial: Trial) -> None:
    if trial.shown_at is None:
        raise RatingError("Another clip comes before this one. Reload the page.")


def _refuse_unheard(trial: Trial, at: datetime) -> None:
    _refuse_later(trial)
    if trial.shown_at is None or trial.served_at is None:
        raise RatingError("This clip was not played yet. Listen to it to its end once.")
    if (at - max(trial.shown_at, trial.served_at)).total_seconds() < trial.clip.duration_s:
        raise RatingError("The clip cannot have been heard yet. Listen to it to its end once.")


def _renew(rater: Rater, batch: Batch, at: datetime) -> None:
    batch.lease_until = ledger.lease(Protocol.from_json(rater.study.protocol), at)


def _feedback(trial: Trial) -> Feedback | None:
    if trial.role != "training":
        return None
    clip = trial.clip
    return Feedback(clip.expected_musical_impression, clip.expected_textual_alignment, clip.explanation or "")


def _refusal() -> AccessError:
    return AccessError("This clip is not open for you. Reload the page.")
