"""What each part of the recipe `ordinal` gains: the whole recipe against itself without the part.

Clips are dealt into folds, and each is judged by heads that were fitted without it; so are pairs, by their better
clip's file. This is done with several seeds, of the folds and of the heads. A figure is the mean over the seeds;
the gain is the difference of two, over the same clips, and its interval a bootstrap over clips (or over systems
and prompts, where they are known) that draws the same for both.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from core.embeddings import EmbeddingCache
from core.feed import Progress
from core.heads import EmbeddedClips
from core.metrics import Interval, bootstrap_intervals, srcc
from core.musiceval import read_source
from core.prompts import as_read_by
from core.rated_clips import RatedClips
from core.scales import Scales, keys
from core.splits import Split, split_clips
from core.towers import Tower
from core.training.check import learnable
from core.training.lessons import Lessons
from core.training.loop import fit_heads
from core.training.pairs import Answer, Pair, PairTable, read_pairs
from core.training.pairs import as_read_by as pairs_as_read_by
from core.training.recipe import RECIPES, Recipe

WHOLE, ALL_OFF, FROZEN = "the whole recipe", "everything off", "the recipe frozen"
PAIRS = "pairs"
RESAMPLES = 1000
_OFF: Mapping[str, Mapping[str, Any]] = {
    "no attention": {"attention": False},
    "no product": {"product": False},
    "no words": {"tokens": False},
    "no hidden layer": {"hidden": 0},
    "no bins, L1": {"loss": "l1"},
    "no bins, squared": {"loss": "squared"},
    "no ranking": {"ranking": 0.0},
    "no bound": {"bound": 0.0},
    "no dropout": {"dropout": 0.0},
    "stopped on L1": {"stop_on": "l1"},
    "one seed": {"seeds": 1},
}
_ALL_OFF: Mapping[str, Any] = {
    **{"attention": False, "product": False, "tokens": False, "hidden": 0, "loss": "squared", "ranking": 0.0},
    **{"bound": 0.0, "dropout": 0.0, "stop_on": "l1", "seeds": 1},
}
_OF_PROMPTS = ("no product", "no words")

Figures = NDArray[np.float64]


@dataclass(frozen=True)
class Gain:
    """A figure of a variant, and what the whole recipe has more; None where that cannot be said."""

    figure: float
    gain: float | None = None
    interval: Interval | None = None

    def cells(self) -> tuple[str, str]:
        """Return the figure and the gain as text."""
        around = "" if self.interval is None else " ({:+.3f} to {:+.3f})".format(*self.interval)
        figure = "–" if math.isnan(self.figure) else f"{self.figure:.3f}"
        return figure, "" if self.gain is None or math.isnan(self.gain) else f"{self.gain:+.3f}{around}"


@dataclass(frozen=True)
class Ablation:
    """What was found, by a scale's key (SRCC) or `PAIRS` (share in the right order), and by variant."""

    scales: Scales
    found: Mapping[str, Mapping[str, Gain]]

    def to_json(self) -> dict[str, Any]:
        """Return figures and gains by a scale's key or `PAIRS`, and by variant; null for what there is not."""
        return {key: {title: dataclasses.asdict(of) for title, of in by.items()} for key, by in self.found.items()}

    def as_table(self) -> Iterator[str]:
        """Return the lines of a Markdown table."""
        titles = {scale.key: f"{scale.title}, SRCC" for scale in self.scales} | {PAIRS: "Pairs in order"}
        yield f"| | {' | '.join(f'{titles[key]} | gain' for key in self.found)} |"
        yield f"|---{'|---' * 2 * len(self.found)}|"
        for title in next(iter(self.found.values())):
            cells = [cell for by in self.found.values() for cell in by[title].cells()]
            yield f"| {title} | {' | '.join(cells)} |"


