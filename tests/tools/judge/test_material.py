import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import DataError
from core.rated_clips import RatedClips
from tools.judge import material, originals
from tools.judge.captions import Content
from tools.judge.damages import DAMAGES
from tools.judge.material import COLUMNS, MILD, Task, in_parts, sources_as_text, write
from tools.judge.originals import CLIP_S, LEVEL, Original, all_music, hear, level, slug, spoken
from tools.judge.packages import Fetched, known
from tools.judge.scores import MISTAKES, Note
from tools.judge.sounds import RATE_HZ, rms, white_noise

PACKAGES = {package.name: package for package in known()}
SECONDS = 24.0


class Whistle:
    """An orchestra of one sine."""

    def close(self):
        pass

    def play(self, notes, duration_s, room_s):
        sound, t = np.zeros(round(duration_s * RATE_HZ)), np.arange(round(0.2 * RATE_HZ)) / RATE_HZ
        for note in notes:
            start = round(note.start_s * RATE_HZ)
            tone = np.sin(2 * np.pi * 440 * 2 ** ((note.midi + note.cents / 100 - 69) / 12) * t)
            sound[start : start + len(t)] += tone[: max(0, len(sound) - start)]
        return sound.astype(np.float32)


@pytest.fixture
def package(tmp_path):
    """A package with two tracks."""
    root = tmp_path / "package"
    root.mkdir()
    for i in range(2):
        soundfile.write(root / f"Track {i}.wav", white_noise(SECONDS, np.random.default_rng(i)), RATE_HZ)
    return Fetched(dataclasses.replace(PACKAGES["asc-music"], tracks="*.wav", clips=5, genre="metal"), "1", root)


def task(original, folder, part="build"):
    return Task(original, 0, part, folder, Path("python"), Path("packages"), 0)


def test_excerpts_spread_over_the_tracks(package):
    found = list(originals._tracks(package))
    assert [o.name for o in found] == [
        f"asc-music/track-{i}-{turn}" for turn, i in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    ]
    assert len({o.group for o in found}) == 2
    whole, _ = soundfile.read(package.root / "Track 0.wav", dtype="float32")
    start = round(0.5 * (SECONDS - CLIP_S) * RATE_HZ)  # the second of three excerpts is the middle
    sound, mistakes = hear(found[2], Path(), Whistle, 0)
    np.testing.assert_allclose(sound, level(whole[start : start + round(CLIP_S * RATE_HZ)]), atol=1e-6)
    assert rms(sound) == pytest.approx(LEVEL)
    assert mistakes == {}


def test_all_of_a_track_is_on_one_side_and_each_fourth_track_is_kept_apart():
    music = [Original(f"x/{t}-{turn}", f"x/{t}", "x", ()) for turn in range(2) for t in range(8)]
    parts = {original.name: part for original, part in in_parts(music)}
    assert {name for name, part in parts.items() if part == "check"} == {"x/3-0", "x/7-0", "x/3-1", "x/7-1"}


def test_an_original_stands_above_all_that_is_made_from_it(package, tmp_path):
    original = next(originals._tracks(package))
    made = material._made_from(task(original, tmp_path))
    (clip,) = made["clips"]
    assert clip["prompt"] == "A heavy metal track."
    worse = [row["worse_file"] for row in made["damaged"] if row["better_file"] == clip["file"]]
    first = [slug(name) for name in [*DAMAGES][: material.DAMAGES_EACH]]
    assert worse == [
        *(f"audio/asc-music/track-0-0.{name}-{strength}.flac" for name in first for strength in (0, 1)),
        "audio/asc-music/track-0-0.backwards.flac",
    ]
    assert [row["weight"] for row in made["damaged"]] == [*[MILD, 1.0, MILD] * material.DAMAGES_EACH, 1.0]
    strong = [
        row["worse_file"] for row in made["damaged"][:-1] if (row["better_file"], row["weight"]) == (clip["file"], 1)
    ]
    twice = made["damaged_twice"]
    assert [row["better_file"] for row in twice] == [file for file in strong for _ in (0, 1)]
    assert [row["weight"] for row in twice] == [1.0, MILD] * material.DAMAGES_EACH
    assert all(len({*row["kind"].split(" and ")} & {*DAMAGES}) == 2 for row in twice)
    (same,) = made["same"]
    for file in [clip["file"], same["other_file"], *worse, *(row["worse_file"] for row in twice)]:
        info = soundfile.info(tmp_path / file)
        assert (info.samplerate, info.channels, info.duration, info.format) == (RATE_HZ, 1, CLIP_S, "FLAC")


