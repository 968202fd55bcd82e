"""The standing of every rating, MOS with their intervals, systems, signs, changes that are not made."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.ratings import (
    Comparison,
    Results,
    listening_signs,
    mos_table,
    ratings_table,
    system_table,
    what_if,
)
from annotation.schema import Batch, Clip, Exclusion, Prompt, Rater, Rating, Response, Study, System, Trial
from annotation.session.exclusions import Change
from annotation.studies import create
from core.errors import StudyError
from core.scales import MUSICEVAL, Scale, keys
from tests.annotation.results.panels import KINDS, after, panel, rating

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEYS = keys(MUSICEVAL)
CLARITY = Scale("clarity", "Clarity", "How clear is it?", ("a", "b", "c", "d", "e"))


class Builder:
    """Writes a study's rows, one batch a call; times go on by a minute a rating."""

    def __init__(self, session: Session, scales: tuple[Scale, ...] = MUSICEVAL) -> None:
        self.session = session
        self.study = create(session, "one", Protocol(raters_per_clip=2), 1, NOW, scales=scales)
        self.minutes = count()

    def one(self, table: type, also: Callable[[], dict[str, Any]] = dict, **fields: Any) -> Any:
        """Find a row of the study, or make it."""
        found = self.session.scalar(select(table).filter_by(study_id=self.study.id, **fields))
        if found is None:
            found = table(study_id=self.study.id, **fields, **also())
            self.session.add(found)
            self.session.flush()
        return found

    def clip(self, name: str, kind: str) -> Clip:
        """A clip whose system is its first letter."""
        system, prompt = self.one(System, name=name[0]), self.one(Prompt, text=f"prompt {name[1:]}")
        of_clip = {"kind": kind, "system_id": system.id, "prompt_id": prompt.id, "duration_s": 10.0}
        file = {"source_file": f"{name}.wav", "source_sha256": name, "gain_db": 0.0, "gain_lowered": False}
        return self.one(Clip, lambda: {**of_clip, **file, "added_at": NOW}, name=name)  # type: ignore[no-any-return]

    def batch(self, pseudonym: str, number: int, state: str, *trials: tuple[str, str, int, int]) -> Batch:
        """Clip, role and scores of each trial; any further scale gets the first score."""
        rater = self.one(Rater, lambda: {"invited_at": NOW}, pseudonym=pseudonym)
        times = {"opened_at": NOW, "lease_until": NOW}
        batch = Batch(study_id=self.study.id, rater=rater, number=number, state=state, short=False, **times)
        for position, (name, role, *scores) in enumerate(trials, 1):
            clip = self.clip(name, role if role in ("anchor", "practice") else "stimulus")
            at = NOW + timedelta(minutes=next(self.minutes))
            trial = Trial(
                batch=batch, rater_id=rater.id, clip=clip, position=position, role=role, state="rated",
                token=f"{pseudonym}.{number}.{position}", shown_at=at, served_at=at,
            )  # fmt: skip
            points = zip(keys(self.study.scales), [*scores, scores[0]], strict=False)
            trial.response = Response(
                played=[[0.0, 10.0]], heard_s=10.0, given_at=at + timedelta(seconds=20),
                ratings=[Rating(scale=scale, score=score) for scale, score in points],
            )  # fmt: skip
        self.session.add(batch)
        self.session.flush()
        return batch

    def exclude(self, batch: Batch, action: str = "exclude", whole_rater: bool = False) -> None:
        reason = f"{'rater' if whole_rater else 'anchor'} below 3"
        entry = {"action": action, "rule": "anchor", "reason": reason, "evidence": {}, "author": "me", "at": NOW}
        batch_id = None if whole_rater else batch.id
        self.session.add(Exclusion(rater_id=batch.rater_id, batch_id=batch_id, **entry))
        batch.state = "excluded" if action == "exclude" else "valid"
        self.session.flush()


def fill(session: Session, scales: tuple[Scale, ...] = MUSICEVAL) -> Builder:
    """Two systems, A and B; A1 ends with three ratings in valid batches, one above the two it needs."""
    study = Builder(session, scales)
    study.batch("R01", 0, "valid", ("T1", "practice", 3, 3))
    study.batch("R01", 1, "valid", ("A1", "stimulus", 2, 3), ("H1", "anchor", 5, 4), ("B1", "stimulus", 4, 4),
                ("A1", "duplicate", 3, 3))  # fmt: skip
    failed = study.batch("R02", 1, "valid", ("A1", "stimulus", 5, 5), ("H1", "anchor", 1, 4))
    study.exclude(failed)
    study.batch("R03", 1, "valid", ("A1", "stimulus", 4, 5), ("B1", "stimulus", 5, 5))
    study.batch("R04", 1, "valid", ("A1", "stimulus", 1, 1))
    study.batch("R05", 1, "open", ("B1", "stimulus", 1, 1))
    return study


