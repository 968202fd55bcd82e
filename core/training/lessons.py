"""Lessons: all that a judge is taught, from several tables of rated clips and of pairs, as rows to be judged.

The first table is the reference: its scale is the judge's, and what is held out to stop on and to measure is
taken from it. Each other table has an offset and a scale of its own (`core.training.objective`), may be on
other scales or on some only, with or without prompts, and teaches with all its clips. A judge learns every
scale that any of them has; the first table with a scale is the reference of that scale.

What the reference holds out is not taught by others: their clips with the same audio are left out, and so are
pairs with such a clip. A copy of it in another sound is not known as one: who makes pairs of damaged copies
leaves out those of clips that are held out.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from core.embeddings import EmbeddingCache
from core.feed import Progress, clip_sha256, read_all
from core.heads import EmbeddedClips
from core.rated_clips import RatedClips
from core.scales import Scales, keys
from core.training.objective import Pairs, Target
from core.training.pairs import Answer, Pair, PairTable, scales_of


@dataclass(frozen=True)
class Lessons:
    """Rows that are judged in training, the reference's clips first, and what they teach.

    The notes say in sentences what was left out.
    """

    rows: tuple[Answer, ...]
    target: Target
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        clips: RatedClips,
        others: Sequence[tuple[str, RatedClips]] = (),
        tables: Sequence[PairTable] = (),
        weights: Sequence[float] = (),
    ) -> Self:
        """Put the reference, with its parts, other tables by name, and pairs together."""
        notes: list[str] = []
        held_out = _held_out(clips) if others or tables else frozenset()
        sources = [clips]
        for name, other in others:
            sources.append(_without(other, held_out))
            notes += _left_out(len(other) - len(sources[-1]), f"clips of {name}")
        pairs: list[Pair] = []
        for table in tables:
            kept = _pairs_without(table, held_out)
            pairs += kept
            notes += _left_out(len(table.pairs) - len(kept), f"pairs of {table.name}")
            notes += _left_out(table.n_unread, f"pairs of {table.name}", "the model cannot read their prompts")
        scales = _union([*(source.scales for source in sources), scales_of(pairs)])
        rows = [asked for source in sources for asked in _asked(source)]
        places = {asked: row for row, asked in reversed([*enumerate(rows)])}
        for pair in pairs:
            for asked in (pair.better, pair.worse):
                if places.setdefault(asked, len(rows)) == len(rows):
                    rows.append(asked)
        target = _target(sources, scales, len(rows), _pairs(pairs, places, scales), tuple(weights))
        return cls(tuple(rows), target, tuple(notes))

    def embed(self, cache: EmbeddingCache, progress: Progress | None = None) -> EmbeddedClips:
        """Embed all rows; where there is no prompt there are zeros."""
        audio = cache.audio([asked.file for asked in self.rows], progress)
        clips = cache.together(audio, [asked.prompt for asked in self.rows])
        return clips.without_prompts(torch.tensor([not asked.prompt for asked in self.rows]))

    def embedded_in(self, more: "Lessons", embedded: EmbeddedClips) -> EmbeddedClips:
        """Return the embeddings of these rows among those of lessons that have them all."""
        if self.rows == more.rows:
            return embedded
        places = {asked: row for row, asked in enumerate(more.rows)}
        return embedded.take(torch.tensor([places[asked] for asked in self.rows]))


def _union(of_sources: Iterable[Scales]) -> Scales:
    """All scales, each once, by key."""
    return tuple({scale.key: scale for scales in reversed([*of_sources]) for scale in reversed(scales)}.values())[::-1]


def _asked(clips: RatedClips) -> list[Answer]:
    return [Answer(Path(file), prompt) for file, prompt in clips.table[["audio_path", "prompt"]].to_numpy()]


def _sha256_of(files: Iterable[Path]) -> dict[Path, str]:
    """Hashes of those files that can be read; the others are named where they are embedded."""
    return dict(read_all(clip_sha256, list(dict.fromkeys(files)), []))


def _held_out(clips: RatedClips) -> frozenset[str]:
    rows = [*clips.rows("dev"), *clips.rows("test")]
    return frozenset(_sha256_of(asked.file for asked in _asked(clips.take(rows))).values())


def _without(clips: RatedClips, held_out: frozenset[str]) -> RatedClips:
    files = [asked.file for asked in _asked(clips)]
    audio = _sha256_of(files)
    return clips.take([row for row, file in enumerate(files) if audio.get(file) not in held_out])


def _pairs_without(table: PairTable, held_out: frozenset[str]) -> list[Pair]:
    audio = _sha256_of(table.files())
    return [pair for pair in table.pairs if not {audio.get(pair.better.file), audio.get(pair.worse.file)} & held_out]


def _left_out(n: int, what: str, why: str = "their audio is held out") -> list[str]:
    return [f"{n:,} {what} are not learned from: {why}."] if n else []


def _target(
    sources: Sequence[RatedClips], scales: Scales, n_rows: int, pairs: Pairs | None, weights: tuple[float, ...]
) -> Target:
    mos, error = (torch.full((n_rows, len(scales)), float("nan"), dtype=torch.float64) for _ in range(2))
    source, start = torch.zeros(n_rows, dtype=torch.int64), 0
    train: list[int] = []
    for number, clips in enumerate(sources):
        of, places = Target.of(clips), slice(start, start + len(clips))
        columns = [keys(scales).index(key) for key in keys(clips.scales)]
        mos[places, columns] = of.mos
        if of.error is not None:
            error[places, columns] = of.error
        source[places] = number
        train += [start + row for row in of.train] if number == 0 else range(start, start + len(clips))
        start += len(clips)
    dev = sources[0].rows("dev")
    return Target(scales, mos, train, dev, error.nan_to_num(0.0), source, weights, pairs)


def _pairs(pairs: Sequence[Pair], places: dict[Answer, int], scales: Scales) -> Pairs | None:
    """Pairs by row; each scale's count as much as any other's, however many it has."""
    if not pairs:
        return None
    scale = torch.tensor([keys(scales).index(pair.scale.key) for pair in pairs])
    weight = torch.tensor([pair.weight for pair in pairs])
    margin = torch.tensor([math.nan if pair.margin is None else pair.margin for pair in pairs])
    totals = torch.zeros(len(scales)).index_add(0, scale, weight)
    better, worse = (
        torch.tensor([places[asked] for asked in side])
        for side in ([pair.better for pair in pairs], [pair.worse for pair in pairs])
    )
    return Pairs(better, worse, scale, weight * len(pairs) / totals[scale], margin)
