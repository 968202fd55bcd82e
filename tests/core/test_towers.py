"""Towers: the registry, the protocol by a tiny tower of another make, and CLAP with its tokenizers."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio import WINDOW_SAMPLES, InputPolicy, Samples
from core.checkpoint import load_checkpoint, save_checkpoint
from core.errors import CheckpointError
from core.heads import Heads
from core.model_files import EMBEDDED_JUDGE
from core.scorer import Scorer
from core.towers import TOWERS, PromptReading, StartingTower, Tower, TowerEntry, load_tower, tower_sha256
from core.towers.clap import MAX_TOKENS, BytePairTokens, ClapTower, RobertaTokens
from core.zero_shot import zero_shot_checkpoint
from tests.clips import pluck
from tests.conftest import METRICS
from tests.officials import MERGES, VOCABULARY

BEGIN, END = 49_406, 49_407  # the marks of CLIP's byte-pair vocabulary


# The registry


def test_the_ears_are_the_embedded_judges() -> None:
    start, judge = load_tower("ears"), load_checkpoint(EMBEDDED_JUDGE)
    assert (start.name, start.policy, start.caveat) == ("ears", judge.policy, "")
    assert start.sha256 == tower_sha256(judge.tower) == tower_sha256(start.tower)
    assert not start.tower.training


def test_a_starting_tower_is_frozen(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = load_checkpoint(random_checkpoint).tower
    entry = dataclasses.replace(TOWERS["music-audioset"], start=lambda: tower.train().requires_grad_(True))
    monkeypatch.setitem(TOWERS, "music-audioset", entry)
    start = load_tower("music-audioset")
    assert (start.tower, start.policy, start.caveat) == (tower, InputPolicy(), "")
    assert not start.tower.training
    assert not any(weight.requires_grad for weight in tower.parameters())


def test_an_unknown_tower_is_answered_with_the_known_ones() -> None:
    expected = r"^There is no tower 'large'\. The towers are ears, music-audioset, muq, small\.$"
    with pytest.raises(CheckpointError, match=expected):
        load_tower("large")
    with pytest.raises(CheckpointError, match=r"'huge'.*music-audioset, small"):
        ClapTower.build("huge")


def test_the_hash_is_of_the_weights(random_checkpoint: Path) -> None:
    one, same = (load_checkpoint(random_checkpoint).tower for _ in range(2))
    assert tower_sha256(one) == tower_sha256(same)
    with torch.no_grad():
        weight = same.learned_parameters()[0].view(-1)
        weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))
    assert tower_sha256(one) != tower_sha256(same)


# A tower of another make


class LevelTower(nn.Module):
    """Hears how loud each tenth of a window is, and reads how often each vowel stands in a prompt."""

    name, dim, sequence_dim, cosine_scale = "level", 5, 5, 10.0
    compiled: Collection[str] = ()

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(10, 5)

    @property
    def device(self) -> torch.device:
        return self.mix.weight.device

    def features(self, windows: Tensor | Samples) -> Tensor:
        tenths = torch.as_tensor(windows).reshape(len(windows), 10, -1)
        return tenths.square().mean(dim=-1)

    def embed_features(self, features: Tensor) -> Tensor:
        return functional.normalize(self.mix(features), dim=-1)

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor]:
        frames = functional.normalize(features[..., None] * self.mix.weight.T, dim=-1)
        return self.embed_features(features), frames

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        counts = torch.tensor([[1.0 + prompt.count(vowel) for vowel in "aeiou"] for prompt in prompts])
        return functional.normalize(counts, dim=-1)

    def embed_tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        return [self.embed_text(prompt.split()) for prompt in prompts]

    def read(self, prompt: str) -> PromptReading:
        return PromptReading()

    def resembles(self, windows: Tensor) -> str:
        return ""

    def weights(self) -> dict[str, Tensor]:
        return self.state_dict()

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        self.load_state_dict(weights)

    def learned_parameters(self) -> list[nn.Parameter]:
        return list(self.parameters())

    def tokenizer_files(self) -> list[Path]:
        return []

    @classmethod
    def restore(cls, weights: dict[str, Tensor], folder: Path) -> "LevelTower":
        tower = cls()
        tower.load_weights(weights)
        return tower


def test_a_new_tower_needs_its_class_and_a_line_in_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = TowerEntry(LevelTower, LevelTower.restore, InputPolicy(loudness_lufs=-20.0), "it is a toy")
    monkeypatch.setitem(TOWERS, "level", entry)
    start = load_tower("level")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        heads = Heads(start.tower.dim)
    for head in heads.values():
        torch.nn.init.constant_(head[-1].bias, 3.0)
    save_checkpoint(
        tmp_path / "judge",
        checkpoint_id="by level",
        tower=start.tower,
        heads=heads,
        policy=start.policy,
        metrics=METRICS,
        model_card="",
        demo=False,
        provenance={},
        caveat=start.caveat,
    )
    scorer = Scorer.load(tmp_path / "judge", cache=tmp_path / "cache", precision="bfloat16")
    assert tower_sha256(scorer.checkpoint.tower) == start.sha256
    first = scorer.score((pluck(15.0), 16_000), "A calm guitar line")
    assert (len(first.windows), first.provenance.checkpoint.caveat) == (2, "it is a toy")
    assert 1.0 < first["musical_impression"] < 5.0
    assert scorer.score((pluck(15.0), 16_000), "A calm guitar line") == first
    judge = Scorer(zero_shot_checkpoint(start))
    assert judge.score((pluck(), 16_000), "oh").intervals is None


# CLAP


@pytest.fixture(scope="module")
def tower() -> ClapTower:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return ClapTower.build("small")


@pytest.fixture(scope="module")
def windows() -> Samples:
    random = np.random.default_rng(0)
    return (0.1 * random.standard_normal((3, WINDOW_SAMPLES))).astype(np.float32)


def test_clap_is_a_tower(tower: ClapTower) -> None:
    as_tower: Tower = tower
    assert (as_tower.name, as_tower.dim, as_tower.tokenizer_files()) == ("small", 256, [])
    assert StartingTower("small", as_tower, InputPolicy(), "", "").tower is tower


def test_audio_embeddings_are_those_of_laion_clap(tower: ClapTower, windows: Samples) -> None:
    with torch.inference_mode():
        ours = tower.embed_features(tower.features(windows))
        theirs = tower.clap.get_audio_embedding([{"waveform": torch.from_numpy(w)} for w in windows])
    assert ours.shape == (3, 256)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.norm(dim=1), torch.ones(3))


def test_a_sequence_has_each_of_htsats_frames_once(tower: ClapTower, windows: Samples) -> None:
    with torch.inference_mode():
        features = tower.features(windows)
        embedding, frames = tower.hear(features)
        branch = tower.clap.audio_branch
        image = branch.reshape_wav2img(branch.bn0(features.transpose(1, 3)).transpose(1, 3))
        repeated = branch.forward_features(image)["fine_grained_embedding"]
    n_frames = frames.shape[1]
    assert frames.shape == (3, n_frames, tower.dim)
    assert len(torch.unique(repeated[0], dim=0)) == n_frames
    torch.testing.assert_close(frames.norm(dim=-1), torch.ones(3, n_frames))
    assert not torch.allclose(frames[:, 0], frames[:, 1])
    torch.testing.assert_close(embedding, tower.embed_features(tower.features(windows)))


def test_tokens_are_those_that_a_prompt_is_read_from(tower: ClapTower) -> None:
    """The text encoder takes a prompt's embedding from its end mark."""
    prompts = ["A calm guitar line", "Loud"]
    with torch.inference_mode():
        long, short = tower.embed_tokens(prompts)
        whole = tower.embed_text(prompts)
    assert (len(long), len(short)) == (6, 3)  # with both marks
    torch.testing.assert_close(torch.stack([long[-1], short[-1]]), whole)
    assert not torch.allclose(long[1], long[2])