@dataclass(frozen=True)
class Taught:
    """What there is to learn from: the reference, other sources by name, pairs, weights of the sources."""

    clips: RatedClips
    others: Sequence[tuple[str, RatedClips]] = ()
    tables: Sequence[PairTable] = ()
    weights: Sequence[float] = ()

    @classmethod
    def read(cls, data: Sequence[Path], pairs: Sequence[Path] = (), weights: Sequence[float] = ()) -> Self:
        """Read tables; a DataError says what cannot be used."""
        reference, *others = [(path.absolute().name, read_source(path)) for path in data]
        return cls(reference[1], others, [read_pairs(path) for path in pairs], weights)

    def read_by(self, tower: Tower) -> Self:
        """Return what a tower can learn of it: where it cannot read a prompt there is no alignment."""
        return dataclasses.replace(
            self,
            clips=learnable(as_read_by(self.clips, tower)),
            others=[(name, as_read_by(of, tower)) for name, of in self.others],
            tables=[pairs_as_read_by(table, tower) for table in self.tables],
        )

    def notes(self) -> list[str]:
        """Say what is left out."""
        return [
            note
            for clips in (self.clips, *(of for _, of in self.others))
            for note in (*clips.notes, *clips.about_unread(clips.scales))
        ]

    def lessons(self, clips: RatedClips, tables: Sequence[PairTable]) -> Lessons:
        """Return what the clips, in these parts, and these pairs teach."""
        return Lessons.of(clips, self.others, tables, self.weights)


def variants(recipe: Recipe, scales: Scales) -> dict[str, Recipe]:
    """Return the recipe whole, without each part that it has and these scales can use, and with all parts off."""
    is_prompted = any(scale.needs_prompt for scale in scales)
    without = {
        title: dataclasses.replace(recipe, **off)
        for title, off in _OFF.items()
        if any(getattr(recipe, name) != value for name, value in off.items())
        and (is_prompted or title not in _OF_PROMPTS)
    }
    return {WHOLE: recipe, **without, ALL_OFF: dataclasses.replace(recipe, **_ALL_OFF), FROZEN: RECIPES["frozen"]}


def ablate(
    taught: Taught,
    cache: EmbeddingCache,
    recipe: Recipe,
    split: Split,
    repeats: int,
    progress: Progress,
    resamples: int = RESAMPLES,
) -> Ablation:
    """Fit and measure every variant, `repeats` times in all folds; a DataError if the clips cannot be split so."""
    all_train = taught.clips.with_parts(["train"] * len(taught.clips))
    everything = taught.lessons(all_train, taught.tables)
    embedded = everything.embed(cache, progress)
    places = {asked: row for row, asked in reversed([*enumerate(everything.rows)])}
    pairs, scales = [pair for table in taught.tables for pair in table.pairs], everything.target.scales
    kinds = variants(recipe, scales)
    said = {title: np.full((len(taught.clips), len(scales), repeats), np.nan) for title in kinds}
    right = {title: np.full((len(pairs), repeats), np.nan) for title in kinds}
    for repeat in range(repeats):
        for fold in _folds(taught, split, repeat):
            rows = torch.tensor([places[asked] for asked in fold.lessons.rows])
            own = embedded.take(rows)
            for n, (title, kind) in enumerate(kinds.items()):
                heads = fit_heads(own, fold.lessons.target, kind, split.seed + repeat)
                with torch.no_grad():
                    if fold.clips:
                        said[title][fold.clips, :, repeat] = heads.judge(embedded.take(torch.tensor(fold.clips)))
                    leads = _leads(heads.judge, embedded, [pairs[place] for place in fold.pairs], places, scales)
                right[title][fold.pairs, repeat] = leads
                share = (repeat + (fold.number + (n + 1) / len(kinds)) / fold.folds) / repeats
                progress(share, f"Fitting heads: seed {repeat + 1} of {repeats}, fold {fold.number + 1}")
    return Ablation(scales, dict(_gains(taught.clips, pairs, scales, said, right, resamples)))


@dataclass(frozen=True)
class _Fold:
    number: int
    folds: int
    lessons: Lessons
    clips: list[int]  # that are tested,
    pairs: list[int]  # and pairs, by place


