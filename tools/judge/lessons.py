"""What the embedded judge is taught, from the material's tables and a survey.

Impression: what people said of a survey's clips, on its own range; and pairs, which say nothing of taste but
of faults: a clip above its damaged copies, these above what they are with a second damage, a clip above itself
played with mistakes, music, even if it is damaged, above what is no music, and music that people made above
what a network made. The last is what the listening test of the MusicEval paper takes for granted when it judges
raters by recordings of people (section IV.C). Alignment: pairs alone, of a clip with its own caption and with
another's. The margins of pairs are assumptions: no rater said how much worse a damaged copy is. That of faults
is small, so that many faults are heard rather than few of them much. That of people above a network is large
beside a small weight: so it is their means that are drawn apart, and not each clip from each.
"""

import csv
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
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
SOUNDS_EACH, PEOPLE_EACH = 4, 12  # clips that a sound, and a clip by a network, is held against
SOUNDS_WEIGHT, TWICE_WEIGHT, PEOPLE_WEIGHT = 1.0, 0.8, 0.065  # of all such pairs, to the number of pairs of faults
MISTAKES_WEIGHT = 7.0  # of a pair: there are 5 times as many of damaged copies
SOUNDS_MARGIN, PEOPLE_MARGIN, CAPTIONS_MARGIN = 0.9, 2.0, 1.0  # points; of faults the recipe's


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


def faults(material: Path, part: str) -> Iterator[Pair]:
    """Return pairs of a clip and a worse one: of mild damage, unlike mistakes, nobody knows whether it is minded."""
    yield from (pair for pair in pairs_of(material, "damaged", part) if pair.weight == 1.0)
    mistakes = pairs_of(material, "mistakes", part)
    yield from (dataclasses.replace(pair, weight=MISTAKES_WEIGHT) for pair in mistakes)


def music_above_sounds(material: Path, part: str, seed: int) -> Iterator[Pair]:
    """Hold each sound that is no music against some clips that are, and against some that were spoilt."""
    random = np.random.default_rng([seed, 3])
    whole = [material / row["file"] for row in rows_of(material, "clips", part) if row["kind"] != "loop"]
    spoilt = [pair.worse.file for pair in faults(material, part)]
    for row in rows_of(material, "sounds", part):
        if row["system_id"] == SILENT:
            continue
        sound = Answer(material / row["audio_path"], "")
        for music in (whole, spoilt):
            for place in random.choice(len(music), SOUNDS_EACH, replace=False):
                yield Pair(MUSICAL_IMPRESSION, Answer(music[place], ""), sound, margin=SOUNDS_MARGIN)


def people_above_network(material: Path, part: str, seed: int) -> Iterator[Pair]:
    """Hold each clip that a network made against some that people made."""
    random = np.random.default_rng([seed, 5])
    clips = rows_of(material, "clips", part)
    people = [material / row["file"] for row in clips if row["kind"] in ("recorded", "played")]
    for row in clips:
        if row["kind"] == "generated":
            for place in random.choice(len(people), PEOPLE_EACH, replace=False):
                clip = Answer(material / row["file"], "")
                yield Pair(MUSICAL_IMPRESSION, Answer(people[place], ""), clip, margin=PEOPLE_MARGIN)


def lessons(material: Path, people: Path, seed: int) -> tuple[RatedClips, Lessons]:
    """Return the survey's clips, all to train on, and all that is to be learned."""
    survey = read_source(people)
    survey = dataclasses.replace(survey, table=survey.table.assign(split="train"))
    worse = [*faults(material, "build")]
    tables = {
        "faults": worse,
        "twice": _weighing(pairs_of(material, "damaged_twice", "build"), TWICE_WEIGHT * len(worse)),
        "sounds": _weighing(music_above_sounds(material, "build", seed), SOUNDS_WEIGHT * len(worse)),
        "people": _weighing(people_above_network(material, "build", seed), PEOPLE_WEIGHT * len(worse)),
        "captions": [
            dataclasses.replace(pair, margin=CAPTIONS_MARGIN) for pair in pairs_of(material, "prompts", "build")
        ],
    }
    return survey, Lessons.of(survey, tables=[PairTable(name, (*pairs,), "") for name, pairs in tables.items()])


def _weighing(pairs: Iterable[Pair], total: float) -> list[Pair]:
    """The pairs, whose weights are together `total`."""
    pairs = [*pairs]
    times = total / sum(pair.weight for pair in pairs)
    return [dataclasses.replace(pair, weight=pair.weight * times) for pair in pairs]
