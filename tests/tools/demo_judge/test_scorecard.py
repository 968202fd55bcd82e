from types import SimpleNamespace

import numpy as np
import pytest
from scipy import signal

from core.errors import MusicEvalError
from core.scorer import Scorer
from tools.demo_judge import scorecard

RATE_HZ = 16_000


@pytest.fixture
def music():
    random = np.random.default_rng(0)
    return signal.lfilter([1], [1, -0.9], random.standard_normal(3 * RATE_HZ)) * 0.1


def damaged(name, samples):
    return scorecard.DAMAGES[name](samples, RATE_HZ, np.random.default_rng(1))


def test_damages_are_what_they_are_called(music):
    rms = scorecard.rms
    noise = damaged("white noise, 0 dB SNR", music) - music
    assert 20 * np.log10(rms(music) / rms(noise)) == pytest.approx(0.0, abs=0.1)
    clipped = damaged("hard clipping, 20 dB over", music)
    assert np.mean(np.abs(clipped) == 1.0) > 0.1
    low = np.abs(np.fft.rfft(damaged("low-pass, 1 kHz", music)))
    assert rms(low[3 * 2000 :]) < 1e-2 * rms(low)
    gaps = damaged("drop-outs, a quarter of the time", music)
    assert np.mean(gaps == 0.0) == pytest.approx(0.25, abs=0.01)


def test_real_audio_is_judged_by_order_alone(tmp_path):
    (tmp_path / "audio" / "ttm").mkdir(parents=True)
    with pytest.raises(MusicEvalError, match=r"manifest\.csv"):
        scorecard.real(SimpleNamespace(), tmp_path)


def test_a_perfect_and_an_idle_judge(monkeypatch, tmp_path):
    paths = {tmp_path / f"{name}.wav": name for name in ("piano", "drums", "flute")}
    perfect = SimpleNamespace(score=lambda clip, prompt: {"textual_alignment": float(clip.stem == prompt)})
    idle = SimpleNamespace(score=lambda clip, prompt: {"textual_alignment": 3.0})
    assert scorecard.own_prompts(perfect, paths)["share"] == 1.0
    result = scorecard.own_prompts(idle, paths)
    assert (result["share"], result["n_pairs"], result["n_prompts"]) == (0.0, 6, 3)


def test_intervals_resample_whole_clips():
    table = np.array([[True] * 10, [False] * 10])
    assert scorecard.cluster_interval(table) == [0.0, 1.0]


def test_a_judge_of_the_highs_hears_a_band_limit():
    def score(clip, prompt):
        spectrum = np.abs(np.fft.rfft(clip[0]))
        return {"musical_impression": float(spectrum[30_000:].sum() / spectrum.sum())}

    heard = scorecard.heard_faults(SimpleNamespace(score=score), pieces=3)
    assert heard["band limit"] == 1.0
    assert heard["noise"] == 0.0
    assert heard["n_pieces"] == 3


def test_the_report_shows_every_metric_with_its_interval(random_checkpoint):
    card = {"simulated": scorecard.simulated(Scorer.load(random_checkpoint), systems=10, clips_each=2, duration_s=2.0)}
    lines = scorecard.report(card).splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("| musical impression | utterance | 20 | ")
    assert card["simulated"]["n_clips"] == 20
    assert lines[3].count("[") == 4