def test_a_score_is_played_with_each_mistake(tmp_path, monkeypatch):
    notes = [Note(0.3 * i, 0.3 * i + 0.2, 60 + i % 7, 0) for i in range(30)]
    monkeypatch.setattr(originals, "_notes", lambda original, python: notes)
    monkeypatch.setattr(material, "_orchestra", lambda python, packages: Whistle())
    made = material._made_from(task(Original("s/tune", "s/tune", "s", (Path("tune.mid"),)), tmp_path))
    assert [row["kind"] for row in made["mistakes"]] == [*MISTAKES]
    assert made["clips"][0]["prompt"] == ""
    sounds = [soundfile.read(tmp_path / row["worse_file"])[0] for row in made["mistakes"]]
    right, _ = soundfile.read(tmp_path / made["clips"][0]["file"])
    assert all(rms(sound - right) > 0.2 * rms(right) for sound in sounds)


def test_too_few_notes_and_too_little_sound_give_no_clip(tmp_path, monkeypatch):
    monkeypatch.setattr(originals, "_notes", lambda original, python: [Note(0, 1, 60, 0)])
    assert hear(Original("s", "s", "s", (Path("tune.mid"),)), Path(), Whistle, 0) is None
    soundfile.write(tmp_path / "quiet.wav", np.zeros(RATE_HZ * 12), RATE_HZ)
    assert material._made_from(task(Original("q", "q", "q", (tmp_path / "quiet.wav",)), tmp_path)) == {}


def test_a_clip_is_held_against_captions_that_share_nothing_with_its_own():
    known = {"a": Content("calm"), "b": Content("calm"), "c": Content("tender"), "d": Content("happy")}
    tables = {name: [] for name in COLUMNS}
    material._add_captions(
        tables, known, {"a": "build", "b": "build", "c": "build", "d": "check"}, np.random.default_rng(0)
    )
    assert len(tables["captions"]) == 8
    of_a = [row for row in tables["prompts"] if row["better_file"] == "a"]
    assert {(row["worse_file"], row["worse_prompt"]) for row in of_a if row["kind"] == "sentence"} == {
        ("a", "A gentle and tender instrumental."),
        ("c", "A calm and unhurried instrumental."),
    }
    assert all(row["better_file"] != "d" for row in tables["prompts"])


def test_what_is_no_music_is_a_table_of_rated_clips(package, tmp_path, monkeypatch):
    monkeypatch.setattr(material, "SOUNDS_EACH", 1)
    monkeypatch.setattr(material, "CLIP_S", 1.0)
    speech = dataclasses.replace(package.package, name="speech", use="speech", clips=1)
    tables = {name: [] for name in COLUMNS}
    material._add_sounds(
        tables, {"speech": dataclasses.replace(package, package=speech)}, tmp_path, np.random.default_rng(0)
    )
    with (tmp_path / "sounds.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS["sounds"])
        writer.writeheader()
        writer.writerows(tables["sounds"])
    rated = RatedClips.from_csv(tmp_path / "sounds.csv")
    assert [scale.key for scale in rated.scales] == ["musical_impression"]
    assert {*rated.table["musical_impression"]} == {1.0}
    assert "speech" in {*rated.table["system_id"]}


def test_spoken_clips_last_10_s(package):
    (clip,) = spoken(
        dataclasses.replace(package, package=dataclasses.replace(package.package, clips=1)), np.random.default_rng(0)
    )
    assert len(clip[1]) == CLIP_S * RATE_HZ


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="give a new folder"):
        write(tmp_path, None, (), 0, print)


def test_sources_are_a_table_of_the_card():
    row = dict(zip(COLUMNS["sources"], ("p", "PyPI", "1", "MIT", "A. Author", 3), strict=True))
    assert sources_as_text([row]).splitlines()[2] == "| p | PyPI | 1 | MIT | A. Author | 3 |"


def test_all_music_goes_without_what_was_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(originals, "CORPUS", ())
    music21 = Fetched(PACKAGES["music21"], "1", tmp_path)
    assert list(all_music({"music21": music21})) == []
