"""The standing of every rating, MOS with their intervals, systems, signs, changes that are not made."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.changes import Comparison, what_if
from annotation.results.ratings import ratings_table
from annotation.results.scores import LEAST_DEGREES, Results, mos_table, system_table
from annotation.results.signs import listening_signs, silent_signs
from annotation.schema import Batch, Clip, Exclusion, Prompt, Rater, Rating, Response, System, Trial
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


def test_mos_of_clips_with_too_few_ratings_for_an_interval(database: Database) -> None:
    with database.write() as session:
        table = mos_table(ratings_table(session, fill(session).study), KEYS)
    assert list(table["clip"]) == ["A1", "B1"]
    row = table.iloc[0]
    assert (row["system"], row["prompt"], row["n_ratings"]) == ("A", "prompt 1", 2)
    assert (row["musical_impression"], row["textual_alignment"]) == (3.0, 4.0)
    assert row["musical_impression_sd"] == pytest.approx(np.sqrt(2))
    assert np.isnan([row["musical_impression_low"], row["musical_impression_high"]]).all()
    assert list(table["no_interval"]) == ["needs 1 more rating"] * 2


def rated(clip: str, *scores: float) -> list[tuple[str, str, float]]:
    return [(clip, f"r{number}", score) for number, score in enumerate(scores)]


def test_the_interval_of_a_clip_has_the_variance_within_all_clips() -> None:
    """Raters who happen to agree on a clip are not sure of it for that."""
    rows = [*rated("c", 4, 4, 4, 4, 4), *rated("d", 1, 2, 3, 4, 5), *rated("e", 2, 3, 3, 3, 4)]
    table = mos_table(simple(rows), ["score"]).set_index("clip")
    reach = stats.t.ppf(0.975, 12) * np.sqrt((0 + 10 + 2) / 12 / 5)
    assert table.loc["c", "score_sd"] == 0.0
    assert table.loc["c", ["score_low", "score_high"]].tolist() == pytest.approx([4 - reach, 4 + reach])
    assert table.loc["d", ["score_low", "score_high"]].tolist() == pytest.approx([3 - reach, 3 + reach])
    assert set(table["no_interval"]) == {""}


def test_an_interval_stays_on_the_scale_and_is_never_a_point() -> None:
    rows = [row for clip in "abcde" for row in rated(clip, 5, 5, 5)]
    table = mos_table(simple(rows), ["score"])
    assert set(table["score_high"]) == {5.0}
    assert table["score_low"].max() < 4.7  # answers in whole points alone leave so much open


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (rated("c", 4), "needs 2 more ratings"),
        (rated("c", 4, 2), "needs 1 more rating"),
        (rated("c", 4, 2, 3), f"the study needs {LEAST_DEGREES - 2} more ratings"),
    ],
)
def test_too_few_ratings_give_no_interval_and_a_reason(rows: list[tuple[str, str, float]], reason: str) -> None:
    row = mos_table(simple(rows), ["score"]).iloc[0]
    assert row["score"] == np.mean([score for *_, score in rows])
    assert np.isnan([row["score_low"], row["score_high"]]).all()
    assert row["no_interval"] == reason


def test_the_intervals_of_clips_cover() -> None:
    """Panels of 14 whose whole-point answers often agree: 95 % of intervals hold what a large panel would say."""
    random = np.random.default_rng(6)
    truth, covered = random.uniform(2, 4, 200), []
    edges = np.array([1.5, 2.5, 3.5, 4.5])
    below = stats.norm.cdf((edges - truth[:, None]) / np.hypot(0.3, 0.2))
    mean = 5 - below.sum(axis=1)
    for _ in range(10):
        bias = random.normal(0, 0.3, 14)
        rows = [
            (
                f"{clip:03}",
                f"r{rater}",
                float(np.clip(np.rint(truth[clip] + bias[rater] + random.normal(0, 0.2)), 1, 5)),
            )
            for clip in range(200)
            for rater in random.choice(14, 5, replace=False)
        ]
        table = mos_table(simple(rows), ["score"])
        covered.append(((table["score_low"] <= mean) & (mean <= table["score_high"])).mean())
    assert 0.92 < np.mean(covered) < 0.98


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
    assert np.isnan(table[["score_low", "score_high", "score_rank"]]).all(axis=None)
    assert list(table["no_interval"]) == ["needs 3 more clips", "needs 4 more clips", "needs 4 more clips"]
    assert list(table["n_clips"]) == [2, 1, 1]
    assert list(table["n_ratings"]) == [3, 2, 1]


def test_equal_systems_share_a_rank_and_those_that_do_not_differ_their_possible_ranks() -> None:
    """Two systems alike, one a little better, one far below: the first three cannot be told apart."""
    random = np.random.default_rng(8)
    bias = random.normal(0, 0.3, 10)
    rows = [
        (f"{system}{clip:02}", f"r{rater}", float(np.clip(np.rint(mean + noise + bias[rater]), 1, 5)))
        for clip in range(20)
        for rater in random.choice(10, 5, replace=False)
        for noise in [random.normal(0, 0.6)]
        for system, mean in (("a", 3.5), ("b", 3.5), ("c", 3.6), ("d", 1.8))
    ]
    table = system_table(simple(rows), ["score"]).set_index("system")
    assert table["score_rank"].to_dict() == {"a": 2, "b": 2, "c": 1, "d": 4}
    assert table["score_rank_low"].to_dict() == {"a": 1, "b": 1, "c": 1, "d": 4}
    assert table["score_rank_high"].to_dict() == {"a": 3, "b": 3, "c": 3, "d": 4}


def test_a_system_of_one_rater_has_no_interval() -> None:
    table = system_table(simple([(f"a{clip}", "r", clip % 5 + 1) for clip in range(9)]), ["score"])
    assert (table["no_interval"].item(), np.isnan(table["score_low"].item())) == ("needs 2 more raters", True)


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
    rows = [(f"a{clip}", f"r{rater}", (clip * rater) % 5 + 1) for clip in range(40) for rater in range(5)]
    first, again, other = (system_table(simple(rows), ["score"], seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert first["score_low"].item() != other["score_low"].item()


def test_what_if_changes_nothing(database: Database) -> None:
    with database.write() as session:
        fill(session)
    change = Change("one", "exclude", "R03", 1)
    compared = what_if(database, change)
    before, after_it = compared.before, compared.after
    assert list(before.clips["musical_impression"]) == [3.0, 4.5]
    assert list(after_it.clips["musical_impression"]) == [1.5, 4.0]  # the surplus rating counts again
    assert list(after_it.clips["n_ratings"]) == [2, 1]
    with database.read() as session:
        assert session.query(Exclusion).count() == 1
        assert {batch.state for batch in session.query(Batch) if batch.rater.pseudonym == "R03"} == {"valid"}
    assert compared.ratings == "Valid ratings: 4 before, 3 after."
    first, _ = MUSICEVAL
    moved = "MOS of 2 clips changes, by 1.50 at most; 0 clips lose all their ratings."
    assert compared.moved(first) == moved
    assert compared.table(first).rows[0] == ("A", "3.00 – (needs 4 more clips)", "1.50 – (needs 4 more clips)")
    assert {compared.ratings, moved} <= set(compared.text().splitlines())


def test_a_clip_can_lose_all_its_ratings() -> None:
    ratings = simple([("a1", "r1", 4), ("b1", "r2", 2)], *KEYS)
    both, one = (Results.of(given, MUSICEVAL) for given in (ratings, ratings[ratings["rater"] == "r1"]))
    compared = Comparison(both, one)
    assert compared.moved(MUSICEVAL[0]).endswith("; 1 clips lose all their ratings.")
    assert compared.table(MUSICEVAL[0]).rows[1][2] == "no valid rating"


@pytest.mark.parametrize("change", [Change("none", "exclude", "R01"), Change("one", "restore", "R03", 1)])
def test_what_if_refuses_what_cannot_be_done(database: Database, change: Change) -> None:
    with database.write() as session:
        fill(session)
    with pytest.raises(StudyError):
        what_if(database, change)


def test_what_if_waits_for_no_writer(database: Database) -> None:
    with database.write() as session:
        fill(session)
    with database.write():
        assert what_if(database, Change("one", "restore", "R02", 1)).after.n_ratings == 4


def test_a_sign_that_cannot_show_says_so() -> None:
    assert silent_signs(Protocol()) == []
    (sentence,) = silent_signs(Protocol(batch_size=4))
    assert sentence == "Straight-lining cannot show: it is read into 10 ratings of a batch, and a batch has 8."


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
