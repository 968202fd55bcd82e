"""What is known of one rater and of one clip: figures by hand, nothing where there are too few ratings."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.results import Table
from annotation.results.clips import ClipPage, clip_page, clip_rows, clips_table
from annotation.results.one_rater import RaterPage, rater_page
from annotation.results.ratings import ratings_table
from annotation.results.scores import mos_table
from annotation.schema import Answer, Clip, Response, Study
from annotation.session.exclusions import exclude
from annotation.studies import find_batch, find_rater
from core.scales import keys
from tests.annotation.rooms import NOW, Room, fair


def strict(role: str, clip_id: int) -> tuple[int, int]:
    """A point below the others on clips, and anchors too low."""
    impression, alignment = fair(role, clip_id)
    return (2 if role == "anchor" else max(impression - 1, 1), alignment)


@pytest.fixture(scope="module")
def room(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Three raters of four batches each; the third is strict, and has one batch excluded by hand too."""
    file = tmp_path_factory.mktemp("pages") / "musiceval.sqlite"
    file.write_bytes(empty_database.read_bytes())
    database = Database(f"sqlite:///{file}", durable=False)
    room = Room.build(database, clips=16, anchors=8, raters=4, raters_per_clip=4)
    room.answers[2] = strict
    for _ in range(4):
        for number in range(3):
            room.rate_batch(number)
    with database.write() as session:
        rater = find_rater(session, room.study(session), "R01")
        exclude(session, find_batch(session, rater, 2), "She was ill.", "Ann", room.at)
        session.execute(
            insert(Answer).values(rater_id=rater.id, question="<b>Training</b>?", answer="=cello()", given_at=NOW)
        )
    yield room
    database.close()


def rater(room: Room, name: str) -> RaterPage:
    with room.database.read() as session:
        study = room.study(session)
        return rater_page(session, study, name, ratings_table(session, study))


def clip(room: Room, name: str) -> ClipPage:
    with room.database.read() as session:
        study = room.study(session)
        return clip_page(study, ratings_table(session, study), name)


def row(tables: list[Table], caption: str, name: str) -> list[str]:
    (table,) = [table for table in tables if table.caption.startswith(caption)]
    return next([str(cell) for cell in row] for row in table.rows if row[0] == name)


def test_a_rater_is_held_against_the_others(room: Room) -> None:
    page = rater(room, "R03")
    impression = row(page.tables, "Against", "Musical impression")
    alignment = row(page.tables, "Against", "Textual alignment")
    assert impression[1] == "-0.81"  # 13 of 16 clips can go a point lower
    assert alignment[1:3] == ["+0.00", "–"]
    assert float(impression[2]) > 0.95
    assert impression[4] == "16"
    ours, others = (row(page.tables, "How often", f"Musical impression, {who}") for who in ("this rater", "the others"))
    assert (ours[8], others[8]) == ("16", "32")
    assert float(ours[6]) < float(others[6])


def test_a_raters_checks_and_batches_have_their_evidence(room: Room) -> None:
    page = rater(room, "R03")
    captions = [table.caption for table in page.tables]
    assert "Anchors: mean 2.00, 8 of 8 too low" in captions
    assert "Clips heard twice: 0 of 4 too far apart" in captions
    batch = row(page.tables, "Batches", "Batch 4")
    assert (batch[1], batch[5]) == ("excluded", "An anchor was rated too low. (protocol)")
    assert batch[6].startswith("anchor at ")
    assert row(rater(room, "R01").tables, "Batches", "Batch 2")[5] == "She was ill. (Ann)"
    assert row(rater(room, "R01").tables, "About", "<b>Training</b>?") == ["<b>Training</b>?", "=cello()"]
    assert ("Ratings", "16 excluded, 12 check") in page.facts


def test_a_rater_who_has_not_begun_has_a_page_without_figures(room: Room) -> None:
    page = rater(room, "R04")
    assert dict(page.facts)["Rated"] == "nothing yet"
    assert "None can show yet" in dict(page.facts)["Signs of not listening"]
    assert row(page.tables, "Against", "Musical impression")[1:] == ["–", "–", "–", "0"]
    assert [table.nothing for table in page.tables if not table.rows][:2] == [
        "No batch was begun yet.",
        "No anchor was rated yet.",
    ]


def test_an_anchor_says_whom_it_failed(room: Room) -> None:
    page = clip(room, "room-anchor-16")
    failed, ratings = page.tables
    assert {row[0] for row in failed.rows} == {"R03"}
    assert len(ratings.rows) == 3
    assert page.sentences[0].startswith("Mean of 3 ratings that count: musical impression 4.00, ")
    assert page.sentences[1] == f"It failed {len(failed.rows)} of 3 batches that had it."


def listed(session: Session, study: Study) -> pd.DataFrame:
    ratings = ratings_table(session, study)
    scores = mos_table(ratings, keys(study.scales))
    return clips_table(clip_rows(session, study), study.scales, ratings, scores, {})


def test_clips_come_by_disagreement_and_few_ratings_have_none(database: Database) -> None:
    room = Room.build(database, clips=4, raters=4, raters_per_clip=4)
    for number in range(3):
        room.answers[number] = lambda role, clip, n=number: (
            (5, 5) if role == "anchor" else (1 + 2 * n if clip == 2 else 3, 3)
        )
        room.rate_batch(number)
    with room.database.read() as session:
        study = room.study(session)
        table = listed(session, study)
    assert table["Clip"][0] == "room-stimulus-1"
    assert table["Disagreement"][0] == 1.0  # 2 on one scale, 0 on the other
    assert table["MI"][0] == 3.0
    anchors = table[table["What"] == "anchor"]
    assert anchors[anchors["Answers"] < 3]["Disagreement"].isna().all()
    assert "Disagreement (standard deviation): 1.00" in clip(room, "room-stimulus-1").sentences[0]
    assert clip(room, "nothing").sentences == ["No rating counts yet."]


def test_a_comment_stands_on_both_pages_and_a_retired_clip_says_so(database: Database) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=2)
    room.rate_batch(0)
    trial = next(trial for trial in room.trials(0) if trial.role == "stimulus")
    with database.write() as session:
        session.execute(update(Clip).where(Clip.id == trial.clip_id).values(retired_at=room.at))
        disable = "ALTER TABLE responses DISABLE TRIGGER"  # until the next test has the database
        how = disable if session.get_bind().dialect.name == "postgresql" else "DROP TRIGGER"
        session.connection().exec_driver_sql(f"{how} responses_refuse_update")
        session.execute(update(Response).where(Response.trial_id == trial.id).values(comment="<i>thin</i>"))
        name = session.get_one(Clip, trial.clip_id).name
    assert row(rater(room, "R01").tables, "Comments", "<i>thin</i>")[2][0] == "S"
    (ratings,) = clip(room, name).tables
    assert ratings.rows[-1][3:5] == ("retired: the clip was retired", "<i>thin</i>")
    with database.read() as session:
        study = room.study(session)
        table = listed(session, study).set_index("Clip")
    assert tuple(table.loc[name, ["What", "Comments"]]) == ("retired", 1)
