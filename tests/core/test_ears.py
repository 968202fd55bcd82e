"""The ears and words of the embedded judge: what is heard, and what is read of a prompt."""

import copy
import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from core.audio import WINDOW_SAMPLES, Clip, InputPolicy, read_clip
from core.checkpoint import load_checkpoint
from core.embeddings import EmbeddingCache
from core.errors import CheckpointError, SilenceError
from core.model_files import EMBEDDED_JUDGE
from core.prompts import prompt_warnings
from core.scorer import Scorer
from core.scores import Score
from core.towers.ears import BANDS, FIRST, FRAMES, LAYER, TAGS, UNUSUAL, WORDS_FILE, EarsTower, Words
from tests.clips import pluck, write_clip
from tools.bench import EXAMPLES
from tools.judge.sounds import RATE_HZ, SPOILT_MUSIC, SYNTHETIC


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(load_checkpoint(EMBEDDED_JUDGE))


@pytest.fixture(scope="module")
def tower(scorer: Scorer) -> EarsTower:
    tower = scorer.checkpoint.tower
    assert isinstance(tower, EarsTower)
    return tower


def window(sound: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.resize(sound, WINDOW_SAMPLES))[None]


def cosine(tower: EarsTower, one: str, other: str) -> float:
    first, second = tower.embed_text([one, other])
    return float(functional.cosine_similarity(first, second, dim=0))


def test_shapes(tower: EarsTower) -> None:
    features = tower.features(window(pluck(10.0, 48_000)))
    assert features.shape == (1, FRAMES + 1, BANDS)
    embedding, frames = tower.hear(features)
    assert (embedding.shape, frames.shape) == ((1, TAGS), (1, 8, LAYER + FIRST + UNUSUAL))
    assert float(embedding.norm()) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(tower.embed_features(tower.features(window(pluck(10.0, 48_000)))), embedding)
    with pytest.raises(ValueError, match="windows have shape"):
        tower.features(torch.zeros(1, 16_000))


def test_a_window_is_the_same_in_any_company_and_as_in_torch(tower: EarsTower) -> None:
    cache = EmbeddingCache(None, tower, InputPolicy())
    sounds = [pluck(10.0, 48_000), np.random.default_rng(0).normal(0, 0.1, WINDOW_SAMPLES).astype(np.float32)]
    features = torch.cat([tower.features(window(sound)) for sound in sounds])
    together = cache.embed(features)
    for place in range(2):
        torch.testing.assert_close(cache.embed(features[place : place + 1])[0], together[place], rtol=0, atol=1e-6)
    torch.testing.assert_close(together, tower.embed_features(features), rtol=0, atol=1e-4)


def test_filters_that_vanished_in_training_are_left_out_and_change_nothing(tower: EarsTower) -> None:
    features, flops = tower.features(window(pluck(10.0, 48_000))), {}
    found = {}
    for name, context in (("all", torch.enable_grad()), ("those that hear", torch.no_grad())):
        with context, FlopCounterMode(display=False) as counter:
            found[name], flops[name] = tower.hear(features)[1].detach(), counter.get_total_flops()
    torch.testing.assert_close(found["those that hear"], found["all"], rtol=0, atol=1e-4)
    assert flops["those that hear"] < 0.5 * flops["all"]


def test_order_case_and_accents_do_not_matter(tower: EarsTower) -> None:
    assert cosine(tower, "Slow piano, sad strings", "SAD STRINGS slow Piáno") == pytest.approx(1.0, abs=1e-5)


def test_words_that_say_nothing_of_music_change_nothing(tower: EarsTower) -> None:
    assert cosine(tower, "piano", "it is the piano of a") > 0.95


def test_what_is_negated_counts_against(tower: EarsTower) -> None:
    assert cosine(tower, "drums", "no drums") == pytest.approx(-1.0, abs=1e-5)
    assert cosine(tower, "piano, no drums", "no drums, piano") == pytest.approx(1.0, abs=1e-5)
    assert cosine(tower, "piano without drums but strings", "piano strings, no drums") == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("prompt", ["", "xqzt brrlgh", "ein trauriges Klavierstück", "12 !?"])
def test_what_is_not_known_is_not_read(tower: EarsTower, prompt: str) -> None:
    assert not tower.embed_text([prompt]).any()
    assert tower.embed_tokens([prompt])[0].shape[1] == TAGS


def test_related_words_are_near(tower: EarsTower) -> None:
    assert cosine(tower, "violin", "cello") > cosine(tower, "violin", "techno")
    assert cosine(tower, "a woman sings", "female vocals") > cosine(tower, "a woman sings", "drum machine")


def test_two_words_that_are_a_tag_are_read_as_one(tower: EarsTower) -> None:
    assert [len(rows) for rows in tower.embed_tokens(["hip hop", "Hip-Hop drums", "hop hip"])] == [1, 2, 2]
    assert cosine(tower, "heavy metal", "metal") > cosine(tower, "heavy metal", "heavy flute")


@pytest.mark.parametrize("prompt", ["xqzt brrlgh", "ein trauriges Klavierstück für Geige", " "])
def test_no_alignment_with_what_was_not_read(scorer: Scorer, tmp_path: Path, prompt: str) -> None:
    score = scorer.score(write_clip(tmp_path / "clip.wav"), prompt)
    assert score["textual_alignment"] is None
    assert "textual_alignment" in score.missing
    assert score["musical_impression"] is not None
    assert all(part.values["textual_alignment"] is None for part in score.windows)
    assert score.to_json()["textual_alignment"] is None


