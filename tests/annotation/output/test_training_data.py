"""What a judge learns from a study: only clips that count, with the audio where it lies."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from annotation.database import Database
from annotation.material.clips import Entry, add_clip
from annotation.material.sound import normalise
from annotation.output.export import export
from annotation.output.training_data import rated_clips, write_training_data
from annotation.protocol import Protocol
from annotation.schema import Clip
from annotation.session.screening import exclude
from annotation.studies import clip_path, create, find_rater, find_study, invite
from core.audio import read_clip
from core.errors import StudyError
from core.sources import read_source
from tests.annotation.rooms import NOW
from tests.annotation.scripted import rate_all
from tests.clips import pluck

RULES = Protocol(raters_per_clip=2, batch_size=3, anchors=0, duplicates=0, training=0)
PROMPTS = ('=cmd|"x"', "A calm piano")


@dataclass
class Rated:
    database: Database
    data: Path
    clips: list[Clip]


@pytest.fixture
def rated(database: Database, tmp_path: Path) -> Rated:
    """Two raters rate three of the clips; the first gives 2 and 4, the second one more of each."""
    data = tmp_path / "data"
    with database.write() as session:
        study = create(session, "one", RULES, 3, NOW)
        create(session, "none-yet", RULES, 3, NOW, demo=True)
    for number in range(3):
        clip = read_clip((pluck(0.5) * np.float32(0.5 + number / 20), 16_000))
        entry = Entry(f"{number}.wav", PROMPTS[number % 2], f"system {number % 2}")
        add_clip(database, data, study, entry, clip.sha256, normalise(clip, RULES), NOW)
    with database.write() as session:
        invite(session, study, 2, NOW)
        raters = [find_rater(session, study, name).id for name in ("R01", "R02")]
        clips = session.query(Clip).order_by(Clip.id).all()
    for more, rater_id in enumerate(raters):
        rate_all(database, rater_id, lambda _clip, _role, more=more: (2 + more, 4 + more), NOW)
    return Rated(database, data, clips)


def test_the_table_is_that_of_the_study(rated: Rated) -> None:
    table = rated_clips(rated.database, rated.data, "one").table
    rows = {row["clip_id"]: row for row in table.to_dict("records")}
    assert rows.keys() == {clip.name for clip in rated.clips}
    for number, clip in enumerate(rated.clips):
        row = rows[clip.name]
        assert (row["musical_impression"], row["textual_alignment"], row["n_ratings"]) == (2.5, 4.5, 2)
        assert row["musical_impression_sd"] == pytest.approx(0.5**0.5)
        assert (row["prompt"], row["system_id"]) == (PROMPTS[number % 2], f"system {number % 2}")
        assert row["prompt_id"] == ("P001", "P002")[number % 2]
        with rated.database.read() as session:
            study = find_study(session, "one")
            assert Path(row["audio_path"]) == clip_path(rated.data, study, clip.name)


def test_only_valid_ratings_count(rated: Rated) -> None:
    with rated.database.write() as session:
        exclude(session, find_rater(session, find_study(session, "one"), "R02"), "why not", "me", NOW)
    table = rated_clips(rated.database, rated.data, "one").table
    assert set(table["musical_impression"]) == {2.0}
    assert set(table["n_ratings"]) == {1}
    assert table["musical_impression_sd"].isna().all()


def test_a_folder_reads_like_an_export(rated: Rated, tmp_path: Path) -> None:
    folder = write_training_data(rated.database, rated.data, "one", tmp_path / "deep" / "training", NOW)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "rated_clips.csv"]
    ours = read_source(folder).table
    export(rated.database, rated.data, "one", tmp_path / "export", NOW)
    theirs = read_source(tmp_path / "export").table
    assert ours.drop(columns="audio_path").equals(theirs.drop(columns="audio_path"))
    for one, other in zip(ours["audio_path"], theirs["audio_path"], strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()
        assert Path(one).resolve().is_relative_to(rated.data)


@pytest.mark.parametrize("demo", [False, True])
def test_manifests_tell_simulated_ratings(rated: Rated, tmp_path: Path, demo: bool) -> None:
    with rated.database.write() as session:
        find_study(session, "one").demo = demo
    folder = write_training_data(rated.database, rated.data, "one", tmp_path / "training", NOW)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["study"], manifest["demo"], manifest["counts"]) == (
        "one",
        demo,
        {"clips": 3, "ratings": 6},
    )
    assert manifest["protocol"]["raters_per_clip"] == 2
    assert export(rated.database, rated.data, "one", tmp_path / "export", NOW)["demo"] is demo


def test_what_cannot_be_written_is_said(rated: Rated, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="No clip of the study 'none-yet' has a valid rating yet"):
        rated_clips(rated.database, rated.data, "none-yet")
    with pytest.raises(StudyError, match="There is no study"):
        write_training_data(rated.database, rated.data, "two", tmp_path / "training", NOW)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(StudyError, match="has something in it"):
        write_training_data(rated.database, rated.data, "one", tmp_path / "full", NOW)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith(".part")) == []
