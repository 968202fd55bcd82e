"""Checkpoints, and the heads in them."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.audio import InputPolicy
from core.checkpoint import load_checkpoint, save_checkpoint
from core.errors import CheckpointError
from core.heads import Heads, SequenceHeads, SequenceParts
from core.scales import MUSICEVAL, Scale, keys
from core.scorer import Scorer
from core.scores import ErrorEstimate
from tests.clips import pluck
from tests.conftest import METRICS


@pytest.fixture
def model(tmp_path: Path, random_checkpoint: Path) -> Path:
    return Path(shutil.copytree(random_checkpoint, tmp_path / "model"))


def edit_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def rehash(folder: Path, path: Path) -> None:
    hashes = json.loads((folder / "config.json").read_text())["weights_sha256"]
    edit_config(folder, weights_sha256=hashes | {path.name: hashlib.sha256(path.read_bytes()).hexdigest()})


def save(folder: Path, scorer: Scorer, **changes: Any) -> None:
    given: dict[str, Any] = {
        "checkpoint_id": "copy",
        "tower": scorer.checkpoint.tower,
        "heads": scorer.checkpoint.heads,
        "policy": InputPolicy(22_050, -20.0),
        "metrics": METRICS,
        "model_card": "# Copy\n",
        "demo": False,
        "provenance": {"seed": 7},
    }
    save_checkpoint(folder, **(given | changes))


def test_what_is_saved_is_loaded(tmp_path: Path, scorer: Scorer) -> None:
    save(tmp_path / "new" / "copy", scorer)
    copy = load_checkpoint(tmp_path / "new" / "copy")
    assert (copy.id, copy.demo, copy.policy) == ("copy", False, InputPolicy(22_050, -20.0))
    assert copy.config["provenance"] == {"seed": 7}
    assert copy.metrics == METRICS
    errors = {"musical_impression": 0.5, "textual_alignment": 0.75}
    which = "clips that the model was not trained on"
    assert copy.error_estimate == ErrorEstimate(0.9, errors, {}, 40, 10, "nothing: random weights", which, "")
    assert copy.sha256 == hashlib.sha256((tmp_path / "new" / "copy" / "config.json").read_bytes()).hexdigest()
    assert (tmp_path / "new" / "copy" / "README.md").read_text() == "# Copy\n"
    for given, loaded in (
        (scorer.checkpoint.tower.weights(), copy.tower.weights()),
        (scorer.checkpoint.heads.state_dict(), copy.heads.state_dict()),
    ):
        assert given.keys() == loaded.keys()
        assert all(torch.equal(given[key], loaded[key]) for key in given)


def test_a_caveat_is_kept_and_a_demo_is_never_without(tmp_path: Path, scorer: Scorer) -> None:
    save(tmp_path / "real", scorer)
    assert load_checkpoint(tmp_path / "real").caveat == ""
    save(tmp_path / "studied", scorer, caveat="trained on simulated ratings", demo=True)
    assert load_checkpoint(tmp_path / "studied").caveat == "trained on simulated ratings"
    save(tmp_path / "demo", scorer, demo=True)
    assert load_checkpoint(tmp_path / "demo").caveat == "trained on composed music and simulated raters"


@pytest.mark.parametrize(("demo", "caveat"), [(True, "trained on composed music and simulated raters"), (False, "")])
def test_folders_from_before_caveats(demo: bool, caveat: str, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    del config["caveat"]
    (model / "config.json").write_text(json.dumps(config | {"demo": demo}))
    assert load_checkpoint(model).caveat == caveat


def test_a_folder_that_is_not_whole_does_not_load(tmp_path: Path, scorer: Scorer) -> None:
    save(tmp_path, scorer)
    with pytest.raises(TypeError):  # after the weights, and before the configuration
        save(tmp_path, scorer, metrics=METRICS | {"cannot be written": object()})
    assert list(tmp_path.glob("*.safetensors"))
    with pytest.raises(CheckpointError, match="is not a model folder"):
        load_checkpoint(tmp_path)


def test_the_tokenizer_goes_with_the_weights(tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_text(name)
    files = [tmp_path / "vocab.json", tmp_path / "merges.txt"]
    monkeypatch.setattr(scorer.checkpoint.tower, "tokenizer_files", lambda: files)
    save(tmp_path / "model", scorer)
    assert (tmp_path / "model" / "merges.txt").read_text() == "merges.txt"
    assert (tmp_path / "model" / "vocab.json").read_text() == "vocab.json"


def test_half_precision_is_for_storage_only(random_checkpoint: Path, scorer: Scorer) -> None:
    stored: dict[str, torch.Tensor] = {}
    for path in random_checkpoint.glob("*.safetensors"):
        stored |= load_file(path)
    assert {value.dtype for value in stored.values()} == {torch.float16, torch.int64}
    parameters = [*scorer.checkpoint.tower.parameters(), *scorer.checkpoint.heads.parameters()]
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in parameters)
    assert not scorer.checkpoint.tower.training


def test_files_stay_below_ten_megabytes(random_checkpoint: Path) -> None:
    assert max(path.stat().st_size for path in random_checkpoint.iterdir()) < 10_000_000


def test_saving_over_an_older_checkpoint_leaves_nothing_of_it(model: Path, scorer: Scorer) -> None:
    save(model, scorer, dtype=torch.float16)
    listed = json.loads((model / "config.json").read_text())["weights_sha256"]
    assert {path.name for path in model.glob("*.safetensors")} == set(listed)
    assert load_checkpoint(model).id == "copy"


def test_loading_leaves_the_random_state(random_checkpoint: Path) -> None:
    before = torch.random.get_rng_state()
    load_checkpoint(random_checkpoint)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format 2; this version of MusicEval reads format 1"),
        ({"tower": "huge"}, "There is no tower 'huge'"),
        ({"input_policy": {"bandwidth": 1}}, '"config.json" of the model folder "model" is damaged'),
        ({"weights_sha256": []}, '"config.json" of the model folder "model" is damaged'),
        ({"weights_sha256": {"../secret": "0"}}, '"secret" of the model folder "model" is missing'),
    ],
)
def test_configs_that_do_not_fit(changes: dict[str, Any], message: str, model: Path) -> None:
    edit_config(model, **changes)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(model)
    assert message in str(caught.value)


def test_weights_that_are_not_finite_are_refused(model: Path) -> None:
    path = sorted(model.glob("*.safetensors"))[-1]
    weights = load_file(path)
    key = next(key for key, value in weights.items() if value.is_floating_point())
    save_file(weights | {key: torch.full_like(weights[key], torch.nan)}, path)
    rehash(model, path)
    with pytest.raises(CheckpointError, match="weights that are not finite"):
        load_checkpoint(model)


def test_weights_of_other_heads_are_refused(model: Path) -> None:
    for path in model.glob("*.safetensors"):
        weights = {key: value for key, value in load_file(path).items() if "heads.textual" not in key}
        save_file(weights, path)
        rehash(model, path)
    with pytest.raises(CheckpointError, match="do not fit its heads"):
        load_checkpoint(model)


def test_metrics_without_held_out_error_are_refused(tmp_path: Path, scorer: Scorer) -> None:
    with pytest.raises(CheckpointError, match="lacks the held-out error"):
        save(tmp_path / "copy", scorer, metrics={"held_out": {"n_clips": 3}})
    assert not (tmp_path / "copy").exists()


def test_metrics_that_were_edited_are_refused(tmp_path: Path, scorer: Scorer) -> None:
    save(tmp_path, scorer)
    stored = (tmp_path / "metrics.json").read_text()
    (tmp_path / "metrics.json").write_text(stored.replace("0.75", "0.01"))
    with pytest.raises(CheckpointError, match=r'^"metrics.json" of the model folder ".*" is damaged'):
        load_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["metrics_sha256"]  # as in folders of before
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = load_checkpoint(tmp_path).error_estimate
    assert loaded is not None
    assert loaded.absolute_error["textual_alignment"] == 0.01


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval_level": 90.0},
        {"interval_level": float("nan")},
        {"absolute_error_quantile": {"musical_impression": float("nan"), "textual_alignment": 0.5}},
        {"absolute_error_quantile": {"musical_impression": -0.1, "textual_alignment": 0.5}},
        {"absolute_error_quantile": {"musical_impression": 4.5, "textual_alignment": 0.5}},
        {"absolute_error_quantile": {"mood": 0.5}},
        {"absolute_error_quantile": None},
        {"spread_quantile": {"musical_impression": float("inf")}},
        {"n_clips": "many"},
        {"n_systems": 41},
    ],
)
def test_an_error_that_cannot_be_is_refused(wrong: dict[str, Any], tmp_path: Path, scorer: Scorer) -> None:
    with pytest.raises(CheckpointError, match="or it cannot be"):
        save(tmp_path / "copy", scorer, metrics={"held_out": METRICS["held_out"] | wrong})


def test_whatever_stands_against_a_range_is_kept(tmp_path: Path, scorer: Scorer) -> None:
    stored = {"absolute_error_quantile": None, "no_range": "Its systems share their audio."}
    save(tmp_path / "copy", scorer, metrics={"held_out": METRICS["held_out"] | stored})
    loaded = load_checkpoint(tmp_path / "copy").error_estimate
    assert loaded is not None
    assert (loaded.absolute_error, loaded.no_range) == ({}, "Its systems share their audio.")


@pytest.mark.parametrize("stored", [{"absolute_error_quantile": None, "no_range": "Too few."}, {}])
def test_of_too_few_clips_there_is_no_range(stored: dict[str, Any], tmp_path: Path, scorer: Scorer) -> None:
    """Whatever a folder from before says of two clips."""
    metrics = {"held_out": METRICS["held_out"] | {"n_clips": 2, "n_systems": 1} | stored}
    save(tmp_path, scorer, metrics=metrics, policy=InputPolicy())
    loaded = load_checkpoint(tmp_path)
    assert loaded.error_estimate is not None
    assert loaded.error_estimate.absolute_error == {}
    why = stored.get("no_range", "2 clips of 1 system are too few; a range needs 40 clips of 10 systems.")
    assert loaded.error_estimate.no_range == why
    score = Scorer(loaded).score((pluck(), 16_000), "A calm guitar line")
    assert score.intervals is None
    [warning] = score.warnings
    assert (warning.code, warning.message) == ("no_range", f"These scores have no range: {why}")


def test_affine_heads_come_back_affine(tmp_path: Path, scorer: Scorer) -> None:
    torch.manual_seed(0)
    heads = Heads(scorer.checkpoint.tower.dim, activation="affine")
    save(tmp_path, scorer, heads=heads)
    loaded = load_checkpoint(tmp_path).heads
    a, b = torch.randn(2, heads.dim), torch.randn(2, heads.dim)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(a, b), heads(a, b))
        torch.testing.assert_close(loaded((a + b) / 2, a), (loaded(a, a) + loaded(b, a)) / 2)


def test_heads_over_sequences_come_back_and_score(tmp_path: Path, scorer: Scorer) -> None:
    tower, parts = scorer.checkpoint.tower, SequenceParts(hidden=8, members=2, dropout=0.5)
    torch.manual_seed(0)
    heads = SequenceHeads(tower.dim, tower.sequence_dim, MUSICEVAL, parts).eval()
    with torch.no_grad():
        for weight in heads.parameters():
            weight.add_(0.1 * torch.randn(weight.shape))
    save(tmp_path, scorer, heads=heads, policy=InputPolicy())
    loaded = load_checkpoint(tmp_path)
    assert isinstance(loaded.heads, SequenceHeads)
    assert loaded.heads.parts == parts
    for name, weight in heads.state_dict().items():
        torch.testing.assert_close(loaded.heads.state_dict()[name], weight)
    judge, clip = Scorer(loaded, cache=tmp_path / "cache"), (pluck(15.0), 16_000)
    score = judge.score(clip, "A calm guitar line")
    windows = [window.values["musical_impression"] for window in score.windows]
    assert len(windows) == 2
    assert all(1.0 < value < 5.0 for value in (*windows, *score.values.values()))
    assert judge.score(clip, "A calm guitar line") == score
    other = judge.score(clip, "Loud drums")
    assert other["musical_impression"] == score["musical_impression"]
    assert abs(other["textual_alignment"] - score["textual_alignment"]) > 1e-6


def test_scales_are_stored_and_folders_from_before_have_musicevals(tmp_path: Path, scorer: Scorer, model: Path) -> None:
    sound = Scale("sound_quality", "Sound quality", "How does it sound?", tuple("12345"))
    scales = (*MUSICEVAL[::-1], sound)
    errors = dict.fromkeys(keys(scales), 0.5)
    metrics = {"held_out": METRICS["held_out"] | {"absolute_error_quantile": errors}}
    heads = Heads(scorer.checkpoint.tower.dim, scales)
    save(tmp_path / "three", scorer, heads=heads, metrics=metrics, policy=InputPolicy())
    loaded = load_checkpoint(tmp_path / "three")
    assert loaded.scales == scales
    assert loaded.error_estimate is not None
    assert loaded.error_estimate.absolute_error == errors
    score = Scorer(loaded).score((pluck(), 16_000), "A calm guitar line")
    assert list(score.to_json())[:3] == list(score.values) == keys(scales)
    config = json.loads((model / "config.json").read_text())
    del config["scales"]
    (model / "config.json").write_text(json.dumps(config))
    assert load_checkpoint(model).scales == MUSICEVAL


def test_impression_hears_only_the_audio_and_alignment_both() -> None:
    torch.manual_seed(0)
    heads = Heads(8)
    audio, text = torch.randn(4, 8), torch.randn(4, 8)
    values, other = heads(audio, text), heads(audio, text.flip(0))
    assert values.shape == (4, 2)
    assert torch.equal(values[:, 0], other[:, 0])
    assert not torch.allclose(values[:, 1], other[:, 1])


def test_heads_are_three_layers_and_not_one_affine_map() -> None:
    torch.manual_seed(0)
    head = Heads(8)["musical_impression"]
    layers = [layer for layer in head.modules() if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in layers] == [256, 64, 1]
    a, b = torch.randn(8), torch.randn(8)
    with torch.inference_mode():
        ends = head(torch.stack([a, b, (a + b) / 2]))[:, 0]
    assert abs(float(ends[2] - (ends[0] + ends[1]) / 2)) > 1e-4
