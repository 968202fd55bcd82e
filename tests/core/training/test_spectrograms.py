"""Spectrograms that are kept: the same again, from wherever they lie."""

from pathlib import Path

import pytest
import torch

from core.training.examples import SoundExamples, Spectrograms
from tests.clips import pluck, write_clip
from tests.rated import rated_table
from tests.towers import random_tower

CPU = torch.device("cpu")


def test_they_come_back_as_they_were(tmp_path: Path) -> None:
    kept = Spectrograms(CPU, tmp_path / "cache")
    given = {row: (torch.randn(row + 1, 1, 11, 4), [1.0] * (row + 1)) for row in range(3)}
    for row, heard in given.items():
        kept[row] = heard
    assert 3 not in kept
    for row, (features, weights) in given.items():
        assert row in kept
        assert torch.equal(kept[row][0], features)
        assert kept[row][1] == weights
    assert list((tmp_path / "cache").iterdir()) == []  # the file has no name


def test_what_there_is_no_room_for_is_not_kept(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    kept = Spectrograms(CPU, tmp_path / "taken")
    kept[0] = torch.zeros(1, 1, 2, 2), [1.0]
    assert 0 not in kept


def test_each_clip_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(write_clip(tmp_path / f"{n}.wav", pluck(1.0 + n))) for n in range(3)]
    starting = random_tower()
    sound = SoundExamples(_Clips(paths), starting.tower, starting.policy, chunk_windows=2)  # type: ignore[arg-type]
    first = list(sound.chunks([2, 0, 1]))
    for path in paths:
        Path(path).unlink()
    again = list(sound.chunks([2, 0, 1]))
    assert sound.unreadable([]) == []
    for one, other in zip(first, again, strict=True):
        assert one.rows == other.rows
        assert torch.equal(one.pieces[0][0][0], other.pieces[0][0][0])


class _Clips:
    def __init__(self, paths: list[str]) -> None:
        self.table = rated_table(len(paths)).table.assign(audio_path=paths)