def _folds(taught: Taught, split: Split, repeat: int) -> Iterator[_Fold]:
    seed, folds = split.seed + repeat, max(split.folds, 1)
    pairs = [pair for table in taught.tables for pair in table.pairs]
    files = sorted({pair.better.file for pair in pairs})
    order = np.random.default_rng(seed).permutation(len(files))
    dealt = {files[at]: place % max(folds, 2) for place, at in enumerate(order)}
    for number in range(folds):
        parted = split_clips(taught.clips, dataclasses.replace(split, seed=seed, fold=number))
        tested = [place for place, pair in enumerate(pairs) if dealt[pair.better.file] == number]
        others = [
            dataclasses.replace(of, pairs=tuple(pair for pair in of.pairs if dealt[pair.better.file] != number))
            for of in taught.tables
        ]
        yield _Fold(number, folds, taught.lessons(parted, others), parted.rows("test"), tested)


def _leads(
    judge: Any, clips: EmbeddedClips, pairs: Sequence[Pair], places: Mapping[Answer, int], scales: Scales
) -> Figures:
    """Whether the better clip of each pair leads."""
    if not pairs:
        return np.zeros(0)
    sides = [[places[pair.better] for pair in pairs], [places[pair.worse] for pair in pairs]]
    column = [keys(scales).index(pair.scale.key) for pair in pairs]
    better, worse = (judge(clips.take(torch.tensor(side))).numpy()[np.arange(len(pairs)), column] for side in sides)
    return np.asarray(better > worse, dtype=np.float64)


def _gains(
    clips: RatedClips,
    pairs: Sequence[Pair],
    scales: Scales,
    said: Mapping[str, Figures],
    right: Mapping[str, Figures],
    resamples: int,
) -> Iterator[tuple[str, dict[str, Gain]]]:
    for place, key in enumerate(keys(clips.scales)):
        column = keys(scales).index(key)
        by_kind = {title: of[:, column] for title, of in said.items()}
        tested = ~np.isnan(by_kind[WHOLE]).any(axis=1) & ~np.isnan(clips.mos[:, place])
        yield (
            key,
            _compared(
                clips.mos[tested, place],
                {t: of[tested] for t, of in by_kind.items()},
                _groups(clips, tested),
                resamples,
            ),
        )
    if pairs:
        tested = ~np.isnan(right[WHOLE]).any(axis=1)
        groups = [[str(pair.better.file) for pair, is_in in zip(pairs, tested, strict=True) if is_in]]
        yield PAIRS, _compared(None, {title: of[tested] for title, of in right.items()}, groups, resamples)


def _groups(clips: RatedClips, tested: NDArray[np.bool_]) -> list[list[str]]:
    """What is drawn: systems and prompts where they are known, otherwise clips."""
    table = clips.table[tested]
    known = [list(table[column]) for column in ("system_id", "prompt_id") if table[column].nunique() > 1]
    return known or [list(table["clip_id"])]


def _compared(
    truth: Figures | None, said: Mapping[str, Figures], groups: list[list[str]], resamples: int
) -> dict[str, Gain]:
    """Figures of (n, repeats) values: SRCC with a truth, (n,), and without one the mean."""

    def figure(truth: Figures, values: Figures) -> float:
        return float(np.mean([_figure(truth, of) for of in values.T]))

    asked = np.full(len(said[WHOLE]), np.nan) if truth is None else truth
    whole = figure(asked, said[WHOLE])
    found = {WHOLE: Gain(whole)}
    for title, values in said.items():
        if title == WHOLE:
            continue
        both = np.stack([said[WHOLE], values], axis=-1)
        metric = {"gain": lambda t, v: figure(t, v[..., 0]) - figure(t, v[..., 1])}
        interval = bootstrap_intervals(asked, both, groups, resamples, metrics=metric).get("gain")
        own = figure(asked, values)
        found[title] = Gain(own, whole - own, interval)
    return found


def _figure(truth: Figures, values: Figures) -> float:
    return float(np.mean(values)) if np.isnan(truth).any() else srcc(truth, values)
