"""Ears and words: a tower that has listened to real music and read real text, at 2 million weights.

The ears are two music taggers, musicnn (Pons and Serra 2019, arXiv 1909.06654), trained by their authors on
MagnaTagATune and on the Million Song Dataset to tell 50 tags each. The words are static vectors (wordllama and
GloVe), kept as how near each English word is to each of these 100 tags. The joint space is that of the tags:
an embedding of audio says how much a clip sounds of each, an embedding of a prompt how much it speaks of each.
So their cosine is alignment for any words, untrained. Half of the tags come together, as "rock", "metal" and
"loud" do, and would outvote the others: so both sides are whitened, in part, by what is usual in music and in
captions. How the packages were converted: `tools.judge.conversion`.

The spectrogram is musicnn's own, at 16 kHz with frames of 16 ms, computed at 48 kHz with windows and hops three times
as long: the same up to what lies above 8 kHz, which its 96 bands leave out. A tagger's networks run once over a whole
window, and its pooling slides over them: eight overlapping stretches of 3 s, which is what the taggers were trained
on. Seven filters in ten vanished in that training, and are left out on a CPU. The embedding of a window is the mean
of its stretches' tags, as log-probabilities, standardised, bounded and whitened; the sequence is their penultimate
layers, which say what is played, the means of what their first filters found, which say how it sounds, and by how
much the notes are less, or more, in tune, in key and in time than those of nearly all music (`core.towers.notes`).
Within what is usual these say nothing, so that they tell faults and not styles.

A prompt is read word by word, in any order and case; two words that are a tag, as "hip hop", are read as one. A
word speaks of the tags that it is nearer to than almost all words are, so "the" speaks of none. After "no",
"not" or "without", words count against theirs, to the next comma or "but". Words that are not in the list of
English words (SCOWL) are not read.

Windows of music and of what is none are remembered, so that a clip of the latter can be named (`resembles`).
"""

import functools
import gzip
import hashlib
import re
import unicodedata
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import CheckpointError
from core.towers import PromptReading, Weights, Windows, waveforms
from core.towers.notes import MEASURES, OF_PARTIALS, measures

TAGS = 100  # of both taggers
LAYER, FIRST = 400, 1_122  # numbers in their penultimate layers, and of their first filters
UNUSUAL = 2 * MEASURES  # numbers of notes
BANDS, FRAMES = 96, 626
WORDS_FILE = "words.txt.gz"
MAX_PROMPT_CHARACTERS = 2_000
KINDS = ("music", "a lone tone", "hum", "a held chord", "clicks", "noise", "notes at random", "a babble", "speech")

_FFT_SAMPLES, _HOP_SAMPLES, _BINS = 1_536, 768, 257
_STRETCH, _STEP = 187, 62  # frames
_TEMPO = (128, 64, 32)  # frames that the filters of rhythm span
_BOUND = 3.0  # standard deviations
_LEAST_PROBABILITY = 1e-4
_SAYS_LITTLE = 2.8  # length of the word that says most of music; shorter in 1 % of the captions of the material
_NEARER = 0.05  # in cosine: by as much what is no music is nearer than any music; chosen on what is learned from
_RARE = 0.05  # of music has less of a measure of notes, and as much has more
_LITTLE = 1e-6
_VANISHED = 1e-4  # a filter so small moves what the tagger says by 1e-5 standard deviations at most
_ENOUGH = 1.0  # partials in a frame: with fewer, tuning and key say less, by as much
_ANY_NOTES = torch.tensor([-1e6, 1e6, 1.0])[:, None].repeat(1, MEASURES)  # lowest, highest, half a standard deviation
_NEGATIONS = frozenset({"no", "not", "without", "non", "never"})
_ENDS_NEGATION = re.compile(r"[,.;:!?]|\bbut\b|\bwith\b")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


