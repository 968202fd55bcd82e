"""Heads: what makes scores of the embeddings of a clip and its prompt.

Two kinds are known. Both say of a clip what they say of all its windows together, and of one window what they
say of a clip that has no other (`EmbeddedClips.by_window`).

`Heads` are the paper's: three-layer MLPs from CLAP embeddings to MOS values (MusicEval, section V.A), musical
impression from the audio embedding, textual alignment from the audio and text embeddings side by side; a
clip's value is the mean of its windows'. With ReLU between the layers, as the paper's words "MLP" ask, or
*affine*: the authors' released code puts no activation there, which makes each head one affine map.

`SequenceHeads` hear all frames of all windows of a clip at once. What each scale begins with is one number: for
a scale of the clip alone the mean score; for a scale of clip and prompt an affine map of their cosine in the
joint space, with a slope above 0, so that clips are in the order of zero-shot scores. What is learned is added
to it and begins at 0:

    frames      the mean of the frames or, with `attention`, a mean by weights that are learned
    product     of the audio and text embeddings, element by element
    tokens      each word of the prompt attends to the frames and is multiplied with what it finds there

A hidden layer may stand between these and the score. With `bins` the score is the mean of a distribution over
20 bins from 1 to 5, which no value can leave; what a scale begins with is the middle of a Gaussian over them.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, cat, nn
from torch.nn import functional

from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL, Scales

ACTIVATIONS: Mapping[str, type[nn.Module]] = {"relu": nn.ReLU, "affine": nn.Identity}
BINS = 20
_WORD_DIM = 64  # in which words and frames are compared
_LEAST_SLOPE = 0.05  # points for a standard deviation of the cosine
_LEAST_WIDTH = 0.3  # points: what bins begin with may not be narrower
_LEAST_SPREAD = 0.3  # of a number that is standardised, to the usual spread of its fellows


@dataclass(frozen=True)
class EmbeddedClips:
    """Clips as heads hear them."""

    audio: Tensor  # (n_windows, dim): the windows of all clips
    owner: Tensor  # (n_windows,) int64: the clip of each window, ascending from 0
    text: Tensor  # (n_clips, dim): of each clip's prompt
    weight: Tensor | None = None  # (n_windows,): how much each window counts; without, all alike
    frames: Tensor | None = None  # (n_windows, frames, sequence_dim), where heads ask for them
    tokens: Tensor | None = None  # (n_clips, most_tokens, dim): of each prompt, filled up with rows of 0
    is_prepared: bool = False  # whether the frames are as heads have prepared them

    def __len__(self) -> int:
        return len(self.text)

    @classmethod
    def of(
        cls, clips: Sequence[Tensor], text: Tensor, tokens: Sequence[Tensor] | None = None, sequence_dim: int = 0
    ) -> Self:
        """Put clips, as `core.embeddings.EmbeddingCache` gives them, and their prompts together.

        A clip's rows are its windows: embedding, weight, and all frames where `sequence_dim` says how long one is.
        """
        owner = torch.repeat_interleave(torch.tensor([len(rows) for rows in clips]))
        rows, dim = torch.cat(list(clips)), text.shape[1]
        frames = rows[:, dim + 1 :].reshape(len(rows), -1, sequence_dim) if sequence_dim else None
        padded = None if tokens is None else nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
        return cls(rows[:, :dim].contiguous(), owner, text, rows[:, dim].contiguous(), frames, padded)

    @functools.cached_property
    def _counts(self) -> Tensor:
        return torch.bincount(self.owner, minlength=len(self))

    def take(self, rows: Tensor) -> "EmbeddedClips":
        """Return some of the clips, in the order of the rows, (n,) int64."""
        counts = self._counts[rows]
        owner = torch.repeat_interleave(counts)
        place_in_clip = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner]
        windows = (self._counts.cumsum(0) - self._counts)[rows][owner] + place_in_clip
        weight, frames = (None if of is None else of[windows] for of in (self.weight, self.frames))
        tokens = None if self.tokens is None else self.tokens[rows]
        return EmbeddedClips(self.audio[windows], owner, self.text[rows], weight, frames, tokens, self.is_prepared)

    def windows(self) -> tuple[Tensor, ...]:
        """Return the windows of each clip, (n, dim)."""
        return torch.split(self.audio, self._counts.tolist())

    def by_window(self) -> "EmbeddedClips":
        """Return each window as a clip of its own, with its clip's prompt."""
        tokens = None if self.tokens is None else self.tokens[self.owner]
        owner = torch.arange(len(self.owner), device=self.owner.device)
        return EmbeddedClips(self.audio, owner, self.text[self.owner], None, self.frames, tokens, self.is_prepared)

    def without_prompts(self, rows: Tensor) -> "EmbeddedClips":
        """Return the clips with zeros for the prompts of those, (n_clips,) bool, that have none."""
        tokens = None if self.tokens is None else self.tokens.masked_fill(rows[:, None, None], 0.0)
        return dataclasses.replace(self, text=self.text.masked_fill(rows[:, None], 0.0), tokens=tokens)

    def to(self, device: torch.device) -> "EmbeddedClips":
        """Return the clips on a device."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        there: dict[str, Any] = {name: of.to(device) if isinstance(of, Tensor) else of for name, of in parts.items()}
        return EmbeddedClips(**there)


def pool(values: Tensor, owner: Tensor, n_clips: int, weight: Tensor | None = None) -> Tensor:
    """Return the mean of the windows' values by clip, (n_windows, n) to (n_clips, n); differentiable.

    `weight`, (n_windows,), is how much each window counts; without it all count alike. Nothing is clamped. A
    clip without windows has no value (NaN).
    """
    weight = values.new_ones(len(values)) if weight is None else weight.to(values)
    sums = values.new_zeros(n_clips, values.shape[1]).index_add(0, owner, values * weight[:, None])
    return sums / values.new_zeros(n_clips).index_add(0, owner, weight)[:, None]


class Heads(nn.ModuleDict):
    """A head for each scale, by its key; embeddings of audio and text have the length `dim`.

    `activation`, a key of `ACTIVATIONS`, stands between the layers of a head.
    """

    hears_frames = hears_tokens = False  # what must be embedded beside windows and prompts

    def __init__(self, dim: int, scales: Scales = MUSICEVAL, activation: str = "relu") -> None:
        between = ACTIVATIONS[activation]
        super().__init__({scale.key: _mlp(2 * dim if scale.needs_prompt else dim, between) for scale in scales})
        self.dim, self.scales, self.activation = dim, scales, activation

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Return the values of each pair of embeddings as (n, n_scales), not clamped."""
        pair = cat([audio, text], dim=-1)
        inputs = (pair if scale.needs_prompt else audio for scale in self.scales)
        return cat([head(given) for head, given in zip(self.values(), inputs, strict=True)], dim=-1)

    def judge(self, clips: EmbeddedClips) -> Tensor:
        """Return the values of clips as (n_clips, n_scales) float64, not clamped."""
        of_windows = self(clips.audio, clips.text[clips.owner]).double()
        return pool(of_windows, clips.owner, len(clips), clips.weight)

    def spread(self, clips: EmbeddedClips) -> Tensor | None:  # noqa: ARG002
        """Return how far the heads expect each value to be wrong, (n_clips, n_scales), or None."""
        return None

    def prepared(self, clips: EmbeddedClips) -> EmbeddedClips:
        """Return clips with all done that nothing learned changes, for those that are judged again and again."""
        return clips

    def outputs(self, clips: EmbeddedClips) -> Tensor:
        """Return what is learned from: (n_clips, members, n_scales, 1 + bins), the value first."""
        of_windows = self(clips.audio, clips.text[clips.owner])
        return pool(of_windows, clips.owner, len(clips), clips.weight)[:, None, :, None]