def test_every_rating_has_its_standing(database: Database) -> None:
    with database.write() as session:
        table = ratings_table(session, fill(session).study)
    assert table[["rater", "clip", "role", "status", "reason"]].to_numpy().tolist() == [
        ["R01", "T1", "practice", "practice", "practice never counts"],
        ["R01", "A1", "stimulus", "valid", ""],
        ["R01", "H1", "anchor", "check", "hidden anchor"],
        ["R01", "B1", "stimulus", "valid", ""],
        ["R01", "A1", "duplicate", "check", "second presentation"],
        ["R02", "A1", "stimulus", "excluded", "anchor below 3"],
        ["R02", "H1", "anchor", "check", "hidden anchor"],
        ["R03", "A1", "stimulus", "valid", ""],
        ["R03", "B1", "stimulus", "valid", ""],
        ["R04", "A1", "stimulus", "surplus", "the clip has its 2 valid ratings"],
        ["R05", "B1", "stimulus", "pending", "the batch has not ended"],
    ]
    first = table.iloc[1]
    assert (first["system"], first["prompt"], first["batch"], first["position"]) == ("A", "prompt 1", 1, 1)
    assert (first["musical_impression"], first["textual_alignment"], first["heard_s"]) == (2, 3, 10.0)
    assert first["given_at"] == NOW + timedelta(minutes=1, seconds=20)


def test_an_exclusion_of_the_rater_is_the_reason_where_the_batch_has_none(database: Database) -> None:
    with database.write() as session:
        study = fill(session)
        third, fourth = session.scalars(select(Batch).join(Rater).where(Rater.pseudonym.in_(["R03", "R04"])))
        study.exclude(third)
        study.exclude(third, "restore")
        study.exclude(third, whole_rater=True)
        table = ratings_table(session, study.study)
    assert set(table.loc[table["rater"] == "R03", "reason"]) == {"rater below 3"}
    assert table.loc[table["rater"] == "R04", "status"].item() == "valid"  # no longer above the two needed
    assert fourth.state == "valid"


def test_a_study_is_told_by_its_own_scales(database: Database) -> None:
    with database.write() as session:
        study = fill(session, (*MUSICEVAL, CLARITY)).study
        found = Results.of(ratings_table(session, study), study.scales)
    assert list(found.clips["clarity"]) == list(found.clips["musical_impression"]) == [3.0, 4.5]
    assert found.table.heads[-1] == "Clarity"
    assert found.table.rows[0][-1] == found.table.rows[0][-3]


def test_mos_and_students_interval(database: Database) -> None:
    with database.write() as session:
        table = mos_table(ratings_table(session, fill(session).study), KEYS)
    assert list(table["clip"]) == ["A1", "B1"]
    row = table.iloc[0]
    assert (row["system"], row["prompt"], row["n_ratings"]) == ("A", "prompt 1", 2)
    assert (row["musical_impression"], row["textual_alignment"]) == (3.0, 4.0)
    assert row["musical_impression_sd"] == pytest.approx(np.sqrt(2))
    # t(0.975, 1) * sqrt(2) / sqrt(2)
    assert row["musical_impression_high"] - 3.0 == pytest.approx(12.706204736)


def test_an_interval_of_five_ratings() -> None:
    ratings = simple([("c", f"r{i}", score) for i, score in enumerate((3, 4, 4, 5, 4))])
    row = mos_table(ratings, ["score"]).iloc[0]
    assert (row["score"], row["n_ratings"]) == (4.0, 5)
    assert row["score_high"] - row["score"] == pytest.approx(2.7764451 * np.sqrt(0.5) / np.sqrt(5))


def test_one_rating_gives_no_interval() -> None:
    row = mos_table(simple([("c", "r", 4)]), ["score"]).iloc[0]
    assert row["score"] == 4.0
    assert np.isnan([row["score_sd"], row["score_low"], row["score_high"]]).all()


def test_an_empty_study_has_empty_tables(database: Database) -> None:
    with database.write() as session:
        ratings = ratings_table(session, Builder(session).study)
    found = Results.of(ratings, MUSICEVAL)
    assert len(ratings) == len(found.clips) == len(found.systems) == found.n_ratings == 0
    assert {"status", "reason"} <= set(ratings)
    assert {"musical_impression_low", "textual_alignment_rank"} <= set(found.systems)


def simple(rows: list[tuple[str, str, float]], *scales: str) -> pd.DataFrame:
    """Ratings as (clip, rater, score); the system is the clip's first letter."""
    table = pd.DataFrame(rows, columns=["clip", "rater", "score"])
    return table.assign(system=table["clip"].str[0], prompt="", status="valid", **dict.fromkeys(scales, table["score"]))


def test_a_system_is_the_mean_of_its_clips() -> None:
    given = {"a1": (1, 2), "a2": (4,), "b1": (5, 5), "c1": (2.75,)}
    rows = [(clip, f"r{i}", score) for clip, scores in given.items() for i, score in enumerate(scores)]
    table = system_table(simple(rows), ["score"])
    assert list(table["system"]) == ["a", "b", "c"]
    assert list(table["score"]) == [2.75, 5.0, 2.75]  # a: the mean of 1.5 and 4
    assert list(table["score_rank"]) == [2, 1, 2]
    assert list(table["n_clips"]) == [2, 1, 1]
    assert list(table["n_ratings"]) == [3, 2, 1]


