"""Rated clips: the one table that a listening test gives and that a judge learns from.

One row a clip: its audio, its prompt, what made it, and what the panel said of it on each scale. A MOS is the
mean of valid ratings from 1 to 5; its standard deviation is that of a sample (divisor n - 1), empty where it
is not known, as with a single rating; so is the number of ratings. A prompt's id stands for one text. Clips may
have no prompts, or be of no known system: then the column is empty for all of them.

Ratings of other ranges, single ratings, and tables with other columns are read by `core.opinions`.

In a file, which `core.tables` reads, paths are relative to the file, so that a folder can be moved. A file
written by hand can do without the columns that may be empty, and without `prompt_id`: equal prompts then get
equal ids. The scales are MusicEval's, or those named by ``scales.json`` beside the file (a list of
`core.scales.Scale`) or by ``scales`` in an export's ``manifest.json``; the table may have some of them only.
"""

import csv
import dataclasses
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import pandas as pd

from core.errors import DataError, ScaleError, counted, shown_name
from core.feed import clip_sha256, read_all, stop_if_any
from core.files import Problems, find_file, first_of, json_text, line_place, write_atomically
from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL, Scale, Scales, keys
from core.splits import SPLITS
from core.tables import escape_cell, means_nothing, open_table

SCALES_FILE, MANIFEST = "scales.json", "manifest.json"
_TEXTS = ("clip_id", "audio_path", "prompt", "prompt_id", "system_id")
_MAY_BE_UNKNOWN = {"prompt": ("prompt", "prompt_id"), "system_id": ("system_id",)}  # of all clips, or of none

Range = tuple[float, float]  # the worst rating that can be given, and the best
OUR_RANGE: Range = (MIN_SCORE, MAX_SCORE)


def columns_of(scales: Iterable[Scale]) -> tuple[str, ...]:
    """Return the columns of a table of clips rated on these scales, in order."""
    names = keys(scales)
    return (*_TEXTS, *names, "n_ratings", *map(_sd, names), "split")


def _sd(key: str) -> str:
    return f"{key}_sd"


@dataclass(frozen=True)
class Opinions:
    """What is known of ratings besides their means.

    `ratings` has a row for each rater and clip, as they were given: ``clip_id``, ``rater`` and the scales, empty where
    a rater gave none. It is None where there are means alone.
    """

    ranges: Mapping[str, Range]  # by scale, that people rated on; of others than 1 to 5 the means are mapped
    ratings: pd.DataFrame | None = field(default=None, repr=False)
    groups: Mapping[str, str] = field(default_factory=dict, repr=False)  # by clip
    read_as: tuple[str, ...] = ()  # how the table was read, a sentence for each scale