def _mlp(inputs: int, between: type[nn.Module]) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 256), between(), nn.Linear(256, 64), between(), nn.Linear(64, 1))


@dataclass(frozen=True)
class SequenceParts:
    """What `SequenceHeads` are made of; each can be left out."""

    attention: bool = True  # the frames' mean is by learned weights
    product: bool = True  # of audio and text embedding
    tokens: bool = True  # words attend to frames
    hidden: int = 0  # width of the hidden layer; 0: none
    bins: bool = True
    bound: float = 3.0  # standardised numbers are bent by tanh so that none is larger; 0: they are not
    dropout: float = 0.0  # in training
    members: int = 1  # heads of each scale, whose values are averaged


class SequenceHeads(Heads):
    """Heads that hear all frames of a clip at once; `members` of them for each scale."""

    def __init__(self, dim: int, sequence_dim: int, scales: Scales, parts: SequenceParts) -> None:
        super().__init__(dim, ())
        self.scales, self.sequence_dim, self.parts = scales, sequence_dim, parts
        self.hears_frames = True
        self.hears_tokens = parts.tokens and any(scale.needs_prompt for scale in scales)
        for scale in scales:
            make = _ForThePrompt if scale.needs_prompt else _OfTheClip
            self[scale.key] = nn.ModuleList(make(dim, sequence_dim, parts) for _ in range(parts.members))
        for name, size in (("frame", sequence_dim), ("product", dim), ("cosine", 1)):
            self.register_buffer(f"{name}_centre", torch.zeros(size))
            self.register_buffer(f"{name}_spread", torch.ones(size))

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:  # noqa: ARG002
        """Refuse: these heads hear clips whole."""
        raise TypeError("heads over sequences judge clips, not pairs of embeddings")

    def judge(self, clips: EmbeddedClips) -> Tensor:
        """Return the values of clips as (n_clips, n_scales) float64, not clamped."""
        return self.outputs(clips)[..., 0].double().mean(dim=1)

    def spread(self, clips: EmbeddedClips) -> Tensor | None:
        """Return the standard deviation of what the bins say, (n_clips, n_scales) float64."""
        if not self.parts.bins:
            return None
        chance = self.outputs(clips)[..., 1:].double().softmax(dim=-1).mean(dim=1)
        centres = bin_centres().to(chance)
        mean = chance @ centres
        return (chance @ centres.square() - mean.square()).clamp(min=0).sqrt()

    def outputs(self, clips: EmbeddedClips) -> Tensor:
        """Return what is learned from: (n_clips, members, n_scales, 1 + bins), the value first."""
        heard = self._heard(clips)
        of_scales = [torch.stack([member(heard) for member in members], dim=1) for members in self._members()]
        return torch.stack(of_scales, dim=2)

    def prepared(self, clips: EmbeddedClips) -> EmbeddedClips:
        """Return clips with standardised frames, or their mean where no frame is asked for by itself."""
        if clips.frames is None:
            raise ValueError("these heads hear frames, and the clips were embedded without")
        if clips.is_prepared:
            return clips
        standard = self._bent("frame", clips.frames[..., : self.sequence_dim])
        if not (self.parts.attention or self.hears_tokens):
            standard = standard.mean(dim=1, keepdim=True)
        return dataclasses.replace(clips, frames=standard, is_prepared=True)

    def start_from(self, clips: EmbeddedClips, scores: Tensor) -> None:
        """Take means and spreads from clips, and what each scale begins with from their (n, n_scales) scores.

        A score that is not known is NaN.
        """
        assert clips.frames is not None
        joint = clips.audio * clips.text[clips.owner]
        for name, given in (("frame", clips.frames.flatten(0, 1)), ("product", joint)):
            self._standardise(name, given)
        self._standardise("cosine", pool(_cosine(clips), clips.owner, len(clips), clips.weight))
        cosine = self._heard(clips).cosine[:, 0]
        for members, of_scale in zip(self._members(), scores.float().T, strict=True):
            known = ~of_scale.isnan()
            for member in members if known.any() else ():
                member.start_from(cosine[known], of_scale[known])

    def _members(self) -> list[list[Any]]:
        """Of each scale, in order."""
        return [[*self.get_submodule(scale.key).children()] for scale in self.scales]

    def _standardise(self, name: str, given: Tensor) -> None:
        spread = given.std(dim=0, correction=0)
        least = _LEAST_SPREAD * float(spread.square().mean().sqrt()) or 1.0
        self.get_buffer(f"{name}_centre").copy_(given.mean(dim=0))
        self.get_buffer(f"{name}_spread").copy_(spread.clamp(min=least))

    def _heard(self, clips: EmbeddedClips) -> "_HeardClips":
        clips = self.prepared(clips)
        assert clips.frames is not None
        weight = clips.audio.new_ones(len(clips.audio)) if clips.weight is None else clips.weight.to(clips.audio)
        joint = clips.audio * clips.text[clips.owner]
        cosine = pool(_cosine(clips), clips.owner, len(clips), weight)
        return _HeardClips(
            frames=clips.frames,
            owner=clips.owner,
            weight=weight,
            n_clips=len(clips),
            product=self._bent("product", pool(joint, clips.owner, len(clips), weight)),
            tokens=clips.tokens,
            cosine=(cosine - self.get_buffer("cosine_centre")) / self.get_buffer("cosine_spread"),
        )

    def _bent(self, name: str, given: Tensor) -> Tensor:
        standard = (given - self.get_buffer(f"{name}_centre")) / self.get_buffer(f"{name}_spread")
        bound = self.parts.bound
        return bound * torch.tanh(standard / bound) if bound else standard


