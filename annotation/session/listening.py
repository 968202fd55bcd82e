"""The rater's session: where a rater stands, what comes next, what they answer. It knows no web page.

Progress lives in the database alone. `current_step` says where a rater stands, as often as it is asked, on
any device; it never hands out anything new: `start` does. `serve` names the file of a clip that may be sent
now. `submit` and `problem` take answers, once.

What reaches a rater's device is the prompt, the clip's duration, a position and a random token per trial:
nothing that tells an anchor or a second presentation from the rest. Every function takes the session of a
write transaction, which is all of one action, and a time that was read inside it: writers wait for each
other, and a time from before the wait would let a lease run that another writer saw lapse.

The time that a batch will take is read from the rater's own answers, so it is honest for the quick and for
the careful. Practice counts too: it is the first that is known of a rater.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any, Literal, NamedTuple

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session, joinedload

from annotation.schema import Batch, Clip, Problem, Prompt, Rater, Rating, Response, Trial
from annotation.session import assignment, ledger
from annotation.session.answers import MAX_COMMENT_LENGTH, Reply, check_reply, check_text, has_agreed, record_about
from annotation.session.exclusions import close, close_left_out, close_stale
from core.errors import AccessError, RatingError

MISSING = "The file of this clip is missing on the server."
DEFAULT_OVERHEAD_S = 15.0  # that a trial takes besides the clip, until the rater's own is known


# What every rating asks, built once: putting a statement together takes longer than SQLite needs to run it.
_THEIRS = (Batch.rater_id == bindparam("rater"), Batch.number > 0)
_OPEN_BATCH = select(Batch).where(Batch.rater_id == bindparam("rater"), Batch.state == "open")
_OWN_TRIAL = (
    select(Trial)
    .where(Trial.token == bindparam("token"), Trial.rater_id == bindparam("rater"))
    .options(joinedload(Trial.batch), joinedload(Trial.clip))
)
_AHEAD = select(func.count()).where(
    Trial.batch_id == bindparam("batch"), Trial.state == "open", Trial.position < bindparam("position")
)
_DONE = select(
    select(func.count()).where(*_THEIRS, Batch.state != "open").scalar_subquery(),
    select(func.count()).select_from(Trial).join(Batch).where(*_THEIRS, Trial.state == "rated").scalar_subquery(),
)
_RECENT = (
    select(
        Trial.id,
        Trial.batch_id,
        Trial.role,
        Trial.state,
        Trial.token,
        Trial.shown_at,
        Clip.duration_s,
        Prompt.text,
        Response.given_at,
    )
    .join(Batch, Trial.batch_id == Batch.id)
    .join(Clip, Trial.clip_id == Clip.id)
    .join(Prompt, Clip.prompt_id == Prompt.id)
    .outerjoin(Response, Response.trial_id == Trial.id)
    .where(Batch.rater_id == bindparam("rater"), Batch.number >= bindparam("since"), Trial.state != "released")
    .order_by(Trial.batch_id, Trial.position)
)


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
class RaterStep:
    """Where a rater stands."""

    step: Literal["about", "ready", "task", "done"]
    task: Task | None = None
    batches_done: int = 0
    clips_rated: int = 0  # hidden checks too: a number that skips them would tell them
    practice_next: bool = False
    estimate_s: float = 0.0  # of the next batch, at step "ready"
    # At step "done": nothing is left, or clips that others hold may come free.
    message: Literal["", "complete", "wait"] = ""


@dataclass(frozen=True)
class Feedback:
    """What practice tells after an answer."""

    expected: Mapping[str, float | None]  # by scale
    explanation: str


@dataclass(frozen=True)
class Submitted:
    """What became of an answer.

    It was stored by this call; or by an earlier one, and not again; or the clip is not needed any more.
    """

    place: RaterStep
    outcome: Literal["saved", "already", "released"]
    feedback: Feedback | None = None


def current_step(session: Session, rater: Rater, at: datetime) -> RaterStep:
    """Return where a rater stands.

    A batch whose lease has lapsed is taken up again as far as its clips are still needed, and one in which
    nothing is left to answer is ended.
    """
    if not has_agreed(session, rater):
        return RaterStep("about")
    batch = _open_batch(session, rater)
    return _between(session, rater, at) if batch is None else _inside(session, rater, batch, at)


def about(session: Session, rater: Rater, answers: Mapping[str, str], at: datetime) -> RaterStep:
    """Take a rater's consent, which the call itself gives, and their answers about themselves.

    Raises `RatingError` if an answer cannot be taken.
    """
    record_about(session, rater, answers, at)
    return current_step(session, rater, at)


def start(session: Session, rater: Rater, at: datetime) -> RaterStep:
    """Begin the next batch; a rater who is in one stays there.

    Raises `StudyError` if the study is not ready.
    """
    if has_agreed(session, rater) and _open_batch(session, rater) is None:
        close_stale(session, rater.study, at)
        close_left_out(session, rater, at)
        assignment.open_batch(session, rater, at)
    return current_step(session, rater, at)


def serve(session: Session, rater: Rater, token: str, at: datetime) -> str:
    """Return the name of the clip that may be sent for a token: of the current trial or the one after.

    Raises `AccessError` if the token is of no such trial, or the lease has lapsed; `current_step` renews it.
    """
    trial = _own_trial(session, rater, token)
    ahead = session.execute(_AHEAD, {"batch": trial.batch_id, "position": trial.position}).scalar_one()
    leased = trial.state == "open" and trial.batch.state == "open" and trial.batch.lease_until > at
    if not leased or ahead > 1:
        raise _refusal()
    if trial.served_at is None:
        trial.served_at = at
    return trial.clip.name


def submit(session: Session, rater: Rater, token: str, reply: Reply, at: datetime) -> Submitted:
    """Take a rater's answer to their current trial; the first counts.

    Raises `AccessError` if the token is of no trial of this rater in an open batch, `RatingError` if the
    reply cannot be taken, or comes before the clip can have been heard.
    """
    trial = _trial_in_hand(session, rater, token, at)
    if trial.state == "released":
        return Submitted(current_step(session, rater, at), "released")
    if trial.state == "rated":
        return Submitted(current_step(session, rater, at), "already", _feedback(rater, trial))
    _refuse_unheard(trial, at)
    check_reply(reply, rater.study.scales, trial.clip.duration_s)
    session.add(
        Response(
            trial_id=trial.id,
            ratings=[Rating(scale=scale, score=score) for scale, score in reply.scores.items()],
            comment=reply.comment,
            played=[list(stretch) for stretch in reply.played],
            heard_s=reply.heard_s,
            given_at=at,
        )
    )
    trial.state = "rated"
    trial.batch.lease_until = ledger.lease(rater.study.protocol, at)
    return Submitted(_inside(session, rater, trial.batch, at), "saved", _feedback(rater, trial))


def problem(session: Session, rater: Rater, token: str, comment: str, at: datetime) -> RaterStep:
    """Note that a rater cannot hear a clip; let go of it, and go on. Raises as `submit` does."""
    trial = _trial_in_hand(session, rater, token, at)
    if trial.state != "open":
        return current_step(session, rater, at)
    _refuse_later(trial)
    check_text(comment, "The comment", MAX_COMMENT_LENGTH)
    _give_up(session, trial, rater, comment, at)
    return _inside(session, rater, trial.batch, at)


def lose(session: Session, rater: Rater, token: str, at: datetime) -> None:
    """Let go of a trial whose file is missing, and note it as a problem; raises as `serve` does."""
    trial = _own_trial(session, rater, token)
    if trial.state == "open" and trial.batch.state == "open":
        _give_up(session, trial, rater, MISSING, at)


def _give_up(session: Session, trial: Trial, rater: Rater, comment: str, at: datetime) -> None:
    session.add(Problem(trial_id=trial.id, comment=comment, reported_at=at))
    ledger.keep_duplicate(session, trial, rater.study.protocol.duplicate_distance)
    ledger.release(session, [trial])
    trial.batch.lease_until = ledger.lease(rater.study.protocol, at)


def _open_batch(session: Session, rater: Rater) -> Batch | None:
    return session.scalar(_OPEN_BATCH, {"rater": rater.id})


def _inside(session: Session, rater: Rater, batch: Batch, at: datetime) -> RaterStep:
    ledger.reclaim(session, batch, at)
    recent = _recent_trials(session, rater, batch.number)
    trials = [trial for trial in recent if trial.batch_id == batch.id]
    waiting = [trial for trial in trials if trial.state == "open"]
    # Where every clip found other raters, its checks have nothing to check.
    if not waiting or all(trial.role in ("anchor", "duplicate") for trial in trials):
        close(session, batch, at)
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
        time_left_s=sum(trial.duration_s for trial in waiting) + len(waiting) * _overhead_s(recent),
    )
    done = _done(session, rater)
    return RaterStep("task", task, batches_done=done.batches, clips_rated=done.clips)


def _between(session: Session, rater: Rater, at: datetime) -> RaterStep:
    close_stale(session, rater.study, at)
    history, done = assignment.history_of(session, rater), _done(session, rater)
    left = len(assignment.candidates(session, rater, history, at))
    if not left:
        waits = assignment.may_come_free(session, rater, history)
        return RaterStep(
            "done", batches_done=done.batches, clips_rated=done.clips, message="wait" if waits else "complete"
        )
    practice = len(assignment.practice_clips(session, rater, history))
    return RaterStep(
        "ready",
        batches_done=done.batches,
        clips_rated=done.clips,
        practice_next=practice > 0,
        estimate_s=_next_batch_s(session, rater, practice, left, history.batches),
    )


class _Done(NamedTuple):
    batches: int  # that a rater has ended
    clips: int  # that they answered


def _done(session: Session, rater: Rater) -> _Done:
    return _Done(*session.execute(_DONE, {"rater": rater.id}).one())


def _recent_trials(session: Session, rater: Rater, latest: int) -> list[Any]:
    """Return the trials of a rater's latest batch and the one before, without those that were released."""
    return list(session.execute(_RECENT, {"rater": rater.id, "since": latest - 1}))


