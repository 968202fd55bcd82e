"""The rater's session: where a rater stands, what comes next, what they answer. It knows no web page.

Progress lives in the database alone. `current_step` says where a rater stands, as often as it is asked, on
any device; it never hands out anything new: `start` does. `clip_to_send` names the file of a clip that may be
sent now, and `serve` notes that it is. `submit` and `problem` take answers, once.

What reaches a rater's device is the prompt, the clip's duration, a position and a random token per trial:
nothing that tells an anchor or a second presentation from the rest. Every function but `clip_to_send` takes the
session of a write transaction, which is all of one action, and a time that was read inside it: writers wait for each
other, and a time from before the wait would let a lease run that another writer saw lapse.

The time that a batch will take is read from the rater's own answers, so it is honest for the quick and for
the careful. Practice counts too: it is the first that is known of a rater.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from statistics import median
from typing import Any, Literal, NamedTuple

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from annotation.schema import Batch, Clip, Problem, Prompt, Rater, Rating, Response, Trial
from annotation.session import assignment, ledger
from annotation.session import headphones as headphone_check
from annotation.session.answers import (
    CONSENT,
    MAX_COMMENT_LENGTH,
    Reply,
    check_reply,
    check_text,
    has_agreed,
    record_about,
)
from annotation.session.exclusions import close, close_left_out, close_stale
from core.errors import AccessError, RatingError

Message = Literal["", "complete", "wait", "draft", "paused", "closed"]
DEFAULT_OVERHEAD_S = 15.0  # that a trial takes besides the clip, until the rater's own is known


# What every rating asks and writes: built once, and run on the connection itself. Putting a statement together,
# or keeping objects in step with the rows, takes longer than SQLite needs to run it.
_THEIRS = (Batch.rater_id == bindparam("rater"), Batch.number > 0)
_DONE = (
    select(func.count()).where(*_THEIRS, Batch.state != "open").scalar_subquery().label("batches_done"),
    select(func.count())
    .select_from(Trial)
    .join(Batch)
    .where(*_THEIRS, Trial.state == "rated")
    .scalar_subquery()
    .label("clips_rated"),
)
_DONE_ALONE = select(*_DONE)
_NOT_OPEN: Mapping[str, Message] = {"draft": "draft", "paused": "paused", "closed": "closed", "archived": "closed"}
_OPEN_BATCH = select(Batch.id, Batch.number, Batch.lease_until).where(
    Batch.rater_id == bindparam("rater"), Batch.state == "open"
)
_BEFORE = aliased(Trial)
_TRIAL = (
    select(
        Trial.id,
        Trial.batch_id,
        Trial.role,
        Trial.state,
        Trial.shown_at,
        Trial.served_at,
        Batch.number,
        Batch.state.label("batch_state"),
        Batch.lease_until,
        Clip.name,
        Clip.wav_sha256,
        Clip.duration_s,
        Clip.expected,
        Clip.explanation,
        select(func.count())
        .where(_BEFORE.batch_id == Trial.batch_id, _BEFORE.state == "open", _BEFORE.position < Trial.position)
        .scalar_subquery()
        .label("ahead"),
    )
    .join(Batch, Trial.batch_id == Batch.id)
    .join(Clip, Trial.clip_id == Clip.id)
    .where(Trial.token == bindparam("token"), Trial.rater_id == bindparam("rater"))
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
        *_DONE,
    )
    .join(Batch, Trial.batch_id == Batch.id)
    .join(Clip, Trial.clip_id == Clip.id)
    .join(Prompt, Clip.prompt_id == Prompt.id)
    .outerjoin(Response, Response.trial_id == Trial.id)
    .where(Batch.rater_id == bindparam("rater"), Batch.number >= bindparam("since"), Trial.state != "released")
    .order_by(Trial.batch_id, Trial.position)
)
_DURATIONS = select(Clip.id, Clip.duration_s).where(Clip.id.in_(bindparam("clips", expanding=True)))
_RESPOND, _SCORE = insert(Response), insert(Rating)
_RATED = update(Trial).where(Trial.id == bindparam("trial")).values(state="rated")
_SHOWN = update(Trial).where(Trial.id == bindparam("trial")).values(shown_at=bindparam("at"))
_SERVED = update(Trial).where(Trial.id == bindparam("trial")).values(served_at=bindparam("at"))
_HASHED = update(Clip).where(Clip.name == bindparam("clip")).values(wav_sha256=bindparam("sha256"))
_LEASE = update(Batch).where(Batch.id == bindparam("batch")).values(lease_until=bindparam("until"))


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


class Sound(NamedTuple):
    """A clip that may be sent."""

    trial_id: int
    name: str  # of the clip, which says nothing
    sha256: str | None  # of its file; None: not known yet
    duration_s: float
    served: bool  # it was sent before


@dataclass(frozen=True)
class RaterStep:
    """Where a rater stands."""

    step: Literal["about", "ready", "task", "done"]
    task: Task | None = None
    batches_done: int = 0
    clips_rated: int = 0  # hidden checks too: a number that skips them would tell them
    practice_next: bool = False
    # What `current_step` alone looks up, because it takes longer than to store an answer: about how many batches
    # the rater will have had in the end, and at step "ready" how long the next one takes.
    batches_total: int = field(default=0, compare=False)
    estimate_s: float = field(default=0.0, compare=False)
    headphones: headphone_check.Due = field(
        default="", compare=False
    )  # to check first, at "ready"
    # At step "done": nothing is left, clips that others hold may come free, or the study is not open.
    message: Message = ""


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
    if rater.study.state != "open":
        return _not_open(session, rater)
    if not has_agreed(session, rater):
        return RaterStep("about")
    return _foreseen(session, rater, _stands(session, rater, at), at)


def about(
    session: Session, rater: Rater, answers: Mapping[str, str], at: datetime, consent: str = CONSENT, language: str = ""
) -> RaterStep:
    """Take a rater's consent, given by the call itself to the words that they read, and their answers about themselves.

    Raises `RatingError` if an answer cannot be taken.
    """
    if rater.study.state == "open":
        record_about(session, rater, answers, at, consent, language)
    return current_step(session, rater, at)


def check_headphones(session: Session, rater: Rater, correct: int, at: datetime) -> RaterStep:
    """Take the answers of a headphone check; raises `RatingError` if there cannot be so many that are right."""
    headphone_check.record(session, rater, correct, at)
    return current_step(session, rater, at)


def start(session: Session, rater: Rater, at: datetime) -> RaterStep:
    """Begin the next batch; a rater who is in one stays there.

    Raises `StudyError` if the study is not ready.
    """
    if rater.study.state != "open" or not has_agreed(session, rater):
        return current_step(session, rater, at)
    if _open_batch(session, rater) is not None:
        return _stands(session, rater, at)
    if headphone_check.due(session, rater) == "required":
        return current_step(session, rater, at)
    close_stale(session, rater.study, at)
    close_left_out(session, rater, at)
    batch = assignment.open_batch(session, rater, at)
    return _between(session, rater, at) if batch is None else _inside(session, rater, batch.id, batch.number, at)


def clip_to_send(session: Session, rater: Rater, token: str, at: datetime) -> Sound:
    """Return the clip that may be sent for a token: of the current trial or the one after; only reads.

    Raises `AccessError` if the token is of no such trial, the lease has lapsed (`current_step` renews it), or the
    study is not open.
    """
    trial = _own_trial(session, rater, token)
    leased = trial.state == "open" and trial.batch_state == "open" and trial.lease_until > at
    if not leased or trial.ahead > 1 or rater.study.state != "open":
        raise _refusal()
    return Sound(trial.id, trial.name, trial.wav_sha256, trial.duration_s, trial.served_at is not None)


def serve(session: Session, rater: Rater, token: str, at: datetime, sha256: str | None = None) -> str:
    """Note that a clip is sent, and the hash of its file where that is not known; return its name.

    Raises as `clip_to_send` does.
    """
    sound = clip_to_send(session, rater, token, at)
    if not sound.served:
        session.connection().execute(_SERVED, {"trial": sound.trial_id, "at": at})
    if sound.sha256 is None and sha256:
        session.connection().execute(_HASHED, {"clip": sound.name, "sha256": sha256})
    return sound.name


def submit(session: Session, rater: Rater, token: str, reply: Reply, at: datetime) -> Submitted:
    """Take a rater's answer to their current trial; the first counts. None is taken while the study is not open.

    Raises `AccessError` if the token is of no trial of this rater in an open batch, `RatingError` if the
    reply cannot be taken, or comes before the clip can have been heard.
    """
    trial = _trial_in_hand(session, rater, token, at)
    if trial.state == "released" or (trial.state == "open" and rater.study.state != "open"):
        return Submitted(current_step(session, rater, at), "released")
    if trial.state == "rated":
        return Submitted(current_step(session, rater, at), "already", _feedback(rater, trial))
    _refuse_unheard(trial, at)
    check_reply(reply, rater.study.scales, trial.duration_s)
    _store(session, rater, trial, reply, at)
    return Submitted(_inside(session, rater, trial.batch_id, trial.number, at), "saved", _feedback(rater, trial))


def _store(session: Session, rater: Rater, trial: Any, reply: Reply, at: datetime) -> None:
    connection = session.connection()
    connection.execute(
        _RESPOND,
        {
            "trial_id": trial.id,
            "comment": reply.comment,
            "played": [list(stretch) for stretch in reply.played],
            "heard_s": reply.heard_s,
            "given_at": at,
        },
    )
    scores = [{"trial_id": trial.id, "scale": scale, "score": score} for scale, score in reply.scores.items()]
    connection.execute(_SCORE, scores)
    connection.execute(_RATED, {"trial": trial.id})
    connection.execute(_LEASE, {"batch": trial.batch_id, "until": ledger.lease(rater.study.protocol, at)})


def problem(session: Session, rater: Rater, token: str, comment: str, at: datetime) -> RaterStep:
    """Note that a rater cannot hear a clip; let go of it, and go on. Raises as `submit` does."""
    trial = _trial_in_hand(session, rater, token, at)
    if trial.state != "open" or rater.study.state != "open":
        return current_step(session, rater, at)
    _refuse_later(trial)
    check_text(comment, "The comment", MAX_COMMENT_LENGTH)
    _give_up(session, trial, rater, comment, at)
    return _inside(session, rater, trial.batch_id, trial.number, at)


def lose(session: Session, rater: Rater, token: str, fault: str, at: datetime) -> None:
    """Let go of a trial whose file has a fault, and note it as a problem; raises as `serve` does."""
    trial = _own_trial(session, rater, token)
    if trial.state == "open" and trial.batch_state == "open":
        _give_up(session, trial, rater, fault, at)


def _give_up(session: Session, row: Any, rater: Rater, comment: str, at: datetime) -> None:
    trial = session.get_one(Trial, row.id)
    session.add(Problem(trial_id=trial.id, comment=comment, reported_at=at))
    ledger.keep_duplicate(session, trial, rater.study.protocol.duplicate_distance)
    ledger.release(session, [trial])
    trial.batch.lease_until = ledger.lease(rater.study.protocol, at)
    session.flush()  # what follows reads past the session


def _not_open(session: Session, rater: Rater) -> RaterStep:
    """Say that the study takes no ratings now, and what the rater has done; nothing is handed out or taken up."""
    done = session.connection().execute(_DONE_ALONE, {"rater": rater.id}).one()
    return RaterStep("done", None, done.batches_done, done.clips_rated, message=_NOT_OPEN[rater.study.state])


def _open_batch(session: Session, rater: Rater) -> Any:
    return session.connection().execute(_OPEN_BATCH, {"rater": rater.id}).one_or_none()


def _stands(session: Session, rater: Rater, at: datetime) -> RaterStep:
    batch = _open_batch(session, rater)
    if batch is None:
        return _between(session, rater, at)
    if batch.lease_until <= at:
        _reclaim(session, batch.id, at)
    return _inside(session, rater, batch.id, batch.number, at)


def _foreseen(session: Session, rater: Rater, step: RaterStep, at: datetime) -> RaterStep:
    """Add what takes a look at all clips: how many batches there will be, and what the next one takes."""
    if step.step == "done" or (step.task is not None and step.task.practice):
        return step
    history = assignment.history_of(session, rater)
    left = assignment.candidates(session, rater, history, at)
    total = step.batches_done + (step.task is not None) + assignment.batches_left(session, rater, left)
    if step.task is not None:
        return replace(step, batches_total=total)
    items = assignment.next_items(session, rater, history, left)
    takes_s = _takes_s(session, items, _recent_trials(session, rater, history.batches + 1))
    checked = headphone_check.due(session, rater)
    return replace(step, batches_total=total, estimate_s=takes_s, headphones=checked)


def _reclaim(session: Session, batch_id: int, at: datetime) -> None:
    ledger.reclaim(session, session.get_one(Batch, batch_id, populate_existing=True), at)


def _inside(session: Session, rater: Rater, batch_id: int, number: int, at: datetime) -> RaterStep:
    """Return what comes next in a batch whose lease runs."""
    recent = _recent_trials(session, rater, number)
    trials = [trial for trial in recent if trial.batch_id == batch_id]
    waiting = [trial for trial in trials if trial.state == "open"]
    # Where every clip found other raters, its checks have nothing to check.
    if not waiting or all(trial.role in ("anchor", "duplicate") for trial in trials):
        close(session, session.get_one(Batch, batch_id, populate_existing=True), at)
        return _between(session, rater, at)
    now = waiting[0]
    if now.shown_at is None:
        session.connection().execute(_SHOWN, {"trial": now.id, "at": at})
    task = Task(
        token=now.token,
        prompt=now.text,
        duration_s=now.duration_s,
        position=len(trials) - len(waiting) + 1,
        count=len(trials),
        practice=number == 0,
        next_token=waiting[1].token if len(waiting) > 1 else None,
        time_left_s=sum(trial.duration_s for trial in waiting) + len(waiting) * _overhead_s(recent),
    )
    return RaterStep("task", task, batches_done=now.batches_done, clips_rated=now.clips_rated)


def _between(session: Session, rater: Rater, at: datetime) -> RaterStep:
    close_stale(session, rater.study, at)
    history = assignment.history_of(session, rater)
    done = session.connection().execute(_DONE_ALONE, {"rater": rater.id}).one()
    if not assignment.candidates(session, rater, history, at, most=1):
        waits = assignment.may_come_free(session, rater, history)
        message: Message = "wait" if waits else "complete"
        return RaterStep("done", None, done.batches_done, done.clips_rated, message=message)
    practice = bool(assignment.practice_clips(session, rater, history))
    return RaterStep("ready", None, done.batches_done, done.clips_rated, practice_next=practice)


def _recent_trials(session: Session, rater: Rater, latest: int) -> Sequence[Any]:
    """Return the trials of a rater's latest batch and the one before, without those that were released."""
    return session.connection().execute(_RECENT, {"rater": rater.id, "since": latest - 1}).all()


