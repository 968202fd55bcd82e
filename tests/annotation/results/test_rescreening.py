"""What other screening rules would make of a study: just what they would have done, and nothing is changed."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from annotation.database import Database
from annotation.protocol import SCREENING
from annotation.results.changes import what_if
from annotation.results.rescreening import rescreen
from annotation.schema import Base, Exclusion
from annotation.session.exclusions import Change
from core.errors import StudyError
from core.scales import MUSICAL_IMPRESSION
from tests.annotation.rooms import Answer, Room, deaf, fair


def uneven(role: str, clip_id: int) -> tuple[int, int]:
    """Differ from oneself by two points."""
    return (5, 4) if role == "anchor" else (4, 4) if role == "duplicate" else (2, 3)


def rated(database: Database, name: str = "room", **protocol: Any) -> Room:
    """R01 passes, R02 fails the anchors, R03 a duplicate; R04 is in the middle of a batch."""
    room = Room.build(database, clips=4, raters=4, raters_per_clip=4, name=name, **protocol)
    answers: dict[int, Answer] = {0: fair, 1: deaf, 2: uneven}
    room.answers = answers
    for number in range(3):
        room.rate_batch(number)
    room.rate_batch(3, trials=2)
    return room


def stand(database: Database, rules: dict[str, Any]) -> dict[str, tuple[bool, bool]]:
    """Tell of each rater's batch whether it counts now, and by the rules."""
    rows = rescreen(database, "room", rules).batches.to_dict("records")
    return {row["rater"]: (row["before"] == "counts", row["after"] == "counts") for row in rows}


def content(database: Database) -> dict[str, int]:
    with database.read() as session:
        tables = Base.metadata.sorted_tables
        return {table.name: session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


@pytest.mark.parametrize(
    ("rules", "after"),
    [
        ({}, [True, False, False]),
        ({"anchor_fail_below": 2.0}, [True, True, False]),
        ({"duplicate_tolerance": 2.0}, [True, False, True]),
        ({"anchor_scale": "textual_alignment", "anchor_fail_below": 4.5}, [False, False, False]),
        ({"anchor_rule": "relative"}, [True, False, False]),  # four clips are too few for a mean
        ({"scope": "rater"}, [True, False, False]),
    ],
)
def test_batches_are_judged_again(database: Database, rules: dict[str, Any], after: list[bool]) -> None:
    rated(database)
    before = content(database)
    found = stand(database, rules)
    assert found == dict(zip(("R01", "R02", "R03"), zip([True, False, False], after, strict=True), strict=True))
    assert content(database) == before


@pytest.mark.parametrize("rules", [{"anchor_fail_below": 2.0}, {"duplicate_tolerance": 2.0, "scope": "rater"}])
def test_a_study_of_these_rules_would_have_come_to_the_same(
    database: Database, tmp_path: Path, rules: dict[str, Any]
) -> None:
    rated(database)
    found = rescreen(database, "room", rules).compared.after
    other = Database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    rated(other, **rules)
    own = rescreen(other, "room", {})
    other.close()
    assert own.batches["before"].tolist() == own.batches["after"].tolist()
    assert found.clips[MUSICAL_IMPRESSION.key].tolist() == own.compared.before.clips[MUSICAL_IMPRESSION.key].tolist()
    assert found.n_ratings == own.compared.before.n_ratings


def test_a_rater_as_a_whole(database: Database) -> None:
    """One failed batch of two takes out both by the one scope, itself by the other."""
    for name, scope in (("room", "batch"), ("whole", "rater")):
        room = Room.build(database, clips=8, raters=1, raters_per_clip=1, scope=scope, name=name)
        room.rate_batch(0)
        room.answers[0] = deaf
        room.rate_batch(0)
    by_batch, by_rater = rescreen(database, "room", {"scope": "rater"}), rescreen(database, "whole", {"scope": "batch"})
    low = "An anchor was rated too low."
    assert by_batch.batches[["before", "after"]].to_numpy().tolist() == [["counts", low], [low, low]]
    assert by_rater.batches[["before", "after"]].to_numpy().tolist() == [[low, "counts"], [low, low]]
    assert by_rater.raters_table.rows == [("R01", 2, 1, 0, 4)]
    assert by_rater.batches_table.rows == [("batch 1 of R01", low, "counts")]


def test_what_was_done_by_hand_stays(database: Database) -> None:
    room = rated(database)
    for change in (Change("room", "exclude", "R01", 1), Change("room", "restore", "R02", 1)):
        with database.write() as session:
            change.make(session, "by hand", "me", room.at)
    assert stand(database, {"duplicate_tolerance": 2.0}) == {
        "R01": (False, False), "R02": (True, True), "R03": (False, True),
    }  # fmt: skip
    assert stand(database, {"anchor_fail_below": 2.5})["R02"] == (True, True)


def test_it_is_said(database: Database) -> None:
    rated(database)
    found = rescreen(database, "room", {"anchor_fail_below": 2.0})
    said = found.text()
    assert "Judged by --anchor-fail-below 2 in place of 3." in said
    assert "Batches left out: 2 of 3 now, 1 by these rules; 1 that are left out would count, 0 that count" in said
    assert "Valid ratings: 4 before, 8 after." in said.splitlines()
    assert found.raters_table.rows == [("R01", 0, 0, 4, 4), ("R02", 1, 0, 0, 4), ("R03", 1, 1, 0, 0)]
    assert "Judged by the study’s own rules." in rescreen(database, "room", {}).text()
    assert "No batch would stand otherwise." in rescreen(database, "room", {}).text()


@pytest.mark.parametrize(
    "rules", [{"anchor_fail_below": 9.0}, {"anchor_rule": "none"}, {"anchor_scale": "clarity"}, {"anchor_margin": -1.0}]
)
def test_rules_that_cannot_be_are_refused(database: Database, rules: dict[str, Any]) -> None:
    rated(database)
    with pytest.raises(StudyError):
        rescreen(database, "room", rules)


def test_it_waits_for_no_writer(database: Database) -> None:
    rated(database)
    with database.write():
        assert len(rescreen(database, "room", {}).batches) == 3


def test_only_what_is_screened_can_be_exchanged() -> None:
    assert {rule.name for rule in SCREENING} == {
        "anchor_fail_below", "anchor_scale", "anchor_rule", "anchor_margin", "duplicate_tolerance", "scope",
    }  # fmt: skip


@pytest.mark.parametrize(("answer", "valid"), [(fair, 8), (deaf, 4)])
def test_what_was_never_screened_is_screened_in_a_preview(database: Database, answer: Answer, valid: int) -> None:
    """A batch was left out while it was open, and ended with another: putting it back screens it."""
    room = Room.build(database, clips=8, raters=2, raters_per_clip=1)
    room.answers[0] = answer
    room.rate_batch(0, trials=6)
    with database.write() as session:
        Change("room", "exclude", "R01", 1).make(session, "by hand", "me", room.at)
    room.answers[0] = fair
    room.rate_batch(0)
    restore = Change("room", "restore", "R01", 1)
    previewed = what_if(database, restore).after.n_ratings
    with database.write() as session:
        assert session.scalar(select(func.count(Exclusion.id))) == 1
        restore.make(session, "by hand", "me", room.at)
    assert previewed == rescreen(database, "room", {}).compared.before.n_ratings
    assert previewed in (valid, valid - 1)  # one of its trials was not rated; it may be a clip or a check
