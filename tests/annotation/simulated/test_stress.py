"""Several processes at once on one file: no clip gets a sixth claim, nothing fails, every clip is done."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from annotation.database import Database
from annotation.plans import StressPlan
from annotation.schema import Batch, Clip, Rater, Study, Trial
from annotation.stress import CALLS, Stress, set_up, stress, watch
from core.errors import StudyError


def assert_held(found: Stress) -> None:
    watched = found.watched
    assert (watched.claims_max, watched.different_raters) == (5, True)
    assert found.notes.errors == []
    assert (watched.done, watched.valid_min, watched.valid_max) == (True, 5, 5)
    assert watched.snapshots > 10
    for times in found.calls().values():
        assert times["count"] > found.plan.clips
        assert 0 < times["p50_ms"] <= times["p95_ms"] <= times["max_ms"]


def test_two_processes() -> None:
    found = stress(StressPlan(processes=2, threads=4, clips=6))
    assert_held(found)
    said, shown = found.text(), found.to_json()
    assert "most claims (leased, pending and valid) of a clip: 5 of 5" in said
    assert all(f"\n{name:<11} p50" in said for name in CALLS.values())
    assert shown["calls"].keys() == CALLS.keys()
    names = ("processes", "raters_per_clip", "claims_max", "different_raters", "errors", "error_messages")
    assert [shown[name] for name in names] == [2, 5, 5, True, 0, []]


@pytest.mark.slow
@pytest.mark.timeout(1000)
def test_four_processes_of_fourteen_threads() -> None:
    found = stress(StressPlan(processes=4, threads=14, clips=80, most_s=900.0))
    assert_held(found)
    assert found.calls()["submit"]["count"] >= 5 * found.plan.clips


def give(database: Database, count: int, **of_batch: Any) -> None:
    """Give the first clip to so many raters more, past all rules."""
    with database.write() as session:
        study, clip = session.scalars(select(Study)).one(), session.scalars(select(Clip)).first()
        taken = select(Batch.rater_id)
        for rater in session.scalars(select(Rater).where(Rater.id.not_in(taken)).limit(count)).all():
            times = {"opened_at": study.created_at, "lease_until": study.created_at, **of_batch}
            batch = Batch(study_id=study.id, rater_id=rater.id, number=1, short=False, **times)
            session.add(batch)
            session.flush()
            held = {"batch_id": batch.id, "rater_id": rater.id, "clip_id": clip.id, "position": 1}
            state = "open" if batch.state == "open" else "rated"
            session.execute(insert(Trial).values(**held, role="stimulus", token=str(rater.id), state=state))


def test_a_sixth_claim_would_be_seen(database: Database) -> None:
    plan = StressPlan(processes=1, threads=14, clips=1)
    set_up(database, plan)

    def watched() -> tuple[int, int, bool]:
        running = iter([True, False])
        seen = watch(database, plan, lambda: next(running))
        return seen.claims_max, seen.valid_max, seen.done

    assert watched() == (0, 0, False)
    later, earlier = datetime.now(UTC) + timedelta(hours=1), datetime.now(UTC) - timedelta(hours=1)
    give(database, 2, state="open", lease_until=later)
    give(database, 1, state="open", lease_until=earlier)
    give(database, 1, state="excluded")
    assert watched() == (2, 0, False)
    give(database, 4, state="valid")
    assert watched() == (6, 4, False)
    give(database, 1, state="valid")
    assert watched() == (7, 5, True)


@pytest.mark.parametrize(
    ("wrong", "named"), [({"threads": 0}, "threads is 0"), ({"processes": 1, "threads": 4}, "are fewer")]
)
def test_a_plan_that_cannot_be(wrong: dict[str, int], named: str) -> None:
    with pytest.raises(StudyError, match=named):
        StressPlan(**wrong)
