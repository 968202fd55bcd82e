"""Scores: of one clip and of many, by trained heads and by none, and of what is no clip or no model."""

import dataclasses
import itertools
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch.nn import functional

from core.audio import AudioLimits, InputPolicy, read_clip
from core.cli import main
from core.errors import AudioError, CheckpointError, SilenceError
from core.prompts import UNREADABLE
from core.scales import MUSICEVAL, keys
from core.scorer import AT_ONCE, Item, Scorer
from core.scores import Score, Unscored
from core.towers import StartingTower, tower_sha256
from core.zero_shot import OPPOSITES, ZeroShotHeads, load_scorer, zero_shot_checkpoint
from tests.bad_inputs import BAD_INPUTS, BAD_MODELS, BadInput, BadModel
from tests.clips import pluck

PROMPT = "A calm guitar line"
CLIP = (pluck(), 16_000)
SCALES = keys(MUSICEVAL)

each_input = pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
each_model = pytest.mark.parametrize("case", BAD_MODELS, ids=lambda case: case.name)


def codes(scorer: Scorer, prompt: str) -> list[str]:
    return [warning.code for warning in scorer.score(CLIP, prompt).warnings]


# One clip


def test_a_score_and_its_windows(scorer: Scorer) -> None:
    score = scorer.score((pluck(29.0), 16_000), PROMPT)
    spans = [(window.start_s, window.end_s) for window in score.windows]
    assert spans == [pytest.approx(span, abs=1e-3) for span in [(0, 10), (10, 20), (19, 29)]]
    assert list(score.values) == SCALES
    for scale in SCALES:
        course = [window.values[scale] for window in score.windows]
        assert 1.0 < min(course) < max(course) < 5.0
        assert score[scale] == pytest.approx(np.average(course, weights=[10, 10, 9]), abs=1e-3)


def test_passes_are_one_window_of_the_course(scorer: Scorer) -> None:
    clip = (pluck(15.0), 16_000)
    policy = scorer.checkpoint.policy
    once, twice = (
        Scorer(dataclasses.replace(scorer.checkpoint, policy=dataclasses.replace(policy, passes=passes))).score(
            clip, PROMPT
        )
        for passes in (1, 2)
    )
    assert [(window.start_s, window.end_s) for window in twice.windows] == [
        (window.start_s, window.end_s) for window in once.windows
    ]
    course = [window.values["musical_impression"] for window in twice.windows]
    assert twice["musical_impression"] == pytest.approx(np.average(course, weights=[10, 5]), abs=1e-3)
    assert 0.0 < abs(twice["musical_impression"] - once["musical_impression"]) < 0.2


@pytest.mark.parametrize("before_s", [0.005, 0.025, 0.5, 3.0])
def test_silence_in_front_changes_no_score(scorer: Scorer, before_s: float) -> None:
    samples = pluck(11.0, 44_100)
    later = np.concatenate([np.zeros(round(before_s * 44_100), np.float32), samples])
    plain, padded = (scorer.score((sound, 44_100), PROMPT) for sound in (samples, later))
    assert padded.values == pytest.approx(plain.values, abs=1e-5)
    assert padded.windows[0].start_s == pytest.approx(before_s, abs=1e-3)


def test_a_clip_of_which_nothing_is_heard_has_no_score(scorer: Scorer, tmp_path: Path) -> None:
    inverted = np.stack([pluck(), -pluck()], axis=1)
    with pytest.raises(SilenceError, match="cancel each other out"):
        scorer.score((inverted, 16_000), PROMPT)
    cached = Scorer(scorer.checkpoint, cache=tmp_path)
    for _ in range(2):
        [result] = cached.score_many([Item((inverted, 16_000), PROMPT)])
        assert isinstance(result, Unscored)
        assert isinstance(result.error, SilenceError)