class Tagger(nn.Module):
    """One musicnn: spectrograms to its penultimate layer, tags' logits and first filters, a row for each stretch."""

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

    def forward(self, spectrograms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (n, stretches, 200), (n, stretches, 50) and (n, stretches, 561) of spectrograms, (n, frames, 96)."""
        frames = self._frames(spectrograms).unfold(2, _STRETCH, _STEP)
        mean = frames.mean(-1)
        pooled = torch.stack([frames.amax(-1), mean], -1).transpose(1, 2).flatten(2)
        layer = self.layer(self.dense(self.pooled(pooled, -1)).relu(), -1)
        return layer, self.tags(layer), mean[:, : FIRST // 2].transpose(1, 2)

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
    # In training all may come to hear again, and to ask a GPU which ones do would wait for it.
    if torch.is_grad_enabled() or heard.is_cuda:
        most = functional.conv2d(heard, weight, bias, padding=convolution.padding).amax(-1)
    else:
        most = _highest_of_those_that_hear(weight, bias, convolution.padding, scaling.factor, heard)
    return scaling((most * sign[:, None]).relu())  # type: ignore[no-any-return]


def _highest_of_those_that_hear(weight: Tensor, bias: Tensor, padding: Any, factor: Tensor, heard: Tensor) -> Tensor:
    """The highest of the convolution over the bands; a filter that vanished in training says its bias alone."""
    vanished = (weight.abs().sum((1, 2, 3)) * factor.abs() < _VANISHED).tolist()
    order = sorted(range(len(vanished)), key=vanished.__getitem__)
    n_hear = max(1, vanished.count(False))  # a convolution has one at least
    hear, say = order[:n_hear], order[n_hear:]
    found = functional.conv2d(heard, weight[hear], bias[hear], padding=padding).amax(-1)
    said = bias[say][:, None].expand(len(found), -1, found.shape[-1])
    return torch.cat([found, said], dim=1)[:, torch.tensor(order).argsort()]


class Words:
    """The words that are read, from the file of a checkpoint; CheckpointError without."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / WORDS_FILE
        try:
            listed = gzip.decompress(self.file.read_bytes())
            self.sha256 = hashlib.sha256(listed).digest()
            self.places = {word: place for place, word in enumerate(listed.decode("utf-8").splitlines())}
        except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
            raise CheckpointError(f"{WORDS_FILE} of the model folder cannot be read.") from error

    def read(self, prompt: str) -> list[tuple[int, float]]:
        """Return the place of each known word of a prompt, with 1, or -1 where the word is negated."""
        return [
            (self.places[word], sign)
            for clause in _clauses(prompt)
            for word, sign in _signs(self._together(clause))
            if word in self.places
        ]

    def unknown(self, prompt: str) -> list[str]:
        """Return the words of a prompt that are not read."""
        return [word for clause in _clauses(prompt) for word in clause if word not in self.places]

    def _together(self, words: Sequence[str]) -> Iterator[str]:
        """The words, two that are known as one together."""
        place = 0
        while place < len(words):
            two = " ".join(words[place : place + 2])
            is_known = two in self.places
            yield two if is_known else words[place]
            place += 1 + is_known


def _clauses(prompt: str) -> Iterator[list[str]]:
    """The words of each part of a prompt that a negation reaches over."""
    for clause in _ENDS_NEGATION.split(plain(prompt[:MAX_PROMPT_CHARACTERS])):
        yield [word.removesuffix("'s") for word in _WORD.findall(clause)]


def plain(text: str) -> str:
    """Return a text in lower case, without accents."""
    letters = unicodedata.normalize("NFKD", text.casefold().replace("’", "'"))
    return "".join(sign for sign in letters if not unicodedata.combining(sign))


def _signs(words: Iterable[str]) -> Iterator[tuple[str, float]]:
    sign = 1.0
    for word in words:
        if word in _NEGATIONS:
            sign = -1.0
        else:
            yield word, sign


class EarsTower(nn.Module):
    """The ears and words as a `core.towers.Tower`; made by :meth:`restore` or by the conversion."""

    name = "ears"
    dim, sequence_dim = TAGS, LAYER + FIRST + UNUSUAL  # heads of before know what comes first alone
    compiled: Collection[str] = ("float32", "bfloat16")
    cosine_scale = 10.0

    bands: Tensor
    tag_mean: Tensor
    tag_deviation: Tensor
    middle: Tensor
    music_whitening: Tensor
    prompt_whitening: Tensor
    usual_notes: Tensor
    enough_partials: Tensor
    said_word: Tensor
    said_tag: Tensor
    said: Tensor
    known: Tensor
    known_kind: Tensor
    known_by: Tensor

    def __init__(self, words: Words, n_said: int = 0, n_known: int = 0) -> None:
        super().__init__()
        self.words = words
        self.taggers = nn.ModuleList([Tagger(), Tagger()])
        self.register_buffer("bands", torch.zeros(BANDS, _BINS))
        self.register_buffer("tag_mean", torch.zeros(TAGS))  # in music, a stretch at a time
        self.register_buffer("tag_deviation", torch.ones(TAGS))
        self.register_buffer("middle", torch.zeros(TAGS))  # of music
        self.register_buffer("music_whitening", torch.zeros(TAGS, TAGS))
        self.register_buffer("prompt_whitening", torch.zeros(TAGS, TAGS))
        self.register_buffer("usual_notes", _ANY_NOTES.clone())
        self.register_buffer("enough_partials", torch.zeros(()))
        # Which word, in order, says how much of which tag: most say nothing of most.
        self.register_buffer("said_word", torch.zeros(n_said, dtype=torch.int32))
        self.register_buffer("said_tag", torch.zeros(n_said, dtype=torch.uint8))
        self.register_buffer("said", torch.zeros(n_said))
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
            tower = cls(Words(folder), *(len(weights.get(name, ())) for name in ("said", "known")))
        tower.load_weights(weights)
        return tower.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.said.device

    def features(self, windows: Windows) -> Tensor:
        """Return spectrograms and, in one more row, measures of notes: (n, 627, 96). ValueError for other windows."""
        waveform = waveforms(windows).to(self.device)
        hann = torch.hann_window(_FFT_SAMPLES, device=self.device)
        with torch.no_grad():
            spectrum = torch.stft(
                waveform, _FFT_SAMPLES, _HOP_SAMPLES, window=hann, pad_mode="constant", return_complex=True
            )
            found = spectrum[:, :_BINS]
            power = (found.real.square() + found.imag.square()) / 9  # three times as many samples
            spectrograms = (self.bands @ power).mul(10_000).add(1).log10().transpose(1, 2)
            notes = functional.pad(measures(waveform, spectrograms), (0, BANDS - MEASURES - 1))
            return torch.cat([spectrograms, notes[:, None]], dim=1)

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings of windows, (n, 100), and what is heard in their stretches, (n, 8, 1552)."""
        heard, tags = self.tagged(features)
        unusual = self.unusual(features[:, FRAMES, : MEASURES + 1])[:, None].expand(-1, heard.shape[1], -1)
        embedding = functional.normalize((self.direction(tags) - self.middle) @ self.music_whitening, dim=-1)
        return embedding, torch.cat([heard, unusual], dim=-1)

    def unusual(self, notes: Tensor) -> Tensor:
        """Return how far measures, (n, 16), lie below what is usual and above, (n, 30); 1 is half a deviation."""
        lowest, highest, half = self.usual_notes
        found, partials = notes[:, :MEASURES], notes[:, MEASURES:]
        outside: Tensor = torch.cat([lowest - found, found - highest], dim=-1).relu() / half.repeat(2)
        sure = ((partials + _LITTLE) / (self.enough_partials + _LITTLE)).clamp(max=1).expand(-1, OF_PARTIALS)
        return outside * functional.pad(sure, (0, MEASURES - OF_PARTIALS), value=1.0).repeat(1, 2)

    def know_notes(self, notes: Tensor) -> None:
        """Take what is usual from measures of windows of music, (n, 15)."""
        lowest, highest = notes.quantile(torch.tensor([_RARE, 1 - _RARE]).to(notes), dim=0)
        self.usual_notes.copy_(torch.stack([lowest, highest, notes.std(dim=0) / 2]))
        self.enough_partials.fill_(_ENOUGH)

    def direction(self, tags: Tensor) -> Tensor:
        """Return where the tags of stretches, (n, 8, 100), point, (n, 100), before whitening."""
        bounded = _BOUND * torch.tanh((tags - self.tag_mean) / self.tag_deviation / _BOUND)
        return functional.normalize(bounded.mean(dim=1), dim=-1)

    def tagged(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the taggers say of stretches: (n, 8, 1522) of their layers, (n, 8, 100) logarithms of tags."""
        layers, logits, first = zip(*(tagger(features[:, :FRAMES]) for tagger in self.taggers), strict=True)
        tags = (torch.cat(logits, -1).sigmoid() + _LEAST_PROBABILITY).log()
        return torch.cat([*layers, *first], -1), tags

    def embed_features(self, features: Tensor) -> Tensor:
        """Embed what `features` returned."""
        return self.hear(features)[0]

    def embed_tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        """Embed the known words of each prompt, to (n_words, 100), each as long as it counts."""
        return [self._said_of(self.words.read(prompt)) @ self.prompt_whitening for prompt in prompts]

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts; one without any known word is all zeros."""
        return functional.normalize(torch.stack([rows.sum(dim=0) for rows in self.embed_tokens(prompts)]), dim=-1)

    def read(self, prompt: str) -> PromptReading:
        """English words are read, up to 2,000 characters; not all of them say something of music."""
        words = self._said_of(self.words.read(prompt))
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
        """The list of words."""
        return [self.words.file]

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
            raise CheckpointError(f"{WORDS_FILE} of the model folder is damaged. Copy the folder again.")
        # Towers of before know no notes, or listen to them however few they are.
        weights = {"usual_notes": _ANY_NOTES.clone(), "enough_partials": torch.zeros(()), **weights}
        try:
            self.load_state_dict({name: _as_float32(weight) for name, weight in weights.items()}, assign=True)
        except RuntimeError as error:
            raise CheckpointError(
                "These weights are not those of a tower 'ears' with these words. If an earlier version trained the "
                "model, train it again."
            ) from error

    def _said_of(self, found: Sequence[tuple[int, float]]) -> Tensor:
        """What words say of tags, (n_words, 100)."""
        rows = self.said.new_zeros(len(found), TAGS)
        if not found:
            return rows
        places = torch.tensor([place for place, _ in found], dtype=torch.int32, device=self.device)
        starts, ends = (torch.searchsorted(self.said_word, places, right=right).tolist() for right in (False, True))
        for row, (_, sign), start, end in zip(rows, found, starts, ends, strict=True):
            row[self.said_tag[start:end].long()] = sign * self.said[start:end]
        return rows


def _as_float32(weight: Tensor) -> Tensor:
    return weight.float() if weight.is_floating_point() else weight
