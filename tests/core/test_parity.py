"""Our towers against laion-clap itself: its public calls, the same weights, float32.

``import laion_clap`` fetches tokenizers, and its model RoBERTa's weights: both are given from here.
"""

import dataclasses
import importlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import soundfile
import torch
from torch.nn import functional

from core.audio import MODEL_SAMPLE_RATE_HZ, WINDOW_SAMPLES, InputPolicy
from core.evaluation import predicted, read_predictions
from core.musiceval import read_source
from core.pinned import OFFICIAL, verify
from core.scales import MUSICEVAL, keys
from core.scorer import Scorer
from core.towers import StartingTower, tower_sha256
from core.towers.clap import RECOMPUTED, ClapTower
from core.towers.official import check_tower
from core.training.recipe import RECIPES, TrainingPlan
from core.training.run import train
from tests.playable_release import write_release

pytestmark = [
    pytest.mark.reference,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # laion-clap's own, at import and when it builds
]
PROMPTS = [
    "A slow piano ballad in a minor key, recorded in a small room",
    "fast Latin percussion",
    "Ein ruhiges Stück für Streicher – très lent, 静か",
    "drum " * 100,  # past the 77 tokens
    "x",
]


@pytest.fixture(scope="module")
def vocabulary(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("reference_data") / "roberta-base"
    for file in OFFICIAL.tokenizer:
        verify(folder / file.name, file)
    return folder


@pytest.fixture(scope="module")
def theirs(vocabulary: Path) -> Any:
    """``laion_clap.CLAP_Module`` at the paper's size with random weights."""
    import transformers
    from transformers import BartTokenizer, BertTokenizer, RobertaModel, RobertaTokenizer

    tokenizer = RobertaTokenizer.from_pretrained(str(vocabulary), local_files_only=True)
    config = transformers.RobertaConfig.from_pretrained(str(vocabulary), local_files_only=True)
    config.pad_token_id = 1  # the reference's config.json leaves it out, as RoBERTa's own once did
    path = list(sys.path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        with (
            mock.patch.dict(os.environ),  # it sets a folder for compiled code
            mock.patch.object(BertTokenizer, "from_pretrained"),
            mock.patch.object(BartTokenizer, "from_pretrained"),
            mock.patch.object(RobertaTokenizer, "from_pretrained", return_value=tokenizer),
            mock.patch.object(RobertaModel, "from_pretrained", return_value=RobertaModel(config)),
        ):
            module = importlib.import_module("laion_clap")
            built = module.CLAP_Module(enable_fusion=False, device="cpu", amodel="HTSAT-base")
    sys.path[:] = path
    return built


@pytest.fixture(scope="module")
def ours(theirs: Any, vocabulary: Path) -> ClapTower:
    weights = theirs.model.state_dict()
    learned = {key: value for key, value in weights.items() if not RECOMPUTED.search(key)}
    tower = ClapTower.restore("music-audioset", learned, vocabulary)
    own = tower.clap.state_dict()
    assert own.keys() == weights.keys()
    assert all(torch.equal(own[key], weights[key]) for key in own)
    return tower


@pytest.fixture
def files(tmp_path: Path) -> SimpleNamespace:
    """Clips of exactly 10 s, as files and as the windows that these hold."""
    random = np.random.default_rng(0)
    seconds = np.arange(WINDOW_SAMPLES) / MODEL_SAMPLE_RATE_HZ
    noise = 0.2 * random.standard_normal(WINDOW_SAMPLES)
    sweep = 0.5 * np.sin(2 * np.pi * (100 + 300 * seconds) * seconds)
    clips = np.clip([noise * np.exp(-8 * (seconds % 0.5)), sweep], -1, 1)
    paths = [tmp_path / f"{i}.wav" for i in range(len(clips))]
    for path, clip in zip(paths, clips, strict=True):
        soundfile.write(path, clip, MODEL_SAMPLE_RATE_HZ, subtype="PCM_16")
    windows = np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])
    return SimpleNamespace(paths=[str(path) for path in paths], windows=windows)


def test_audio_of_ten_seconds(theirs: Any, ours: ClapTower, files: SimpleNamespace) -> None:
    with torch.inference_mode():
        expected = theirs.get_audio_embedding_from_filelist(files.paths, use_tensor=True)
        given = ours.embed_features(ours.features(files.windows))
        unrounded = theirs.get_audio_embedding_from_data(torch.from_numpy(files.windows), use_tensor=True)
    cosine = functional.cosine_similarity(given, expected)
    assert float(cosine.min()) >= 0.99999, cosine  # laion-clap rounds what it reads down to 16 bits once more
    torch.testing.assert_close(given, unrounded, rtol=0, atol=5e-6)  # its spectra are no FFT: rounded otherwise
    assert float(functional.cosine_similarity(given[0], given[1], dim=0)) < 0.999  # and it tells clips apart


def test_prompts(theirs: Any, ours: ClapTower) -> None:
    with torch.inference_mode():
        expected = theirs.get_text_embedding(PROMPTS, use_tensor=True)
        given = ours.embed_text(PROMPTS)
    torch.testing.assert_close(given, expected, rtol=0, atol=1e-6)
    assert float(functional.cosine_similarity(given[0], given[1], dim=0)) < 0.999


def test_the_self_check_passes_at_the_official_size(ours: ClapTower) -> None:
    check_tower(ours)
    millions = sum(weight.numel() for weight in ours.clap.audio_branch.parameters()) / 1e6
    assert ours.dim == 512
    assert 70 < millions < 76  # HTSAT-base and its fixed spectrogram kernels


@pytest.mark.timeout(1200)
def test_ordinal_trains_is_saved_loads_and_scores_at_the_official_size(
    ours: ClapTower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random weights and composed clips: nothing but data and weights is missing for Table I."""
    write_release(tmp_path / "release", 40, systems=10)
    start = StartingTower("music-audioset", ours, InputPolicy(), tower_sha256(ours), "")
    monkeypatch.setattr("core.training.material.load_tower", lambda _: start)
    recipe = dataclasses.replace(RECIPES["ordinal"], epochs=3)
    folder = train(TrainingPlan(tmp_path / "release", recipe, start.name), tmp_path / "judge", device="cpu")
    held_out = folder.metrics()["held_out"]
    assert (held_out["n_clips"], held_out["n_systems"]) == (40, 10)
    scorer, row = Scorer.load(folder.path), read_predictions(folder.path / "predictions.csv").table.iloc[0]
    clips = read_source(tmp_path / "release").table.set_index("clip_id")
    score = scorer.score(clips["audio_path"][row["clip_id"]], clips["prompt"][row["clip_id"]])
    assert score.values == pytest.approx({key: row[predicted(key)] for key in keys(MUSICEVAL)}, abs=1e-4)
    assert score.intervals is not None
