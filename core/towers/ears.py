"""Ears and words: a tower that has listened to real music and read real text, at 2 million weights.

The ears are two music taggers, musicnn (Pons and Serra 2019, arXiv 1909.06654), trained by their authors on
MagnaTagATune and on the Million Song Dataset to tell 50 tags each. The words are static vectors of pieces of
words (wordllama), kept as how near each piece is to each of these 100 tags. The joint space is that of the
tags: an embedding of audio says how much a clip sounds of each, an embedding of a prompt how much it speaks
of each. So their cosine is alignment for any words, untrained, and every number of it has a
name. How the packages were converted: `tools.judge.conversion`.

The spectrogram is musicnn's own, at 16 kHz with frames of 16 ms, computed at 48 kHz with windows and hops
three times as long: the same up to what lies above 8 kHz, which its 96 bands leave out. A tagger's networks
run once over a whole window, and its pooling slides over them: eight overlapping stretches of 3 s, which is
what the taggers were trained on. The embedding of a window is the mean of its stretches' tags, as
log-probabilities, standardised and bounded; the sequence is their penultimate layers.

A prompt is read word by word, in any order and case, with the pieces that wordllama's tokenizer cuts words
into. A word speaks of the tags that it is nearer to than almost all words are, so "the" speaks of none.
After "no", "not" or "without", words count against theirs, to the next comma or "but". Words that are not in
the list of English words (SCOWL) are not read: their pieces would mean something that they do not.

Windows of music and of what is none are remembered, so that a clip of the latter can be named (`resembles`).
"""

import functools
import gzip
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from core.errors import CheckpointError
from core.towers import PromptReading, Weights, Windows, waveforms

TAGS = 100  # of both taggers
LAYER = 400  # numbers in their penultimate layers
BANDS = 96
WORD_FILES = ("tokenizer.json.gz", "words.txt.gz")
MAX_PROMPT_CHARACTERS = 2_000
KINDS = ("music", "a lone tone", "hum", "a held chord", "clicks", "noise", "notes at random", "a babble", "speech")

_FFT_SAMPLES, _HOP_SAMPLES, _BINS = 1_536, 768, 257
_STRETCH, _STEP = 187, 62  # frames
_TEMPO = (128, 64, 32)  # frames that the filters of rhythm span
_BOUND = 3.0  # standard deviations
_USUAL = 3.0  # standard deviations over English words; 2 to 4 order captions about as well
_LEAST_PROBABILITY = 1e-4
_SAYS_LITTLE = 3.0  # length of the word that says most of music; shorter in 2 % of the material's captions
_NEARER = 0.05  # in cosine: by as much what is no music is nearer than any music; chosen on what is learned from
_NEGATIONS = frozenset({"no", "not", "without", "non", "never"})
_ENDS_NEGATION = re.compile(r"[,.;:!?]|\bbut\b|\bwith\b")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


