"""Ratings as people gave them, on any range: read from tables as surveys leave them, into `RatedClips`.

A *table of ratings* has a row for each rating (``rater`` and ``clip``) or, without ``rater``, a row for each clip
with its means. Its numbers stand in a column for each scale, under the scale's key, or in a single column
``rating``, ``score`` or ``mos``, which is of the scale that is asked for. What belongs to the clips stands in the
same table or in a *table of clips*, a row for each clip:

    clip, clip_id           its name in both tables; without it, what names its file
    file, audio_path        its file, from the folder of the table in which it stands
    prompt, prompt_id       what it was asked to be; without it, scales that need a prompt are left out
    system, system_id       what made it
    group                   whatever clips are compared by, such as ``human`` and ``computer``
    split                   train, dev or test

The table of clips is ``clips.csv`` beside ratings that name no files, or another one that is named; a folder of
sound files can be named in its place, and then a clip's file has its name. A folder can be given for its
``ratings.csv``.

A column may say its range in its name: ``rating_0_to_5``, worst first. Otherwise the range is the one that is given,
or 1 to 5. Means are taken of the ratings as they are (of a rater who rated a clip twice, of the rater's mean), then
mapped to 1 to 5, a straight line that changes no order and no correlation.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.batch.manifest import AUDIO_SUFFIXES
from core.errors import DataError, counted, shown_name
from core.files import Problems, find_file, first_of, line_place
from core.rated_clips import OUR_RANGE, Opinions, Range, RatedClips, columns_of, read_manifest, scales_beside
from core.scales import MUSICAL_IMPRESSION, Scale, Scales, keys
from core.tables import TextTable, means_nothing, open_table, parse_number

RATINGS_FILE, CLIPS_FILE = "ratings.csv", "clips.csv"

_NAMES = {  # by what they are called in the table of rated clips
    "clip_id": ("clip_id", "clip"),
    "audio_path": ("audio_path", "file"),
    "prompt": ("prompt",),
    "prompt_id": ("prompt_id",),
    "system_id": ("system_id", "system"),
    "group": ("group",),
    "split": ("split",),
    "n_ratings": ("n_ratings",),
    "rater": ("rater", "rater_id"),
}
_OF_CLIPS = ("audio_path", "prompt", "prompt_id", "system_id", "group", "split")
_SINGLE = ("rating", "score", "mos")
_END = r"-?\d+(?:\.\d+)?"
_WITH_RANGE = re.compile(rf"(?P<name>.+)_(?P<worst>{_END})_to_(?P<best>{_END})")


@dataclass(frozen=True)
class Reading:
    """How a table of ratings is read, where it does not say so itself.

    Attributes
    ----------
    clips : Path, optional
        The table of clips, or a folder of sound files.
    scale : str
        The key of the scale that a single column of ratings is of.
    scale_range : (worst, best), optional
        The ends of the range that people rated on; 1 to 5 where left out.
    """

    clips: Path | None = None
    scale: str = MUSICAL_IMPRESSION.key
    scale_range: Range | None = None

    def __post_init__(self) -> None:
        if self.scale_range and self.scale_range[0] == self.scale_range[1]:
            raise DataError("The ends of a scale's range are two numbers, the worst rating and the best.")


@dataclass(frozen=True)
class _Rated:
    """A column of ratings: its name in the file, what it is of, and the ends of its range."""

    column: str
    scale: Scale
    ends: Range
    is_said: bool  # whether anybody said the range


def is_opinions(path: Path) -> bool:
    """Return whether a CSV file is a table of ratings, and not what `RatedClips.to_csv` writes."""
    marks = {"group", *_NAMES["rater"]}
    named = set(open_table(path, (*columns_of(scales_beside(path)), *marks)).columns)
    return not named >= {"clip_id", "audio_path", "prompt", "system_id"} or bool(named & marks)


def read_opinions(path: Path, reading: Reading) -> RatedClips:
    """Read a table of ratings, and its clips; a DataError has all that is wrong, by file and line."""
    if path.name == RATINGS_FILE and "study" in read_manifest(path):
        raise DataError("These are all ratings of a study, those that do not count too. Give the folder of its export.")
    known, problems = scales_beside(path), Problems(path.name)
    texts = [name for names in _NAMES.values() for name in names]
    rated = _rated_columns(open_table(path, texts, [*keys(known), *_SINGLE]), known, reading)
    numbers = [name for of in rated for name in (of.column, _spread(of))]
    read = open_table(path, texts, numbers)  # once more: of these a decimal comma is understood
    ratings = _texts(read, numbers, problems)
    for of in rated:
        ratings[of.scale.key] = _numbers(ratings, of.column, sorted(of.ends), of.is_said, problems)
        if _spread(of) in ratings:
            ratings[f"{of.scale.key}_sd"] = _numbers(ratings, _spread(of), [0.0, math.inf], True, problems)
    clips = _clips(path, reading, ratings, problems)
    problems.stop_if_any()
    means = _means(ratings, rated, problems)
    problems.stop_if_any()
    return _put_together(clips, means, ratings, rated, _notes(read, clips, ratings, rated))


def _rated_columns(read: TextTable, known: Scales, reading: Reading) -> list[_Rated]:
    """The columns that hold ratings; a DataError where there are none, or not sure which."""
    by_key = {scale.key: scale for scale in known}
    if reading.scale not in by_key:
        raise DataError(f"There is no scale {reading.scale!r}. The scales are {', '.join(by_key)}.")
    found: dict[str, _Rated] = {}
    for column in read.columns:
        named = _WITH_RANGE.fullmatch(column)
        said = (float(named["worst"]), float(named["best"])) if named else None
        name = named["name"] if named else column
        scale = by_key.get(reading.scale if name in _SINGLE else name)
        if scale is None:
            continue
        if scale.key in found:
            raise DataError(f"The columns {found[scale.key].column} and {column} are both of {scale.key}. Keep one.")
        if said and reading.scale_range not in (None, said):
            raise DataError(f"The column {column} says another range than --scale-range. Leave one out.")
        ends = Reading(scale_range=said or reading.scale_range).scale_range
        found[scale.key] = _Rated(column, scale, ends or OUR_RANGE, ends is not None)
    if not found:
        raise DataError(
            f"{shown_name(read.path.name)} has no column of ratings. Name it {', '.join(by_key)}, or rating; with "
            "its range, rating_0_to_5."
        )
    return [found[key] for key in by_key if key in found]


def _renamed(columns: Sequence[str]) -> dict[str, str]:
    """What columns are called in the file, by our names; a DataError where two would be one."""
    found = {ours: [name for name in names if name in columns] for ours, names in _NAMES.items()}
    for names in found.values():
        if len(names) > 1:
            raise DataError(f"The columns {' and '.join(names)} are of the same thing. Keep one.")
    return {ours: names[0] for ours, names in found.items() if names}


def _texts(read: TextTable, more: Iterable[str], problems: Problems) -> pd.DataFrame:
    """A table as texts, by our names, each row with its place; what means nothing is empty."""
    renamed = _renamed(read.columns)
    if not {"clip_id", "audio_path"} & renamed.keys():
        raise DataError(f"{shown_name(read.path.name)} has no column clip or file, by which clips are told apart.")
    renamed.setdefault("clip_id", renamed.get("audio_path", ""))
    wanted = renamed | {name: name for name in more if name in read.columns}
    rows = []
    for line in read.rows(problems):
        place = line_place(read.path.name, line.number)
        cells = {ours: line.cells[name] for ours, name in wanted.items()}
        rows.append({ours: "" if means_nothing(cell) else cell for ours, cell in cells.items()} | {"place": place})
        for name in ("clip_id", "rater"):
            if name in cells and not cells[name]:
                problems.add(place, f"{renamed[name]} is empty")
    if not rows:
        problems.stop_if_any()
        raise DataError(f"{shown_name(read.path.name)} has no rows.")
    return pd.DataFrame(rows)


def _spread(of: _Rated) -> str:
    """The column of the deviations of a column of means."""
    return f"{of.column}_sd"


def _numbers(
    ratings: pd.DataFrame, column: str, ends: Sequence[float], is_said: bool, problems: Problems
) -> NDArray[np.float64]:
    """The numbers of a column, NaN where a cell is empty; those outside the range are problems."""
    low, high = ends
    hint = "" if is_said else ". Say the range: --scale-range WORST BEST, or in the column's name, rating_0_to_5"
    numbers = np.full(len(ratings), np.nan)
    for row, (place, text) in enumerate(zip(ratings["place"], ratings[column], strict=True)):
        try:
            numbers[row] = parse_number(text) if text else np.nan
            if not (np.isnan(numbers[row]) or low <= numbers[row] <= high):
                span = f"from {low:g} to {high:g}" if high < math.inf else f"{low:g} or more"
                raise ValueError(f"{numbers[row]:g} is not {span}{hint}")
        except ValueError as error:
            problems.add(place, f"{column}: {error}")
    return numbers


def _clips(path: Path, reading: Reading, ratings: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """What is known of the clips, by their names, in the order of the ratings."""
    there = [column for column in _OF_CLIPS if column in ratings]
    clips = ratings.drop_duplicates("clip_id").set_index("clip_id")[[*there, "place"]]
    for column in there:
        several = ratings.groupby("clip_id", sort=False)[column].nunique()
        for clip in several.index[several > 1]:
            problems.add(str(clips["place"][clip]), f"the clip {shown_name(clip)} has several values of {column}")
    if "audio_path" in there:
        clips["audio_path"] = [str(path.parent / file) if file else "" for file in clips["audio_path"]]
    beside = path.parent / CLIPS_FILE
    named = reading.clips or (beside if "audio_path" not in there and beside.is_file() else None)
    if named and named.is_dir():
        clips["audio_path"] = _files_in(named, clips, problems)
    elif named:
        clips = _joined(clips, named, problems)
    if "audio_path" not in clips:
        raise DataError(
            f"{shown_name(path.name)} does not say where the clips' files are. Give it a column file, or give a table "
            f"with clip and file or a folder of sound files with --clips; {CLIPS_FILE} beside it is found."
        )
    return _with_files(clips, problems)


def _files_in(folder: Path, clips: pd.DataFrame, problems: Problems) -> list[str]:
    """The clips' files in a folder: of the clip's name, with or without the ending of a sound file."""
    there = sorted(file for file in folder.iterdir() if file.suffix.lower() in AUDIO_SUFFIXES)
    files = []
    for clip, place in clips["place"].items():
        found = [file for file in there if clip in (file.name, file.stem)]
        files.append(str(found[0]) if found else "")
        if len(found) != 1:
            what = f"{len(found) or 'no'} file{'s' if found else ''} of the clip {shown_name(str(clip))}"
            problems.add(str(place), f"the folder {shown_name(folder.name)} has {what}")
    return files


def _joined(clips: pd.DataFrame, path: Path, problems: Problems) -> pd.DataFrame:
    """Put what a table of clips says beside what the ratings say; of a column in both, the ratings' stands."""
    read = open_table(path, [name for names in _NAMES.values() for name in names])
    others = _texts(read, (), problems)
    for clip, place in others.loc[others.duplicated("clip_id"), ["clip_id", "place"]].itertuples(index=False):
        problems.add(str(place), f"the clip {shown_name(clip)} is there twice")
    others = others.drop_duplicates("clip_id").set_index("clip_id")
    if "audio_path" in others:
        others["audio_path"] = [str(path.parent / file) if file else "" for file in others["audio_path"]]
    for clip in clips.index.difference(others.index):
        place = str(clips["place"][clip])
        problems.add(place, f"{shown_name(path.name)} has no clip {shown_name(clip)}")
    more = [column for column in _OF_CLIPS if column in others and column not in clips]
    joined = clips.join(others[more]).fillna("")
    joined.attrs["unrated"] = [*others.index.difference(clips.index)]
    return joined


