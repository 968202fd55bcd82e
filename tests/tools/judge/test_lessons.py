"""What the embedded judge is taught, from tables of a material without audio."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.judge import lessons
from tools.judge.material import COLUMNS, pair


def written(folder: Path, table: str, rows: Sequence[Mapping[str, object]]) -> None:
    with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS[table])
        writer.writeheader()
        writer.writerows(rows)


def test_what_is_no_music_is_held_against_music(tmp_path: Path) -> None:
    kinds = {**dict.fromkeys("abcd", "recorded"), "e": "loop"}
    written(tmp_path, "clips", [{"file": name, "kind": kind, "part": "build"} for name, kind in kinds.items()])
    names = {"sine": "train", lessons.SILENT: "train", "hum": "test"}
    sounds = [{"audio_path": name, "system_id": name, "split": split} for name, split in names.items()]
    written(tmp_path, "sounds", sounds)
    written(tmp_path, "damaged", [pair(name, f"{name}-strong", "noise", "build") for name in "abcd"])
    written(tmp_path, "mistakes", [])
    pairs = [*lessons.music_above_sounds(tmp_path, "build", 0)]
    held = [(of.better.file.name, of.worse.file.name) for of in pairs]
    music = sorted([*"abcd", *(f"{name}-strong" for name in "abcd")])
    assert sorted(held) == [(better, "sine") for better in music]  # no loop, no silence, nothing to be checked with


def test_what_a_network_made_is_held_against_what_people_made(tmp_path: Path) -> None:
    kinds = {**dict.fromkeys("abcdefghijkl", "recorded"), "x": "generated", "l": "played", "m": "loop"}
    written(tmp_path, "clips", [{"file": name, "kind": kind, "part": "build"} for name, kind in kinds.items()])
    held = [(of.better.file.name, of.worse.file.name) for of in lessons.people_above_network(tmp_path, "build", 0)]
    assert sorted(held) == [(better, "x") for better in "abcdefghijkl"]


def test_what_pairs_weigh_together(tmp_path: Path) -> None:
    written(
        tmp_path, "damaged_twice", [pair("a", "b", "noise and dull", "build"), pair("c", "d", "x and y", "build", 0.5)]
    )
    weighed = lessons._weighing(lessons.pairs_of(tmp_path, "damaged_twice", "build"), 6.0)
    assert [of.weight for of in weighed] == [4.0, 2.0]


def test_strong_damage_and_all_mistakes_of_a_part_are_taught(tmp_path: Path) -> None:
    rows = [
        pair("a", "a-mild", "noise", "build", 0.5),
        pair("a", "a-strong", "noise", "build"),
        pair("b", "b-strong", "noise", "check"),
    ]
    written(tmp_path, "damaged", rows)
    mistakes = [pair("c", "c-wrong", "wrong notes", "build"), pair("c", "c-late", "jitter", "build", 0.5)]
    written(tmp_path, "mistakes", mistakes)
    taught = [(of.better.file.name, of.worse.file.name, of.weight) for of in lessons.faults(tmp_path, "build")]
    weight = lessons.MISTAKES_WEIGHT
    assert taught == [("a", "a-strong", 1.0), ("c", "c-wrong", weight), ("c", "c-late", weight)]
