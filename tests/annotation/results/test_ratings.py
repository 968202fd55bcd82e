"""The standing of every rating, mean opinion scores with their intervals, systems, and changes not made."""

from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.ratings import (
    Results,
    comparison_text,
    mos_table,
    ratings_table,
    system_table,
    what_if,
)
from annotation.schema import Batch, Clip, Exclusion, Prompt, Rater, Rating, Study, System, Trial
from annotation.studies import create
from core.errors import StudyError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Builder:
    """Writes a study's rows, one batch a call; times go on by a minute a rating."""

    def __init__(self, session: Session, raters_per_clip: int = 2) -> None:
        self.session = session
        self.study = create(session, "one", Protocol(raters_per_clip=raters_per_clip), 1, NOW)
        self.minutes = count()
        self.clips: dict[str, Clip] = {}
        self.raters: dict[str, Rater] = {}

    def clip(self, name: str, kind: str = "stimulus") -> Clip:
        if name not in self.clips:
            system = self._one(System, name=name[0])
            prompt = self._one(Prompt, text=f"prompt {name[1:]}")
            self.clips[name] = Clip(
                study_id=self.study.id, kind=kind, system_id=system.id, prompt_id=prompt.id, name=name,
                source_file=f"{name}.wav", source_sha256=name, duration_s=10.0, gain_db=0.0,
                gain_lowered=False, added_at=NOW,
            )  # fmt: skip
            self.session.add(self.clips[name])
            self.session.flush()
        return self.clips[name]

    def _one(self, table: type, **fields: str):
        found = self.session.scalar(select(table).filter_by(study_id=self.study.id, **fields))
        if found is None:
            found = table(study_id=self.study.id, **fields)
            self.session.add(found)
            self.session.flush()
        return found

    def batch(self, pseudonym: str, number: int, state: str, *trials: tuple[str, str, int, int]) -> Batch:
        if pseudonym not in self.raters:
            self.raters[pseudonym] = Rater(study_id=self.study.id, pseudonym=pseudonym, invited_at=NOW)
            self.session.add(self.raters[pseudonym])
            self.session.flush()
        rater = self.raters[pseudonym]
        batch = Batch(
            study_id=self.study.id, rater=rater, number=number, state=state, short=False, opened_at=NOW,
            lease_until=NOW,
        )  # fmt: skip
        for position, (clip, role, impression, alignment) in enumerate(trials, 1):
            kind = role if role in ("anchor", "training") else "stimulus"
            at = NOW + timedelta(minutes=next(self.minutes))
            trial = Trial(
                batch=batch, rater_id=rater.id, clip=self.clip(clip, kind), position=position, role=role,
                token=f"{pseudonym}.{number}.{position}", state="rated", shown_at=at, served_at=at,
            )  # fmt: skip
            trial.rating = Rating(
                musical_impression=impression, textual_alignment=alignment, comment="", played=[[0.0, 10.0]],
                heard_s=10.0, given_at=at + timedelta(seconds=20),
            )  # fmt: skip
        self.session.add(batch)
        self.session.flush()
        return batch

    def exclude(self, batch: Batch, action: str = "exclude", whole_rater: bool = False) -> None:
        self.session.add(
            Exclusion(
                rater_id=batch.rater_id,
                batch_id=None if whole_rater else batch.id,
                action=action,
                rule="anchor",
                reason=f"{'rater' if whole_rater else 'anchor'} below 3",
                evidence={},
                author="protocol",
                at=NOW,
            )
        )
        batch.state = "excluded" if action == "exclude" else "valid"
        self.session.flush()


def fill(session: Session) -> Builder:
    """Two systems, A and B; A1 ends with three ratings in valid batches, one above the two it needs."""
    study = Builder(session)
    study.batch("R01", 0, "valid", ("T1", "training", 3, 3))
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
    standing = list(
        zip(table["rater"], table["clip"], table["role"], table["status"], table["reason"], strict=True)
    )
    assert standing == [
        ("R01", "T1", "training", "practice", "practice never counts"),
        ("R01", "A1", "stimulus", "valid", ""),
        ("R01", "H1", "anchor", "check", "hidden anchor"),
        ("R01", "B1", "stimulus", "valid", ""),
        ("R01", "A1", "duplicate", "check", "second presentation"),
        ("R02", "A1", "stimulus", "excluded", "anchor below 3"),
        ("R02", "H1", "anchor", "check", "hidden anchor"),
        ("R03", "A1", "stimulus", "valid", ""),
        ("R03", "B1", "stimulus", "valid", ""),
        ("R04", "A1", "stimulus", "surplus", "the clip has its 2 valid ratings"),
        ("R05", "B1", "stimulus", "pending", "the batch has not ended"),
    ]  # fmt: skip
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