def _overhead_s(trials: Iterable[Any]) -> float:
    """Return what a trial takes besides its clip: the median of those that were answered."""
    overheads = [
        max((trial.given_at - trial.shown_at).total_seconds() - trial.duration_s, 0.0)
        for trial in trials
        if trial.given_at is not None and trial.shown_at is not None
    ]
    return median(overheads) if overheads else DEFAULT_OVERHEAD_S


def _takes_s(session: Session, items: Sequence[assignment.Item], recent: Sequence[Any]) -> float:
    """Return what a batch will take, as its first trial will say it."""
    clips = {"clips": [item.clip_id for item in items]}
    found = session.connection().execute(_DURATIONS, clips)
    durations = {clip_id: duration_s or 0.0 for clip_id, duration_s in found}
    return sum(durations[item.clip_id] for item in items) + len(items) * _overhead_s(recent)


def _own_trial(session: Session, rater: Rater, token: str) -> Any:
    """Return the trial of a token; one that is made up, misspelt or another rater's makes no difference."""
    trial = None
    if token.isascii():
        trial = session.connection().execute(_TRIAL, {"token": token, "rater": rater.id}).one_or_none()
    if trial is None:
        raise _refusal()
    return trial


def _trial_in_hand(session: Session, rater: Rater, token: str, at: datetime) -> Any:
    """Return the trial of a token whose batch lives, or that was answered; a lapsed lease is renewed."""
    trial = _own_trial(session, rater, token)
    if trial.state == "rated" or rater.study.state != "open":
        return trial
    if trial.batch_state != "open":
        raise _refusal()
    if trial.lease_until > at:
        return trial
    _reclaim(session, trial.batch_id, at)
    return _own_trial(session, rater, token)


def _refuse_later(trial: Any) -> None:
    if trial.shown_at is None:
        raise RatingError("Another clip comes before this one. Reload the page.", "not_yet")


def _refuse_unheard(trial: Any, at: datetime) -> None:
    _refuse_later(trial)
    if trial.shown_at is None or trial.served_at is None:
        raise RatingError("This clip was not played yet. Listen to it to its end once.", "not_played")
    if (at - max(trial.shown_at, trial.served_at)).total_seconds() < trial.duration_s:
        raise RatingError("The clip cannot have been heard yet. Listen to it to its end once.", "not_heard")


def _feedback(rater: Rater, trial: Any) -> Feedback | None:
    if trial.role != "practice":
        return None
    expected = {scale.key: trial.expected.get(scale.key) for scale in rater.study.scales}
    return Feedback(expected, trial.explanation or "")


def _refusal() -> AccessError:
    return AccessError("This clip is not open for you. Reload the page.", "not_yours")
