"""Several processes at once on one file: no clip gets a sixth claim, nothing fails, every clip is done."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from annotation.database import Database
from annotation.schema import Batch, Clip, Rater, Study, Trial
from annotation.simulated.plans import StressPlan
from annotation.simulated.stress import CALLS, _set_up, _watch, stress, stress_text
from core.errors import StudyError


def assert_held(found: dict[str, Any]) -> None:
    assert (found["claims_max"], found["raters_per_clip"]) == (5, 5)
    assert found["different_raters"]
    assert (found["errors"], found["error_messages"]) == (0, [])
    assert (found["done"], found["valid_min"], found["valid_max"]) == (True, 5, 5)
    assert found["snapshots"] > 10
    for name in CALLS:
        times = found["calls"][name]
        assert times["count"] > found["clips"]
        assert 0 < times["p50_ms"] <= times["p95_ms"] <= times["max_ms"]


def test_two_processes() -> None:
    found = stress(StressPlan(processes=2, threads=4, clips=6))
    assert_held(found)
    said = stress_text(found)
    assert "most claims (leased, pending and valid) of a clip: 5 of 5" in said
    assert "errors: 0" in said
    assert all(name in said for name in ("next trial", "clip", "submit", "p95"))


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_four_processes_of_fourteen_threads() -> None:
    found = stress(StressPlan(processes=4, threads=14))
    assert_held(found)
    assert found["calls"]["submit"]["count"] >= 5 * found["clips"]


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
    _set_up(database, plan)

    def watched(readings: int = 1) -> tuple[int, int, bool]:
        running = iter([True] * readings + [False])
        seen = _watch(database, plan, lambda: next(running))
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
    ("wrong", "message"),
    [({"threads": 0}, "threads is 0; it must be at least 1"), ({"processes": 1, "threads": 4}, "are fewer")],
)
def test_a_plan_that_cannot_be(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        StressPlan(**wrong)
