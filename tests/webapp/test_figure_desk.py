"""The paper's figures on the page of a study: drawn when asked, from valid ratings, with three files each."""

import base64
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from annotation.database import Database
from tests.annotation.rooms import Room
from tests.webapp.layouts import laid_out
from webapp.listening_api import StudyStore
from webapp.study import StudyPage


@pytest.fixture
def page(database: Database, tmp_path: Path) -> Iterator[StudyPage]:
    with laid_out():
        yield StudyPage(StudyStore(database, tmp_path), str)


def test_figures_come_with_their_files(database: Database, page: StudyPage) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=2, name="room")
    desk = page.figures
    nothing = desk.draw("room")
    assert "No rating is valid yet." in nothing[desk.view]
    assert not nothing[desk.systems]["visible"]
    for number in range(2):
        room.rate_batch(number)
    shown = desk.draw("room")
    files = re.findall(r'download="room-([\w-]+)\.(\w+)" href="data:[^,]*,([^"]+)"', shown[desk.view])
    names = ["distributions", "systems-musical_impression", "systems-textual_alignment"]
    names += ["textual_alignment-against-musical_impression", "prompts"]
    assert [name for name, kind, _ in files if kind == "svg"] == names
    assert len(files) == 3 * len(names)
    content = {(name, kind): base64.b64decode(content) for name, kind, content in files}
    assert content["distributions", "png"].startswith(b"\x89PNG")
    given = pd.read_csv(io.BytesIO(content["distributions", "csv"]))
    assert given["points"].tolist() == [1, 2, 3, 4, 5]
    assert given["Musical impression"].sum() == pytest.approx(100)
    assert shown[desk.view].count("<svg") == len(names)
    assert (shown[desk.systems].x, shown[desk.systems].y) == ("Musical impression", "Textual alignment")
    assert desk.view in page.leave()