def test_the_clips_value_is_the_mean_before_clamping(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.tensor([[6.0, -1.0], [3.0, 1.5], [3.6, 1.5]])
    monkeypatch.setattr(scorer.checkpoint.heads, "forward", lambda audio, text: values)
    score = scorer.score((pluck(29.0), 16_000), PROMPT)
    assert score.values == pytest.approx(
        {"musical_impression": (60 + 30 + 9 * 3.6) / 29, "textual_alignment": 1.0}, abs=1e-3
    )
    assert [window.values["musical_impression"] for window in score.windows] == pytest.approx([5.0, 3.0, 3.6])
    assert [window.values["textual_alignment"] for window in score.windows] == pytest.approx([1.0, 1.5, 1.5])


def test_intervals_are_the_held_out_error_within_the_scale(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer.checkpoint.heads, "forward", lambda audio, text: torch.tensor([[3.0, 4.5]]))
    intervals = scorer.score(CLIP, PROMPT).intervals
    assert intervals is not None
    assert intervals.level == 0.9
    assert intervals.bounds == {"musical_impression": (2.5, 3.5), "textual_alignment": (3.75, 5.0)}
    assert "90% of 40 clips that the model was not trained on (10 systems; nothing: random" in intervals.source


def test_the_same_bits_again_from_any_source(scorer: Scorer, clip_path: Path) -> None:
    first = scorer.score(clip_path, PROMPT).to_json()
    for source in (clip_path, str(clip_path), clip_path.read_bytes(), read_clip(clip_path)):
        assert scorer.score(source, PROMPT).to_json() == first


def test_no_global_random_state_is_used(scorer: Scorer) -> None:
    before = torch.random.get_rng_state()
    scorer.score(CLIP, PROMPT)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_progress_of_a_long_clip(scorer: Scorer) -> None:
    told: list[tuple[float, str]] = []
    score = scorer.score((pluck(95.0), 16_000), PROMPT, lambda *said: told.append(said))
    assert len(score.windows) == 10
    assert [share for share, _ in told] == pytest.approx([0.0, *(n / 10 for n in range(10)), 1.0])
    assert [told[place][1] for place in (0, 1, 10, 11)] == [
        "Reading the clip",
        "Listening: window 1 of 10",
        "Listening: window 10 of 10",
        "Done",
    ]


def test_the_prompt_counts_for_alignment_only(scorer: Scorer) -> None:
    one, other = (scorer.score(CLIP, prompt) for prompt in (PROMPT, "Loud techno with drums"))
    assert one["musical_impression"] == other["musical_impression"]
    assert one["textual_alignment"] != other["textual_alignment"]


def test_warnings_of_prompt_and_model(scorer: Scorer) -> None:
    assert codes(scorer, PROMPT) == ["demo_model"]
    assert codes(scorer, " \n") == ["demo_model", "prompt_empty"]
    assert codes(scorer, "piano and strings " * 40) == ["demo_model", "prompt_cut"]
    for prompt in ("缓慢而悲伤的钢琴曲", "激しいロック", "Тихое пианино", "🎸🔥🔥🥁", "a 钢琴曲"):
        assert codes(scorer, prompt) == ["demo_model", "prompt_not_english"]
    for prompt in ("A calm piano, 120 BPM", "Café del mar", "rock 🎸🔥", "C# + F#: $5"):
        assert "prompt_not_english" not in codes(scorer, prompt)
    real = Scorer(dataclasses.replace(scorer.checkpoint, demo=False, caveat=""))
    assert codes(real, PROMPT) == []
    caveat = "its towers learned composed music only"
    [warning] = Scorer(dataclasses.replace(scorer.checkpoint, demo=False, caveat=caveat)).model_warnings()
    assert warning.message == (
        "These scores come from the model random (its towers learned composed music only): "
        "use them to look around, not to report results."
    )
    simulated = dataclasses.replace(scorer.checkpoint, demo=True, caveat="trained on simulated ratings")
    [warning] = Scorer(simulated).model_warnings()
    assert warning.message.startswith("These scores come from the model random (trained on simulated ratings): use")
    assert scorer.model_warnings()[0].message.startswith(
        "These scores come from the demo model (trained on composed music and simulated raters): use"
    )


def test_json_is_plain_finite_and_complete(scorer: Scorer, clip_path: Path) -> None:
    result = scorer.score(clip_path, "pia\udcffno " * 500).to_json()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert list(result) == [*SCALES, "missing", "intervals", "windows", "warnings", "provenance"]
    assert list(result["intervals"]) == ["level", "source", *SCALES]
    assert list(result["windows"][0]) == ["start_s", "end_s", *SCALES]
    provenance = result["provenance"]
    assert provenance["checkpoint"] == {
        "id": "random",
        "sha256": scorer.checkpoint.sha256,
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
    assert provenance["input_policy"] == dataclasses.asdict(InputPolicy())
    assert provenance["window_policy"]["window_s"] == 10.0
    held_out = ["level", "absolute_error", "error_per_spread", "n_clips", "n_systems", "data", "which", "no_range"]
    assert list(provenance["held_out"]) == held_out
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
        assert scorer.score(tmp_path / name, prompt).values == pytest.approx(original.values, abs=0.1)


# Many clips


def test_many_get_what_each_gets_alone(scorer: Scorer, tmp_path: Path) -> None:
    durations_s, prompts = (4.0, 11.0, 25.0, 0.6), (PROMPT, "", "Loud techno with drums")
    clips = [(pluck(duration_s), 16_000) for duration_s in durations_s]
    items = [Item(clip, prompt) for clip, prompt in itertools.product(clips, prompts)]
    alone = [scorer.score(item.clip, item.prompt) for item in items]
    cached = Scorer(scorer.checkpoint, cache=tmp_path / "cache")
    for judge in (scorer, cached, cached):
        for one, together in zip(alone, judge.score_many(items), strict=True):
            assert isinstance(together, Score)
            assert together.values == pytest.approx(one.values, abs=1e-6)
            assert (together.warnings, together.provenance) == (one.warnings, one.provenance)
            for window, expected in zip(together.windows, one.windows, strict=True):
                assert window.values == pytest.approx(expected.values, abs=1e-6)
                assert (window.start_s, window.end_s) == (expected.start_s, expected.end_s)


def test_a_clip_that_cannot_be_scored_ends_nothing(
    scorer: Scorer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def gone() -> Path:
        raise AudioError("It is gone.")

    def broken() -> Path:
        raise ZeroDivisionError

    items = [Item(gone, ""), Item(CLIP, PROMPT), Item(tmp_path / "no.wav", ""), Item(broken, "", "b.wav")]
    refused, scored, missing, fault = scorer.score_many(items)
    assert isinstance(refused, Unscored)
    assert refused.reason == "It is gone."
    assert isinstance(scored, Score)
    assert scored == scorer.score(CLIP, PROMPT)
    assert isinstance(missing, Unscored)
    assert missing.reason == '"no.wav" was not found. Check the path.'
    assert isinstance(fault, Unscored)
    assert fault.reason == '"b.wav" cannot be scored: ZeroDivisionError, a fault of this program.'
    assert isinstance(fault.error, ZeroDivisionError)
    assert "ZeroDivisionError" in caplog.text
    assert list(scorer.score_many([])) == []


def test_however_many_there_are_few_are_held(scorer: Scorer) -> None:
    taken, short = 0, (pluck(1.0), 16_000)

    def endless() -> Iterator[Item]:
        nonlocal taken
        while True:
            taken += 1
            yield Item(lambda: short, PROMPT)  # each asks for a clip of its own

    results = scorer.score_many(endless())
    assert isinstance(next(results), Score)
    assert taken <= 2 * AT_ONCE  # those that are read ahead are of the next ones
    assert len(list(itertools.islice(results, AT_ONCE))) == AT_ONCE
    assert taken <= 3 * AT_ONCE


def test_threads_do_not_disturb_each_other(scorer: Scorer) -> None:
    clips = [(pluck(duration_s), 16_000) for duration_s in (4.0, 11.0, 7.0, 4.0)]
    alone = [scorer.score(clip, PROMPT).to_json() for clip in clips]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda clip: scorer.score(clip, PROMPT).to_json(), clips))
    assert together == alone


# What is no clip, no prompt, no model


@pytest.fixture
def model(tmp_path: Path, random_checkpoint: Path) -> Path:
    return Path(shutil.copytree(random_checkpoint, tmp_path / "model"))


def check_refusal(message: str, expected: str, folder: Path) -> None:
    assert expected in message
    assert "\n" not in message
    assert message.endswith((".", ")."))
    assert str(folder) not in message


@each_input
def test_bad_input(case: BadInput, tmp_path: Path, scorer: Scorer) -> None:
    clip, prompt = case.build(tmp_path)
    if case.error is None:
        score = scorer.score(clip, prompt)
        missing = {"textual_alignment"} if case.warning in UNREADABLE else set()
        assert {scale for scale, value in score.values.items() if value is None} == missing == score.missing.keys()
        assert all(1.0 <= value <= 5.0 for value in score.values.values() if value is not None)
        expected = {"demo_model", case.warning} - {None}
        found = {warning.code for warning in score.warnings}
        assert found - {"very_short"} == expected - {"very_short"}
        assert case.warning in {None, *found}
        return
    with pytest.raises(AudioError) as caught:
        scorer.score(clip, prompt)
    check_refusal(str(caught.value), case.error, tmp_path)
    if clip.is_file():
        with pytest.raises(AudioError, match=r"^The clip "):
            scorer.score(clip.read_bytes(), prompt)


@each_input
def test_bad_input_of_the_command(
    case: BadInput, tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Scorer, "load", lambda *_: scorer)  # it is loaded already
    clip, prompt = case.build(tmp_path)
    code = main(["score", str(clip), "--prompt", prompt, "--json"])
    out, err = capfd.readouterr()
    if case.error is not None:
        assert (code, out) == (2, "")
        assert err.startswith("python -m core: ")
        check_refusal(err.rstrip("\n"), case.error, tmp_path)
    else:
        assert (code, err) == (0, "")
        assert case.warning in {None, *(warning["code"] for warning in json.loads(out)["warnings"])}


@each_model
def test_bad_model(
    case: BadModel, tmp_path: Path, model: Path, clip_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    spoilt = case.spoil(model)
    with pytest.raises(CheckpointError) as caught:
        Scorer.load(spoilt)
    check_refusal(str(caught.value), case.error, tmp_path)
    code = main(["score", str(clip_path), "--prompt", "", "--model", str(spoilt)])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    check_refusal(err.rstrip("\n"), case.error, tmp_path)


# Zero-shot


@pytest.fixture(scope="module")
def start(scorer: Scorer) -> StartingTower:
    tower = scorer.checkpoint.tower
    return StartingTower("random", tower, InputPolicy(), tower_sha256(tower), "")


@pytest.fixture(scope="module")
def judge(start: StartingTower) -> Scorer:
    return Scorer(zero_shot_checkpoint(start))


def test_zero_shot_values_follow_from_cosines(start: StartingTower) -> None:
    tower = start.tower
    heads = ZeroShotHeads(tower)
    with torch.no_grad():
        good, bad = (tower.embed_text([pair[side] for pair in OPPOSITES]) for side in (0, 1))
    audio = functional.normalize(good.sum(dim=0) - bad.sum(dim=0), dim=0)[None]
    text = functional.normalize(torch.ones(1, tower.dim), dim=1)
    given = heads(audio, text)[0]
    assert heads(-audio, text)[0, 0] < 3.0 < given[0]
    both = torch.stack([audio @ good.T, audio @ bad.T], dim=-1)  # of each pair, as CLIP-IQA has it
    expected = (tower.cosine_scale * both).softmax(dim=-1)[..., 0].mean()
    assert float(given[0]) == pytest.approx(1 + 4 * float(expected), abs=1e-5)
    assert float(given[1]) == pytest.approx(1 + 8 * float((audio * text).sum()), abs=1e-5)
    assert float(heads(text, text)[0, 1]) == pytest.approx(9.0, abs=1e-4)  # clamped by the scorer, not here
    assert list(heads.parameters()) == []


def test_a_zero_shot_score_says_that_it_is_uncalibrated(scorer: Scorer, judge: Scorer, clip_path: Path) -> None:
    score = judge.score(clip_path, PROMPT)
    assert all(1.0 <= value <= 5.0 for value in score.values.values())
    assert score.warnings[0].code == "zero_shot"
    assert "calibrated by no rating" in score.warnings[0].message
    told = json.loads(json.dumps(score.to_json(), allow_nan=False))
    assert told["intervals"] is told["provenance"]["held_out"] is None
    assert told["provenance"]["checkpoint"]["id"] == "zero-shot random"
    assert judge.score(clip_path, PROMPT) == score
    assert "zero_shot" not in codes(scorer, PROMPT)


def test_another_tower_is_another_zero_shot_model(start: StartingTower) -> None:
    other = dataclasses.replace(start, sha256="0" * 64)
    assert zero_shot_checkpoint(start).sha256 == zero_shot_checkpoint(start).sha256
    assert zero_shot_checkpoint(start).sha256 != zero_shot_checkpoint(other).sha256


def test_the_zero_shot_command(
    judge: Scorer,
    start: StartingTower,
    clip_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    asked = []
    monkeypatch.setattr("core.preference.load_preference", lambda *_: None)  # whatever this machine has
    monkeypatch.setattr("core.zero_shot.load_tower", lambda tower: asked.append(tower) or start)
    command = ["score", str(clip_path), "--prompt", PROMPT]
    assert main([*command, "--zero-shot"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].endswith("no interval")
    assert any(line.startswith("! These scores are zero-shot") for line in lines)
    assert main([*command, "--json", "--zero-shot", "small"]) == 0
    assert json.loads(capfd.readouterr().out)["intervals"] is None
    assert asked == ["music-audioset", "small"]
    manifest, output = tmp_path / "clips.jsonl", tmp_path / "scores.jsonl"
    manifest.write_text(json.dumps({"file": str(clip_path), "prompt": PROMPT}))
    command = ["score", "--manifest", str(manifest), "-o", str(output), "--no-cache"]
    assert main([*command, "--zero-shot", "small"]) == 0
    record = json.loads(output.read_text())
    score = judge.score(clip_path, PROMPT)
    assert {scale: record[scale] for scale in SCALES} == pytest.approx(score.values, abs=1e-5)
    assert record["musical_impression_low"] is record["interval_level"] is None
    assert (record["model"], record["model_sha256"]) == ("zero-shot random", judge.checkpoint.sha256)
    assert record["warnings"].split(";")[0] == "zero_shot"


def test_what_judges_is_loaded_by_name(random_checkpoint: Path) -> None:
    warnings = load_scorer(None, "ears", AudioLimits()).model_warnings()
    assert [warning.code for warning in warnings] == ["zero_shot"]
    assert load_scorer(random_checkpoint, None).checkpoint.id == "random"
    with pytest.raises(CheckpointError, match="There is no tower 'x'"):
        load_scorer(None, "x")
