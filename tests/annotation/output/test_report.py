"""The report of a study: one file that needs nothing, with what the export has, and no number without meaning."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from annotation.database import Database
from annotation.export import export
from annotation.report.document import report
from annotation.schema import Answer
from annotation.session import listening
from tests.annotation.output.test_export import HOSTILE, Done, done
from tests.annotation.rooms import Room

__all__ = ["done"]


class Page(HTMLParser):
    """What a browser would fetch or run, and the text that it would show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.fetched, self.text = list[str](), list[str](), ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_it_needs_nothing_beside_it(done: Done) -> None:
    page = Page(report(done.database, "one", done.ended).html())
    assert not {"script", "img", "link", "iframe", "b"} & {*page.tags}
    assert all(place.startswith("#") for place in page.fetched)
    assert page.tags.count("svg") == 5  # points, two scales by system, both against each other, prompts


def test_it_says_what_the_export_has(done: Done, tmp_path: Path) -> None:
    export(done.database, done.data, "one", tmp_path / "out", done.ended)
    found = report(done.database, "one", done.ended)
    assert found.ratings_sha256 == hashlib.sha256((tmp_path / "out" / "ratings.csv").read_bytes()).hexdigest()
    text = Page(found.html()).text
    assert found.ratings_sha256 in text
    assert all(row[3] in text for row in found.found.results.table.rows)
    assert re.sub(r"\s+", " ", HOSTILE) in re.sub(r"\s+", " ", text)
    assert found.html() == report(done.database, "one", done.ended).html()


def test_without_ratings_there_is_no_figure(done: Done) -> None:
    html = report(done.database, "none-yet", done.ended).html()
    assert ("<svg" in html, "No rating is valid yet" in html, "not those of experts" in html) == (False, True, True)


def test_answers_about_raters_are_counted(done: Done) -> None:
    """As `rate_all` gives them; the question in own words stands nowhere."""
    (table,) = report(done.database, "one", done.ended).panel
    assert table.rows == [("student of music", 2)]


def test_numbers_have_their_range_and_the_headphone_check_its_outcome(database: Database) -> None:
    room = Room.build(database, raters=4, headphones="optional")
    with database.write() as session:
        room.study(session).questions = [
            {"key": "years", "text": "How many years?", "kind": "number"},
            {"key": "else", "text": "Anything else?", "kind": "text"},
        ]
        for number, years in enumerate(("3", "12.5", "4")):
            said = {"years": years, "else": "my secret"}.items()
            of_rater = {"rater_id": room.rater_ids[number], "given_at": room.at}
            session.add_all(Answer(question=question, answer=answer, **of_rater) for question, answer in said)
    for number, correct in ((0, 6), (1, 2), (1, 5), (2, 4)):
        room.call(number, listening.check_headphones, correct)
    found = report(database, "room", room.at)
    years, headphones = found.panel
    assert (years.caption, years.rows) == ("How many years?", [(3, "4", "3", "12.5")])
    assert headphones.rows == [("passed", 2, 3), ("not passed", 1, 1)]
    html = found.html()
    assert "my secret" not in html
    assert "Headphone check: 5 of 6 right answers pass" in Page(html).text
