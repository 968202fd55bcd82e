"""Embeddings: what they are, when they are computed and found, how windows become a clip's value."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from core.audio import WINDOW_SAMPLES, InputPolicy, condition, read_clip, split_windows
from core.checkpoint import load_checkpoint
from core.embeddings import Asked, EmbeddingCache, clip_values, embed_clips
from core.errors import AudioError, CheckpointError, DataError
from core.evaluation import judged
from core.feed import READERS, clip_sha256, in_order, read_all, stop_if_any
from core.heads import EmbeddedClips, pool
from core.musiceval import read_source
from core.prepared import prepare
from core.rated_clips import RatedClips, data_sha256
from core.scales import MUSICEVAL
from core.scorer import Scorer
from core.towers import Tower, tower_sha256
from core.towers.clap import ClapTower
from core.towers.compiled import CompiledAudio
from core.training.loop import fit_heads
from core.training.objective import Target
from core.training.recipe import RECIPES
from core.windows import Heard
from tests.clips import pluck, write_clip
from tests.rated import rated_table, write_rated
from tools.bench import EXAMPLES, official_tower

ROOT = Path(__file__).parents[2]
CLIPS = 4
WINDOWS = 48


@pytest.fixture
def tower(scorer: Scorer) -> Tower:
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


def heard(path: Path) -> Heard[None]:
    return Heard.of(None, prepare(path, InputPolicy()), InputPolicy())


def test_a_gpu_is_a_batch_ahead(tower: Tower, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What it computes is fetched after the next batch has been sent, and comes to the same."""
    sent = []

    class OnGpu:
        """A tower that says that it is on a GPU, and is not."""

        device, training = torch.device("cuda"), False
        name, dim, weights = tower.name, tower.dim, tower.weights

        def features(self, windows: NDArray[np.float32]) -> torch.Tensor:
            sent.append(len(windows))
            return tower.features(windows)

        def embed_features(self, features: torch.Tensor) -> torch.Tensor:
            return tower.embed_features(features)

    monkeypatch.setattr("core.embeddings.together", lambda windows, _: np.stack(windows))
    monkeypatch.setattr("core.embeddings.GraphedAudio", lambda compute: compute)
    cache = EmbeddingCache(None, cast("Tower", OnGpu()), InputPolicy())
    cache.batch = 2
    n_sent = [(rows, len(sent)) for _, rows in cache.stream(map(heard, paths))]
    assert [n for _, n in n_sent] == [3, 3, 3]  # the first two are fetched when all of the third clip is taken
    expected = EmbeddingCache(None, tower, InputPolicy()).stream(map(heard, paths))
    for (rows, _), (_, same) in zip(n_sent, expected, strict=True):
        assert torch.allclose(rows, same, atol=1e-6)


def test_the_same_audio_under_two_names_is_computed_once(tower: Tower, paths: list[Path]) -> None:
    cache = EmbeddingCache(None, tower, InputPolicy())
    clips = [*map(heard, [paths[1], paths[0], paths[1]])]
    first, _, again = (rows for _, rows in cache.stream(clips))
    assert torch.equal(first, again)
    assert cache.computed == 2


def test_embeddings_are_the_towers(tower: Tower, paths: list[Path], tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path / "a", tower, InputPolicy())
    together = cache.audio(paths)
    assert [tuple(rows.shape) for rows in together] == [(1, tower.dim + 1), (2, tower.dim + 1), (3, tower.dim + 1)]
    for path, rows in zip(paths, together, strict=True):
        clip = read_clip(path)
        windows = split_windows(condition(clip.samples, clip.sample_rate_hz, InputPolicy()))
        assert torch.allclose(rows[-1, :-1], tower.embed_features(tower.features(windows[-1:]))[0], atol=1e-6)
        assert rows[:, -1].sum() == pytest.approx(1.0, abs=1e-6)
        assert not rows.requires_grad
    alone = EmbeddingCache(tmp_path / "b", tower, InputPolicy()).audio(paths[1:2])[0]
    assert torch.allclose(alone, together[1], atol=1e-6)


