import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from core import compiled_audio
from core.audio import WINDOW_SAMPLES, InputPolicy, condition, split_windows
from core.bench.runs import official_tower
from core.clap import ClapTower
from core.compiled_audio import CompiledAudio, is_worth_compiling
from core.demo.composer import compose, draw_attributes
from core.demo.rendering import render
from core.demo.timbres import SAMPLE_RATE_HZ
from core.embedded_clips import EmbeddedClips, clip_values
from core.embeddings import EmbeddingCache
from core.errors import CheckpointError
from core.scorer import Scorer
from core.training.recipes import RECIPES
from core.training.trainer import fit_heads

ROOT = Path(__file__).parents[2]
CLIPS, HELD_OUT = 48, 12


@pytest.fixture(scope="module")
def spectrograms(scorer: Scorer) -> Tensor:
    random = np.random.default_rng(1)
    envelope = np.exp(-4.0 * (np.arange(WINDOW_SAMPLES) / 48_000 % np.array([[0.3], [0.5], [2.0]])))
    noise = random.normal(0.0, 0.1, (3, WINDOW_SAMPLES)) * envelope
    return scorer.checkpoint.tower.log_mel(noise.astype(np.float32))


@pytest.fixture(scope="module")
def compiled(scorer: Scorer) -> CompiledAudio:
    return CompiledAudio(scorer.checkpoint.tower, batch=3)


def test_it_embeds_as_the_tower_does(scorer: Scorer, compiled: CompiledAudio, spectrograms: Tensor) -> None:
    with torch.no_grad():
        expected = scorer.checkpoint.tower.embed_log_mel(spectrograms)
    given = compiled(spectrograms)
    assert given.shape == expected.shape
    assert float(functional.cosine_similarity(given, expected).min()) > 0.9995
    assert torch.allclose(given.norm(dim=1), torch.ones(3), atol=1e-3)


def test_a_window_has_the_same_bits_in_any_company(compiled: CompiledAudio, spectrograms: Tensor) -> None:
    together = compiled(spectrograms)
    for place in range(3):
        assert torch.equal(compiled(spectrograms[place : place + 1])[0], together[place])
    assert torch.equal(compiled(spectrograms.flip(0)), together.flip(0))


def test_a_wrong_result_is_seen_before_it_is_used(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_audio, "embed_log_mel", lambda _, log_mel: log_mel[:, 0, :256, 0])
    with pytest.raises(CheckpointError, match=r"OpenVINO computes other embeddings .* use float32"):
        CompiledAudio(scorer.checkpoint.tower, batch=1)


def test_nothing_is_reported_to_anyone() -> None:
    script = (
        "import sys; from core.compiled_audio import _import_openvino as load; load(); "
        "print(sys.modules['openvino_telemetry'], 'openvino.tools.ovc.telemetry_stub' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "None True\n"


def test_a_small_tower_is_not_worth_it(scorer: Scorer) -> None:
    assert not is_worth_compiling(scorer.checkpoint.tower)


def _windows() -> Tensor:
    """A composed window for each clip."""
    windows = []
    for seed in range(CLIPS):
        random = np.random.default_rng(seed)
        sound = render(compose(draw_attributes(random), 10.0, random), random)
        windows.append(split_windows(condition(sound, SAMPLE_RATE_HZ, InputPolicy()))[1][0])
    return torch.from_numpy(np.stack(windows))


def _embedded(tower: ClapTower, log_mel: Tensor, precision: str) -> EmbeddedClips:
    cache = EmbeddingCache(None, tower, InputPolicy(), precision)
    audio = torch.cat([cache.embed(batch) for batch in log_mel.split(cache.batch)])
    return EmbeddedClips(
        audio, torch.arange(len(audio)), audio[:1].expand(len(audio), -1)
    )  # a prompt like any


@pytest.mark.slow
def test_scores_of_the_official_size_stay_within_two_hundredths() -> None:
    tower = official_tower(torch.device("cpu"))
    assert is_worth_compiling(tower)
    log_mel = torch.cat([tower.log_mel(batch) for batch in _windows().split(8)])
    exact, fast = (_embedded(tower, log_mel, precision) for precision in ("float32", "bfloat16"))
    order = log_mel[..., 32:].mean(dim=(1, 2, 3)).argsort().argsort()  # how bright a clip is can be learned
    mos = 1.5 + 3.0 * order[:, None].expand(-1, 2) / CLIPS
    rows = list(range(CLIPS))
    heads = fit_heads(exact, mos, rows[HELD_OUT:], rows[:HELD_OUT], RECIPES["frozen"], seed=0)
    expected, given = (clip_values(heads, clips) for clips in (exact, fast))
    assert expected.std(axis=0).min() > 0.2  # the heads do tell the clips apart
    assert np.abs(given - expected).max() <= 0.02  # 0.012 was measured