class Tagger(nn.Module):
    """One musicnn: spectrograms to its penultimate layer and its tags' logits, a row for each stretch."""

    def __init__(self) -> None:
        super().__init__()
        self.start = _Scaling(1)
        self.timbre = nn.ModuleList([nn.Conv2d(1, 204, (7, bands), padding=(3, 0)) for bands in (38, 67)])
        self.tempo = nn.ModuleList([nn.Conv2d(1, 51, (frames, 1)) for frames in _TEMPO])
        self.front = nn.ModuleList([_Scaling(size) for size in (204, 204, 51, 51, 51)])
        self.middle = nn.ModuleList([nn.Conv1d(size, 64, 7, padding=3) for size in (561, 64, 64)])
        self.after = nn.ModuleList([_Scaling(64) for _ in range(3)])
        self.pooled, self.dense, self.layer = _Scaling(1_506), nn.Linear(1_506, LAYER // 2), _Scaling(LAYER // 2)
        self.tags = nn.Linear(LAYER // 2, TAGS // 2)

    def forward(self, spectrograms: Tensor) -> tuple[Tensor, Tensor]:
        """Return (n, stretches, 200) and (n, stretches, 50) of spectrograms, (n, frames, 96)."""
        frames = self._frames(spectrograms).unfold(2, _STRETCH, _STEP)
        pooled = torch.stack([frames.amax(-1), frames.mean(-1)], -1).transpose(1, 2).flatten(2)
        layer = self.layer(self.dense(self.pooled(pooled, -1)).relu(), -1)
        return layer, self.tags(layer)

    def _frames(self, spectrograms: Tensor) -> Tensor:
        """What is pooled over time, (n, 753, frames)."""
        heard = self.start(spectrograms[:, None])
        padded = [heard, heard]
        for length in _TEMPO:
            before = (length - 1) // 2  # as TensorFlow pads even lengths
            padded.append(functional.pad(heard, (0, 0, before, length // 2)))
        found = [_highest(*one) for one in zip([*self.timbre, *self.tempo], self.front, padded, strict=True)]
        layers = [torch.cat(found, dim=1)]
        for convolution, scaling in zip(self.middle, self.after, strict=True):
            before_it = layers[-1] if len(layers) > 1 else 0.0
            layers.append(scaling(convolution(layers[-1]).relu()) + before_it)
        return torch.cat(layers, dim=1)


class _Scaling(nn.Module):
    """What batch normalisation is once it is trained: a factor and an offset for each channel."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.factor, self.offset = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))

    def forward(self, values: Tensor, axis: int = 1) -> Tensor:
        shape = [1] * values.ndim
        shape[axis] = -1
        return values * self.factor.view(shape) + self.offset.view(shape)


def _highest(convolution: Any, scaling: Any, heard: Tensor) -> Tensor:
    """Return the highest of ``scaling(convolution(heard).relu())`` over the bands.

    Where the factor is negative, that is where the convolution is lowest: so its sign goes first, and what comes
    after the convolution is computed of one band instead of all.
    """
    sign = torch.where(scaling.factor >= 0, 1.0, -1.0)
    weight, bias = convolution.weight * sign[:, None, None, None], convolution.bias * sign
    most: Tensor = functional.conv2d(heard, weight, bias, padding=convolution.padding).amax(-1) * sign[:, None]
    return scaling(most.relu())  # type: ignore[no-any-return]


class Words:
    """How prompts are cut into words and their pieces, from the files of a checkpoint; CheckpointError without."""

    def __init__(self, folder: Path) -> None:
        self.files = tuple(folder / name for name in WORD_FILES)
        try:
            tokenizer, known = (gzip.decompress(path.read_bytes()) for path in self.files)
            self.sha256 = hashlib.sha256(tokenizer + known).digest()
            self.tokenizer = Tokenizer.from_str(tokenizer.decode("utf-8"))
            self.known = frozenset(known.decode("utf-8").split())
        except Exception as error:  # tokenizers raises nothing narrower
            raise CheckpointError(f"{' or '.join(WORD_FILES)} of the model folder cannot be read.") from error

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def read(self, prompt: str) -> list[tuple[list[int], float]]:
        """Return the pieces of each known word of a prompt, with 1, or -1 where the word is negated."""
        return [
            (self.tokenizer.encode(word, add_special_tokens=False).ids, sign)
            for clause in _clauses(prompt)
            for word, sign in _signs(clause)
            if word in self.known
        ]

    def unknown(self, prompt: str) -> list[str]:
        """Return the words of a prompt that are not read."""
        return [word for clause in _clauses(prompt) for word in clause if word not in self.known]


def _clauses(prompt: str) -> Iterator[list[str]]:
    """The words of each part of a prompt that a negation reaches over."""
    plain = unicodedata.normalize("NFKD", prompt[:MAX_PROMPT_CHARACTERS].casefold().replace("’", "'"))
    for clause in _ENDS_NEGATION.split("".join(sign for sign in plain if not unicodedata.combining(sign))):
        yield [word.removesuffix("'s") for word in _WORD.findall(clause)]


def _signs(words: Sequence[str]) -> Iterator[tuple[str, float]]:
    sign = 1.0
    for word in words:
        if word in _NEGATIONS:
            sign = -1.0
        else:
            yield word, sign


class EarsTower(nn.Module):
    """The ears and words as a `core.towers.Tower`; made by :meth:`restore` or by the conversion."""

    name = "ears"
    dim, sequence_dim = TAGS, LAYER
    compiled: Mapping[str, int] = MappingProxyType({"float32": 1, "bfloat16": 1})
    cosine_scale = 10.0

    bands: Tensor
    tag_mean: Tensor
    tag_deviation: Tensor
    pieces: Tensor
    piece_scale: Tensor
    known: Tensor
    known_kind: Tensor
    known_by: Tensor

    def __init__(self, words: Words, n_known: int = 0) -> None:
        super().__init__()
        self.words = words
        self.taggers = nn.ModuleList([Tagger(), Tagger()])
        self.register_buffer("bands", torch.zeros(BANDS, _BINS))
        self.register_buffer("tag_mean", torch.zeros(TAGS))  # in music, a stretch at a time
        self.register_buffer("tag_deviation", torch.ones(TAGS))
        # Of pieces of words, in standard deviations over English words: numbers times what one stands for.
        self.register_buffer("pieces", torch.zeros(len(words), TAGS, dtype=torch.int8))
        self.register_buffer("piece_scale", torch.zeros(len(words)))
        # One of the weights, so that the hash of the weights is of the words as well.
        self.register_buffer("words_sha256", torch.tensor(list(words.sha256), dtype=torch.uint8))
        # Embeddings of windows of music and of what is none, their places in `KINDS`, and which taggers' they are.
        self.register_buffer("known", torch.zeros(n_known, TAGS))
        self.register_buffer("known_kind", torch.zeros(n_known, dtype=torch.uint8))
        self.register_buffer("known_by", torch.zeros(32, dtype=torch.uint8))

    @classmethod
    def restore(cls, weights: Weights, folder: Path) -> "EarsTower":
        """Bring it back from a checkpoint's weights and folder; CheckpointError where they do not fit."""
        with torch.device("meta"):  # draws no random weights
            tower = cls(Words(folder), len(weights.get("known", ())))
        tower.load_weights(weights)
        return tower.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pieces.device

    def features(self, windows: Windows) -> Tensor:
        """Return spectrograms, (n, 626, 96); ValueError for other windows."""
        waveform = waveforms(windows).to(self.device)
        hann = torch.hann_window(_FFT_SAMPLES, device=self.device)
        with torch.no_grad():
            spectrum = torch.stft(
                waveform, _FFT_SAMPLES, _HOP_SAMPLES, window=hann, pad_mode="constant", return_complex=True
            )
            power = torch.view_as_real(spectrum[:, :_BINS]).square().sum(-1) / 9  # three times as many samples
            return (self.bands @ power).mul(10_000).add(1).log10().transpose(1, 2)

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings of windows, (n, 100), and of their stretches, (n, 8, 400)."""
        layer, tags = self.tagged(features)
        standard = (tags - self.tag_mean) / self.tag_deviation
        bounded = _BOUND * torch.tanh(standard / _BOUND)
        return functional.normalize(bounded.mean(dim=1), dim=-1), layer

    def tagged(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the taggers say of stretches: (n, 8, 400) of their layers, (n, 8, 100) logarithms of tags."""
        layers, logits = zip(*(tagger(features) for tagger in self.taggers), strict=True)
        return torch.cat(layers, -1), (torch.cat(logits, -1).sigmoid() + _LEAST_PROBABILITY).log()

    def embed_features(self, features: Tensor) -> Tensor:
        """Embed spectrograms."""
        return self.hear(features)[0]

    def embed_audio(self, windows: Windows) -> Tensor:
        """Embed windows."""
        return self.embed_features(self.features(windows))

    def embed_tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        """Embed the known words of each prompt, to (n_words, 100), each as long as it counts."""
        return [self._embed_words(self.words.read(prompt)) for prompt in prompts]

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts; one without any known word is all zeros."""
        return functional.normalize(torch.stack([rows.sum(dim=0) for rows in self.embed_tokens(prompts)]), dim=-1)

    def read(self, prompt: str) -> PromptReading:
        """English words are read, up to 2,000 characters; not all of them say something of music."""
        [words] = self.embed_tokens([prompt])
        most = float(words.norm(dim=-1).max()) if len(words) else 0.0
        return PromptReading(
            self.words.unknown(prompt),
            len(prompt) > MAX_PROMPT_CHARACTERS,
            "nothing" if not most else "little" if most < _SAYS_LITTLE else "enough",
        )

    def know(self, windows: Tensor, kinds: Sequence[str]) -> None:
        """Remember embeddings of windows, (n, 100), and what they are of, by `KINDS`."""
        self.known = windows.to(self.device)
        self.known_kind = torch.tensor([KINDS.index(kind) for kind in kinds], dtype=torch.uint8, device=self.device)
        self.known_by = self._taggers_sha256()

    def resembles(self, windows: Tensor) -> str:
        """Compare windows with those that are remembered; nothing is said once the taggers have learned further."""
        if not self._remembers:
            return ""
        nearness = functional.normalize(windows, dim=-1) @ self.known.T.to(windows)
        is_music = (self.known_kind == 0).to(windows.device)
        to_music = nearness[:, is_music].amax(dim=1)
        to_none, nearest = nearness.masked_fill(is_music, -1.0).max(dim=1)
        is_none = to_none > to_music + _NEARER
        if 2 * int(is_none.sum()) <= len(windows):
            return ""
        return KINDS[int(self.known_kind[nearest[is_none].to(self.device)].mode().values)]

    @functools.cached_property
    def _remembers(self) -> bool:
        return len(self.known) > 0 and torch.equal(self._taggers_sha256(), self.known_by)

    def _taggers_sha256(self) -> Tensor:
        digest = hashlib.sha256()
        for parameter in self.learned_parameters():
            digest.update(parameter.detach().cpu().numpy().tobytes())
        return torch.tensor(list(digest.digest()), dtype=torch.uint8, device=self.device)

    def tokenizer_files(self) -> list[Path]:
        """The tokenizer and the list of words."""
        return list(self.words.files)

    def weights(self) -> dict[str, Tensor]:
        """The state dict."""
        return self.state_dict()

    def learned_parameters(self) -> list[nn.Parameter]:
        """Those of the taggers."""
        return list(self.taggers.parameters())

    def load_weights(self, weights: Weights) -> None:
        """Fill the tower; floating-point weights are converted to float32."""
        known = weights.get("words_sha256")
        if known is not None and bytes(known.tolist()) != self.words.sha256:
            raise CheckpointError(f"{' or '.join(WORD_FILES)} of the model folder is damaged. Copy the folder again.")
        try:
            self.load_state_dict({name: _as_float32(weight) for name, weight in weights.items()}, assign=True)
        except RuntimeError as error:
            raise CheckpointError("These weights are not those of a tower 'ears' with these words.") from error

    def _embed_words(self, found: Sequence[tuple[list[int], float]]) -> Tensor:
        words = [self._embed_word(pieces) * sign for pieces, sign in found]
        return torch.stack(words) if words else self.piece_scale.new_zeros(0, TAGS)

    def _embed_word(self, pieces: Sequence[int]) -> Tensor:
        rows = torch.tensor(pieces, device=self.device)
        nearness = (self.pieces[rows] * self.piece_scale[rows, None]).mean(dim=0)
        return (nearness - _USUAL).clamp(min=0)


def _as_float32(weight: Tensor) -> Tensor:
    return weight.float() if weight.is_floating_point() else weight
