"""Clips that are retired, reprompted and replaced: logged, both or neither, and ratings before and after apart."""

from pathlib import Path
from typing import Any

import pytest

from annotation.database import Database
from annotation.life import log
from annotation.material import clip_life
from annotation.protocol import Protocol
from annotation.results.progress import progress
from annotation.results.ratings import ratings_table
from annotation.schema import Clip, Rater, Study
from annotation.session import listening
from annotation.studies import clip_path, create, find_study
from core.errors import StudyError
from tests.annotation.material.test_ingest import run, stored, write
from tests.annotation.rooms import NOW, Room


@pytest.fixture
def filled(database: Database, tmp_path: Path) -> Path:
    """A study with two clips of one system and an anchor."""
    with database.write() as session:
        create(session, "one", Protocol(), 3, NOW)
    for number, name in enumerate(("a.wav", "b.wav", "c.wav", "new.wav")):
        write(tmp_path / name, 1.0 + number / 10)
    one: dict[str, Any] = {"prompt": "p", "system": "S1"}
    rows = [{**one, "file": "a.wav"}, {**one, "file": "b.wav"}, {**one, "file": "c.wav", "kind": "anchor"}]
    assert run(database, tmp_path, rows).failed == []
    return tmp_path


def one(database: Database, file: str, retired: bool = False) -> Clip:
    (found,) = [
        clip for clip in stored(database) if clip.source_file == file and (clip.retired_at is not None) == retired
    ]
    return found


def test_a_reprompted_clip_is_another_with_the_same_sound(database: Database, filled: Path) -> None:
    old = one(database, "a.wav")
    data = filled / "data"
    clip_life.reprompt(database, data, "one", old.name, " Another prompt ", "A typing mistake.")
    new = one(database, "a.wav")
    assert (new.prompt.text, new.replaces_id, new.name == old.name) == ("Another prompt", old.id, False)
    with database.read() as session:
        study = find_study(session, "one")
        paths = [clip_path(data, study, name) for name in (old.name, new.name)]
        (event,) = log(session, study)
        assert progress(session, study, NOW).clips == 2
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert (event.action, event.about, event.reason) == ("reprompt", old.name, "A typing mistake.")
    assert event.details == {
        "file": "a.wav", "before": "a.wav: p", "after": "a.wav: Another prompt", "by": new.name,
    }  # fmt: skip


def test_a_replaced_clip_has_another_sound_and_the_same_place(database: Database, filled: Path) -> None:
    old = one(database, "b.wav")
    clip_life.replace(database, filled / "data", "one", old.name, filled / "new.wav", "new.wav", "It was cut off.")
    new = one(database, "new.wav")
    assert (new.prompt.text, new.system.name, new.kind, new.replaces_id) == ("p", "S1", "stimulus", old.id)
    assert new.wav_sha256 != old.wav_sha256
    assert one(database, "b.wav", retired=True).name == old.name


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        (("reprompt", "p", "why"), "has this prompt already"),
        (("reprompt", " ", "why"), "Give a prompt"),
        (("reprompt", "q", " "), "Say in a sentence why"),
        (("replace", "a.wav", "why"), "has this recording already"),
        (("replace", "new.wav", ""), "Say in a sentence why"),
    ],
)
def test_what_is_refused_changes_nothing(
    database: Database, filled: Path, change: tuple[str, str, str], refused: str
) -> None:
    action, given, reason = change
    clip, data = one(database, "b.wav"), filled / "data"
    before = sorted(data.rglob("*.wav"))
    asked = (given, reason) if action == "reprompt" else (filled / given, given, reason)
    with pytest.raises(StudyError, match=refused):
        getattr(clip_life, action)(database, data, "one", clip.name, *asked)
    assert sorted(data.rglob("*.wav")) == before
    assert all(clip.retired_at is None for clip in stored(database))


def test_a_prompt_cannot_come_back_and_a_retired_clip_not_change(database: Database, filled: Path) -> None:
    data = filled / "data"
    first = one(database, "a.wav")
    clip_life.reprompt(database, data, "one", first.name, "q", "why")
    with pytest.raises(StudyError, match="with this prompt before"):
        clip_life.reprompt(database, data, "one", one(database, "a.wav").name, "p", "why")
    with pytest.raises(StudyError, match="was retired"), database.write() as session:
        clip_life.retire(session, find_study(session, "one"), first.name, "why", NOW)
    with database.write() as session:
        find_study(session, "one").state = "archived"
    with pytest.raises(StudyError, match="is archived"):
        clip_life.reprompt(database, data, "one", one(database, "a.wav").name, "r", "why")


def test_nobody_waits_for_a_retired_clip_and_its_ratings_stay_and_do_not_count(database: Database) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=2, anchors=2)
    room.rate_batch(0)
    here = room.start(1)
    rated = {trial.clip_id for trial in room.trials(0) if trial.role == "stimulus"}
    with database.write() as session:
        study = session.get_one(Study, room.study_id)
        clip = session.get_one(Clip, min(rated))
        clip_life.retire(session, study, clip.name, "It is no music.", room.at)
    assert [trial for trial in room.trials(1) if trial.clip_id == clip.id and trial.state == "open"] == []
    while here.step == "task":
        here = room.rate(1, room.place(1)).place
    with database.read() as session:
        study = session.get_one(Study, room.study_id)
        so_far = progress(session, study, room.at)
        statuses = ratings_table(session, study)["status"].value_counts().to_dict()
        rater = session.get_one(Rater, room.rater_ids[1])
        assert listening.current_step(session, rater, room.at).message == "complete"
    assert (so_far.clips, so_far.clips_done, so_far.ratings_valid) == (3, 3, 6)
    assert (statuses["valid"], statuses["retired"]) == (6, 1)
