import numpy as np
import pytest
import torch

from core.audio import WINDOW_SAMPLES
from core.clap import ClapTower
from core.errors import CheckpointError


@pytest.fixture(scope="module")
def tower() -> ClapTower:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return ClapTower.build("small")


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    random = np.random.default_rng(0)
    return (0.1 * random.standard_normal((3, WINDOW_SAMPLES))).astype(np.float32)


def test_audio_embeddings_are_those_of_laion_clap(tower, windows):
    with torch.inference_mode():
        ours = tower.embed_audio(windows)
        theirs = tower.clap.get_audio_embedding([{"waveform": torch.from_numpy(w)} for w in windows])
    assert ours.shape == (3, 256)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(3))


def test_an_embedding_is_the_same_alone_and_in_a_batch(tower, windows):
    with torch.inference_mode():
        together, alone = tower.embed_audio(windows), tower.embed_audio(windows[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)


def test_embedding_draws_no_random_number(tower, windows):
    state = torch.get_rng_state()
    with torch.inference_mode():
        first, second = tower.embed_audio(windows[:1]), tower.embed_audio(windows[:1])
        tower.embed_text(["a piano"])
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_windows_of_another_length_are_refused(tower):
    with pytest.raises(ValueError, match="480000"):
        tower.embed_audio(np.zeros((1, WINDOW_SAMPLES - 1), dtype=np.float32))


def test_prompts_differ_and_white_space_does_not(tower):
    with torch.inference_mode():
        one, other, spaced = tower.embed_text(["slow piano", "fast drums", "  slow \n piano "])
    assert float(one @ other) < 0.9999
    assert torch.equal(one, spaced)


@pytest.mark.parametrize(
    ("prompt", "cut"), [("piano", False), ("piano " * 75, False), ("piano " * 76, True), ("x" * 1001, True)]
)
def test_a_prompt_is_cut_past_77_tokens(tower, prompt, cut):
    assert tower.is_cut(prompt) is cut


def test_weights_hold_what_is_learned_and_come_back(tower):
    weights = tower.weights()
    assert not any("extractor" in key or key.endswith(("attn_mask", "position_index")) for key in weights)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        other = ClapTower.build("small")
    other.load_weights(weights)
    with torch.inference_mode():
        assert torch.equal(tower.embed_text(["a harp"]), other.embed_text(["a harp"]))


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_other_weights_are_refused(tower, fault):
    weights = tower.weights()
    if fault == "missing":
        del weights["logit_scale_a"]
    elif fault == "unknown":
        weights["stray"] = torch.zeros(1)
    else:
        weights["logit_scale_a"] = torch.zeros(2)
    with pytest.raises(CheckpointError, match=r"'small' tower.*(logit_scale_a|stray)"):
        ClapTower.build("small").load_weights(weights)


def test_restoring_leaves_the_generator_alone(tower):
    before = torch.get_rng_state()
    other = ClapTower.restore("small", tower.weights())
    assert torch.equal(before, torch.get_rng_state())
    assert not other.training
    assert all(torch.equal(value, other.weights()[key]) for key, value in tower.weights().items())


def test_the_small_tower_brings_its_tokenizer(tower):
    assert tower.tokenizer_files() == []


def test_an_unknown_tower_is_answered_with_the_known_ones():
    with pytest.raises(CheckpointError, match=r"'huge'.*music-audioset, small"):
        ClapTower.build("huge")


def test_the_official_tower_needs_its_tokenizer(tmp_path):
    with pytest.raises(CheckpointError, match=r"vocab\.json"):
        ClapTower.build("music-audioset", tmp_path)