def _cosine(clips: EmbeddedClips) -> Tensor:
    return functional.cosine_similarity(clips.audio, clips.text[clips.owner], dim=-1)[:, None]


@dataclass(frozen=True)
class _HeardClips:
    """Clips with all numbers standardised."""

    frames: Tensor  # (n_windows, frames, sequence_dim)
    owner: Tensor  # (n_windows,)
    weight: Tensor  # (n_windows,)
    n_clips: int
    product: Tensor  # (n_clips, dim)
    tokens: Tensor | None  # (n_clips, most_tokens, dim)
    cosine: Tensor  # (n_clips, 1)

    def mean(self) -> Tensor:
        """Return the mean of the frames by clip, (n_clips, sequence_dim)."""
        return pool(self.frames.mean(dim=1), self.owner, self.n_clips, self.weight)

    def attend(self, scores: Tensor, values: Tensor) -> Tensor:
        """Return means of all frames of a clip, (n_clips, t, k), of values (n_windows, frames, k).

        They are weighted by the softmax, over all frames of a clip, of (n_windows, t, frames) scores.
        """
        owner, n_asked = self.owner, scores.shape[1]
        of_windows = scores.detach().amax(dim=2)
        highest = scores.new_full((self.n_clips, n_asked), -math.inf)
        highest = highest.scatter_reduce(0, owner[:, None].expand_as(of_windows), of_windows, "amax")
        weights = (scores - highest[owner][:, :, None]).exp() * self.weight[:, None, None]
        totals = scores.new_zeros(self.n_clips, n_asked).index_add(0, owner, weights.sum(dim=2))
        sums = values.new_zeros(self.n_clips, n_asked, values.shape[2]).index_add(0, owner, weights @ values)
        return sums / totals[:, :, None]