def _with_files(clips: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    files = [find_file(Path(file)) if file else None for file in clips["audio_path"]]
    for clip, place, file in zip(clips.index, clips["place"], files, strict=True):
        if file is None or not file.is_file():
            what = f"there is no audio file {shown_name(file.name)}" if file else "no file is named"
            problems.add(str(place), f"{what} of the clip {shown_name(str(clip))}")
    clips["audio_path"] = [str(file or "") for file in files]
    return clips


def _means(ratings: pd.DataFrame, rated: Sequence[_Rated], problems: Problems) -> pd.DataFrame:
    """Mean opinion scores from 1 to 5, their deviations and the number of ratings, by clip."""
    names = [of.scale.key for of in rated]
    if "rater" in ratings:
        by_clip = _by_rater(ratings, names).groupby("clip_id", sort=False)[names]
        means, spread = by_clip.mean(), by_clip.std(ddof=1)
        means["n_ratings"] = by_clip.count().min(axis=1)
    else:
        for clip, place in ratings.loc[ratings.duplicated("clip_id"), ["clip_id", "place"]].itertuples(index=False):
            what = "is there twice; single ratings need a column rater"
            problems.add(str(place), f"the clip {shown_name(clip)} {what}")
        means = ratings.drop_duplicates("clip_id").set_index("clip_id")
        spread = pd.DataFrame({name: means.get(f"{name}_sd", np.nan) for name in names}, index=means.index)
        means = means[[*names, *(["n_ratings"] if "n_ratings" in means else [])]].copy()
    for of in rated:
        key, (worst, best) = of.scale.key, of.ends
        for clip in means.index[means[key].isna()]:
            problems.add(of.column, f"the clip {shown_name(str(clip))} has no rating")
        if of.ends != OUR_RANGE:
            means[key] = on_our_range(means[key], of.ends)
            spread[key] *= (OUR_RANGE[1] - OUR_RANGE[0]) / abs(best - worst)
        means[f"{key}_sd"] = spread[key]
    return means


def on_our_range(ratings: pd.Series, ends: Range) -> pd.Series:
    """Map ratings on a range, worst and best, to 1 to 5."""
    (worst, best), (lowest, highest) = ends, OUR_RANGE
    return lowest + (ratings - worst) * ((highest - lowest) / (best - worst))


def _by_rater(ratings: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """A row for each clip and rater: the mean where a rater rated a clip more than once."""
    return ratings.groupby(["clip_id", "rater"], sort=False)[names].mean().reset_index()


def _put_together(
    clips: pd.DataFrame, means: pd.DataFrame, ratings: pd.DataFrame, rated: Sequence[_Rated], notes: Sequence[str]
) -> RatedClips:
    has_prompts = "prompt" in clips and bool((clips["prompt"] != "").any())
    scales = tuple(of.scale for of in rated if has_prompts or not of.scale.needs_prompt)
    if not scales:
        raise DataError(f"{rated[0].scale.title} is of a clip and its prompt, and the clips have no column prompt.")
    table = clips.join(means).reset_index()
    table["clip_id"] = table["clip_id"].astype(str)
    if has_prompts and "prompt_id" not in table:
        table["prompt_id"] = [f"P{n + 1:03d}" for n in pd.factorize(table["prompt"])[0]]
    for column in ("prompt", "prompt_id", "system_id", "split"):
        table[column] = table.get(column, "")
    single = _by_rater(ratings, keys(scales)) if "rater" in ratings else None
    groups = dict(zip(table["clip_id"], table["group"], strict=True)) if "group" in table else {}
    opinions = Opinions({of.scale.key: of.ends for of in rated}, single, groups, tuple(_read_as(ratings, rated)))
    known = [column for column in columns_of(scales) if column in table]
    return RatedClips(table[known].astype(object), scales, tuple(notes), opinions)


def _read_as(ratings: pd.DataFrame, rated: Sequence[_Rated]) -> Iterator[str]:
    """Say how each column was read."""
    n_clips, is_single = ratings["clip_id"].nunique(), "rater" in ratings
    what = f"ratings by {ratings['rater'].nunique():,} raters" if is_single else "means"
    for of in rated:
        n, (worst, best) = int(ratings[of.scale.key].notna().sum()), of.ends
        how = f"{of.column} is read as {of.scale.title.lower()}, {worst:g} to {best:g}"
        yield f"{how}: {n:,} {what} of {n_clips:,} clips."


def _notes(read: TextTable, clips: pd.DataFrame, ratings: pd.DataFrame, rated: Sequence[_Rated]) -> list[str]:
    """Say what was left out."""
    has_prompts = "prompt" in clips and bool((clips["prompt"] != "").any())
    left_out = [of.scale.title for of in rated if of.scale.needs_prompt and not has_prompts]
    said = [f"{title} is not measured: the clips have no prompts." for title in left_out]
    if "rater" in ratings and (n_again := int(ratings.duplicated(["clip_id", "rater"]).sum())):
        again = f"{counted(n_again, 'rating')} by a rater who had rated the clip before"
        said.append(f"{again}: the rater's mean counts once.")
    if unrated := clips.attrs.get("unrated", []):
        said.append(f"{counted(len(unrated), 'clip')} without a rating left out: {first_of(unrated)}.")
    used = {*_renamed(read.columns).values(), *(name for of in rated for name in (of.column, _spread(of)))}
    if unread := [column for column in read.columns if column not in used]:
        said.append(f"Columns that are not read: {', '.join(unread)}.")
    return said