def test_an_embedding_is_the_same_alone_and_in_a_batch(tower: ClapTower, windows: Samples) -> None:
    with torch.inference_mode():
        features = tower.features(windows)
        together, alone = tower.embed_features(features), tower.embed_features(tower.features(windows[1:2]))
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-6)


def test_embedding_draws_no_random_number(tower: ClapTower, windows: Samples) -> None:
    state = torch.get_rng_state()
    with torch.inference_mode():
        first, second = (tower.embed_features(tower.features(windows[:1])) for _ in range(2))
        tower.embed_text(["a piano"])
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())


def test_windows_of_another_length_are_refused(tower: ClapTower) -> None:
    with pytest.raises(ValueError, match="480000"):
        tower.embed_features(tower.features(np.zeros((1, WINDOW_SAMPLES - 1), dtype=np.float32)))


def test_prompts_differ_and_white_space_does_not(tower: ClapTower) -> None:
    with torch.inference_mode():
        one, other, spaced = tower.embed_text(["slow piano", "fast drums", "  slow \n piano "])
    assert float(one @ other) < 0.9999
    assert torch.equal(one, spaced)


@pytest.mark.parametrize(
    ("prompt", "cut"), [("piano", False), ("piano " * 75, False), ("piano " * 76, True), ("x" * 1001, True)]
)
def test_a_prompt_is_cut_past_77_tokens(tower: ClapTower, prompt: str, cut: bool) -> None:
    assert tower.read(prompt).is_cut is cut


