"""What the embedded judge is taught, from the material's tables and a survey.

Impression: what people said of a survey's clips, on its own range; and pairs, which say nothing of taste but
of faults: a clip above its damaged copies and above itself played with mistakes, and music above what is no
music. Alignment: pairs alone, of a clip with its own caption and with another's. The margin of a pair, one
point, is an assumption: no rater said how much worse a damaged copy is.
"""

import csv
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from core.musiceval import read_source
from core.rated_clips import RatedClips
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL, keys
from core.training.lessons import Lessons
from core.training.pairs import Answer, Pair, PairTable
from tools.judge.material import SPLITS

SPLIT_PARTS = {split: part for part, split in SPLITS.items()}
SILENT = "near-silence"  # gets no score, so nothing is learned from it
SOUNDS_EACH = 4  # clips that a sound is held against
SOUNDS_WEIGHT = 2.0  # of all pairs with sounds, to that of all other pairs


def rows_of(material: Path, table: str, part: str) -> list[dict[str, str]]:
    """Return the rows of a table of the material that are of a part."""
    with (material / f"{table}.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if part in (row.get("part"), SPLIT_PARTS.get(row.get("split", "")))]


def pairs_of(material: Path, table: str, part: str) -> list[Pair]:
    """Return the pairs of a table of the material that are of a part."""
    return [_pair(row, material) for row in rows_of(material, table, part)]


def _pair(row: Mapping[str, str], material: Path) -> Pair:
    scale = MUSICEVAL[keys(MUSICEVAL).index(row["scale"])]
    better, worse = (Answer(material / row[f"{side}_file"], row[f"{side}_prompt"]) for side in ("better", "worse"))
    return Pair(scale, better, worse, float(row["weight"]))


def strong_faults(material: Path, part: str) -> Iterator[Pair]:
    """Return pairs of a clip and one that is clearly worse: of mild faults nobody knows whether they are minded."""
    for table in ("damaged", "mistakes"):
        yield from (pair for pair in pairs_of(material, table, part) if pair.weight == 1.0)


def music_above_sounds(material: Path, part: str, seed: int) -> Iterator[Pair]:
    """Hold each sound that is no music against some clips that are."""
    random = np.random.default_rng([seed, 3])
    music = [row["file"] for row in rows_of(material, "clips", part) if row["kind"] != "loop"]
    for row in rows_of(material, "sounds", part):
        if row["system_id"] == SILENT:
            continue
        for file in random.choice(music, SOUNDS_EACH, replace=False):
            yield Pair(MUSICAL_IMPRESSION, Answer(material / str(file), ""), Answer(material / row["audio_path"], ""))


def lessons(material: Path, people: Path, seed: int) -> tuple[RatedClips, Lessons]:
    """Return the survey's clips, all to train on, and all that is to be learned."""
    survey = read_source(people)
    survey = dataclasses.replace(survey, table=survey.table.assign(split="train"))
    faults = [*strong_faults(material, "build")]
    sounds = [*music_above_sounds(material, "build", seed)]
    share = SOUNDS_WEIGHT * sum(pair.weight for pair in faults) / len(sounds)
    sounds = [Pair(pair.scale, pair.better, pair.worse, share) for pair in sounds]
    captions = pairs_of(material, "prompts", "build")
    tables = [_table(name, pairs) for name, pairs in (("faults", faults), ("sounds", sounds), ("captions", captions))]
    return survey, Lessons.of(survey, tables=tables)


def _table(name: str, pairs: Sequence[Pair]) -> PairTable:
    return PairTable(name, tuple(pairs), sha256="")