def _overhead_s(trials: Iterable[Any]) -> float:
    """Return what a trial takes besides its clip: the median of those that were answered."""
    overheads = [
        max((trial.given_at - trial.shown_at).total_seconds() - trial.duration_s, 0.0)
        for trial in trials
        if trial.given_at is not None and trial.shown_at is not None
    ]
    return median(overheads) if overheads else DEFAULT_OVERHEAD_S


def _next_batch_s(session: Session, rater: Rater, practice: int, left: int, latest: int) -> float:
    """Estimate a rater's next batch: practice of so many clips, or else of what is left to rate."""
    kind = "practice" if practice else "stimulus"
    duration = select(func.avg(Clip.duration_s)).where(Clip.study_id == rater.study_id, Clip.kind == kind)
    duration_s: float = session.execute(duration).scalar_one()
    trials = practice or rater.study.protocol.trials_in(left)
    return trials * (duration_s + _overhead_s(_recent_trials(session, rater, latest)))


def _own_trial(session: Session, rater: Rater, token: str) -> Trial:
    """Return the trial of a token; one that is made up, misspelt or another rater's makes no difference."""
    trial = None
    if token.isascii():
        trial = session.scalar(_OWN_TRIAL, {"token": token, "rater": rater.id})
    if trial is None:
        raise _refusal()
    return trial


def _trial_in_hand(session: Session, rater: Rater, token: str, at: datetime) -> Trial:
    """Return the trial of a token whose batch lives, or that was answered; a lapsed lease is renewed."""
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


def _feedback(rater: Rater, trial: Trial) -> Feedback | None:
    if trial.role != "practice":
        return None
    clip = trial.clip
    return Feedback({scale.key: clip.expected.get(scale.key) for scale in rater.study.scales}, clip.explanation or "")


def _refusal() -> AccessError:
    return AccessError("This clip is not open for you. Reload the page.")
