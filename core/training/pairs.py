"""Pairs: tables of two clips each, of which one is better on a scale.

    scale,better_file,better_prompt,worse_file,worse_prompt[,weight][,margin]

A row says that the better file, asked for by its prompt, scores higher on the scale than the worse one: a clip
and a damaged copy of it, the answer of somebody who heard both, or one clip with its own prompt and with
another one. Prompts may be empty on a scale of the clip alone. Without the column ``weight`` all rows count
alike; it says how many times a row counts. ``margin`` says by how many points the better file should lead; where
it is empty, the recipe does. Paths are relative to the table. Scales are MusicEval's, or those of
``scales.json`` beside the table.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import DataError, shown_name
from core.feed import clip_sha256, read_all, stop_if_any
from core.files import Problems, find_file, line_place
from core.prompts import is_readable
from core.rated_clips import scales_beside
from core.scales import Scale, Scales
from core.tables import Line, open_table, parse_number
from core.towers import Tower

_TEXTS = ("scale", "better_file", "better_prompt", "worse_file", "worse_prompt")
_WEIGHT, _MARGIN = "weight", "margin"


@dataclass(frozen=True)
class Answer:
    """A clip, and the prompt that it was asked for by; empty where there is none."""

    file: Path
    prompt: str


@dataclass(frozen=True)
class Pair:
    """One clip is better than another on a scale, by `margin` points or the recipe's; it counts `weight` times."""

    scale: Scale
    better: Answer
    worse: Answer
    weight: float = 1.0
    margin: float | None = None


@dataclass(frozen=True)
class PairTable:
    """A table of pairs; its SHA-256 is of all that can be learned from it, wherever the files lie."""

    name: str
    pairs: tuple[Pair, ...]
    sha256: str
    n_unread: int = 0  # that are left out, because the judge in question cannot read their prompts

    def files(self) -> list[Path]:
        """Return the files of all pairs, each once."""
        return _files(self.pairs)


def as_read_by(table: PairTable, tower: Tower) -> PairTable:
    """Return a table without the pairs that need a prompt which a tower cannot read."""
    asked = {of.prompt for pair in table.pairs if pair.scale.needs_prompt for of in (pair.better, pair.worse)}
    unread = {prompt for prompt in asked if not is_readable(prompt, tower)}
    kept = [
        pair
        for pair in table.pairs
        if not (pair.scale.needs_prompt and {pair.better.prompt, pair.worse.prompt} & unread)
    ]
    return replace(table, pairs=tuple(kept), n_unread=len(table.pairs) - len(kept))


def read_pairs(path: Path) -> PairTable:
    """Read a table of pairs; a DataError says all that is wrong with it, by line, or which files cannot be read."""
    known, problems = {scale.key: scale for scale in scales_beside(path)}, Problems(path.name)
    read = open_table(path, _TEXTS, (_WEIGHT, _MARGIN))
    missing = [column for column in _TEXTS if column not in read.columns]
    unknown = [column for column in read.columns if column not in (*_TEXTS, _WEIGHT, _MARGIN)]
    if missing or unknown:
        wrong = f"no column {', '.join(missing)}" if missing else f"an unknown column {', '.join(unknown)}"
        columns = f"Its columns are {', '.join(_TEXTS)} and, where rows are not all alike, {_WEIGHT} and {_MARGIN}."
        raise DataError(f"The table of pairs {shown_name(path.name)} has {wrong}. {columns}")
    pairs = []
    for line in read.rows(problems):
        try:
            pairs.append(_pair(line, path.parent, known))
        except ValueError as error:
            problems.add(line_place(path.name, line.number), str(error))
    problems.stop_if_any()
    if not pairs:
        raise DataError(f"{shown_name(path.name)} holds no pairs.")
    return PairTable(path.name, tuple(pairs), _sha256(pairs))


def _pair(line: Line, folder: Path, known: Mapping[str, Scale]) -> Pair:
    cells = line.cells
    scale = known.get(cells["scale"])
    if scale is None:
        raise ValueError(f"there is no scale {shown_name(cells['scale'])}. The scales are {', '.join(known)}")
    better, worse = (_asked(side, cells, folder, scale) for side in ("better", "worse"))
    if better == worse:
        raise ValueError("both sides are the same clip and prompt")
    weight, margin = (_above_0(cells, name) for name in (_WEIGHT, _MARGIN))
    return Pair(scale, better, worse, 1.0 if weight is None else weight, margin)


def _above_0(cells: Mapping[str, str], name: str) -> float | None:
    if not cells.get(name):
        return None
    number = parse_number(cells[name])
    if number <= 0:
        raise ValueError(f"the {name} is {number:g}; it must be above 0")
    return number


def _asked(side: str, cells: Mapping[str, str], folder: Path, scale: Scale) -> Answer:
    name, prompt = cells[f"{side}_file"], cells[f"{side}_prompt"]
    file = find_file(folder / name)
    if not name or not file.is_file():
        raise ValueError(f"there is no audio file {shown_name(name)} ({side}_file)")
    if scale.needs_prompt and not prompt:
        raise ValueError(f"{scale.key} is of a clip and its prompt; give {side}_prompt")
    return Answer(file, prompt)


def _files(pairs: Sequence[Pair]) -> list[Path]:
    return list(dict.fromkeys(asked.file for pair in pairs for asked in (pair.better, pair.worse)))


def _sha256(pairs: Sequence[Pair]) -> str:
    unreadable: list[str] = []
    audio = dict(read_all(clip_sha256, _files(pairs), unreadable))
    stop_if_any(unreadable)
    rows = [
        [
            pair.scale.key,
            *(part for of in (pair.better, pair.worse) for part in (audio[of.file], of.prompt)),
            pair.weight,
            *([] if pair.margin is None else [pair.margin]),
        ]
        for pair in pairs
    ]
    return hashlib.sha256("\n".join(sorted(map(json.dumps, rows))).encode()).hexdigest()


def scales_of(pairs: Sequence[Pair]) -> Scales:
    """Return the scales that pairs are on."""
    return tuple(dict.fromkeys(pair.scale for pair in pairs))
