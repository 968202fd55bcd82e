"""Screening: what fails, with which evidence; what is left out and put back, and that the log says so."""

import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from annotation import rules
from annotation.database import Database
from annotation.schema import Batch, Exclusion, Rater
from annotation.session import exclusions, ledger, listening
from annotation.session.exclusions import Change, change_log, possible_changes
from core.errors import StudyError
from tests.annotation.rooms import Answer, Room, deaf, fair, said


def log(room: Room) -> list[Exclusion]:
    with room.database.read() as session:
        return list(session.scalars(select(Exclusion).order_by(Exclusion.id)))


def act(room: Room, action: Any, number: int = 0, batch: int | None = 1, reason: str = "A test.") -> None:
    with room.database.write() as session:
        rater_id = room.rater_ids[number]
        query = select(Batch).where(Batch.rater_id == rater_id, Batch.number == batch)
        target = session.get_one(Rater, rater_id) if batch is None else session.scalars(query).one()
        action(session, target, reason, "someone", room.at)


def states(room: Room, number: int = 0) -> list[str]:
    with room.database.read() as session:
        of_rater = select(Batch.state).where(Batch.rater_id == room.rater_ids[number], Batch.number > 0)
        return list(session.scalars(of_rater.order_by(Batch.number)))


def anchors_at(score: int, alignment: int = 5) -> Answer:
    return lambda role, clip_id: (score, alignment) if role == "anchor" else fair(role, clip_id)


def repeats(impression: int, alignment: int) -> Answer:
    """Say 3 and 3, and the second time something else."""
    return lambda role, _: (5, 5) if role == "anchor" else (impression, alignment) if role == "duplicate" else (3, 3)


def strict(anchor: int) -> Answer:
    """Rate low: five clips in a row have a mean of 1.6."""
    return lambda role, clip_id: (anchor, 5) if role == "anchor" else ((1, 1, 2, 2, 2)[clip_id % 5], 3)


# The rules


@pytest.mark.parametrize(
    ("answer", "protocol", "rule"),
    [
        (fair, {}, None),
        (anchors_at(3), {}, None),
        (anchors_at(2), {}, "anchor"),
        (anchors_at(5, 1), {}, None),
        (anchors_at(5, 1), {"anchor_scale": "textual_alignment"}, "anchor"),
        (anchors_at(3), {"anchor_fail_below": 3.5}, "anchor"),
        (strict(anchor=2), {}, "anchor"),
        (strict(anchor=2), {"anchor_rule": "relative"}, "anchor"),  # of 4 clips no mean is taken
        (strict(anchor=2), {"anchor_rule": "relative", "batch_size": 5}, None),
        (strict(anchor=1), {"anchor_rule": "relative", "batch_size": 5}, "anchor"),
        (strict(anchor=1), {"anchor_rule": "relative", "anchor_margin": 0.6, "batch_size": 5}, None),
        (repeats(4, 2), {}, None),
        (repeats(5, 3), {}, "duplicate"),
        (repeats(3, 1), {}, "duplicate"),
        (repeats(5, 1), {"duplicate_tolerance": 2}, None),
        (repeats(4, 3), {"duplicate_tolerance": 0.5}, "duplicate"),
        (repeats(4, 3), {"duplicate_tolerance": 0.5, "duplicates": 0}, None),
    ],
)
def test_the_rules(database: Database, answer: Answer, protocol: dict[str, Any], rule: str | None) -> None:
    room = Room.build(database, clips=protocol.get("batch_size", 4), raters=1, **protocol)
    room.answers[0] = answer
    room.rate_batch(0)
    assert states(room) == ["valid" if rule is None else "excluded"]
    assert [(row.action, row.rule, row.author) for row in log(room)] == (
        [] if rule is None else [("exclude", rule, "protocol")]
    )


