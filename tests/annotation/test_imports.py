"""Ratings that exist already, as a study: what they tell is kept, what they do not tell is not made up."""

import dataclasses
from pathlib import Path

import krippendorff
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from annotation.database import Database
from annotation.export import export
from annotation.imports import reading
from annotation.imports.store import ImportReport, import_ratings
from annotation.life import log, move
from annotation.material.ingest import ingest
from annotation.preview import make_preview
from annotation.report.document import report
from annotation.results.live import count_on, live
from annotation.results.rescreening import rescreen
from annotation.results.status import NOT_SCREENED, Overview, overview
from annotation.schema import Batch, Clip, Rater, Response, Trial
from annotation.session.exclusions import Change, possible_changes
from annotation.studies import find_study, invite, renew
from core.errors import DataError, MusicEvalError, StudyError
from core.scales import MUSICEVAL, Scale, keys
from tests.annotation.rooms import NOW
from tests.clips import write_clip
from tests.releases import write_release
from tests.webapp.studies import rows

TABLE = """sample_id,listener_name,score,note
a,Ann,1,x
a,Bob,3,
a,Ann,2,
b,Bob,5,
b,Cy,4,
"""
CLARITY = Scale("clarity", "Clarity", "How clear is it?", ("a", "b", "c", "d", "e"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "found.csv"
    file.write_text(TABLE)
    return file


@pytest.fixture
def done(database: Database, tmp_path: Path, table: Path) -> ImportReport:
    return import_ratings(database, tmp_path, "found", table, NOW)


def means(database: Database, found: Overview, key: str) -> dict[str, float]:
    """The clips' means by what the source calls them."""
    with database.read() as session:
        names = dict(session.execute(select(Clip.name, Clip.source_file)).all())
    clips = found.results.clips
    return {names[clip]: mean for clip, mean in zip(clips["clip"], clips[key], strict=True)}


def test_a_table_becomes_a_study_that_has_ended(database: Database, done: ImportReport) -> None:
    assert (done.ratings, done.clips, done.raters, done.with_audio) == (5, 2, 3, 0)
    assert "clip is sample_id, rater is listener_name, score is score" in str(done)
    assert "1 rating by a rater who had rated the clip before" in str(done)
    assert 'not used: "note"' in str(done)
    found = overview(database, "found")
    assert means(database, found, "score") == {"a": 2.0, "b": 4.5}
    assert found.reliability.ratings["valid"] == 5
    with database.read() as session:
        study = find_study(session, "found")
        assert (study.state, study.has_batches, study.imported["source"]) == ("closed", False, "found.csv")
        assert [event.action for event in log(session, study)] == ["import"]
        so_far = live(session, study, NOW, count_on(session, study, None))
        assert (so_far.clips_done, so_far.clips, so_far.ratings_valid, so_far.ratings_needed) == (2, 2, 5, 5)
        assert (so_far.sentences, so_far.silent) == ([], "")
        raters = session.execute(select(Rater.pseudonym, Rater.note, Rater.invited_at, Rater.code_sha256)).all()
        assert [tuple(row) for row in raters] == [
            (f"R0{n + 1}", name, None, None) for n, name in enumerate(("Ann", "Bob", "Cy"))
        ]
        assert {(trial.token, trial.shown_at, trial.served_at) for trial in session.scalars(select(Trial))} == {
            (None,) * 3
        }
        assert {(one.given_at, one.heard_s) for one in session.scalars(select(Response))} == {(None, None)}
        assert {(one.opened_at, one.screened_at) for one in session.scalars(select(Batch))} == {(None, None)}


def test_every_view_says_what_is_not_known(database: Database, done: ImportReport, tmp_path: Path) -> None:
    found = overview(database, "found", data=tmp_path)
    status = found.status
    assert status.faults == status.progress.shortage == []
    assert "tells no batches, order, times or checks" in status.progress.notes[0]
    assert status.checks.excluded == status.checks.by_chance == NOT_SCREENED
    assert status.text().count(NOT_SCREENED) == 3
    assert {row[2:4] + row[5:] for row in status.raters_table.rows} == {("–", "–", "–", "–")}
    told = status.to_json()
    assert (told["checks"], told["protocol"]) == (None, None)
    (rater, *_) = found.reliability.to_json()["raters"]
    unknown = ("batches", "batches_excluded", "straight_lined_batches", "fast_ratings", "unheard_ratings")
    assert [rater[name] for name in unknown] == [None] * 5
    assert found.reliability.scales["score"].change_per == {}
    assert found.reliability.text().count("imported without their order") == 2
    assert found.reliability.scales["score"].repeats.pairs == 1
    page = report(database, "found").html()
    assert NOT_SCREENED in page
    assert "By chance" not in page
    assert "hidden human-made" not in page
    with pytest.raises(StudyError, match="without batches"):
        rescreen(database, "found", {"anchors": 1})


def test_an_export_makes_nothing_up(database: Database, done: ImportReport, tmp_path: Path) -> None:
    manifest = export(database, tmp_path, "found", tmp_path / "out", NOW)
    assert (manifest.protocol, manifest.first_rating_at, manifest.counts.clips_done) == (None, None, 2)
    ratings = pd.read_csv(tmp_path / "out" / "ratings.csv")
    assert ratings[["batch", "position", "heard_s", "shown_at", "given_at"]].isna().all(axis=None)
    assert len(pd.read_csv(tmp_path / "out" / "batches.csv")) == 0
    assert pd.read_csv(tmp_path / "out" / "checks.csv")[["batches", "n_anchors", "repeats"]].isna().all(axis=None)
    assert "Ann" not in "".join(file.read_text() for file in (tmp_path / "out").iterdir())
    again = import_ratings(database, tmp_path, "again", tmp_path / "out", NOW)
    assert again.ratings == 5
    assert means(database, overview(database, "again"), "score").keys() == {*ratings["clip"]}


def test_nobody_goes_on_in_it(database: Database, done: ImportReport, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,prompt,system\n")
    before = rows(database)
    with pytest.raises(StudyError, match="were imported"):
        ingest(database, tmp_path, "found", tmp_path / "list.csv", NOW)
    with pytest.raises(StudyError, match="were imported"):
        make_preview(database, tmp_path, "found")
    for act in (
        lambda session, study: move(session, study, "open", NOW),
        lambda session, study: invite(session, study, 1, NOW),
        lambda session, study: renew(session, study, "R01", NOW),
    ):
        with pytest.raises(StudyError, match="were imported"), database.write() as session:
            act(session, find_study(session, "found"))
    assert rows(database) == before


def test_a_rater_is_left_out_and_put_back_and_never_screened(database: Database, done: ImportReport) -> None:
    with database.write() as session:
        offers = possible_changes(session, find_study(session, "found"))
        assert {offer.batch for offer in offers} == {None}
        Change("found", "exclude", "R01").make(session, "a reason", "me", NOW)
    assert means(database, overview(database, "found"), "score") == {"a": 3.0, "b": 4.5}
    with database.write() as session:
        Change("found", "restore", "R01").make(session, "a reason", "me", NOW)
        assert session.scalars(select(Batch.screened_at)).all() == [None] * 3
    assert means(database, overview(database, "found"), "score") == {"a": 2.0, "b": 4.5}


def test_columns_and_scales_are_named(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "odd.csv"
    file.write_text("was,wer;wie\n".replace(",", ";") + "a;Ann;4\n", encoding="utf-16")
    columns = {"clip": "was", "rater": "wer", "clarity": "wie"}
    import_ratings(database, tmp_path, "odd", file, NOW, columns, (CLARITY,))
    assert overview(database, "odd").results.scales == (CLARITY,)


def test_usual_scales_and_prompts_are_known(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    file.write_text(
        "clip,rater,system,prompt,musical impression,Textual-Alignment\na,r,s1,calm,4,2.0\na,q,s1,calm,5,3\n"
    )
    import_ratings(database, tmp_path, "two", file, NOW)
    found = overview(database, "two").results
    assert found.scales == MUSICEVAL
    assert found.clips[["system", "prompt", *keys(MUSICEVAL)]].values.tolist() == [["s1", "calm", 4.5, 2.5]]


def test_a_release(database: Database, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release")
    for wav in (release / "wav").iterdir():
        wav.unlink()
    import_ratings(database, tmp_path, "musiceval", release / "person_mos", NOW)
    found = overview(database, "musiceval")
    assert means(database, found, "musical_impression") == {
        "audiomos2025-track1-S003_P001.wav": 2.5,
        "audiomos2025-track1-S013_P001.wav": 1.0,
    }
    assert sorted(found.results.clips["prompt"]) == ["A calm piano", "Happy rock"]
    assert sorted(found.results.systems["system"]) == ["S003", "S013"]


def test_audio_is_attached_where_it_is_named(database: Database, tmp_path: Path) -> None:
    write_clip(tmp_path / "a.wav")
    file = tmp_path / "heard.csv"
    file.write_text("clip,rater,score,file\na,r,4,a.wav\nb,r,3,\n")
    done = import_ratings(database, tmp_path, "heard", file, NOW)
    assert done.with_audio == 1
    with database.read() as session:
        a, b = session.scalars(select(Clip).order_by(Clip.id))
        assert (a.duration_s, b.duration_s, b.gain_db, b.gain_lowered) == (4.0, None, None, None)
    assert (tmp_path / "studies" / "heard" / "clips" / f"{a.name}.wav").is_file()
    assert overview(database, "heard", data=tmp_path).status.faults == []
    assert export(database, tmp_path, "heard", tmp_path / "out", NOW, audio=True).missing_audio == [b.name]


BROKEN = """clip,rater,score,prompt,file
a,Ann,6,calm,
a,Bob,2.5,calm,
,Cy,3,calm,
b,,3,calm,
b,Dan,many,calm,
b,Eve,,calm,
a,Fay,3,wild,
c,Gus,3
"""


def test_all_faults_are_told_at_once_and_nothing_is_stored(database: Database, tmp_path: Path) -> None:
    file, before = tmp_path / "broken.csv", rows(database)
    file.write_text(BROKEN)
    with pytest.raises(DataError) as told:
        import_ratings(database, tmp_path, "broken", file, NOW)
    lines = str(told.value).splitlines()
    assert "8 problems" in lines[0]
    assert [f"broken.csv, line {n}" in line for n, line in zip(range(2, 10), lines[1:], strict=True)] == [True] * 8
    assert rows(database) == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a,b\n1,2\n", "no column clip, rater, rating"),
        ("clip,clip_id,rater,score\na,b,r,3\n", "may both be the clip"),
        ("clip,rater,score\n", "has no rows"),
        ("clip,rater,score\n" + "a,r,3\n" * 6, "more than 5 rows"),
        (f"clip,rater,score\n{'a' * 600},r,3\n", "500 are the most"),
        ("clip,rater,score,file\na,r,3,gone.wav\n", "gone.wav"),
    ],
)
def test_what_cannot_be_read_is_said(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, says: str
) -> None:
    monkeypatch.setattr(reading, "MOST_RATINGS", 5)
    file, before = tmp_path / "t.csv", rows(database)
    file.write_text(content)
    with pytest.raises(MusicEvalError, match=says):
        import_ratings(database, tmp_path, "one", file, NOW)
    assert rows(database) == before
    assert not list((tmp_path / "studies").rglob("*.wav"))


def test_a_name_that_is_taken_is_refused(database: Database, done: ImportReport, table: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="already"):
        import_ratings(database, tmp_path, "found", table, NOW)


@pytest.mark.reference
def test_ratings_of_real_listeners(database: Database, tmp_path: Path, reference_data: Path) -> None:
    folder = reference_data / "ratings"
    done = import_ratings(database, tmp_path, "svcc23", folder / "svcc23_ratings.csv", NOW)
    assert (done.ratings, done.clips, done.raters) == (25_440, 4_040, 400)
    found = overview(database, "svcc23")
    published = pd.read_csv(folder / "svcc23_mos.csv", names=["clip", "mos"]).set_index("clip")["mos"]
    mine = pd.Series(means(database, found, "score"))
    np.testing.assert_allclose(mine, published[mine.index], rtol=0, atol=1e-9)
    read = pd.read_csv(folder / "svcc23_ratings.csv")
    counts = pd.crosstab(read["sample_id"], read["score"]).to_numpy()
    for kind, mine in (("interval", "alpha"), ("ordinal", "alpha_ordinal")):
        alpha = krippendorff.alpha(value_counts=counts, value_domain=[1, 2, 3, 4, 5], level_of_measurement=kind)
        assert dataclasses.asdict(found.reliability.scales["score"])[mine] == pytest.approx(alpha, abs=1e-12)