def test_prompts_are_embedded_once_each(tower: Tower, tmp_path: Path) -> None:
    cache = EmbeddingCache(tmp_path, tower, InputPolicy())
    prompts = [f"A piece in {n} parts" for n in range(9)] + ["A piece in 0 parts"]
    rows = cache.text(prompts)
    assert (cache.computed, cache.found) == (9, 0)
    assert torch.allclose(rows, tower.embed_text(prompts), atol=1e-6)
    assert torch.equal(rows[0], rows[9])
    assert torch.equal(cache.text(prompts[::-1]), rows.flip(0))
    assert (cache.computed, cache.found) == (9, 9)


def test_a_second_run_computes_nothing(
    tower: Tower, paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClapTower, "features", None)
    cache = EmbeddingCache(folder, tower, InputPolicy())
    told: list[str] = []
    again = cache.audio([paths[2], paths[0], paths[2]], lambda _, doing: told.append(doing))
    assert [len(rows) for rows in again] == [3, 1, 3]
    assert (cache.computed, cache.found, told) == (0, 2, [])


def test_a_copy_of_a_clip_is_known(tower: Tower, paths: list[Path], folder: Path, tmp_path: Path) -> None:
    cache = EmbeddingCache(folder, tower, InputPolicy())
    copy = shutil.copy(paths[0], tmp_path / "another_name.wav")
    assert torch.equal(cache.audio([copy])[0], cache.audio(paths[:1])[0])
    assert cache.computed == 0