def test_the_evidence(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1)
    room.answers[0] = lambda role, _: (2, 2) if role == "anchor" else (5, 1) if role == "duplicate" else (3, 3)
    room.rate_batch(0)
    (row,) = log(room)
    assert (row.rule, row.at, row.batch_id) == ("anchor", room.at, room.batch(0).id)
    assert row.reason == "An anchor was rated too low. The two ratings of the same clip lie too far apart."
    trials = room.trials(0)
    low = [trial.position for trial in trials if trial.role == "anchor"]
    again = next(trial for trial in trials if trial.role == "duplicate")
    first = next(trial for trial in trials if trial.clip_id == again.clip_id)
    assert [{**one, "clip": ""} for one in row.evidence["anchors"]] == [
        {"clip": "", "position": position, "musical_impression": 2, "limit": 3.0} for position in low
    ]
    pair = {
        "clip": f"room-stimulus-{again.clip_id - 1}",
        "positions": [first.position, again.position],
        "musical_impression": [3, 5],
        "textual_alignment": [3, 1],
        "tolerance": 1.0,
    }
    assert (row.evidence["batch"], row.evidence["duplicates"]) == (1, [pair])
    with database.read() as session:
        assert rules.words(row.evidence, room.study(session).scales) == [
            *(f"anchor at {position} got MI 2; failed below 3" for position in low),
            f"clip at {first.position} and {again.position} got MI 3 then 5, TA 3 then 1; 1 apart is allowed",
        ]
        (entry,) = change_log(session, room.study(session)).to_dict("records")
        assert (entry["rater"], entry["batch"], json.loads(entry["evidence"])) == ("R01", 1, row.evidence)


