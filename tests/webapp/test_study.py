"""The page Studies: the right figures, texts that stay texts, what its controls do, its downloads."""

import base64
import contextlib
import re
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from annotation.database import Database
from annotation.protocol import SCREENING, Protocol
from annotation.results.changes import what_if
from annotation.results.live import count_on, live
from annotation.results.status import FIGURES, overview
from annotation.schema import System
from annotation.session.exclusions import Change
from annotation.studies import create, find_study
from core.errors import StudyError
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL, TEXTUAL_ALIGNMENT, Scale
from tests.annotation.rooms import NOW, TINY, Room, deaf, tiny
from tests.webapp.layouts import laid_out
from tests.webapp.studies import make_study, opened
from webapp.changes import comparison
from webapp.html import html_table, render
from webapp.listening_api import StudyStore
from webapp.study import StudyPage, reliability_view, view
from webapp.system_plot import download, systems_plot

ASKED: Any = SimpleNamespace(request=SimpleNamespace(url=SimpleNamespace(scheme="http", netloc="127.0.0.1:7860")))
HOSTILE = "<img src=x onerror=alert(1)> & \"quotes\" 'too' ${1} {{2}}"
VIEWS = ("heading", "progress", "results", "screening")


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Iterator[Database]:
    database = opened(Path(shutil.copy(empty_database, tmp_path / "musiceval.sqlite")))
    yield database
    database.close()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Two raters have finished; a third failed the anchors, and a fourth is in the middle of a batch."""
    folder = tmp_path_factory.mktemp("room")
    database = opened(folder / "musiceval.sqlite")
    room = Room.build(database, clips=4, raters=5, raters_per_clip=3, anchors=2)
    with database.write() as session:
        session.query(System).filter_by(name="S1").one().name = HOSTILE
    room.answers[2] = deaf
    for number in range(3):
        room.rate_batch(number)
    room.rate_batch(3, trials=2)
    yield room
    database.close()


def shown(room: Room) -> dict[str, str]:
    found = overview(room.database, "room", room.at)
    log = html_table("", found.log_table.heads, found.log_table.rows, found.log_table.nothing)
    views = {name: view(name, found) for name in VIEWS}
    return views | {"log": log, "reliability": reliability_view(found.reliability)}


@pytest.fixture(scope="module")
def seen(room: Room) -> dict[str, str]:
    """The views of that study."""
    return shown(room)


def cells(html: str, row: str) -> list[str]:
    """The texts of a table's row, by what it is about."""
    (found,) = re.findall(rf'<tr><th scope="row"><bdi>{row}</bdi></th>(.*?)</tr>', html)
    return [re.sub("<[^>]+>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", found)]


def test_the_live_view_tells_how_far_it_is(room: Room, seen: dict[str, str]) -> None:
    with room.database.read() as session:
        study = find_study(session, "room")
        shown = render("study_live.html", found=live(session, study, room.at, count_on(session, study)))
    assert re.findall("<span>(.*?)</span>", shown) == ["0 of 4", "8 of 12"]
    assert 'aria-valuenow="8" aria-valuemin="0" aria-valuemax="12"' in shown
    assert "At work: R04." in shown
    assert "not those of experts" not in seen["heading"]


def test_progress_tells_who_is_where_and_has_every_figure(room: Room, seen: dict[str, str]) -> None:
    progress = seen["progress"]
    assert cells(progress, "R01")[:4] == ["between batches", "1", "0", "7"]
    assert cells(progress, "R03")[1:4] == ["0", "1", "7"]
    assert cells(progress, "R04")[0] == "batch 1, trial 3 of 7"
    assert cells(progress, "R05")[0] == "not signed in yet"
    found = overview(room.database, "room", room.at).status
    said = re.findall("<dt>(.*?)</dt><dd>(.*?)</dd>", progress)
    assert said == [(figure.name, figure.say(found)) for figure in FIGURES]
    later = overview(room.database, "room", room.at + timedelta(days=1))
    assert "away: others may take its clips" in view("progress", later)


def test_results_have_a_plot_for_each_scale(room: Room, seen: dict[str, str]) -> None:
    results = seen["results"]
    assert (results.count("<svg"), results.count('download="room-')) == (2, 2)
    found = overview(room.database, "room", room.at).results
    for row in found.table.rows:
        assert row[3] in results


