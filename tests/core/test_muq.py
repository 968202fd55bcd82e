"""MuQ-MuLan as a tower, by a miniature: of the package's own classes where it is installed, and of a stand-in."""

import importlib.util
import io
import json
import pickle
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.audio import WINDOW_SAMPLES, Samples
from core.cli import main
from core.errors import CheckpointError
from core.pinned import PinnedFile
from core.towers import Tower, load_tower, restore_tower, tower_sha256
from core.towers.compiled import CompiledAudio
from core.towers.muq import FETCH, MAX_TOKENS, MULAN, MuqTower, build, start
from tests import hub, muqs
from tests.hub import put_in_cache
from tests.rated import write_rated

PACKAGES = ["stand-in", *(["package"] if importlib.util.find_spec("muq") else [])]


@pytest.fixture(autouse=True, params=PACKAGES)
def home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A hub's cache that is empty; nobody answers at the hub's address."""
    if request.param == "stand-in":
        muqs.use_stand_in(monkeypatch)
    hub.use(monkeypatch, tmp_path / "home", "http://127.0.0.1:9")
    return tmp_path / "home"


def lay(home: Path, weights: dict[str, Tensor] | None = None, content: dict[str, Any] | None = None) -> None:
    content = content or muqs.config()
    buffer = io.BytesIO()
    torch.save(muqs.random_weights(content) if weights is None else weights, buffer)
    muqs.write_cache(home, content, buffer.getvalue())


@pytest.fixture
def tower(home: Path) -> MuqTower:
    lay(home)
    return start()


@pytest.fixture(scope="module")
def windows() -> Samples:
    return (0.1 * np.random.default_rng(0).standard_normal((3, WINDOW_SAMPLES))).astype(np.float32)


def test_it_is_a_tower_that_draws_and_fetches_nothing(home: Path) -> None:
    lay(home)
    before, drawn = random.getstate(), torch.get_rng_state()
    started = load_tower("muq")
    tower: Tower = started.tower
    assert (started.name, started.caveat, tower.name, tower.dim) == ("muq", "", "muq", muqs.DIM)
    assert not tower.training
    assert tower.cosine_scale == pytest.approx(10.0)
    assert random.getstate() == before
    assert torch.equal(torch.get_rng_state(), drawn)


def test_windows_are_heard_whole_and_by_frames(tower: MuqTower, windows: Samples) -> None:
    half = windows[:1].copy()
    half[:, WINDOW_SAMPLES // 2 :] = 0.0
    with torch.inference_mode():
        features = tower.features(np.concatenate([windows, half]))
        whole, frames = tower.hear(features)
        alone = tower.embed_features(tower.features(windows[1:2]))
    assert (features.shape, whole.shape, frames.shape) == ((4, 128, 1_000), (4, muqs.DIM), (4, 25, muqs.DIM))
    torch.testing.assert_close(frames.norm(dim=-1), torch.ones(4, 25))
    torch.testing.assert_close(whole[1:2], alone, rtol=0, atol=1e-6)
    first, last = ((frames[0] - frames[3])[part].norm(dim=-1).max() for part in (slice(0, 5), slice(20, 25)))
    assert last > 1.5 * first  # which attends to all of it, too
    with pytest.raises(ValueError, match="480000"):
        tower.features(np.zeros((1, WINDOW_SAMPLES - 1), dtype=np.float32))


def test_it_can_be_compiled(tower: MuqTower, windows: Samples) -> None:
    features = tower.features(windows)
    with torch.inference_mode():
        expected = tower.embed_features(features)
    assert float((CompiledAudio(tower)(features) * expected).sum(dim=1).min()) > 0.999


def test_it_hears_at_24_khz(tower: MuqTower) -> None:
    def tone(sample_rate_hz: int) -> Samples:
        return (0.1 * np.sin(2 * np.pi * 5_000 * np.arange(10 * sample_rate_hz) / sample_rate_hz)).astype(np.float32)

    ears = tower.mulan.audio.model.model
    direct = ears.normalize(ears.preprocessing(torch.from_numpy(tone(24_000))[None], features=["melspec_2048"]))
    inner = slice(10, -10)  # a tone begins and ends with a click
    given, expected = tower.features(tone(48_000)[None])[0, :, inner], direct["melspec_2048"][0, :, inner]
    loud = expected > expected.max() - 2.0  # 37 dB
    torch.testing.assert_close(given[loud], expected[loud], rtol=0, atol=0.01)
    assert bool((given[~loud] < expected.max() - 1.9).all())


def test_prompts_are_read_alone_and_by_tokens(tower: MuqTower) -> None:
    with torch.inference_mode():
        slow, fast = tower.embed_text(["slow  piano \n", "loud and fast drums, many of them"])
        alone = tower.embed_text(["slow piano"])[0]
        tokens = tower.embed_tokens(["slow piano", "x"])
    assert torch.equal(slow, alone)
    assert float(slow @ fast) < 0.9999
    assert [rows.shape for rows in tokens] == [(len("slow piano") + 1 + 2, muqs.DIM), (2 + 2, muqs.DIM)]
    torch.testing.assert_close(tokens[0].norm(dim=-1), torch.ones(len(tokens[0])))


@pytest.mark.parametrize(("length", "cut"), [(MAX_TOKENS - 3, False), (MAX_TOKENS - 2, True), (5_000, True)])
def test_a_prompt_is_cut_past_512_tokens(tower: MuqTower, length: int, cut: bool) -> None:
    assert tower.read("x" * length).is_cut is cut
    [rows] = tower.embed_tokens(["x" * length])
    assert len(rows) == min(length + 3, MAX_TOKENS)  # a leading space and two marks


def test_weights_come_back_with_their_files(tower: MuqTower, tmp_path: Path, windows: Samples) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in tower.tokenizer_files():
        shutil.copyfile(file, folder / file.name)
    weights = tower.weights()
    assert not any(key.endswith("inv_freq") for key in weights)
    other = restore_tower("muq", weights, folder)
    assert tower_sha256(other) == tower_sha256(tower)
    with torch.inference_mode():
        same = other.embed_features(other.features(windows[:1]))
        assert torch.equal(same, tower.embed_features(tower.features(windows[:1])))
    config = json.loads((folder / "muq.json").read_text())
    config["muq"]["stat"]["melspec_2048_mean"] = 7.0
    (folder / "muq.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"muq\.json or tokenizer\.json is not the one"):
        restore_tower("muq", weights, folder)
    (folder / "muq.json").write_text("{")
    with pytest.raises(CheckpointError, match=r'in "model" are missing or cannot be read'):
        restore_tower("muq", weights, folder)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_other_weights_are_refused(home: Path, fault: str) -> None:
    weights = muqs.random_weights(muqs.config())
    key = "mulan.audio_to_latents.bias" if fault != "unknown" else "mulan.stray"
    if fault == "missing":
        del weights[key]
    else:
        weights[key] = torch.zeros(3)
    lay(home, weights)
    with pytest.raises(CheckpointError, match=rf"not those of a 'muq' tower.*{key.removeprefix('mulan.')}"):
        start()


def test_another_layer_of_muq_is_refused(home: Path) -> None:
    content = muqs.config()
    content["mulan"]["audio_model"]["use_layer_idx"] = 5
    with pytest.raises(CheckpointError, match="hears layer 5 of MuQ"):
        build(content)
    del content["mulan"]["audio_model"]
    with pytest.raises(CheckpointError, match="cannot be built from its configurations"):
        build(content)


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("it ran",)


@pytest.mark.parametrize("content", [pickle.dumps(Harmful()), b"<html>", pickle.dumps([1])])
def test_what_is_not_tensors_alone_is_refused(home: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    muqs.write_cache(home, muqs.config(), content)
    with pytest.raises(CheckpointError, match=r'"pytorch_model\.bin" of OpenMuQ/MuQ-MuLan-large cannot be read'):
        start()
    assert capfd.readouterr().out == ""


def test_what_is_missing_is_said(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "train",
        "--data",
        str(write_rated(tmp_path / "rated")),
        "--tower",
        "muq",
        "--output",
        str(tmp_path / "m"),
    ]

    def refusal() -> str:
        assert main(command) == 2
        said = capsys.readouterr()
        assert (said.out, len(said.err.splitlines())) == ("", 1)
        return said.err

    said = refusal()
    assert f"config.json of {MULAN} is missing" in said
    assert all(fetch in said for fetch in FETCH)
    put_in_cache(home, PinnedFile(MULAN, "main", "config.json", 0, ""), b"{}")
    assert "config.json of OpenMuQ/MuQ-large-msd-iter is missing" in refusal()
    monkeypatch.setitem(sys.modules, "muq", None)
    assert "needs the package muq: `pip install -r requirements-muq.txt`" in refusal()


def test_a_judge_is_trained_on_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "own"))
    monkeypatch.setattr("core.evaluation.RESAMPLES", 20)
    lay(home)
    rated, model = write_rated(tmp_path / "rated", clips=24), tmp_path / "model"
    train = ["train", "--data", str(rated), "--tower", "muq", "--recipe", "frozen", "--epochs", "2"]
    assert main([*train, "--output", str(model)]) == 0
    assert {"muq.json", "tokenizer.json"} <= {path.name for path in model.iterdir()}
    shutil.rmtree(home)  # the folder is enough
    capsys.readouterr()
    clip = str(tmp_path / "rated" / "c01.wav")
    assert main(["score", clip, "--prompt", "A calm piece", "--model", str(model), "--json"]) == 0
    score = json.loads(capsys.readouterr().out)
    assert 1.0 <= score["musical_impression"] <= 5.0
    assert [warning["code"] for warning in score["warnings"] if warning["code"] == "demo_model"] == []