def test_unread_words_are_named(scorer: Scorer) -> None:
    [warning] = prompt_warnings("A calm piano and a xqzt", scorer.checkpoint.tower)
    assert (warning.code, '"xqzt"' in warning.message) == ("prompt_words_unknown", True)
    assert [of.code for of in prompt_warnings("piano " * 500, scorer.checkpoint.tower)] == ["prompt_cut"]


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("I like bananas", "prompt_without_music"),
        ("please make it good", "prompt_little_music"),
        ("a slow piano", None),
    ],
)
def test_what_a_prompt_says_of_music(scorer: Scorer, prompt: str, code: str | None) -> None:
    assert [of.code for of in prompt_warnings(prompt, scorer.checkpoint.tower)] == ([code] if code else [])


def noise(tmp_path: Path, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).normal(0, 0.1, 10 * 48_000).astype(np.float32)
    return write_clip(tmp_path / "noise.wav", samples)


def codes(score: Score) -> set[str]:
    return {warning.code for warning in score.warnings}


def test_what_is_no_music_is_named(scorer: Scorer, tmp_path: Path) -> None:
    score = scorer.score(noise(tmp_path), "a slow piano")
    [message] = [of.message for of in score.warnings if of.code == "no_music"]
    assert "sounds more like noise than like any music" in message
    assert score["musical_impression"] is not None
    for example in sorted(EXAMPLES.glob("*.ogg")):
        assert "no_music" not in codes(scorer.score(example, "")), example.name


def test_taggers_that_learned_further_say_nothing_of_it(tower: EarsTower) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, WINDOW_SAMPLES).astype(np.float32)
    heard = tower.embed_features(tower.features(window(noise)))
    assert tower.resembles(heard) == "noise"
    other = copy.deepcopy(tower)
    with torch.no_grad():
        other.learned_parameters()[0].add_(0.01)
    again = EarsTower.restore(other.weights(), EMBEDDED_JUDGE)
    assert again.resembles(heard) == ""


def test_folders_that_are_not_whole_are_refused(tower: EarsTower, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="of the model folder cannot be read"):
        Words(tmp_path)
    words = tmp_path / WORDS_FILE
    shutil.copyfile(tower.words.file, words)
    words.write_bytes(gzip.compress(gzip.decompress(words.read_bytes()) + b"xqzt\n"))
    with pytest.raises(CheckpointError, match=r"words\.txt\.gz of the model folder is damaged"):
        EarsTower.restore(tower.weights(), tmp_path)
    weights = {name: weight for name, weight in tower.weights().items() if name != "bands"}
    with pytest.raises(CheckpointError, match="not those of a tower 'ears'"):
        EarsTower.restore(weights, EMBEDDED_JUDGE)


@pytest.fixture(scope="module")
def played(reference_data: Path) -> list[Clip]:
    """Recordings of people who play music."""
    return [read_clip(path) for path in sorted((reference_data / "audio/anchors").glob("*.ogg"))]


@pytest.fixture(scope="module")
def resampled(played: list[Clip]) -> list[np.ndarray]:
    """At the rate at which they are spoilt."""
    return [soxr.resample(clip.samples, clip.sample_rate_hz, RATE_HZ) for clip in played]


@pytest.fixture(scope="module")
def recordings(scorer: Scorer, played: list[Clip]) -> list[Score]:
    return [scorer.score(clip, "") for clip in played]


@pytest.mark.reference
@pytest.mark.parametrize("kind", [kind for kind in SYNTHETIC if kind != "near silence"])
def test_what_is_no_music_is_below_every_recording_of_people(
    scorer: Scorer, recordings: list[Score], tmp_path: Path, kind: str
) -> None:
    made = SYNTHETIC[kind](10.0, np.random.default_rng(1_000))
    score = scorer.score(write_clip(tmp_path / "made.wav", made, RATE_HZ), "")
    assert "no_music" in codes(score)
    assert not any("no_music" in codes(of) for of in recordings)
    assert score["musical_impression"] < min(of["musical_impression"] for of in recordings)


@pytest.mark.reference
@pytest.mark.parametrize("kind", [kind for kind in SPOILT_MUSIC if kind != "stuck"])  # `stuck` is not heard well
def test_a_recording_that_is_spoilt_is_below_itself(
    scorer: Scorer, recordings: list[Score], resampled: list[np.ndarray], tmp_path: Path, kind: str
) -> None:
    values = [of["musical_impression"] for of in recordings]
    spoilt = [
        scorer.score(_spoilt(sound, kind, seed, tmp_path), "")["musical_impression"]
        for seed, sound in enumerate(resampled)
    ]
    assert all(worse < better for worse, better in zip(spoilt, values, strict=True))
    if kind == "shuffled":
        assert max(spoilt) < min(values)


def _spoilt(sound: np.ndarray, kind: str, seed: int, folder: Path) -> Path:
    return write_clip(folder / "spoilt.wav", SPOILT_MUSIC[kind](sound, np.random.default_rng(seed)), RATE_HZ)


def test_near_silence_gets_no_score(scorer: Scorer, tmp_path: Path) -> None:
    made = SYNTHETIC["near silence"](10.0, np.random.default_rng(1_000))
    with pytest.raises(SilenceError):
        scorer.score(write_clip(tmp_path / "made.wav", made, RATE_HZ), "")