def test_screening_puts_the_figures_into_words(seen: dict[str, str]) -> None:
    screening = seen["screening"]
    assert "3 have ended, 1 of them excluded (anchor: 1)" in screening
    rule, reason, figures, author, _ = cells(seen["log"], "Exclude batch 1 of R03")
    assert (rule, reason, author) == ("anchor", "An anchor was rated too low.", "protocol")
    assert re.search(r"anchor at \d got MI 2", figures)


def test_reliability_shows_each_scale(seen: dict[str, str]) -> None:
    reliability = seen["reliability"]
    assert cells(reliability, "Clips heard twice") == ["3", "3"]
    assert len(cells(reliability, "R01")) == 10


def test_a_change_is_shown_beside_what_is(room: Room) -> None:
    change = Change("room", "exclude", "R02", 1)
    html = comparison(change, what_if(room.database, change))
    assert "Exclude batch 1 of R02" in html
    assert "Valid ratings: 8 before, 4 after. Nothing is changed yet." in html
    assert len(re.findall(r"<td><bdi>\d\.\d\d – \(needs 3 more clips\)</bdi></td>", html)) == 8


def test_whatever_was_written_is_text(seen: dict[str, str]) -> None:
    for name, html in seen.items():
        assert "<img" not in html, name
    assert "&lt;img src=x" in seen["results"]


def test_nothing_yet_is_said_in_words(database: Database) -> None:
    with database.write() as session:
        study = create(session, "room", Protocol(), 1, NOW)
    views = shown(Room(database, study.id, []))
    assert "There are no clips to rate: ingest some." in views["heading"]
    assert "Nobody is invited yet." in views["progress"]
    assert "No rating is valid yet" in views["results"]
    assert "Nothing was excluded so far." in views["log"]
    assert "No rating is valid yet" in views["reliability"]


@pytest.mark.parametrize("name", TINY)
def test_a_tiny_study_shows_no_number_without_meaning(database: Database, name: str) -> None:
    views = shown(tiny(database, name))
    for part, html in views.items():
        said = re.sub("<[^>]+>", " ", html)
        assert re.search(r"\b(nan|inf|None|NaT)\b", said) is None, part
    reliability = views["reliability"]
    assert "No rating is valid yet" in reliability or not [
        cell for cell in cells(reliability, "Mean of all clips") if cell == "–"
    ]


def systems(*names: str) -> pd.DataFrame:
    columns = {
        f"{scale.key}{part}": [1.0 + number + add for number in range(len(names))]
        for scale in MUSICEVAL
        for part, add in (("", 0.0), ("_low", -0.5), ("_high", 0.25))
    }
    return pd.DataFrame({"system": names, "n_clips": 7, **columns})


