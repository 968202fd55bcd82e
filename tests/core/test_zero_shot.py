import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from core.__main__ import main
from core.audio import AudioLimits, InputPolicy
from core.errors import CheckpointError
from core.many.manifest import Row
from core.many.rows import Judging, RowScorer
from core.scorer import Scorer
from core.towers import StartingTower, tower_sha256
from core.zero_shot import OPPOSITES, ZeroShotHeads, load_scorer, zero_shot_checkpoint

PROMPT = "A calm guitar line"


@pytest.fixture(scope="module")
def start(scorer: Scorer) -> StartingTower:
    tower = scorer.checkpoint.tower
    return StartingTower("random", tower, InputPolicy(), tower_sha256(tower), "")


@pytest.fixture(scope="module")
def judge(start: StartingTower) -> Scorer:
    return Scorer(zero_shot_checkpoint(start))


def test_the_values_follow_from_cosines(start: StartingTower) -> None:
    tower = start.tower
    heads = ZeroShotHeads(tower)
    good, bad = (tower.embed_text([pair[side] for pair in OPPOSITES]) for side in (0, 1))
    audio = functional.normalize(good.sum(dim=0) - bad.sum(dim=0), dim=0)[None]
    text = functional.normalize(torch.ones(1, tower.dim), dim=1)
    given = heads(audio, text)[0]
    assert heads(-audio, text)[0, 0] < 3.0 < given[0]
    temperature = tower.clap.logit_scale_a.exp()
    both = torch.stack([audio @ good.T, audio @ bad.T], dim=-1)  # of each pair, as CLIP-IQA has it
    expected = (temperature * both).softmax(dim=-1)[..., 0].mean()
    assert float(given[0]) == pytest.approx(1 + 4 * float(expected), abs=1e-5)
    assert float(given[1]) == pytest.approx(1 + 8 * float((audio * text).sum()), abs=1e-5)
    half = functional.normalize(text + 0.0, dim=1)
    assert float(heads(half, text)[0, 1]) == pytest.approx(9.0, abs=1e-4)  # clamped by the scorer, not here
    assert list(heads.parameters()) == []


def test_a_score_says_that_it_is_uncalibrated(judge: Scorer, clip_path: Path) -> None:
    score = judge.score(clip_path, PROMPT)
    assert 1.0 <= score.musical_impression <= 5.0
    assert 1.0 <= score.textual_alignment <= 5.0
    assert score.intervals is None
    assert score.warnings[0].code == "zero_shot"
    assert "calibrated by no rating" in score.warnings[0].message
    told = json.loads(json.dumps(score.to_json(), allow_nan=False))
    assert told["intervals"] is None
    assert told["provenance"]["held_out"] is None
    assert told["provenance"]["checkpoint"]["id"] == "zero-shot random"
    assert judge.score(clip_path, PROMPT) == score


def test_trained_heads_do_not_warn_of_it(scorer: Scorer) -> None:
    assert "zero_shot" not in [warning.code for warning in scorer.model_warnings()]


def test_rows_get_the_same_score_without_interval(judge: Scorer, clip_path: Path) -> None:
    rows = RowScorer(judge, Judging(None, None, "float32", AudioLimits()), "cpu")
    row = Row(id="1", file=clip_path.name, prompt=PROMPT, system="", path=clip_path, others={})
    (record,) = rows.score([row])
    score = judge.score(clip_path, PROMPT)
    assert record["status"] == "ok"
    assert record["musical_impression"] == pytest.approx(score.musical_impression, abs=1e-5)
    assert record["textual_alignment"] == pytest.approx(score.textual_alignment, abs=1e-5)
    assert record["musical_impression_low"] is record["interval_level"] is None
    assert record["warnings"].split(";")[0] == "zero_shot"


def test_another_tower_is_another_model(start: StartingTower) -> None:
    other = dataclasses.replace(start, sha256="0" * 64)
    assert zero_shot_checkpoint(start).sha256 == zero_shot_checkpoint(start).sha256
    assert zero_shot_checkpoint(start).sha256 != zero_shot_checkpoint(other).sha256


def test_the_command(
    start: StartingTower, clip_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr("core.zero_shot.load_tower", lambda tower: asked.append(tower) or start)
    command = ["score", str(clip_path), "--prompt", PROMPT]
    assert main([*command, "--zero-shot"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].endswith("no interval")
    assert any(line.startswith("! These scores are zero-shot") for line in lines)
    assert main([*command, "--json", "--zero-shot", "small"]) == 0
    assert json.loads(capfd.readouterr().out)["intervals"] is None
    assert asked == ["music-audioset", "small"]
    with pytest.raises(SystemExit):
        main([*command, "--zero-shot", "small", "--model", "folder"])
    assert "--zero-shot goes without --model" in capfd.readouterr().err


def test_the_command_for_a_manifest(
    judge: Scorer, start: StartingTower, clip_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.zero_shot.load_tower", lambda tower: start)
    manifest, output = tmp_path / "clips.jsonl", tmp_path / "scores.jsonl"
    manifest.write_text(json.dumps({"file": str(clip_path), "prompt": PROMPT}))
    command = ["score", "--manifest", str(manifest), "-o", str(output), "--no-cache"]
    assert main([*command, "--zero-shot", "small"]) == 0
    record = json.loads(output.read_text())
    score = judge.score(clip_path, PROMPT)
    assert record["textual_alignment"] == pytest.approx(score.textual_alignment, abs=1e-5)
    assert (record["model"], record["model_sha256"]) == ("zero-shot random", judge.checkpoint.sha256)
    assert "zero_shot" in record["warnings"].split(";")


def test_the_small_tower_says_what_it_learned_from(clip_path: Path) -> None:
    warnings = load_scorer(None, "small").model_warnings()
    assert [warning.code for warning in warnings] == ["zero_shot", "demo_model"]
    assert "its towers learned composed music only" in warnings[1].message


def test_an_unknown_tower_is_refused() -> None:
    with pytest.raises(CheckpointError, match="There is no tower 'x'"):
        load_scorer(None, "x")