def test_mos_and_students_interval(database: Database) -> None:
    with database.write() as session:
        table = mos_table(ratings_table(session, fill(session).study))
    assert list(table["clip"]) == ["A1", "B1"]
    row = table.iloc[0]
    assert (row["system"], row["prompt"], row["n_ratings"]) == ("A", "prompt 1", 2)
    assert (row["musical_impression"], row["textual_alignment"]) == (3.0, 4.0)
    assert row["musical_impression_sd"] == pytest.approx(np.sqrt(2))
    assert row["musical_impression_high"] - 3.0 == pytest.approx(
        12.706204736
    )  # t(0.975, 1) * sqrt(2) / sqrt(2)


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
    assert len(ratings) == len(mos_table(ratings)) == len(system_table(ratings)) == 0
    assert {"status", "reason"} <= set(ratings)
    assert {"musical_impression_low", "textual_alignment_rank"} <= set(system_table(ratings))


def simple(rows: list[tuple[str, str, float]]) -> pd.DataFrame:
    """Ratings as (clip, rater, score); the system is the clip's first letter."""
    table = pd.DataFrame(rows, columns=["clip", "rater", "score"])
    return table.assign(system=table["clip"].str[0], prompt="", status="valid")


def test_a_system_is_the_mean_of_its_clips() -> None:
    rows = [
        ("a1", "r1", 1),
        ("a1", "r2", 2),
        ("a2", "r1", 4),
        ("b1", "r1", 5),
        ("b1", "r2", 5),
        ("c1", "r2", 2.75),
    ]
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

    def exclude_the_third(session: Session) -> None:
        batch = session.scalars(select(Batch).join(Rater).where(Rater.pseudonym == "R03")).one()
        batch.state = "excluded"
        session.add(
            Exclusion(
                rater_id=batch.rater_id,
                batch_id=batch.id,
                action="exclude",
                rule="by hand",
                reason="asleep",
                evidence={},
                author="desk",
                at=NOW,
            )
        )

    before, after = what_if(database, "one", exclude_the_third)
    assert list(before.clips["musical_impression"]) == [3.0, 4.5]
    assert list(after.clips["musical_impression"]) == [1.5, 4.0]  # the surplus rating counts again
    assert list(after.clips["n_ratings"]) == [2, 1]
    assert list(after.systems["musical_impression_rank"]) == [2, 1]
    with database.read() as session:
        assert session.query(Exclusion).count() == 1
        assert {batch.state for batch in session.query(Batch) if batch.rater.pseudonym == "R03"} == {"valid"}
    said = comparison_text(before, after)
    assert "valid ratings: 4 before, 3 after" in said
    assert "MOS of 2 clips changes, by 1.50 at most; 0 clips lose all their ratings" in said
    assert "A  3.00 [" in said
    assert "->  1.50 [" in said


def test_a_clip_can_lose_all_its_ratings() -> None:
    ratings = simple([("a1", "r1", 4), ("b1", "r2", 2)]).rename(columns={"score": "musical_impression"})
    ratings["textual_alignment"] = ratings["musical_impression"]
    fewer = ratings[ratings["rater"] == "r1"]
    both = Results(mos_table(ratings), system_table(ratings))
    said = comparison_text(both, Results(mos_table(fewer), system_table(fewer)))
    assert "1 clips lose all their ratings" in said
    assert "->  no valid rating" in said


def test_what_if_needs_a_study(database: Database) -> None:
    with pytest.raises(StudyError, match="no study"):
        what_if(database, "none", lambda session: None)
    with database.read() as session:
        assert session.query(Study).count() == 0