def test_the_plot_has_the_best_system_on_top() -> None:
    drawn = ElementTree.fromstring(systems_plot(systems("worst", "middling", "best"), MUSICAL_IMPRESSION))
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    order = [text for text in texts if text in ("worst", "middling", "best")]
    assert order == ["best", "middling", "worst"]
    assert texts.count("7") == 3
    dots = [float(dot.get("cx", "")) for dot in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert dots == [220.0, 172.0, 124.0]


def test_a_plot_of_hostile_names_is_well_formed() -> None:
    svg = systems_plot(systems(HOSTILE, "a\x00b\n", "long-name-of-a-system-1"), TEXTUAL_ALIGNMENT)
    ElementTree.fromstring(svg)
    assert "long-nam…system-1" in svg
    link = download(svg, 'a"b')
    assert 'download="a&#34;b.svg"' in link
    encoded = re.search('base64,([^"]+)', link)
    assert encoded is not None
    assert base64.b64decode(encoded[1]).decode() == svg


@dataclass
class Desk:
    """The page over a study of which two raters have rated a batch each, and what it was asked to train."""

    page: StudyPage
    database: Database
    trained: list[str] = field(default_factory=list)

    def valid_ratings(self) -> str:
        shown = self.page.open("room")[self.page.live.view]
        return re.findall("<span>(.*?)</span>", shown)[1]

    def screening(self) -> str:
        shown = self.page.open("room")
        return str(shown[self.page.views["screening"]]) + str(shown[self.page.log.table])


def lay_out(database: Database, data: Path) -> Desk:
    trained: list[str] = []

    def train(study: str) -> str:
        trained.append(study)
        return "It <has> begun."

    with laid_out():
        return Desk(StudyPage(StudyStore(database, data), train), database, trained)


@pytest.fixture(scope="module")
def rated(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of that study; each test has a copy."""
    file = Path(shutil.copy(empty_database, tmp_path_factory.mktemp("rated") / "musiceval.sqlite"))
    with contextlib.closing(opened(file)) as database:
        room = Room.build(database, clips=4, raters=3, raters_per_clip=2)
        for number in range(2):
            room.rate_batch(number)
    return file


@pytest.fixture
def desk(rated: Path, tmp_path: Path) -> Iterator[Desk]:
    with contextlib.closing(opened(Path(shutil.copy(rated, tmp_path / "musiceval.sqlite")))) as database:
        yield lay_out(database, tmp_path)


def test_no_study(database: Database, tmp_path: Path) -> None:
    page = lay_out(database, tmp_path).page
    shown = page.open(None)
    assert shown[page.study]["choices"] == []
    assert (shown[page.nothing]["visible"], shown[page.desk]["visible"]) == (True, False)
    assert "python -m annotation create NAME" in page.nothing.value


def test_opening_shows_the_chosen_study_or_the_newest(desk: Desk) -> None:
    Room.build(desk.database, raters=1, name="hall")
    page = desk.page
    for current, name in (("room", "room"), ("hall", "hall"), (None, "hall"), ("gone", "hall")):
        shown = page.open(current)
        assert (shown[page.study]["choices"], shown[page.study]["value"]) == (["hall", "room"], name)
        assert (shown[page.nothing]["visible"], shown[page.desk]["visible"]) == (False, True)
        assert f"{name}: " in shown[page.live.view]


def test_clips_have_their_scores(desk: Desk) -> None:
    clips = desk.page.open("room")[desk.page.clip_desk.overview.table]["value"]
    clips = clips[clips["What"] == "clip"]
    assert sorted(clips["Clip"]) == [f"room-stimulus-{number}" for number in range(4)]
    assert set(clips["Valid"]) == {2}
    assert set(clips["TA"]) == {3.0}
    assert set(clips["TA 95 %"]) == {"needs 1 more rating"}


def test_a_change_is_looked_at_confirmed_and_undone(desk: Desk) -> None:
    page, offer = desk.page, "Exclude batch 1 of R01"
    assert page.open("room")[page.changes.change]["choices"][:2] == ["Exclude R01", offer]
    looked = page.changes.preview("room", offer)
    assert looked[page.changes.waiting] == Change("room", "exclude", "R01", 1)
    assert (looked[page.changes.effect]["visible"], looked[page.changes.confirmation]["value"]) == (True, offer)
    assert desk.valid_ratings() == "8 of 8"
    done = page.changes.confirm(looked[page.changes.waiting], "She was ill.", " ")
    assert (done[page.changes.waiting], done[page.changes.made], done[page.changes.reason]) == (
        None,
        looked[page.changes.waiting],
        "",
    )
    assert [done[part]["visible"] for part in (page.changes.effect, page.changes.done, page.changes.undoing)] == [
        False,
        True,
        True,
    ]
    assert f"Done: {offer}." in done[page.changes.note]
    assert desk.valid_ratings() == "4 of 8"
    assert cells(desk.screening(), offer)[1:4] == ["She was ill.", "–", "administrator"]
    undone = page.changes.undo(done[page.changes.made], "Ann")
    assert (undone[page.changes.made], undone[page.changes.undoing]["visible"]) == (None, False)
    assert f"Undone: {offer}." in undone[page.changes.note]
    assert desk.valid_ratings() == "8 of 8"
    assert cells(desk.screening(), "Restore batch 1 of R01")[3] == "Ann"


def test_what_cannot_be_done_is_said_and_changes_nothing(desk: Desk) -> None:
    page = desk.page
    waiting = page.changes.preview("room", "Exclude R01")[page.changes.waiting]
    attempts: list[tuple[Any, ...]] = [
        (page.changes.preview, "room", None),
        (page.changes.preview, "room", "Restore R01"),
        (page.changes.confirm, None, "why", "me"),
        (page.changes.confirm, waiting, "  ", "me"),
        (page.changes.undo, None, "me"),
        (page.invitations.invite, "room", None, True, "", ASKED),
        (page.invitations.invite, None, 1, True, "", ASKED),
        (page.invitations.renew, "room", None, ASKED),
        (page.export, None),
        (page.rescreen, "room", None, *[rule.default for rule in SCREENING[1:]]),
        (page.rescreen, None, *[rule.default for rule in SCREENING]),
    ]
    for handler, *given in attempts:
        with pytest.raises(StudyError):
            handler(*given)
    assert desk.valid_ratings() == "8 of 8"
    assert "Nothing was excluded so far." in desk.screening()


def test_other_rules_are_tried_and_nothing_changes(desk: Desk) -> None:
    page = desk.page
    shown = page.open("room")
    own = [shown[part]["value"] for part in page.rules]
    assert own == [getattr(Protocol(), rule.name) for rule in SCREENING]
    names = [rule.name for rule in SCREENING]
    others = dict(zip(names, own, strict=True)) | {"anchor_scale": "textual_alignment", "anchor_fail_below": 4.5}
    said = page.rescreen("room", *others.values())
    assert "--anchor-fail-below 4.5 in place of 3, --anchor-scale textual_alignment in place of" in said
    assert cells(said, "batch 1 of R01") == ["counts", "An anchor was rated too low."]
    assert cells(said, "R01") == ["0", "1", "4", "0"]
    assert desk.valid_ratings() == "8 of 8"
    again = page.open("room", shown[page.shown])
    assert not {*page.rules, page.rescreened} & again.keys()


def test_a_study_of_other_scales_has_them_in_the_menu(desk: Desk) -> None:
    scale = Scale("clarity", "Clarity", "How clear is it?", ("a", "b", "c", "d", "e"))
    with desk.database.write() as session:
        create(session, "hall", Protocol(anchors=0), 1, NOW, scales=(scale,))
    page = desk.page
    (menu,) = (part for part, rule in zip(page.rules, SCREENING, strict=True) if rule.name == "anchor_scale")
    shown = page.open("hall")[menu]
    assert (shown["value"], shown["choices"]) == ("clarity", [("Clarity", "clarity")])


def test_codes_are_shown_once(desk: Desk) -> None:
    page = desk.page.invitations
    shown = page.invite("room", 2, True, "", ASKED)[page.codes]
    again = page.renew("room", "R04", ASKED)[page.codes]
    assert ["R04" in shown, "R05" in shown, "R04" in again, "R05" in again] == [True, True, True, False]
    codes = set(re.findall(r"<bdi>(\S{14})</bdi>", shown + again))
    assert len(codes) == 3
    later = str(desk.page.open("room"))
    assert not any(code in later for code in codes)


def test_training_is_told_in_the_words_of_the_run(desk: Desk) -> None:
    assert "It &lt;has&gt; begun." in desk.page.train("room")
    assert desk.trained == ["room"]


def test_another_study_begins_afresh(desk: Desk) -> None:
    page = desk.page
    shown = page.open("room", "hall")
    assert [shown[part] for part in (page.invitations.codes, page.export_note, page.training_note)] == ["", "", ""]
    assert (shown[page.changes.waiting], shown[page.changes.made], shown[page.changes.done]["visible"]) == (
        None,
        None,
        False,
    )
    assert [shown[part]["value"] for part in (page.changes.change, page.invitations.rater)] == [None, None]


def test_an_answer_that_comes_late_takes_nothing_back(desk: Desk) -> None:
    page = desk.page
    first = page.open("room")
    late = page.open("room", first[page.shown])
    assert not {page.invitations.codes, page.changes.waiting, page.changes.made, page.changes.done} & late.keys()
    assert not [part for part in (page.changes.change, page.invitations.rater) if "value" in late[part]]


def test_a_clip_whose_file_is_damaged_stands_on_the_page(database: Database, tmp_path: Path) -> None:
    study = make_study(database, tmp_path, stimuli=2, raters=1)
    clips = sorted((tmp_path / "studies" / study.name / "clips").iterdir())
    page = lay_out(database, tmp_path).page
    assert "No rater hears" not in str(page.open(study.name)[page.views["heading"]])
    clips[0].write_bytes(b"")
    shown = str(page.open(study.name)[page.views["heading"]])
    assert "No rater hears 1 clip" in shown
    assert clips[0].name in shown


def test_no_handler_is_an_endpoint(database: Database, tmp_path: Path) -> None:
    with laid_out() as app:
        StudyPage(StudyStore(database, tmp_path), str).opens(app.load)
    assert len(app.fns) >= 10
    assert {function.api_visibility for function in app.fns.values()} == {"private"}