@dataclass(frozen=True)
class RatedClips:
    """A table of rated clips, checked when it is made.

    Attributes
    ----------
    table : DataFrame
        With the columns `columns_of(scales)` in that order; `audio_path` can be opened as it is. Columns that
        may be empty can be left out when it is made.
    scales : tuple of Scale
        Those of the scales given (by default MusicEval's) that the table has a column of.
    notes : tuple of str
        What is special about the data, a sentence each.
    opinions : Opinions or None
        None for the release of MusicEval and the export of a study.
    unread : frozenset of str
        Clips whose prompts the judge in question cannot read (`core.prompts.as_read_by`): on scales that need a
        prompt they teach nothing, and nothing is measured.

    Raises
    ------
    DataError
        If a column is missing or unknown, or cells are not what they must be; the message names the rows,
        counted from 1 without the heading.
    """

    table: pd.DataFrame = field(repr=False)
    scales: Scales = MUSICEVAL
    notes: tuple[str, ...] = ()
    opinions: Opinions | None = None
    unread: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        scales = _scales_in(list(self.table.columns), self.scales, _TEXTS)
        problems = Problems("rated clips")
        columns = _checked(self.table, scales, [f"row {n + 1}" for n in range(len(self.table))], problems)
        problems.stop_if_any()
        asking = [scale.title for scale in scales if scale.needs_prompt]
        if asking and len(columns) and not any(columns["prompt"]):
            raise DataError(
                f"{asking[0]} is of a clip and its prompt, and the clips have no prompts. Give a column prompt."
            )
        object.__setattr__(self, "table", columns)
        object.__setattr__(self, "scales", scales)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def mos(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The scores, (n_clips, n_scales); NaN where a prompt is not read."""
        scores = np.array(self.table[keys(self.scales)].to_numpy(dtype=np.float64))
        scores[np.ix_(self.unread_rows(), [scale.needs_prompt for scale in self.scales])] = np.nan
        return scores

    @property
    def has_prompts(self) -> bool:
        """Whether the clips have prompts."""
        return bool(self.table["prompt"].any())

    @property
    def n_systems(self) -> int:
        """Return how many systems the clips are of; 0 where that is not known."""
        return count_systems(self.table)

    def rows(self, part: str) -> list[int]:
        """Return the rows of a part of the split."""
        return [row for row, of in enumerate(self.table["split"]) if of == part]

    def unread_rows(self) -> list[int]:
        """Return the rows whose prompts are not read."""
        return [row for row, of in enumerate(self.table["clip_id"]) if of in self.unread]

    def about_unread(self, scales: Scales) -> list[str]:
        """Say which clips have prompts that are not read, a sentence for each of the scales that needs them."""
        clip_ids = list(self.table["clip_id"].iloc[self.unread_rows()])
        what = f"{counted(len(clip_ids), 'clip')} with a prompt that the model cannot read: {first_of(clip_ids)}."
        return [f"{scale.title} leaves out {what}" for scale in scales if scale.needs_prompt and clip_ids]

    def without(self, scale: Scale) -> Self:
        """Return the clips without what they were rated on a scale."""
        table = self.table.drop(columns=[scale.key, _sd(scale.key)])
        return dataclasses.replace(self, table=table, scales=tuple(of for of in self.scales if of != scale))

    def audio_ids(self) -> list[str]:
        """Return a name for each clip's audio, equal where the files are: a SHA-256, or what else is unique.

        Only files of equal size are read, for others cannot be equal. Files that are not there, or are empty,
        are like none.
        """
        paths = [Path(path).resolve() for path in self.table["audio_path"]]
        sizes = {path: path.stat().st_size for path in dict.fromkeys(paths) if path.is_file()}
        alike = Counter(sizes.values())
        known = dict(read_all(clip_sha256, [path for path, size in sizes.items() if size and alike[size] > 1], []))
        alone = {path: str(path) for path, size in sizes.items() if size}
        return [known.get(path) or alone.get(path) or f"clip {row}" for row, path in enumerate(paths)]

    def same_audio(self) -> list[str]:
        """Return a sentence where clips have the same audio under several ids; otherwise nothing."""
        groups = self.table["clip_id"].groupby(self.audio_ids(), sort=False).agg(list)
        twins = [" = ".join(ids) for ids in groups if len(ids) > 1]
        n_clips = sum(len(ids) for ids in groups if len(ids) > 1)
        return [f"{n_clips:,} clips have the audio of another one: {first_of(twins)}."] if twins else []

    def one_of_each_audio(self) -> list[int]:
        """Return rows of which no two have the same audio."""
        return sorted({audio: row for row, audio in reversed([*enumerate(self.audio_ids())])}.values())

    def take(self, rows: Sequence[int]) -> Self:
        """Return some of the clips."""
        return dataclasses.replace(self, table=self.table.iloc[list(rows)])

    def with_parts(self, parts: Sequence[str]) -> Self:
        """Return the clips with a part of a split for each."""
        return dataclasses.replace(self, table=self.table.assign(split=list(parts)))

    def to_csv(self, path: Path) -> None:
        """Write the table; audio paths become relative to the file's folder."""
        folder = path.absolute().parent
        relative = [Path(os.path.relpath(audio, folder)).as_posix() for audio in self.table["audio_path"]]
        write_csv(self.table.assign(audio_path=relative), path)
        write_scales_beside(path, self.scales)

    @classmethod
    def from_csv(cls, path: Path) -> Self:
        """Read what `to_csv` wrote, or a table written by hand; audio paths become usable from here.

        A DataError says all that is wrong with the table, by file and line; missing audio files, too.
        """
        known, problems = scales_beside(path), Problems(path.name)
        read = open_table(path, _TEXTS, [name for name in columns_of(known) if name not in (*_TEXTS, "split")])
        needed = tuple(column for column in _TEXTS if column != "prompt_id")
        scales = _scales_in(list(read.columns), known, needed)
        lines = list(read.rows(problems))
        table = pd.DataFrame([line.cells for line in lines], columns=list(read.columns), dtype=object)
        if "prompt_id" not in read.columns:
            table["prompt_id"] = [f"P{n + 1:03d}" for n in pd.factorize(table["prompt"])[0]]
        places = [line_place(path.name, line.number) for line in lines]
        files = [find_file(path.parent / audio) for audio in table["audio_path"]]
        for column, with_it in _MAY_BE_UNKNOWN.items():
            if all(map(means_nothing, table[column])):
                table[list(with_it)] = ""
        for place, row, file in zip(places, table.to_dict("records"), files, strict=True):
            if row["audio_path"] and not file.is_file():
                problems.add(place, f"there is no audio file {shown_name(row['audio_path'])}")
            for what, cell in (("prompt", row["prompt"]), ("system", row["system_id"])):
                if cell and means_nothing(cell):
                    problems.add(place, f"the {what} {shown_name(cell)} means that there is none; give one")
        _checked(table, scales, places, problems)
        problems.stop_if_any()
        return cls(table.assign(audio_path=[str(file) for file in files]), scales)


def count_systems(table: pd.DataFrame) -> int:
    """Return how many systems a table's clips are of; 0 where that is not known."""
    return int(table.loc[table["system_id"] != "", "system_id"].nunique())


def read_manifest(path: Path) -> dict[str, Any]:
    """Read the ``manifest.json`` of an export in or beside a path; empty where there is none."""
    manifest = (path if path.is_dir() else path.parent) / MANIFEST
    if not manifest.is_file():
        return {}
    try:
        content = json.loads(manifest.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{MANIFEST} beside the rated clips is damaged. Export the study again.") from error
    return content if isinstance(content, dict) else {}


def scales_beside(path: Path) -> Scales:
    """Return the scales that a table may have, as said above; a DataError where they cannot be read."""
    file = path.parent / SCALES_FILE
    try:
        stored = json.loads(file.read_bytes()) if file.is_file() else read_manifest(path).get("scales")
        scales = MUSICEVAL if stored is None else tuple(Scale.from_json(each) for each in stored)
    except (OSError, ValueError, TypeError, ScaleError) as error:
        raise DataError(f"The scales beside {shown_name(path.name)} cannot be read: {error}") from error
    taken = {*_TEXTS, "n_ratings", "split"}
    if len({*keys(scales)} - taken) < len(scales):
        raise DataError(f"The scales beside {shown_name(path.name)} have a key that is taken.")
    return scales


def write_scales_beside(path: Path, scales: Scales) -> None:
    """Write what `scales_beside` reads, where there are others than MusicEval's."""
    if not set(scales) <= set(MUSICEVAL):
        write_atomically(path.parent / SCALES_FILE, json_text([scale.to_json() for scale in scales]))


def write_csv(table: pd.DataFrame, path: Path | BinaryIO) -> None:
    """Write a table for people and spreadsheets, whichever the language.

    UTF-8 with a mark, without which Excel takes it for another encoding; texts in quotes and escaped by
    `escape_cell`; times in ISO 8601.
    """
    table.map(escape_cell).to_csv(
        path,
        index=False,
        encoding="utf-8-sig",
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC,  # without quotes a lone carriage return in a text would end the row
        date_format="%Y-%m-%dT%H:%M:%S.%fZ",
    )


def _scales_in(heading: list[str], scales: Scales, needed: Sequence[str]) -> Scales:
    """Check which columns there are, and return the scales that have one."""
    there = tuple(scale for scale in scales if scale.key in heading)
    known = columns_of(scales)
    missing = [name for name in (*needed, *([] if there else keys(scales))) if name not in heading]
    unknown = [str(column) for column in heading if column not in known]
    unknown += [_sd(scale.key) for scale in scales if scale not in there and _sd(scale.key) in heading]
    if missing or unknown or len(set(heading)) < len(heading):
        wrong = f"no column {', '.join(missing)}" if missing else f"an unknown column {', '.join(unknown)}"
        wrong = wrong if missing or unknown else "a column twice"
        alone = "; one scale alone is fine" if len(scales) > 1 else ""
        raise DataError(f"The table of rated clips has {wrong}. Its columns are {', '.join(known)}{alone}.")
    return there


def _checked(table: pd.DataFrame, scales: Scales, places: list[str], problems: Problems) -> pd.DataFrame:
    """The table with cells of one type a column; cells that cannot be are problems."""
    checks: dict[str, Callable[[Any], Any]] = dict.fromkeys(columns_of(scales), _text)
    checks |= dict.fromkeys(keys(scales), _score) | {_sd(key): _deviation for key in keys(scales)}
    checks |= {"n_ratings": _count, "split": _split}
    for column, with_it in _MAY_BE_UNKNOWN.items():
        checks |= dict.fromkeys(with_it, _unknown) if all(map(_is_empty, table[column])) else {}
    columns: dict[str, list[Any]] = {column: [] for column in checks}
    seen: set[str] = set()
    texts: dict[str, str] = {}
    for place, row in zip(places, table.to_dict("records"), strict=True):
        for column, check in checks.items():
            value = row.get(column, "")
            try:
                columns[column].append(check(value))
            except (TypeError, ValueError) as error:
                problems.add(place, f"{column} is {value!r}; {error}")
        if row["clip_id"] in seen:
            problems.add(place, f"the clip {shown_name(str(row['clip_id']))} is there twice")
        if texts.setdefault(row["prompt_id"], row["prompt"]) != row["prompt"]:
            problems.add(place, f"the prompt id {shown_name(str(row['prompt_id']))} stands for two texts")
        seen.add(row["clip_id"])
    if problems.found:
        return table
    counts = pd.array(columns["n_ratings"], dtype="Int64")  # whole numbers, some of which may not be known
    return pd.DataFrame({**columns, "n_ratings": counts})


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it must be a text that is not empty")
    return value


def _unknown(_: Any) -> str:
    return ""


def _score(value: Any) -> float:
    score = _number(value)
    if not MIN_SCORE <= score <= MAX_SCORE:
        raise ValueError(f"it must be from {MIN_SCORE:g} to {MAX_SCORE:g}")
    return score


def _count(value: Any) -> int | None:
    count = math.nan if _is_empty(value) else _number(value)
    if math.isnan(count):
        return None
    if not (count >= 1 and count.is_integer()):
        raise ValueError("it must be a whole number from 1, or empty")
    return int(count)


def _deviation(value: Any) -> float:
    deviation = math.nan if _is_empty(value) else _number(value)
    if deviation < 0 or math.isinf(deviation):
        raise ValueError("it must be a number from 0, or empty")
    return deviation


def _is_empty(value: Any) -> bool:
    return value is None or value is pd.NA or value == ""


def _split(value: Any) -> str:
    if value not in ("", *SPLITS):
        raise ValueError(f"it must be {', '.join(SPLITS)} or empty")
    return str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError("it must be a number") from error


def audio_sha256(clips: RatedClips) -> list[str]:
    """Hash each clip's file; DataError for those that cannot be read."""
    unreadable: list[str] = []
    paths = [Path(path) for path in clips.table["audio_path"]]
    audio = dict(read_all(clip_sha256, dict.fromkeys(paths), unreadable))
    stop_if_any(unreadable)
    return [audio[path] for path in paths]


def data_sha256(clips: RatedClips) -> str:
    """Hash what can be learned from clips, whatever the order of the rows and wherever the files lie."""
    names = keys(clips.scales)
    columns = clips.table[["clip_id", "prompt", "system_id", *names]].to_numpy().tolist()
    rows = [[*row, audio] for audio, row in zip(audio_sha256(clips), columns, strict=True)]
    heading = [] if names == keys(MUSICEVAL) else [json.dumps(names)]  # as it was when there were no others
    return hashlib.sha256("\n".join(heading + sorted(map(json.dumps, rows))).encode()).hexdigest()
