"""Embeddings: what they are, when they are computed, and how windows become a clip's value."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core.audio import InputPolicy, condition, read_clip, split_windows
from core.checkpoint import load_checkpoint
from core.clap import ClapTower
from core.embedded_clips import EmbeddedClips, clip_values, data_sha256, embed_clips, pool, predict_table
from core.embeddings import EmbeddingCache
from core.errors import DataError
from core.ratings import RatedClips
from core.scorer import Scorer
from core.sources import read_source
from tests.clips import pluck, write_clip
from tests.rated import rated_table, write_rated

ROOT = Path(__file__).parents[2]
CLIPS = 4


@pytest.fixture
def tower(scorer: Scorer) -> ClapTower:
    return scorer.checkpoint.tower


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A short clip, one of two windows, one of three."""
    folder = tmp_path_factory.mktemp("clips")
    lengths_s = (0.6, 11.0, 21.0)
    return [write_clip(folder / f"{length_s}.wav", pluck(length_s)) for length_s in lengths_s]


@pytest.fixture(scope="module")
def kept(scorer: Scorer, paths: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the embeddings of these clips and of one prompt."""
    folder = tmp_path_factory.mktemp("cache")
    cache = EmbeddingCache(folder, scorer.checkpoint.tower, InputPolicy())
    cache.audio(paths)
    cache.text(["A calm piano"])
    assert (cache.computed, cache.found) == (4, 0)
    return folder


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "cache")


def test_a_gpu_is_a_batch_ahead(tower: ClapTower, paths: list[Path]) -> None:
    """What it computes is fetched after the next batch has been sent, and comes to the same."""
    sent = []

    class OnGpu:
        """A tower that says that it is on a GPU, and is not."""

        device, training = torch.device("cuda"), False
        spec, dim, weights = tower.spec, tower.dim, tower.weights

        def log_mel(self, windows: NDArray[np.float32]) -> torch.Tensor:
            sent.append(len(windows))
            return tower.log_mel(windows)

        def embed_log_mel(self, log_mel: torch.Tensor) -> torch.Tensor:
            return tower.embed_log_mel(log_mel)

    cache = EmbeddingCache(None, cast("ClapTower", OnGpu()), InputPolicy())
    cache.batch = 2
    clips = [read_clip(path) for path in paths]
    heard = [(clip.sha256, condition(clip.samples, clip.sample_rate_hz, InputPolicy())) for clip in clips]
    n_sent = [(rows, len(sent)) for _, rows in cache.stream(heard)]
    assert [n for _, n in n_sent] == [2, 3, 3]
    for (rows, _), (_, expected) in zip(
        n_sent, EmbeddingCache(None, tower, InputPolicy()).stream(heard), strict=True
    ):
        assert torch.allclose(rows, expected, atol=1e-6)


def test_embeddings_are_the_towers(tower: ClapTower, paths: list[Path], tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "a", tower, InputPolicy())
    together = cache.audio(paths)
    assert [tuple(rows.shape) for rows in together] == [(1, tower.dim), (2, tower.dim), (3, tower.dim)]
    for path, rows in zip(paths, together, strict=True):
        clip = read_clip(path)
        windows = split_windows(condition(clip.samples, clip.sample_rate_hz, InputPolicy()))[1]
        assert torch.allclose(rows[-1], tower.embed_audio(windows[-1:])[0], atol=1e-6)
        assert not rows.requires_grad
    alone = EmbeddingCache(tmp_path / "b", tower, InputPolicy()).audio(paths[1:2])[0]
    assert torch.allclose(alone, together[1], atol=1e-6)


def test_prompts_are_embedded_once_each(tower: ClapTower, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, tower, InputPolicy())
    prompts = [f"A piece in {n} parts" for n in range(9)] + ["A piece in 0 parts"]
    rows = cache.text(prompts)
    assert (cache.computed, cache.found) == (9, 0)
    assert torch.allclose(rows, tower.embed_text(prompts), atol=1e-6)
    assert torch.equal(rows[0], rows[9])
    assert torch.equal(cache.text(prompts[::-1]), rows.flip(0))
    assert (cache.computed, cache.found) == (9, 9)


def test_a_second_run_computes_nothing(
    tower: ClapTower, paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClapTower, "log_mel", None)
    cache = EmbeddingCache(folder, tower, InputPolicy())
    told: list[str] = []
    again = cache.audio([paths[2], paths[0], paths[2]], lambda _, doing: told.append(doing))
    assert [len(rows) for rows in again] == [3, 1, 3]
    assert (cache.computed, cache.found, told) == (0, 2, [])


def test_a_copy_of_a_clip_is_known(tower: ClapTower, paths: list[Path], folder: Path, tmp_path: Path) -> None:
    cache = EmbeddingCache(folder, tower, InputPolicy())
    copy = shutil.copy(paths[0], tmp_path / "another_name.wav")
    assert torch.equal(cache.audio([copy])[0], cache.audio(paths[:1])[0])
    assert cache.computed == 0


@pytest.mark.parametrize("other", ["policy", "precision", "weights"])
def test_whatever_counts_is_in_the_key(
    other: str, tower: ClapTower, random_checkpoint: Path, paths: list[Path], folder: Path
) -> None:
    policy, precision = InputPolicy(), "float32"
    if other == "policy":
        policy = dataclasses.replace(policy, loudness_lufs=-20.0)
    if other == "precision":
        precision = "bfloat16"
    if other == "weights":
        tower = load_checkpoint(random_checkpoint).tower
        with torch.no_grad():
            next(iter(tower.weights().values())).view(-1)[0] += 1e-3
    cache = EmbeddingCache(folder, tower, policy, precision)
    cache.audio(paths[:1])
    cache.text(["A calm piano"])
    assert (cache.computed, cache.found) == ((1, 1) if other == "policy" else (2, 0))


def test_lower_precision_is_near(tower: ClapTower, paths: list[Path], folder: Path) -> None:
    exact = EmbeddingCache(folder, tower, InputPolicy()).audio(paths[:1])[0]
    near = EmbeddingCache(folder, tower, InputPolicy(), "bfloat16").audio(paths[:1])[0]
    assert near.dtype == torch.float32
    assert 0.999 < float((exact * near).sum()) < 1.0


def test_a_damaged_file_is_computed_again(tower: ClapTower, paths: list[Path], folder: Path) -> None:
    whole = EmbeddingCache(folder, tower, InputPolicy()).audio(paths[:1])[0]
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.write_bytes(path.read_bytes()[:-1])
    cache = EmbeddingCache(folder, tower, InputPolicy())
    assert torch.allclose(cache.audio(paths[:1])[0], whole, atol=1e-6)
    assert (cache.computed, cache.found) == (1, 0)


def test_all_unreadable_clips_are_told_and_the_others_kept(
    tower: ClapTower, paths: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.wav").touch()
    bad = [tmp_path / name for name in ("text.wav", "missing.wav", "empty.wav")]
    cache = EmbeddingCache(tmp_path / "cache", tower, InputPolicy())
    with pytest.raises(DataError) as stopped:
        cache.audio([bad[0], paths[0], *bad[1:]])
    lines = str(stopped.value).splitlines()
    assert lines[0] == "3 clips cannot be read:"
    assert [line.split('"')[1] for line in lines[1:]] == ["missing.wav", "text.wav", "empty.wav"]
    assert cache.computed == 1
    cache.audio(paths[:1])
    assert (cache.computed, cache.found) == (1, 1)


def test_what_cannot_be_cached(random_checkpoint: Path, tower: ClapTower, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^There is no precision 'int8'\. It is float32 or bfloat16\.$"):
        EmbeddingCache(tmp_path, tower, InputPolicy(), "int8")
    with pytest.raises(ValueError, match="eval mode"):
        EmbeddingCache(tmp_path, load_checkpoint(random_checkpoint).tower.train(), InputPolicy())


def test_samples_as_they_come(tower: ClapTower, paths: list[Path], folder: Path) -> None:
    kept = EmbeddingCache(folder, tower, InputPolicy())
    nowhere = EmbeddingCache(None, tower, InputPolicy())
    clips = [read_clip(path) for path in paths[:2]]
    heard = [(clip.sha256, condition(clip.samples, clip.sample_rate_hz, InputPolicy())) for clip in clips]
    streamed = list(nowhere.stream(iter(heard)))
    assert [sha256 for sha256, _ in streamed] == [clip.sha256 for clip in clips]
    for sha256, rows in streamed:
        assert torch.allclose(rows, kept.find(sha256), atol=1e-6)
        assert nowhere.find(sha256) is None
    assert (kept.computed, nowhere.computed, nowhere.found) == (0, 2, 0)
    assert kept.find("0" * 64) is None


def test_clips_with_their_windows(tower: ClapTower, paths: list[Path], folder: Path) -> None:
    table = rated_table(3).table.assign(audio_path=[str(path) for path in paths])
    cache = EmbeddingCache(folder, tower, InputPolicy())
    embedded = embed_clips(RatedClips(table), cache)
    assert embedded.owner.tolist() == [0, 1, 1, 2, 2, 2]
    assert torch.equal(embedded.audio, torch.cat(cache.audio(paths)))
    assert torch.equal(embedded.text, cache.text(list(table["prompt"])))
    assert len(embedded) == 3


def test_pooling_is_the_mean_by_clip() -> None:
    values = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]], requires_grad=True)
    pooled = pool(values, torch.tensor([0, 1, 1]), 2)
    assert pooled.tolist() == [[1.0, 10.0], [3.0, 30.0]]
    pooled.sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [[1.0, 1.0], [0.5, 0.5], [0.5, 0.5]]


def test_a_clips_values_are_the_scorers(scorer: Scorer, paths: list[Path], folder: Path) -> None:
    clips = RatedClips(rated_table(3).table.assign(audio_path=[str(path) for path in paths]))
    cache = EmbeddingCache(folder, scorer.checkpoint.tower, scorer.checkpoint.policy)
    values = clip_values(scorer.checkpoint.heads, embed_clips(clips, cache))
    predictions = predict_table(clips, values)
    for path, prompt, row in zip(paths, clips.table["prompt"], predictions.itertuples(), strict=True):
        score = scorer.score(path, prompt)
        assert row.predicted_musical_impression == pytest.approx(score.musical_impression, abs=1e-5)
        assert row.predicted_textual_alignment == pytest.approx(score.textual_alignment, abs=1e-5)


def test_predictions_are_clamped() -> None:
    clips = RatedClips(rated_table(6).table.tail(2))
    table = predict_table(clips, np.array([[0.0, 2.5], [7.0, 5.5]]))
    assert table["clip_id"].tolist() == ["c04", "c05"]
    assert table["predicted_musical_impression"].tolist() == [1.0, 5.0]
    assert table["predicted_textual_alignment"].tolist() == [2.5, 5.0]
    assert table["musical_impression"].tolist() == clips.table["musical_impression"].tolist()


def test_the_datas_hash(tmp_path: Path) -> None:
    clips = read_source(write_rated(tmp_path / "a", CLIPS))
    known = data_sha256(clips)
    moved = read_source(shutil.copytree(tmp_path / "a", tmp_path / "b"))
    assert data_sha256(RatedClips(moved.table[::-1])) == known
    assert data_sha256(RatedClips(clips.table.assign(split="train", n_ratings=5))) == known
    first = clips.table.index == 0
    changes = {"clip_id": "new", "prompt": "Another", "system_id": "S9", "musical_impression": 4.9}
    hashes = {known}
    for column, value in changes.items():
        changed = clips.table.assign(
            **{column: clips.table[column].mask(first, value), "prompt_id": clips.table["clip_id"]}
        )
        hashes.add(data_sha256(RatedClips(changed)))
    with Path(clips.table["audio_path"][0]).open("ab") as file:
        file.write(b"\0")
    hashes.add(data_sha256(clips))
    assert len(hashes) == 6
    Path(clips.table["audio_path"][0]).unlink()
    with pytest.raises(DataError, match=r'^1 clip cannot be read:\n  "c00\.wav" cannot be opened'):
        data_sha256(clips)


def test_several_heads_hear_the_same(scorer: Scorer) -> None:
    clips = EmbeddedClips(torch.randn(3, 256), torch.tensor([0, 0, 1]), torch.randn(2, 256))
    values = clip_values(scorer.checkpoint.heads, clips)
    with torch.no_grad():
        windows = scorer.checkpoint.heads(clips.audio, clips.text[[0, 0, 1]]).double().numpy()
    assert np.array_equal(values, [windows[:2].mean(axis=0), windows[2]])


@pytest.mark.slow
def test_two_processes_and_a_kill(tmp_path: Path, random_checkpoint: Path) -> None:
    data = write_rated(tmp_path / "data", 60)
    command = [sys.executable, "-m", "core", "embed", "--data", str(data), "--model", str(random_checkpoint)]
    command += ["--cache", str(tmp_path / "cache")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    while not any((tmp_path / "cache").rglob("*/*")):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = len([path for path in (tmp_path / "cache").rglob("*/*") if path.suffix != ".part"])
    assert 0 < done < 63
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    computed = [int(output.split(": ")[1].split()[0]) for output in outputs]
    assert max(computed) <= 63 - done <= sum(computed)
    checkpoint = load_checkpoint(random_checkpoint)
    clips = read_source(data)
    cache = EmbeddingCache(tmp_path / "cache", checkpoint.tower, checkpoint.policy)
    kept = embed_clips(clips, cache)
    assert (cache.computed, cache.found) == (0, 63)
    fresh = embed_clips(clips, EmbeddingCache(tmp_path / "fresh", checkpoint.tower, checkpoint.policy))
    assert torch.allclose(kept.audio, fresh.audio, atol=1e-6)
    assert torch.allclose(kept.text, fresh.text, atol=1e-6)
