"""A database copied into another: everything, hashes alike, nothing over what is there."""

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from annotation.cli import main
from annotation.copying import copy
from annotation.database import Database, now
from annotation.deadlines import postpone
from annotation.results.ratings import ratings_table
from annotation.schema import Deadline, Rater, Study
from core.errors import StudyError
from tests.annotation.rooms import Room, url_of


@pytest.fixture
def room(database: Database) -> Room:
    """Two batches, one excluded, and one begun; the clock has been read."""
    room = Room.build(database, training=2)
    room.answers[1] = lambda _role, _clip: (2, 2)
    for number in range(2):
        room.rate_batch(number)
        room.rate_batch(number)
    room.rate_batch(2, 3)
    with database.write() as session:
        now(session)
    return room


def same(room: Room, url: str) -> None:
    """The copy says what the original does, and a rater goes on in it."""
    other = Database(url)
    with room.database.read() as before, other.read() as after:
        tables = [ratings_table(session, session.get_one(Study, room.study_id)) for session in (before, after)]
    assert len(tables[0])
    assert tables[0].equals(tables[1])
    going_on = Room(other, room.study_id, room.rater_ids, room.protocol, room.at)
    assert going_on.rate_batch(2).batches_done == 1  # with new rows, whose ids follow
    other.close()


def test_all_is_copied(room: Room, tmp_path: Path) -> None:
    """From SQLite, and from PostgreSQL, into SQLite."""
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    copied = copy(url_of(room.database), url)
    assert {name: rows for name, rows, _ in copied.rows}["raters"] == 3
    same(room, url)
    with pytest.raises(StudyError, match="has rows already"):
        copy(url_of(room.database), url)


@pytest.mark.postgresql
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_all_is_copied_into_postgresql(room: Room, postgresql_url: str, tmp_path: Path) -> None:
    there = copy(url_of(room.database), postgresql_url)
    back = copy(postgresql_url, f"sqlite:///{tmp_path / 'back.sqlite'}")
    assert there.rows == back.rows
    same(room, postgresql_url)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_what_does_not_arrive_is_not_kept(room: Room, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.sqlite'}"
    target = Database(url)
    with target.write() as session:
        change = "UPDATE raters SET note = 'other' WHERE id = NEW.id"
        session.execute(text(f"CREATE TRIGGER spoils AFTER INSERT ON raters BEGIN {change}; END"))
    with pytest.raises(StudyError, match="raters did not arrive"):
        copy(url_of(room.database), url)
    with target.read() as session:
        assert session.query(Study).count() == 0
    target.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_by_the_entry_point_and_without_sign_ins(room: Room, tmp_path: Path) -> None:
    """``musiceval study copy``; who is signed in to administrate is not, in the copy."""
    with room.database.write() as session:
        postpone(session, "sign-in", 60, now(session))
    source, target = url_of(room.database), f"sqlite:///{tmp_path / 'other.sqlite'}"
    command = [sys.executable, "-c", "from webapp.cli import run; run()", "study", "copy", source, target]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "raters" in done.stdout
    copied = Database(target)
    with copied.read() as session:
        assert (session.query(Rater).count(), session.query(Deadline).count()) == (3, 0)
    copied.close()


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_the_command(room: Room, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = url_of(room.database), f"sqlite:///{tmp_path / 'other.sqlite'}"
    assert main(["copy", source, target]) == 0
    assert "the same hashes on both sides" in capsys.readouterr().out
    assert main(["copy", f"sqlite:///{tmp_path / 'none.sqlite'}", target]) == 2
    assert not (tmp_path / "none.sqlite").exists()
