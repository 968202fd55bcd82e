import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from core.audio import read_clip
from core.scales import SCALES
from core.scorer import WINDOWS_PER_BATCH, Scorer
from tests.clips import pluck

PROMPT = "A calm guitar line"


def codes(scorer: Scorer, prompt: str) -> list[str]:
    return [warning.code for warning in scorer.score((pluck(), 16_000), prompt).warnings]


def test_a_score_and_its_windows(scorer: Scorer) -> None:
    score = scorer.score((pluck(29.0), 16_000), PROMPT)
    assert [(window.start_s, window.end_s) for window in score.windows] == [(0, 10), (10, 20), (19, 29)]
    for scale in SCALES:
        course = [getattr(window, scale) for window in score.windows]
        assert 1.0 < min(course) < max(course) < 5.0
        assert getattr(score, scale) == pytest.approx(np.mean(course), abs=1e-6)


def test_the_clips_value_is_the_mean_before_clamping(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([[6.0, -1.0], [3.0, 1.5], [3.6, 1.5]])
    monkeypatch.setattr(scorer.checkpoint.heads, "forward", lambda audio, text: values)
    score = scorer.score((pluck(29.0), 16_000), PROMPT)
    assert score.musical_impression == pytest.approx(4.2)
    assert score.textual_alignment == 1.0
    assert [window.musical_impression for window in score.windows] == pytest.approx([5.0, 3.0, 3.6])
    assert [window.textual_alignment for window in score.windows] == pytest.approx([1.0, 1.5, 1.5])


def test_intervals_are_the_held_out_error_within_the_scale(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer.checkpoint.heads, "forward", lambda audio, text: torch.tensor([[3.0, 4.5]]))
    intervals = scorer.score((pluck(), 16_000), PROMPT).intervals
    assert intervals.level == 0.9
    assert intervals.musical_impression == (2.5, 3.5)
    assert intervals.textual_alignment == (3.75, 5.0)
    assert "90% of 40 clips of 4 systems" in intervals.source


def test_the_same_bits_again_from_any_source(scorer: Scorer, clip_path: Path) -> None:
    first = scorer.score(clip_path, PROMPT).to_json()
    assert scorer.score(clip_path, PROMPT).to_json() == first
    assert scorer.score(clip_path.read_bytes(), PROMPT).to_json() == first
    assert scorer.score(read_clip(clip_path), PROMPT).to_json() == first


def test_threads_do_not_disturb_each_other(scorer: Scorer) -> None:
    clips = [(pluck(duration_s), 16_000) for duration_s in (4.0, 11.0, 7.0, 4.0)]
    alone = [scorer.score(clip, PROMPT).to_json() for clip in clips]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda clip: scorer.score(clip, PROMPT).to_json(), clips))
    assert together == alone


def test_no_global_random_state_is_used(scorer: Scorer) -> None:
    before = torch.random.get_rng_state()
    scorer.score((pluck(), 16_000), PROMPT)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_long_clips_go_in_batches(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    embed = scorer.checkpoint.tower.embed_audio

    def counted(windows: np.ndarray) -> torch.Tensor:
        sizes.append(len(windows))
        return embed(windows)

    monkeypatch.setattr(scorer.checkpoint.tower, "embed_audio", counted)
    told: list[tuple[float, str]] = []
    score = scorer.score((pluck(95.0), 16_000), PROMPT, lambda share, doing: told.append((share, doing)))
    assert sizes == [WINDOWS_PER_BATCH, 2]
    assert len(score.windows) == 10
    assert [share for share, _ in told] == [0.0, 0.0, 0.8, 1.0]
    assert [doing for _, doing in told][1:3] == ["Listening: window 1 of 10", "Listening: window 9 of 10"]


def test_the_prompt_counts_for_alignment_only(scorer: Scorer) -> None:
    one, other = (scorer.score((pluck(), 16_000), prompt) for prompt in (PROMPT, "Loud techno with drums"))
    assert one.musical_impression == other.musical_impression
    assert one.textual_alignment != other.textual_alignment


def test_prompt_warnings(scorer: Scorer) -> None:
    assert codes(scorer, PROMPT) == ["demo_model"]
    assert codes(scorer, " \n") == ["demo_model", "prompt_empty"]
    assert codes(scorer, "piano and strings " * 40) == ["demo_model", "prompt_cut"]


def test_a_model_warns_of_what_was_not_real_in_its_training(scorer: Scorer) -> None:
    real = Scorer(replace(scorer.checkpoint, demo=False, caveat=""))
    assert codes(real, PROMPT) == []
    studied = Scorer(replace(scorer.checkpoint, demo=False, caveat="its towers learned composed music only"))
    (warning,) = studied.model_warnings()
    assert (warning.code, warning.message) == (
        "demo_model",
        "These scores come from a model (its towers learned composed music only): "
        "use them to look around, not to report results.",
    )
    assert scorer.model_warnings()[0].message.startswith(
        "These scores come from the demo model (trained on composed music and simulated raters): use"
    )


def test_json_is_plain_finite_and_complete(scorer: Scorer, clip_path: Path) -> None:
    prompt = "pia\udcffno " * 500
    result = scorer.score(clip_path, prompt).to_json()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result) == [*SCALES, "intervals", "windows", "warnings", "provenance"]
    assert list(result["windows"][0]) == ["start_s", "end_s", *SCALES]
    provenance = result["provenance"]
    checkpoint = scorer.checkpoint
    assert provenance["checkpoint"] == {
        "id": "random",
        "sha256": checkpoint.sha256,
        "demo": True,
        "caveat": "trained on composed music and simulated raters",
    }
    assert provenance["audio"] == {
        "sha256": read_clip(clip_path).sha256,
        "duration_s": 4.0,
        "sample_rate_hz": 16_000,
        "channels": 1,
    }
    assert provenance["prompt"] == ("pia?no " * 500)[:1_000]
    assert provenance["prompt_characters"] == 3_500
    assert provenance["input_policy"] == {
        "sample_rate_hz": 16_000,
        "bandwidth_hz": 7_000.0,
        "loudness_lufs": -23.0,
    }
    assert provenance["window_policy"]["window_s"] == 10.0
    assert {"musiceval", "torch", "laion_clap", "librosa", "numpy", "python"} <= provenance["versions"].keys()


@pytest.mark.reference
def test_copies_of_a_real_clip_score_alike(reference_data: Path, tmp_path: Path) -> None:
    path = reference_data / "audio" / "ttm" / "wavegen_0.flac"
    prompt = "Solo latin percussion music featuring congas"
    samples, rate = soundfile.read(path, dtype="float32")
    full_band = soxr.resample(samples, rate, 44_100, quality="VHQ")
    soundfile.write(tmp_path / "stereo.wav", np.stack([full_band, full_band], axis=1), 44_100)
    soundfile.write(tmp_path / "quiet.wav", samples * 10 ** (-12 / 20), rate)
    scorer = Scorer.load()
    original = scorer.score(path, prompt)
    for name in ("stereo.wav", "quiet.wav"):
        copy = scorer.score(tmp_path / name, prompt)
        for scale in SCALES:
            assert getattr(copy, scale) == pytest.approx(getattr(original, scale), abs=0.1)