def test_a_new_rule_is_one_more_in_the_list(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight-lining as a rule: screened, logged, said and counted by those who loop over the rules."""

    def alike(batch: Any, _protocol: Any, _scales: Any) -> list[int]:
        given = {tuple(one.scores.values()) for one in batch if one.role == "stimulus" and one.scores}
        return [one.position for one in batch] if len(given) == 1 else []

    rule = rules.Rule(
        "straight-lining", "alike", "All clips got the same.", "by saying the same", alike,
        lambda places, _: iter([f"the same at {len(places)} places"]), lambda *_: 0.5,
    )  # fmt: skip
    monkeypatch.setattr(rules, "RULES", [*rules.RULES, rule])
    room = Room.build(database, clips=4, raters=1)
    room.answers[0] = lambda role, _: (4, 4)
    room.rate_batch(0)
    (row,) = log(room)
    assert (states(room), row.rule, row.reason) == (
        ["excluded"], "straight-lining", "All clips got the same.",
    )  # fmt: skip
    with database.read() as session:
        study = room.study(session)
        assert rules.words(row.evidence, study.scales) == ["the same at 7 places"]
        alarms = rules.false_alarms(study.protocol, study.scales)
        assert list(alarms) == ["anchor", "duplicate", "straight-lining", "either"]
        assert alarms["either"] > 0.5


def test_a_failure_can_take_out_the_rater(database: Database) -> None:
    room = Room.build(database, clips=12, raters=2, scope="rater")
    room.rate_batch(0)
    assert states(room) == ["valid"]
    room.answers[0] = deaf
    here = room.rate_batch(0)
    assert states(room) == ["excluded", "excluded"]
    assert (here.step, here.message, room.start(0).step) == ("done", "complete", "done")
    (row,) = log(room)
    assert (row.rater_id, row.batch_id, row.evidence["batch"]) == (room.rater_ids[0], None, 2)
    with database.read() as session:
        in_force = exclusions.in_force(session, room.study(session))
    assert [entry.id for entry in in_force.values()] == [row.id, row.id]
    with pytest.raises(StudyError, match="All of R01 is: restore the rater"):
        act(room, exclusions.restore, batch=1)
    act(room, exclusions.restore, batch=None)
    assert states(room) == ["valid", "valid"]
    assert room.start(0).step == "task"


def rate_until(room: Room, *checks: str) -> None:
    """Rate the batch of the first rater until just such checks were heard; the others do not play."""
    here = room.start(0)
    while here.task is not None:
        token = here.task.token
        role = next(trial.role for trial in room.trials(0) if trial.token == token)
        here = room.rate(0, here).place if role in ("stimulus", *checks) else room.call(0, listening.problem, token, "")


@pytest.mark.parametrize(
    ("checks", "answer", "rule"),
    [
        ((), fair, "unscreened"),
        (("anchor",), fair, None),
        (("duplicate",), fair, None),
        (("duplicate",), repeats(5, 5), "duplicate"),
        (("anchor",), deaf, "anchor"),
    ],
)
def test_a_batch_is_judged_by_what_was_heard(
    database: Database, checks: tuple[str, ...], answer: Answer, rule: str | None
) -> None:
    room = Room.build(database, clips=4, raters=1)
    room.answers[0] = answer
    rate_until(room, *checks)
    assert [row.rule for row in log(room)] == ([] if rule is None else [rule])
    assert states(room) == ["excluded" if rule else "valid"]


def test_practice_and_batches_without_checks_are_not_screened(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1, training=3)
    with database.write() as session:
        study = room.study(session)
        study.protocol = dataclasses.replace(study.protocol, anchors=0, duplicates=0)
    room.answers[0] = lambda role, _: (1, 1)
    for number in (0, 1):
        room.rate_batch(0)
        assert (room.batch(0, number).state, log(room)) == ("valid", [])


# By hand


def test_by_hand_and_back(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1, training=1)
    room.rate_batch(0)
    with pytest.raises(StudyError, match="practice"):
        act(room, exclusions.exclude, batch=0)
    room.rate_batch(0)
    for _ in range(2):
        act(room, exclusions.exclude)
        assert states(room) == ["excluded"]
        with pytest.raises(StudyError, match="Batch 1 of R01 is excluded already"):
            act(room, exclusions.exclude)
        act(room, exclusions.restore, reason="It was a mistake.")
        assert states(room) == ["valid"]
        with pytest.raises(StudyError, match=r"Batch 1 of R01 is not excluded by itself\.$"):
            act(room, exclusions.restore)
    rows = [(row.action, row.rule, row.reason, row.author, row.at, row.evidence) for row in log(room)]
    done = [
        ("exclude", "by hand", "A test.", "someone", room.at, {}),
        ("restore", "by hand", "It was a mistake.", "someone", room.at, {}),
    ]
    assert rows == done * 2


@pytest.mark.parametrize("reason", ["", " \n"])
def test_a_reason_is_needed(database: Database, reason: str) -> None:
    room = Room.build(database, clips=4, raters=1)
    room.rate_batch(0)
    with pytest.raises(StudyError, match="needs a reason"):
        act(room, exclusions.exclude, reason=reason)
    assert (states(room), log(room)) == (["valid"], [])


def test_a_batch_counts_when_neither_its_own_row_nor_its_raters_leaves_it_out(database: Database) -> None:
    room = Room.build(database, clips=8, raters=1)
    room.rate_batch(0)
    room.rate_batch(0)
    steps: list[tuple[Callable[..., None], int | None, list[str]]] = [
        (exclusions.exclude, 1, ["excluded", "valid"]),
        (exclusions.exclude, None, ["excluded", "excluded"]),
        (exclusions.restore, 1, ["excluded", "excluded"]),  # its own row; the rater's still holds
        (exclusions.exclude, 1, ["excluded", "excluded"]),
        (exclusions.restore, None, ["excluded", "valid"]),
        (exclusions.restore, 1, ["valid", "valid"]),
    ]
    for action, batch, expected in steps:
        act(room, action, batch=batch)
        assert states(room) == expected
        with database.read() as session:
            study = room.study(session)
            in_force = exclusions.in_force(session, study)
            assert [room.batch(0, number).id in in_force for number in (1, 2)] == [
                state == "excluded" for state in expected
            ]
            last = log(room)[-1]
            undo = Change("room", "restore" if last.action == "exclude" else "exclude", "R01", batch)
            assert undo in possible_changes(session, study)


@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize("answer", [fair, deaf])
def test_leaving_out_an_open_batch_is_undone_exactly(database: Database, batch: int | None, answer: Answer) -> None:
    """Whether its ratings so far would fail a check or not: it goes on where it was, with all that it had."""
    room = Room.build(database, clips=4, raters=2)
    room.answers[0] = answer
    here = room.rate_batch(0, trials=4)
    with database.read() as session:
        before = ledger.claims(session, room.study_id, room.at)
    act(room, exclusions.exclude, batch=batch)
    with database.read() as session:
        assert ledger.claims(session, room.study_id, room.at) == {}
    assert (room.batch(0).state, room.place(0).step) == ("excluded", "ready" if batch else "done")
    act(room, exclusions.restore, batch=batch)
    assert [(row.action, row.rule) for row in log(room)] == [("exclude", "by hand"), ("restore", "by hand")]
    assert room.place(0).task == here.task
    with database.read() as session:
        assert ledger.claims(session, room.study_id, room.at) == before
    while here.task is not None:
        here = room.rate(0, here).place
    assert states(room) == ["valid" if answer is fair else "excluded"]


def test_a_batch_left_out_ends_when_its_rater_begins_another(database: Database) -> None:
    """Put back after that, it is judged by what was heard of it, as if it had ended then."""
    room = Room.build(database, clips=12, raters=1)
    room.answers[0] = deaf
    room.rate_batch(0, trials=6)
    act(room, exclusions.exclude)
    assert room.batch(0).closed_at is None
    room.answers[0] = fair
    room.rate_batch(0)
    assert (states(room), room.batch(0).closed_at is None) == (["excluded", "valid"], False)
    assert {trial.state for trial in room.trials(0)} == {"rated", "released"}
    act(room, exclusions.restore)
    assert states(room) == ["excluded", "valid"]
    assert [(row.action, row.rule) for row in log(room)] == [
        ("exclude", "by hand"), ("restore", "by hand"), ("exclude", "anchor"),
    ]  # fmt: skip
    act(room, exclusions.restore, reason="The anchors were at fault.")
    assert states(room) == ["valid", "valid"]


def test_undoing_a_restoration_leaves_out_on_the_same_ground(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1)
    room.answers[0] = deaf
    room.rate_batch(0)
    change = Change("room", "restore", "R01", 1)
    with database.write() as session:
        change.make(session, "A mistake.", "someone", room.at)
    with database.write() as session:
        change.take_back(session, "Undone.", "someone else", room.at)
    first, _, last = log(room)
    assert (last.action, last.rule, last.reason, last.evidence) == ("exclude", "anchor", first.reason, first.evidence)
    assert (last.author, states(room)) == ("someone else", ["excluded"])


def test_surplus_is_kept(database: Database) -> None:
    """A restored batch can bring a clip more ratings than it needs; none is lost."""
    room = Room.build(database, clips=4, raters=2, raters_per_clip=1)
    room.rate_batch(0)
    act(room, exclusions.exclude)
    room.rate_batch(1)
    act(room, exclusions.restore)
    with database.read() as session:
        assert set(ledger.valid(session, room.study_id).values()) == {2}
    assert room.call(0, listening.submit, room.trials(0)[0].token, said(1, 1)).outcome == "already"


# Batches that were left open


def close_stale(room: Room) -> list[int]:
    with room.database.write() as session:
        return [batch.id for batch in exclusions.close_stale(session, room.study(session), room.at)]


def test_a_batch_left_open_is_closed(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1, close_after_days=2)
    here = room.start(0)
    for _ in range(4):
        room.wait(days=1)
        room.place(0)
        here = room.rate(0, here).place
    last = room.at
    room.at = last + timedelta(days=2) - timedelta(seconds=1)
    assert close_stale(room) == []
    room.wait(seconds=1)
    assert close_stale(room) == [room.batch(0).id]
    assert close_stale(room) == []
    assert room.batch(0).closed_at == room.at
    roles = [trial.role for trial in room.trials(0) if trial.state == "rated"]
    checked = {"anchor", "duplicate"} & {*roles}
    assert states(room) == ["valid" if checked else "excluded"]
    with database.read() as session:
        count = ledger.claims(session, room.study_id, room.at)
    assert sum(count.values()) == (roles.count("stimulus") if checked else 0)


def test_a_batch_left_open_before_any_check_was_heard(database: Database) -> None:
    """Its ratings are left out as unscreened, whoever looks next sees it, and the clips are free."""
    room = Room.build(database, clips=12, raters=8, raters_per_clip=1, batch_size=6)
    number = next(
        number for number in range(8) if room.start(number).task and room.trials(number)[0].role == "stimulus"
    )
    room.rate_batch(number, trials=1)
    room.wait(days=7, seconds=1)
    room.place((number + 1) % 8)
    (row,) = [row for row in log(room) if row.rater_id == room.rater_ids[number]]
    assert (row.rule, row.evidence) == ("unscreened", {"batch": 1, "rated": 1})
    assert states(room, number) == ["excluded"]


def test_whoever_is_at_it_is_not_closed(database: Database) -> None:
    """Back after the days, before anyone looked: the lease runs again, and the batch goes on."""
    room = Room.build(database, clips=4, raters=2)
    room.start(0)
    room.wait(days=8)
    here = room.place(0)
    assert here.step == "task"
    room.place(1)
    assert close_stale(room) == []
    assert room.rate(0, here).outcome == "saved"


def test_an_open_batch_without_ratings_is_closed_quietly(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1)
    room.start(0)
    room.wait(days=8)
    assert close_stale(room) == [room.batch(0).id]
    assert (states(room), log(room)) == (["empty"], [])
    assert room.start(0).step == "task"


def test_a_batch_of_reports_alone_is_empty_and_no_valid_one(database: Database) -> None:
    room = Room.build(database, clips=1, raters=1, anchors=0, batch_size=1, duplicates=0)
    with database.write() as session:
        study = room.study(session)
        study.protocol = dataclasses.replace(study.protocol, anchors=0)
    here = room.start(0)
    assert here.task is not None
    room.call(0, listening.problem, here.task.token, "Silence.")
    assert states(room) == ["empty"]
    act(room, exclusions.exclude)
    act(room, exclusions.restore)
    assert states(room) == ["empty"]


def test_abandoned_batches_are_closed_by_whoever_looks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room.build(database, clips=4, raters=1)
    room.rate_batch(0, trials=6)
    last = room.at
    for days, closed in ((6, 0), (8, 1), (8, 0)):
        monkeypatch.setattr(exclusions, "now", lambda _, days=days: last + timedelta(days=days))
        assert exclusions.close_abandoned(database, "room") == closed
    assert states(room) == ["valid"]


def test_a_batch_in_hand_is_closed_by_hand_once_its_rater_is_away(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1)
    room.rate_batch(0, trials=6)
    with pytest.raises(StudyError, match="R01 may be in the middle of batch 1"):
        room.call(0, exclusions.close_in_hand)
    room.wait(minutes=45)
    assert room.call(0, exclusions.close_in_hand).number == 1
    assert states(room) == ["valid"]
    with pytest.raises(StudyError, match="no batch open"):
        room.call(0, exclusions.close_in_hand)


def test_practice_waits_for_ever(database: Database) -> None:
    room = Room.build(database, training=2, raters=1)
    room.start(0)
    room.wait(days=100)
    assert close_stale(room) == []
    assert room.place(0).step == "task"