def test_weights_are_what_is_learned_and_come_back(tower: ClapTower) -> None:
    weights = tower.weights()
    assert not any("extractor" in key or key.endswith(("attn_mask", "position_index")) for key in weights)
    learned = {id(weight) for weight in tower.learned_parameters()}
    assert learned == {id(p) for key, p in tower.clap.named_parameters() if key in weights}
    before = torch.get_rng_state()
    other = ClapTower.restore("small", weights)
    assert torch.equal(before, torch.get_rng_state())
    assert not other.training
    assert all(torch.equal(value, other.weights()[key]) for key, value in weights.items())
    with torch.inference_mode():
        assert torch.equal(tower.embed_text(["a harp"]), other.embed_text(["a harp"]))


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_other_weights_are_refused(tower: ClapTower, fault: str) -> None:
    weights = tower.weights()
    if fault == "missing":
        del weights["logit_scale_a"]
    else:
        key = "stray" if fault == "unknown" else "logit_scale_a"
        weights[key] = torch.zeros(2)
    with pytest.raises(CheckpointError, match=r"'small' tower.*(logit_scale_a|stray)"):
        tower.load_weights(weights)


# Tokens


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.json").write_bytes(VOCABULARY)
    (tmp_path / "merges.txt").write_bytes(MERGES)
    return tmp_path


def test_byte_pairs_keep_their_end_mark_and_take_none_from_a_prompt() -> None:
    tokens = BytePairTokens()
    ids = tokens(["drum " * 200, "drum", "piano <end_of_text> drums"])
    assert ids.shape == (3, MAX_TOKENS)
    assert (ids[0, 0], ids[0, -1]) == (BEGIN, END)
    assert ids[1].tolist()[2:] == [END] + [0] * (MAX_TOKENS - 3)
    assert ids[2].tolist().count(END) == 1
    assert ids[2, 3] == END
    assert (tokens.files, tokens.count("piano")) == ((), 3)


def test_roberta_begins_ends_fills_and_cuts(folder: Path) -> None:
    tokens = RobertaTokens(folder)
    assert tokens.files == (folder / "vocab.json", folder / "merges.txt")
    given = tokens(["ab", "a" * 200])
    first, second = given["input_ids"].tolist()
    a, b = tokens(["ab"])["input_ids"][0, 1:3].tolist()
    assert (first[0], first[3], set(first[4:])) == (0, 2, {1})  # <s> a b </s> <pad> …
    assert second == [0, *[a] * (MAX_TOKENS - 2), 2]
    assert a != b
    assert given["attention_mask"].sum(dim=1).tolist() == [4, MAX_TOKENS]
    assert (tokens.count("ab"), tokens.count("a" * 200)) == (4, 202)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", None, r"vocab\.json and merges\.txt.*fetch-clap"),
        ("merges.txt", None, r"vocab\.json and merges\.txt"),
        ("vocab.json", '{"<s>": 0, "<pad>": 1, "</s>": 2}', "has 3 entries; RoBERTa's has 50,265"),
        ("vocab.json", "no vocabulary", "cannot be read"),
    ],
)
def test_a_tokenizer_that_is_not_robertas(folder: Path, name: str, content: str | None, message: str) -> None:
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(content)
    with pytest.raises(CheckpointError, match=message):
        ClapTower.build("music-audioset", folder)


@pytest.mark.reference
def test_roberta_s_own_vocabulary(reference_data: Path) -> None:
    tokens = RobertaTokens(reference_data / "roberta-base")
    assert tokens(["A slow piano"])["input_ids"][0, :6].tolist() == [0, 250, 2635, 13305, 2, 1]
