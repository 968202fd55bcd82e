"""The report of a study: one file that needs nothing, with what the export has, and no number without meaning."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

from annotation.export import export
from annotation.report.document import report
from tests.annotation.output.test_export import HOSTILE, Done, done

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