@pytest.mark.parametrize("other", ["policy", "precision", "weights"])
def test_whatever_counts_is_in_the_key(
    other: str, tower: Tower, random_checkpoint: Path, paths: list[Path], folder: Path
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


def test_lower_precision_is_near(tower: Tower, paths: list[Path], folder: Path) -> None:
    exact = EmbeddingCache(folder, tower, InputPolicy()).audio(paths[:1])[0]
    near = EmbeddingCache(folder, tower, InputPolicy(), "bfloat16").audio(paths[:1])[0]
    assert near.dtype == torch.float32
    assert 0.999 < float((exact[:, :-1] * near[:, :-1]).sum()) < 1.0


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another"])
def test_a_damaged_file_is_computed_again(tower: Tower, paths: list[Path], folder: Path, damage: str) -> None:
    whole = EmbeddingCache(folder, tower, InputPolicy()).audio(paths[:1])[0]
    files = [path for path in folder.rglob("*") if path.is_file()]
    contents = [bytearray(path.read_bytes()) for path in files]
    for path, content, other in zip(files, contents, [*contents[1:], contents[0]], strict=True):
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes({"cut": content[:-12], "flipped": flipped, "empty": b""}.get(damage, other))
    cache = EmbeddingCache(folder, tower, InputPolicy())
    assert torch.allclose(cache.audio(paths[:1])[0], whole, atol=1e-6)
    assert (cache.computed, cache.found) == (1, 0)
    again = EmbeddingCache(folder, tower, InputPolicy())
    assert torch.allclose(again.audio(paths[:1])[0], whole, atol=1e-6)
    assert (again.computed, again.found) == (0, 1)


def test_the_names_and_the_format_of_files_stay(folder: Path, tower: Tower, paths: list[Path]) -> None:
    """Folders from before are found: FORMAT 2."""
    policy = {
        "sample_rate_hz": 16_000,
        "bandwidth_hz": 7_000.0,
        "loudness_lufs": -23.0,
        "windows": "from the first sound",
        "passes": 1,
    }
    sha256 = hashlib.sha256(paths[1].read_bytes()).hexdigest()
    windows = {
        "window_s": 10.0,
        "grid": "every 10 s from the first sound, the last window aligned to the end of the last sound",
        "short_clips": "repeated to fill one window",
        "pooling": "mean of the windows, each weighing what no window before it has heard",
    }
    versions = {package: version(package) for package in ("soxr", "numpy", "torch")}
    versions["libsndfile"] = soundfile.__libsndfile_version__
    torch_alone = versions["torch"]
    for key in (["audio", sha256, policy, windows, versions], ["text", "A calm piano", torch_alone]):
        what = json.dumps([2, tower_sha256(tower), "float32", *key], sort_keys=True)
        name = hashlib.sha256(what.encode()).hexdigest()
        content = (folder / name[:2] / name).read_bytes()
        assert content[:32] == hashlib.sha256(name.encode() + content[32:]).digest()
        is_audio = key[0] == "audio"
        rows = np.frombuffer(content[32:], "<f4").reshape(-1, tower.dim + is_audio)
        rows = rows[:, : tower.dim]
        assert len(rows) == (2 if is_audio else 1)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_readers_beside_writers_see_whole_files(tower: Tower, paths: list[Path], tmp_path: Path) -> None:
    writer, reader = (EmbeddingCache(tmp_path / "cache", tower, InputPolicy()) for _ in range(2))
    [(clip, rows)] = writer.stream([heard(paths[2])])
    sha256 = clip.clip().kept_as
    seen: list[bool] = []

    def write() -> None:
        for _ in range(2):
            list(EmbeddingCache(tmp_path / "cache", tower, InputPolicy()).stream([clip]))

    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive():
        found = reader.find(sha256)
        seen.append(found is not None and torch.equal(found, rows))
    thread.join()
    assert seen
    assert all(seen)
    assert [path.suffix for path in (tmp_path / "cache").rglob("*/*")] == [""]


def test_a_folder_that_cannot_be_used(tower: Tower, paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    expected = r'^The folder of embeddings "taken" cannot be used: Not a directory\. Give another one\.$'
    cache = EmbeddingCache(tmp_path / "taken", tower, InputPolicy())
    with pytest.raises(DataError, match=expected):
        cache.audio(paths[:1])
    with pytest.raises(DataError, match=expected.replace("Not a directory", "(File exists|Not a directory)")):
        list(cache.stream([heard(paths[0])]))


def test_all_unreadable_clips_are_told_and_the_others_kept(tower: Tower, paths: list[Path], tmp_path: Path) -> None:
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


def test_what_cannot_be_cached(random_checkpoint: Path, tower: Tower, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^There is no precision 'int8'\. It is float32 or tf32 or bfloat16\.$"):
        EmbeddingCache(tmp_path, tower, InputPolicy(), "int8")
    with pytest.raises(ValueError, match="eval mode"):
        EmbeddingCache(tmp_path, load_checkpoint(random_checkpoint).tower.train(), InputPolicy())


def test_samples_as_they_come(tower: Tower, paths: list[Path], folder: Path) -> None:
    kept = EmbeddingCache(folder, tower, InputPolicy())
    nowhere = EmbeddingCache(None, tower, InputPolicy())
    clips = [*map(heard, paths[:2])]
    streamed = [(clip.clip().kept_as, rows) for clip, rows in nowhere.stream(iter(clips))]
    assert [sha256 for sha256, _ in streamed] == [clip_sha256(path) for path in paths[:2]]
    for sha256, rows in streamed:
        assert torch.allclose(rows, kept.find(sha256), atol=1e-6)
        assert nowhere.find(sha256) is None
    assert (kept.computed, nowhere.computed, nowhere.found) == (0, 2, 0)
    assert kept.find("0" * 64) is None


def test_clips_with_their_windows(tower: Tower, paths: list[Path], folder: Path) -> None:
    table = rated_table(3).table.assign(audio_path=[str(path) for path in paths])
    cache = EmbeddingCache(folder, tower, InputPolicy())
    embedded = embed_clips(RatedClips(table), cache)
    assert embedded.owner.tolist() == [0, 1, 1, 2, 2, 2]
    assert torch.equal(torch.column_stack([embedded.audio, embedded.weight]), torch.cat(cache.audio(paths)))
    assert torch.equal(embedded.text, cache.text(list(table["prompt"])))
    assert len(embedded) == 3


def test_frames_and_words_are_kept_where_heads_ask(tower: Tower, paths: list[Path], tmp_path: Path) -> None:
    clips = RatedClips(rated_table(3).table.assign(audio_path=[str(path) for path in paths]))
    embed_clips(clips, EmbeddingCache(tmp_path, tower, InputPolicy()))
    files = sum(path.is_file() for path in tmp_path.rglob("*"))
    asking = EmbeddingCache(tmp_path, tower, InputPolicy(), asked=Asked(frames=True, tokens=True))
    told = embed_clips(clips, asking)
    assert (asking.computed, asking.found) == (6, 3)  # three clips anew, three prompts' words; the prompts were there
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == files + 6
    again = EmbeddingCache(tmp_path, tower, InputPolicy(), asked=Asked(frames=True, tokens=True))
    found = embed_clips(clips, again)
    assert (again.computed, again.found) == (0, 9)
    plain = embed_clips(clips, EmbeddingCache(tmp_path, tower, InputPolicy()))
    assert plain.frames is None
    assert plain.tokens is None
    for name in ("audio", "owner", "text", "weight"):
        assert torch.equal(getattr(found, name), getattr(plain, name))
    assert found.frames is not None
    assert told.frames is not None
    assert found.tokens is not None
    with torch.no_grad():
        windows = np.stack(split_windows(_heard(paths[1]))[:1])
        expected = tower.hear(tower.features(windows))[1][0]
        words = tower.embed_tokens([clips.table["prompt"][0]])[0]
    assert found.frames.shape == (6, len(expected), tower.sequence_dim)
    torch.testing.assert_close(found.frames[1], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.frames, told.frames)
    torch.testing.assert_close(found.tokens[0, : len(words)], words)


def _heard(path: Path) -> np.ndarray:
    clip = read_clip(path)
    return condition(clip.samples, clip.sample_rate_hz, InputPolicy())


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
    predictions = judged(clips, values, scorer.checkpoint.scales).table
    for path, prompt, row in zip(paths, clips.table["prompt"], predictions.itertuples(), strict=True):
        score = scorer.score(path, prompt)
        assert row.predicted_musical_impression == pytest.approx(score["musical_impression"], abs=1e-5)
        assert row.predicted_textual_alignment == pytest.approx(score["textual_alignment"], abs=1e-5)


def test_predictions_are_clamped() -> None:
    clips = RatedClips(rated_table(6).table.tail(2))
    table = judged(clips, np.array([[0.0, 2.5], [7.0, 5.5]]), MUSICEVAL).table
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


def test_pooling_by_weight() -> None:
    values, owner = torch.tensor([[1.0], [4.0], [2.0]]), torch.tensor([0, 0, 1])
    pooled = pool(values, owner, 2, torch.tensor([0.75, 0.25, 1.0]))
    assert pooled.tolist() == [[1.75], [2.0]]


def test_several_heads_hear_the_same(scorer: Scorer) -> None:
    clips = EmbeddedClips(torch.randn(3, 256), torch.tensor([0, 0, 1]), torch.randn(2, 256))
    values = clip_values(scorer.checkpoint.heads, clips)
    with torch.no_grad():
        windows = scorer.checkpoint.heads(clips.audio, clips.text[[0, 0, 1]]).double().numpy()
    assert np.array_equal(values, [windows[:2].mean(axis=0), windows[2]])


# Compiled


@pytest.fixture(scope="module")
def spectrograms(scorer: Scorer) -> Tensor:
    random = np.random.default_rng(1)
    envelope = np.exp(-4.0 * (np.arange(WINDOW_SAMPLES) / 48_000 % np.array([[0.3], [0.5], [2.0]])))
    noise = random.normal(0.0, 0.1, (3, WINDOW_SAMPLES)) * envelope
    return scorer.checkpoint.tower.features(noise.astype(np.float32))


@pytest.fixture(scope="module", params=[1, 2], ids="{} at once".format)
def compiled(scorer: Scorer, request: pytest.FixtureRequest) -> CompiledAudio:
    return CompiledAudio(scorer.checkpoint.tower, at_once=request.param)


def test_it_embeds_as_the_tower_does(scorer: Scorer, compiled: CompiledAudio, spectrograms: Tensor) -> None:
    with torch.no_grad():
        expected = scorer.checkpoint.tower.embed_features(spectrograms)
    given = compiled(spectrograms)
    assert given.shape == expected.shape
    assert float(functional.cosine_similarity(given, expected).min()) > 0.9995
    assert torch.allclose(given.norm(dim=1), torch.ones(3), atol=1e-3)


def test_a_window_is_the_same_in_any_company(compiled: CompiledAudio, spectrograms: Tensor) -> None:
    together = compiled(spectrograms)
    assert float(torch.pdist(together).min()) > 0.01
    for place in range(3):
        alone = compiled(spectrograms[place : place + 1])[0]
        torch.testing.assert_close(alone, together[place], rtol=0, atol=1e-3)
    torch.testing.assert_close(compiled(spectrograms.flip(0)), together.flip(0), rtol=0, atol=1e-3)


def test_a_wrong_result_is_seen_before_it_is_used(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino
    from openvino import opset13
    from openvino.frontend import FrontEnd

    right = FrontEnd.convert

    def wrong(frontend: FrontEnd, model: object) -> openvino.Model:
        converted = right(frontend, model)
        output = converted.get_results()[0].input_value(0)
        return openvino.Model([opset13.negative(output)], converted.get_parameters())

    monkeypatch.setattr(FrontEnd, "convert", wrong)
    with pytest.raises(CheckpointError, match=r"OpenVINO computes other embeddings .* use float32"):
        CompiledAudio(load_checkpoint(random_checkpoint).tower)


def test_nothing_is_reported_to_anyone(compiled: CompiledAudio) -> None:
    assert sys.modules["openvino_telemetry"] is None
    assert "openvino.tools.ovc.telemetry_stub" in sys.modules


def test_a_small_tower_is_not_worth_it(scorer: Scorer) -> None:
    assert not scorer.checkpoint.tower.compiled


def test_each_thread_has_a_window_of_its_own_where_there_are_many(
    random_checkpoint: Path, spectrograms: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = []

    def made(_: Tower, with_frames: bool, precision: str, many: int) -> Callable[[Tensor], Tensor]:
        at_once.append((with_frames, precision, many))
        return lambda features: features

    monkeypatch.setattr("core.embeddings.CompiledAudio", made)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    tower = load_checkpoint(random_checkpoint).tower
    tower.compiled = ("bfloat16",)
    for clips in (1, 2):
        cache = EmbeddingCache(None, tower, InputPolicy(), "bfloat16")
        cache.expect(clips)
        cache.embed(spectrograms)
    assert at_once == [(False, "bfloat16", 1), (False, "bfloat16", 3)]


def _windows() -> Tensor:
    """Four windows of each of the page's examples."""
    clips = [read_clip(path) for path in sorted(EXAMPLES.glob("*.[of]*"))]
    heard = (
        condition(np.roll(clip.samples, 70_000 * n), clip.sample_rate_hz, InputPolicy())
        for clip in clips
        for n in range(4)
    )
    return torch.from_numpy(np.stack([split_windows(samples)[0] for samples in heard]))


def _embedded(tower: Tower, features: Tensor, precision: str) -> EmbeddedClips:
    cache = EmbeddingCache(None, tower, InputPolicy(), precision)
    audio = torch.cat([cache.embed(batch) for batch in features.split(cache.batch)])
    return EmbeddedClips(audio, torch.arange(len(audio)), audio[:1].expand(len(audio), -1))  # a prompt like any


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_scores_of_the_official_size_stay_within_a_tenth() -> None:
    tower = official_tower(torch.device("cpu"))
    assert set(tower.compiled) == {"bfloat16"}
    log_mel = torch.cat([tower.features(batch) for batch in _windows().split(8)])
    exact, fast = (_embedded(tower, log_mel, precision) for precision in ("float32", "bfloat16"))
    order = log_mel[..., 32:].mean(dim=(1, 2, 3)).argsort().argsort()  # how bright a clip is can be learned
    mos = 1.5 + 3.0 * order[:, None].expand(-1, 2) / WINDOWS
    heads = fit_heads(exact, Target(MUSICEVAL, mos, range(WINDOWS), []), RECIPES["frozen"], seed=0)
    expected, given = (clip_values(heads, clips) for clips in (exact, fast))
    assert expected.std(axis=0).min() > 0.2  # the heads do tell the clips apart
    assert np.abs(given - expected).max() < 0.1


# Reading files beside a model


def test_in_order_and_not_far_ahead() -> None:
    begun: list[Path] = []
    gate = threading.Event()

    def read(path: Path) -> str:
        begun.append(path)
        gate.wait(5)
        if path.name == "3":
            raise AudioError("3 is no clip.")
        return path.name * 2

    paths = [Path(str(n)) for n in range(8)]
    unreadable: list[str] = []
    results = read_all(read, paths, unreadable)
    threading.Timer(0.05, gate.set).start()
    assert next(results) == (Path("0"), "00")
    assert len(begun) <= READERS + 2
    assert [found for _, found in results] == ["11", "22", "44", "55", "66", "77"]
    assert unreadable == ["3 is no clip."]


def test_never_more_in_flight() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 10:
            taken += 1
            yield taken

    with ThreadPoolExecutor(4) as threads:
        for done, result in enumerate(in_order(threads, lambda n: n * n, items(), 3), 1):
            assert result == done * done
            assert taken <= done + 3
    assert taken == 10


def test_another_error_is_not_held_back() -> None:
    def read(path: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_all(read, [Path("a")], []))


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert clip_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(AudioError, match=r'^"b" cannot be opened: No such file or directory\.$'):
        clip_sha256(tmp_path / "b")


def test_all_of_them_are_told() -> None:
    stop_if_any([])
    with pytest.raises(DataError, match=r"^1 clip cannot be read:\n  A$"):
        stop_if_any(["A"])
    with pytest.raises(DataError) as stopped:
        stop_if_any([f"{n} is bad." for n in range(50)])
    assert str(stopped.value).splitlines() == ["50 clips cannot be read:", *(f"  {n} is bad." for n in range(50))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_and_a_kill(tmp_path: Path, random_checkpoint: Path) -> None:
    data = write_rated(tmp_path / "data", 30)
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
    assert 0 < done < 33
    both = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    computed = [int(output.split(": ")[1].split()[0]) for output in outputs]
    assert max(computed) <= 33 - done <= sum(computed)
    checkpoint = load_checkpoint(random_checkpoint)
    clips = read_source(data)
    cache = EmbeddingCache(tmp_path / "cache", checkpoint.tower, checkpoint.policy)
    kept = embed_clips(clips, cache)
    assert (cache.computed, cache.found) == (0, 33)
    fresh = embed_clips(clips, EmbeddingCache(tmp_path / "fresh", checkpoint.tower, checkpoint.policy))
    assert torch.allclose(kept.audio, fresh.audio, atol=1e-6)
    assert torch.allclose(kept.text, fresh.text, atol=1e-6)
