"""The embedded default as it is committed."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from core.scorer import EMBEDDED_JUDGE, Scorer
from tools.demo_judge import panel, scorecard


@pytest.fixture(scope="module")
def judge() -> Scorer:
    return Scorer.load()


def test_it_is_small_and_says_what_it_is(judge):
    assert judge.checkpoint.demo
    assert all(path.stat().st_size < 10_000_000 for path in EMBEDDED_JUDGE.iterdir())
    assert "Not an expert panel" in (EMBEDDED_JUDGE / "README.md").read_text()
    for path in EMBEDDED_JUDGE.glob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(key).get_dtype() for key in weights.keys()}  # noqa: SIM118
            assert kinds <= {"F16", "I64"}
            assert not any("extractor" in key for key in weights.keys())  # noqa: SIM118


def test_its_card_and_its_metrics_agree():
    held_out = json.loads((EMBEDDED_JUDGE / "metrics.json").read_text())["held_out"]
    card = (EMBEDDED_JUDGE / "README.md").read_text()
    for level in ("utterance", "system"):
        for scale in ("musical_impression", "textual_alignment"):
            assert f"{held_out[level][scale]['srcc']:.3f}" in card


@pytest.mark.slow
def test_it_hears_faults_and_mismatches_of_unseen_clips(judge):
    clips = list(panel.simulate(systems=8, clips_each=6, seed=4711))
    scores = [judge.score((clip.sound(), 16_000), clip.prompt) for clip in clips]
    opinions = np.array([clip.opinion for clip in clips])
    for column, scale in enumerate(("musical_impression", "textual_alignment")):
        values = np.array([score[scale] for score in scores])
        good, bad = opinions[:, column] > 3.3, opinions[:, column] < 2.2
        assert values[good].mean() > values[bad].mean() + 0.5


def test_a_29_second_clip_takes_under_a_second(judge):
    random = np.random.default_rng(0)
    clip = ((0.1 * random.standard_normal(29 * 16_000)).astype(np.float32), 16_000)
    judge.score(clip, "noise")
    taken_s = []
    for _ in range(3):
        started_s = time.perf_counter()
        judge.score(clip, "noise")
        taken_s.append(time.perf_counter() - started_s)
    assert min(taken_s) < 1.0


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_it_ranks_unseen_systems(judge):
    card = scorecard.simulated(judge)
    assert card["n_systems"] >= 12
    assert card["musical_impression"]["system"]["srcc"] >= 0.9
    assert card["textual_alignment"]["system"]["srcc"] >= 0.8


@pytest.mark.slow
@pytest.mark.reference
def test_its_order_on_real_audio(judge, reference_data: Path):
    card = scorecard.real(judge, reference_data)
    assert card["damaged"]["n_pairs"] == 68
    assert card["damaged"]["share"] >= 0.8
    assert card["prompts"]["n_prompts"] == 6
    assert card["prompts"]["share"] >= 0.5
