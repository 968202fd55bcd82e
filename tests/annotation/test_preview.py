"""A preview is what raters see, in a database of its own: nothing of it reaches the study."""

import os
import time
from pathlib import Path

import pytest

from annotation import preview, studies
from annotation.database import Database
from annotation.session import listening
from core.errors import AccessError
from tests.annotation.rooms import NOW, Room
from tests.webapp.studies import rows


def test_a_draft_is_walked_through_and_nothing_is_kept(database: Database, tmp_path: Path) -> None:
    room = Room.build(database, training=1)
    with database.write() as session:
        room.study(session).state = "draft"
    before = rows(database)
    code = preview.make_preview(database, tmp_path, "room")
    file = preview.preview_file(tmp_path, studies.hash_code(code))
    assert file is not None
    copy = Database(f"sqlite:///{file}")
    with copy.write() as session:
        rater = studies.authorise(session, studies.enter(session, code, NOW), NOW)
        assert rater.pseudonym == preview.RATER
        listening.about(session, rater, {}, NOW)
        step = listening.start(session, rater, NOW)
        assert step.task is not None
        assert step.task.practice
    copy.close()
    assert rows(database) == before
    with database.write() as session, pytest.raises(AccessError):
        studies.enter(session, code, NOW)


def test_previews_go_after_a_day_and_no_other_file_is_one(database: Database, tmp_path: Path) -> None:
    Room.build(database)
    codes = [preview.make_preview(database, tmp_path, "room") for _ in range(2)]
    first, second = (preview.preview_file(tmp_path, studies.hash_code(code)) for code in codes)
    assert first is not None
    old = time.time() - preview.LIFE_S - 1
    os.utime(first, (old, old))
    preview.make_preview(database, tmp_path, "room")
    assert not list(first.parent.glob(f"{first.stem}*"))
    assert second is not None
    assert second.exists()
    for name in ("../musiceval", "", "x", "." * 64):
        assert preview.preview_file(tmp_path, name) is None