def test_the_systems_interval_counts_raters_and_clips() -> None:
    """Over many simulated studies it covers the truth; for independent ratings it would be too short."""
    random = np.random.default_rng(4)
    covered, width, naive = [], [], []
    for seed in range(60):
        bias, quality = random.normal(0, 0.5, 14), random.normal(3, 0.5, 20)
        rows = [
            (f"a{clip}", f"r{rater}", quality[clip] + bias[rater] + random.normal(0, 0.45))
            for clip in range(20)
            for rater in random.choice(14, 5, replace=False)
        ]
        row = system_table(simple(rows), ["score"], seed=seed).iloc[0]
        covered.append(row["score_low"] <= 3.0 <= row["score_high"])
        width.append(row["score_high"] - row["score_low"])
        naive.append(2 * 1.96 * np.std([score for *_, score in rows]) / 10)
    assert 0.88 <= np.mean(covered) <= 1.0
    assert np.mean(width) > 1.5 * np.mean(naive)


def test_the_bootstrap_is_seeded() -> None:
    rows = [(f"a{clip}", f"r{rater}", (clip * rater) % 5 + 1) for clip in range(6) for rater in range(5)]
    first, again, other = (system_table(simple(rows), ["score"], seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert first["score_low"].item() != other["score_low"].item()


def test_what_if_changes_nothing(database: Database) -> None:
    with database.write() as session:
        fill(session)
    change = Change("one", "exclude", "R03", 1)
    compared = what_if(database, "one", lambda session: change.make(session, "asleep", "desk", NOW))
    before, after_it = compared.before, compared.after
    assert list(before.clips["musical_impression"]) == [3.0, 4.5]
    assert list(after_it.clips["musical_impression"]) == [1.5, 4.0]  # the surplus rating counts again
    assert list(after_it.clips["n_ratings"]) == [2, 1]
    assert list(after_it.systems["musical_impression_rank"]) == [2, 1]
    with database.read() as session:
        assert session.query(Exclusion).count() == 1
        assert {batch.state for batch in session.query(Batch) if batch.rater.pseudonym == "R03"} == {"valid"}
    assert compared.ratings == "Valid ratings: 4 before, 3 after."
    first, _ = MUSICEVAL
    moved = "MOS of 2 clips changes, by 1.50 at most; 0 clips lose all their ratings."
    assert compared.moved(first) == moved
    assert [str(cell)[:6] for cell in compared.table(first).rows[0]] == ["A", "3.00 [", "1.50 ["]
    assert {compared.ratings, moved} <= set(compared.text().splitlines())


def test_a_clip_can_lose_all_its_ratings() -> None:
    ratings = simple([("a1", "r1", 4), ("b1", "r2", 2)], *KEYS)
    both, one = (Results.of(given, MUSICEVAL) for given in (ratings, ratings[ratings["rater"] == "r1"]))
    compared = Comparison(both, one)
    assert compared.moved(MUSICEVAL[0]).endswith("; 1 clips lose all their ratings.")
    assert compared.table(MUSICEVAL[0]).rows[1][2] == "no valid rating"


def test_what_if_needs_a_study(database: Database) -> None:
    with pytest.raises(StudyError):
        what_if(database, "none", lambda session: None)
    with database.read() as session:
        assert session.query(Study).count() == 0


def test_signs_of_not_listening() -> None:
    table = listening_signs(panel(KINDS), KEYS).set_index("rater")
    assert table["flags"].to_dict() == {
        "R1": [],
        "R2": [],
        "R3": ["straight-lining"],
        "R4": ["straight-lining"],
        "R5": ["too fast"],
        "R6": ["not heard"],
    }
    assert list(table["ratings"]) == [63] * 6
    assert list(table["batches"]) == [3] * 6
    assert table.loc["R3", "straight_lined_batches"] == 3
    assert (table.loc["R5", "fast_ratings"], table.loc["R6", "unheard_ratings"]) == (63, 63)


def test_the_time_to_think_begins_when_the_clip_was_there() -> None:
    """A clip that is sent late is not one that was answered late; one that was fetched ahead neither."""
    rows = [
        rating("R1", clip, 3, 3, **{late: after(5)}, given_at=after(15.5))
        for clip, late in enumerate(["served_at", "shown_at"] * 6)
    ]
    assert listening_signs(pd.DataFrame(rows), KEYS)["flags"].item() == ["straight-lining", "too fast"]


def test_few_ratings_say_nothing() -> None:
    rows = [rating("R1", clip, 4, 4, heard_s=0.0, given_at=after(10)) for clip in range(9)]
    assert listening_signs(pd.DataFrame(rows), KEYS)["flags"].item() == []


def test_excluded_batches_are_counted_and_practice_is_not() -> None:
    rows = [rating("R1", 0, 3, 3, status="practice", batch=0), rating("R1", 1, 3, 3, status="excluded"),
            rating("R1", 2, 3, 3, status="excluded", batch=2), rating("R1", 3, 3, 3, batch=3)]  # fmt: skip
    row = listening_signs(pd.DataFrame(rows), KEYS).iloc[0]
    assert (row["ratings"], row["batches"], row["batches_excluded"]) == (3, 3, 2)