class _Score(nn.Module):
    """From what was heard to a value, and to the logits of bins; it begins as said above, and learns the rest."""

    spread: Tensor
    centres: Tensor

    def __init__(self, inputs: int, parts: SequenceParts) -> None:
        super().__init__()
        self.parts, n_outputs = parts, BINS if parts.bins else 1
        self.bias = nn.Parameter(torch.tensor((MIN_SCORE + MAX_SCORE) / 2))
        self.register_buffer("spread", torch.tensor(1.0))
        self.register_buffer("centres", bin_centres())
        self.hidden = nn.Linear(inputs, parts.hidden) if parts.hidden and inputs else None
        width = parts.hidden if self.hidden else inputs
        self.last = nn.Linear(width, n_outputs, bias=False) if inputs else None
        if self.last is not None:
            nn.init.zeros_(self.last.weight)

    def start_from(self, cosine: Tensor, scores: Tensor) -> None:  # noqa: ARG002
        """Begin at the mean of the scores."""
        with torch.no_grad():
            self.bias.fill_(scores.mean())
            self.spread.fill_(max(float(scores.std(correction=0)), _LEAST_WIDTH))

    def score(self, given: Tensor, beginning: Tensor) -> Tensor:
        """Return (n, 1 + bins) of (n, inputs) and what each of them begins with, (n,)."""
        learned = self._learned(given)
        if not self.parts.bins:
            return (beginning[:, None] + learned) if self.last is not None else beginning[:, None]
        distance = (self.centres - beginning[:, None]) / self.spread
        logits = learned - distance.square() / 2
        return cat([(logits.softmax(dim=1) @ self.centres)[:, None], logits], dim=1)

    def _learned(self, given: Tensor) -> Tensor:
        if self.last is None:
            return given.new_zeros(len(given), 1)
        given = functional.dropout(given, self.parts.dropout, self.training)
        if self.hidden is not None:
            given = functional.dropout(functional.relu(self.hidden(given)), self.parts.dropout, self.training)
        return self.last(given)  # type: ignore[no-any-return]


