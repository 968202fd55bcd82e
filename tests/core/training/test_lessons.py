"""Several sources and pairs: what is taught by which row, and what is not taught because it is held out."""

import math
import shutil
from pathlib import Path

import pytest
import torch

from core.embeddings import Asked, EmbeddingCache
from core.rated_clips import RatedClips
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL, TEXTUAL_ALIGNMENT, keys
from core.training.lessons import Lessons
from core.training.pairs import Answer, Pair, PairTable
from tests.rated import write_rated
from tests.towers import random_tower

PARTS = ["train", "train", "dev", "test", "train", "train"]


def only(clips: RatedClips, key: str) -> RatedClips:
    dropped = [name for other in keys(MUSICEVAL) if other != key for name in (other, f"{other}_sd")]
    return RatedClips(clips.table.drop(columns=dropped), MUSICEVAL)


@pytest.fixture
def clips(tmp_path: Path) -> RatedClips:
    return RatedClips.from_csv(write_rated(tmp_path / "own", clips=6)).with_parts(PARTS)


@pytest.fixture
def others(tmp_path: Path) -> RatedClips:
    """Five clips, of which the second has the audio of a clip that is held out to be measured."""
    table = write_rated(tmp_path / "others", clips=5, duration_s=0.7)
    shutil.copy(tmp_path / "own" / "c03.wav", tmp_path / "others" / "c01.wav")
    return RatedClips.from_csv(table)


def file(clips: RatedClips, row: int) -> Path:
    return Path(clips.table["audio_path"][row])


def test_alone_the_reference_teaches_its_train_part(clips: RatedClips) -> None:
    lessons = Lessons.of(clips)
    target = lessons.target
    assert (list(target.train), list(target.dev), target.scales) == ([0, 1, 4, 5], [2], MUSICEVAL)
    assert torch.equal(target.mos, torch.tensor(clips.mos))
    assert target.pairs is None
    assert lessons.notes == ()
    assert [asked.prompt for asked in lessons.rows] == list(clips.table["prompt"])


def test_others_teach_with_all_clips_whose_audio_is_not_held_out(clips: RatedClips, others: RatedClips) -> None:
    lessons = Lessons.of(only(clips, "musical_impression"), [("b.csv", others)], weights=(1.0, 0.5))
    target = lessons.target
    assert keys(target.scales) == keys(MUSICEVAL)
    assert lessons.notes == ("1 clips of b.csv are not learned from: their audio is held out.",)
    assert [asked.file for asked in lessons.rows[6:]] == [file(others, row) for row in (0, 2, 3, 4)]
    assert list(target.train) == [0, 1, 4, 5, 6, 7, 8, 9]
    assert target.sources().tolist() == [0] * 6 + [1] * 4
    assert target.weights == (1.0, 0.5)
    assert target.mos[:6, 1].isnan().all()  # the reference was not rated on alignment
    assert torch.equal(target.mos[6:], torch.tensor(others.mos[[0, 2, 3, 4]]))
    assert target.references().tolist() == [0, 1]  # so the other is the reference of that scale
    reference = target.at_reference()
    assert reference[:, 0].isnan().tolist() == [False] * 6 + [True] * 4
    assert reference[:, 1].isnan().tolist() == [True] * 6 + [False] * 4


def test_pairs_by_row_and_each_scale_alike(clips: RatedClips, others: RatedClips) -> None:
    first, far = file(clips, 0), file(others, 2)
    impression = [Pair(MUSICAL_IMPRESSION, Answer(first, clips.table["prompt"][0]), Answer(far, "")) for _ in range(3)]
    alignment = Pair(TEXTUAL_ALIGNMENT, Answer(far, "drums"), Answer(far, "flute"), 2.0, 0.5)
    held_out = Pair(MUSICAL_IMPRESSION, Answer(file(clips, 3), ""), Answer(far, ""))
    table = PairTable("p.csv", (*impression, alignment, held_out), "hash")
    lessons = Lessons.of(only(clips, "musical_impression"), tables=[table])
    pairs = lessons.target.pairs
    assert pairs is not None
    assert keys(lessons.target.scales) == keys(MUSICEVAL)
    assert lessons.notes == ("1 pairs of p.csv are not learned from: their audio is held out.",)
    assert lessons.rows[6:] == (Answer(far, ""), Answer(far, "drums"), Answer(far, "flute"))
    assert pairs.better.tolist() == [0, 0, 0, 7]
    assert pairs.worse.tolist() == [6, 6, 6, 8]
    assert pairs.scale.tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(pairs.weight, torch.tensor([4 / 3, 4 / 3, 4 / 3, 4.0]))
    torch.testing.assert_close(pairs.margin, torch.tensor([math.nan, math.nan, math.nan, 0.5]), equal_nan=True)
    assert pairs.take([3, 0]).rows() == [0, 6, 7, 8]
    assert pairs.take([3]).margin.tolist() == [0.5]
    assert list(lessons.target.train) == [0, 1, 4, 5]


def test_where_there_is_no_prompt_there_are_zeros(clips: RatedClips, tmp_path: Path) -> None:
    far = file(clips, 4)
    table = PairTable("p.csv", (Pair(MUSICAL_IMPRESSION, Answer(far, ""), Answer(far, "drums")),), "hash")
    lessons = Lessons.of(clips, tables=[table])
    starting = random_tower()
    cache = EmbeddingCache(tmp_path / "cache", starting.tower, starting.policy, asked=Asked(True, True))
    embedded = lessons.embed(cache)
    assert embedded.tokens is not None
    assert len(embedded) == 8
    assert embedded.text[6].abs().max() == embedded.tokens[6].abs().max() == 0.0
    torch.testing.assert_close(embedded.text[7], cache.text(["drums"])[0])