def bin_centres() -> Tensor:
    """Return the middles of the bins, (20,), from the least score to the highest."""
    return torch.linspace(MIN_SCORE, MAX_SCORE, BINS, device="cpu")  # on "meta" it would import sympy


class _OfTheClip(_Score):
    """A scale of the clip alone."""

    def __init__(self, dim: int, sequence_dim: int, parts: SequenceParts) -> None:  # noqa: ARG002
        super().__init__(sequence_dim, parts)
        self.query = nn.Parameter(torch.zeros(1, sequence_dim)) if parts.attention else None  # begins as the mean

    def forward(self, heard: _HeardClips) -> Tensor:
        frames = heard.mean()
        if self.query is not None:
            scores = (heard.frames @ self.query[0])[:, None] / math.sqrt(self.query.shape[1])
            frames = heard.attend(scores, heard.frames)[:, 0]
        return self.score(frames, self.bias.expand(heard.n_clips))


class _ForThePrompt(_Score):
    """A scale of the clip and its prompt."""

    def __init__(self, dim: int, sequence_dim: int, parts: SequenceParts) -> None:
        super().__init__(dim * parts.product + _WORD_DIM * parts.tokens, parts)
        self.log_slope = nn.Parameter(torch.zeros(()))
        self.words = _Words(dim, sequence_dim) if parts.tokens else None

    def start_from(self, cosine: Tensor, scores: Tensor) -> None:
        """Begin at what a line through the scores says of the cosine, if it rises; otherwise at a slight rise."""
        super().start_from(cosine, scores)
        slope = float(((scores - scores.mean()) * cosine).mean())
        nn.init.constant_(self.log_slope, math.log(max(slope, _LEAST_SLOPE)))

    def forward(self, heard: _HeardClips) -> Tensor:
        given = [heard.product] if self.parts.product else []
        if self.words is not None:
            given.append(self.words(heard))
        beginning = self.bias + self.log_slope.exp() * heard.cosine[:, 0]
        return self.score(cat(given, dim=1) if given else heard.product[:, :0], beginning)


class _Words(nn.Module):
    """Words attend to frames; (n, 64): the mean of each word's product with what it finds."""

    def __init__(self, dim: int, sequence_dim: int) -> None:
        super().__init__()
        self.asked, self.word = (nn.Linear(dim, _WORD_DIM, bias=False) for _ in range(2))
        self.key, self.value = (nn.Linear(sequence_dim, _WORD_DIM, bias=False) for _ in range(2))

    def forward(self, heard: _HeardClips) -> Tensor:
        tokens = heard.tokens
        if tokens is None:
            raise ValueError("these heads hear words, and the prompts were embedded without")
        is_word = (tokens != 0).any(dim=-1)
        scores = self.asked(tokens)[heard.owner] @ self.key(heard.frames).transpose(1, 2) / math.sqrt(_WORD_DIM)
        found = heard.attend(scores, self.value(heard.frames)) * self.word(tokens)
        of_words: Tensor = (found * is_word[:, :, None]).sum(dim=1)
        return of_words / is_word.sum(dim=1, keepdim=True).clamp(min=1)


def cosines(embedded: EmbeddedClips) -> NDArray[np.float64]:
    """Return the cosine of each clip and its prompt in the tower's space, (n,): the mean of its windows'."""
    of_windows = functional.cosine_similarity(embedded.audio, embedded.text[embedded.owner], dim=1)
    return pool(of_windows[:, None].double(), embedded.owner, len(embedded), embedded.weight).numpy()[:, 0]
