"""Single ratings from elsewhere: a table, the ``person_mos`` of a MusicEval release, or the export of a study.

A table has a row for each rating: a clip, a rater, and a column for each scale; the system, the prompt, the sound file
and a comment may stand beside them. Columns are known by their usual names (`NAMES`), or named by whoever imports.
Scales are those that are given, else MusicEval's where a column has their key, else one by the name of the column.

All faults are told at once, with their lines. What a source does not tell is None, and never made up.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from annotation.protocol import Protocol
from annotation.session.holds import ACTIONS
from core.errors import DataError, MusicEvalError, shown_name
from core.files import Problems, find_file, line_place, sha256_of
from core.musiceval import EXPORTED, read_single_ratings
from core.rated_clips import MANIFEST, read_manifest, scales_beside
from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL, Scale, Scales, keys
from core.tables import Line, TextTable, means_nothing, open_table, parse_number

NAMES: Mapping[str, tuple[str, ...]] = {
    "clip": ("clip", "clip_id", "sample", "sample_id", "stimulus", "stimulus_id", "wav"),
    "rater": ("rater", "rater_id", "listener", "listener_id", "listener_name", "participant", "participant_id"),
    "system": ("system", "system_id", "model"),
    "prompt": ("prompt", "caption"),
    "file": ("file", "audio_path"),
    "comment": ("comment",),
}
SINGLE = ("rating", "score")
MOST_RATINGS = 250_000
_LONGEST = {"clip": 500, "rater": 150, "system": 200, "prompt": 5_000, "file": 1_000, "comment": 2_000}
_TABLES = ("ratings", "batches", "exclusions")
PAUSES = "pauses.csv"
_TIMES = ("shown_at", "served_at", "given_at")
_IN_EXPORTS = (
    *("clip", "kind", "system", "prompt", "rater", "batch", "role", "position", "comment", "heard_s", "duration_s"),
    *(*_TIMES, "status"),
)
_OUR_WORDS = {"training": "practice"}


@dataclass(frozen=True)
class Found:
    """What was read.

    `ratings` has the columns ``clip``, ``rater``, ``system``, ``prompt``, ``file``, ``comment`` and the scales; of an
    export also those of `_IN_EXPORTS`. `batches`, `log` and `pauses` are rows of an export; other sources have none.
    """

    source: str  # the name of the file or folder
    sha256: str  # of the file of ratings
    scales: Scales
    ratings: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    batches: list[dict[str, Any]] | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    pauses: list[dict[str, Any]] = field(default_factory=list)
    protocol: Protocol | None = None
    demo: bool = False
    seed: int = 0


def read_found(
    path: Path, columns: Mapping[str, str] | None = None, scales: Scales | None = None, apart: bool = False
) -> Found:
    """Read a table, a release with ``person_mos`` or an export; a DataError has all that is wrong, by file and line.

    `columns` are names of columns of a table by what they hold: `NAMES`, or the key of one of the `scales`. Where the
    audio came `apart` from the ratings, ``file`` is what the source calls it, not where it lies.
    """
    folder = path.parent if path.name == "person_mos" else path
    file = path / "ratings.csv" if path.is_dir() else path
    if not file.is_file() and (folder / "person_mos").is_dir():
        _refuse_options(path, columns, scales)
        return _release(folder, apart)
    if not file.is_file():
        raise DataError(
            f"{shown_name(path.name)} has no ratings. Give a table of single ratings, a release with person_mos, or "
            "the folder of a study's export."
        )
    manifest = read_manifest(file)
    if file.name == "ratings.csv" and "study" in manifest and manifest.get("protocol"):
        _refuse_options(path, columns, scales)
        return _export(file, manifest, apart)
    return _table(file, columns or {}, scales, apart)


def _refuse_options(path: Path, columns: Mapping[str, str] | None, scales: Scales | None) -> None:
    if columns or scales:
        raise DataError(f"{shown_name(path.name)} says all of itself: columns and scales are named for tables alone.")


def _release(folder: Path, apart: bool) -> Found:
    read, problems = read_single_ratings(folder), Problems(folder.absolute().name)
    for place, *scores in read[["place", *keys(MUSICEVAL)]].itertuples(index=False):
        for key, score in zip(keys(MUSICEVAL), scores, strict=True):
            if score != int(score):
                problems.add(place, f"{key} is {score:g}, and single ratings are whole numbers")
    problems.stop_if_any()
    read[keys(MUSICEVAL)] = read[keys(MUSICEVAL)].astype(int)
    files = sorted((folder / "person_mos").glob("*_person_mos.txt"))
    audio = read.pop("audio_path")
    ratings = read.drop(columns="place").assign(file=read["clip"] if apart else audio, comment="")
    return Found(folder.absolute().name, sha256_of(files[0]), MUSICEVAL, ratings)


def _table(file: Path, columns: Mapping[str, str], given: Scales | None, apart: bool) -> Found:
    known = given or scales_beside(file)
    texts = [*chain.from_iterable(NAMES.values()), *columns.values()]
    roles = _roles(open_table(file, texts, [*keys(known), *SINGLE]), columns, known, given)
    scales = tuple(scale for scale in (*known, *_plain_scales(roles, known)) if scale.key in roles)
    problems = Problems(file.name)
    texts = [column for role, column in roles.items() if role in NAMES]
    read = open_table(file, texts, [roles[key] for key in keys(scales)])
    rows = list(_rows(read, roles, scales, problems))
    problems.stop_if_any()
    if not rows:
        raise DataError(f"{shown_name(file.name)} has no rows.")
    used = ", ".join(f"{role} is {column}" for role, column in roles.items())
    notes = [f"Columns as they were read: {used}."]
    if unused := [column for column in read.columns if column not in roles.values()]:
        notes.append(f"Columns that were not used: {', '.join(map(shown_name, unused))}.")
    ratings = pd.DataFrame(rows)
    if not apart:
        ratings["file"] = [str(find_file(file.parent / name)) if name else "" for name in ratings["file"]]
    return Found(file.name, sha256_of(file), scales, ratings, notes)


def _roles(read: TextTable, columns: Mapping[str, str], known: Scales, given: Scales | None) -> dict[str, str]:
    """Return the column of each role: those that were named, then those that are known by their usual names."""
    name = shown_name(read.path.name)
    for role, column in columns.items():
        if role not in (*NAMES, *keys(known)):
            raise DataError(f"{shown_name(role)} is no part of a rating. Name {', '.join((*NAMES, *keys(known)))}.")
        if column not in read.columns:
            there = ", ".join(map(shown_name, read.columns))
            raise DataError(f"{name} has no column {shown_name(column)}. Its columns are {there}.")
    roles = dict(columns)
    for role, names in NAMES.items():
        found = [one for one in names if one in read.columns and one not in columns.values()]
        if role not in roles and len(found) > 1:
            raise DataError(f"The columns {' and '.join(found)} of {name} may both be the {role}. Say which.")
        if role not in roles and found:
            roles[role] = found[0]
    free = [column for column in read.columns if column not in roles.values()]
    roles |= {key: key for key in keys(known) if key not in roles and key in free}
    if not {*keys(known)} & roles.keys() and given is None:
        roles |= {column: column for column in SINGLE if column in free}
    if "clip" not in roles and "file" in roles:
        roles["clip"] = roles["file"]
    lacking = [what for what in ("clip", "rater") if what not in roles]
    lacking += [] if roles.keys() - {*NAMES} else ["rating"]
    lacking += [key for key in keys(given or ()) if key not in roles]
    if lacking:
        raise DataError(
            f"{name} has no column {', '.join(lacking)}. Its columns are {', '.join(map(shown_name, read.columns))}: "
            "say which of them is the clip, the rater and each scale."
        )
    return roles


def _plain_scales(roles: Iterable[str], known: Scales) -> Iterator[Scale]:
    """Make scales of columns of which only the name is known."""
    for role in roles:
        if role not in (*NAMES, *keys(known)):
            title, points = role.capitalize(), ("1", "2", "3", "4", "5")
            yield Scale(role, title, f"As in the column {role} of the table.", points, short=title)


def _rows(read: TextTable, roles: Mapping[str, str], scales: Scales, problems: Problems) -> Iterator[dict[str, Any]]:
    """Yield the ratings of a table; what is wrong is noted."""
    of_clips: dict[str, tuple[str, ...]] = {}
    for line in _bounded(read, problems):
        place = line_place(read.path.name, line.number)
        row: dict[str, Any] = {role: _text(line, role, roles.get(role), place, problems) for role in NAMES}
        for role in ("clip", "rater"):
            if not row[role]:
                problems.add(place, f"{roles[role]} is empty")
        for key in keys(scales):
            row[key] = _score(line.cells[roles[key]], roles[key], place, problems)
        told = tuple(row[role] for role in ("system", "prompt", "file"))
        if of_clips.setdefault(row["clip"], told) != told:
            problems.add(place, f"the clip {shown_name(row['clip'])} has another system, prompt or file above")
        yield row


def _bounded(read: TextTable, problems: Problems) -> Iterator[Line]:
    if _n_lines(read.path) > 2 * MOST_RATINGS:  # told at once: to read them takes a minute
        raise DataError(f"{shown_name(read.path.name)} has more than {2 * MOST_RATINGS:,} lines. Split it.")
    for number, line in enumerate(read.rows(problems), 1):
        if number > MOST_RATINGS:
            raise DataError(f"{shown_name(read.path.name)} has more than {MOST_RATINGS:,} rows. Split it.")
        yield line


def _n_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1_000_000), b""))


def _text(line: Line, role: str, column: str | None, place: str, problems: Problems) -> str:
    text = line.cells[column] if column else ""
    if len(text) > _LONGEST[role]:
        problems.add(place, f"{column} has {len(text):,} characters, and {_LONGEST[role]:,} are the most")
    if "\0" in text:
        problems.add(place, f"{column} has characters that are no text")
    return "" if means_nothing(text) else text


def _score(text: str, column: str, place: str, problems: Problems) -> int:
    """Return a whole point; 0 where it is none, which is noted."""
    if means_nothing(text):
        problems.add(place, f"{column} is empty")
        return 0
    try:
        score = parse_number(text)
    except ValueError as error:
        problems.add(place, f"{column}: {error}")
        return 0
    if score != int(score) or not MIN_SCORE <= score <= MAX_SCORE:
        problems.add(place, f"{column} is {score:g}, and is no whole number from {MIN_SCORE:g} to {MAX_SCORE:g}")
        return 0
    return int(score)


def _export(file: Path, manifest: Mapping[str, Any], apart: bool) -> Found:
    """Read the export of a study: its ratings, batches and exclusions as they were."""
    folder, problems = file.parent, Problems(file.parent.absolute().name)
    try:
        scales = tuple(Scale.from_json(each) for each in manifest["scales"])
        protocol, seed = Protocol.from_json(manifest["protocol"]), int(manifest["seed"])
    except (KeyError, TypeError, ValueError, MusicEvalError) as error:
        raise DataError(f"{MANIFEST} of the export cannot be read: {error}.") from error
    missing = [f"{name}.csv" for name in _TABLES if not (folder / f"{name}.csv").is_file()]
    if missing:
        raise DataError(f"The export in {shown_name(folder.absolute().name)} lacks {', '.join(missing)}.")
    tables = {name: _lines(folder / f"{name}.csv", problems) for name in _TABLES}
    ratings = [_exported_rating(line, scales, place, problems) for line, place in _of(tables["ratings"], file.name)]
    batches = [_exported_batch(line, place, problems) for line, place in _of(tables["batches"], "batches.csv")]
    log = [_exported_change(line, place, problems) for line, place in _of(tables["exclusions"], "exclusions.csv")]
    pauses = _pauses(folder / PAUSES, {row["rater"] for row in batches}, problems)
    problems.stop_if_any()
    _check_places(ratings, batches, log, problems)
    problems.stop_if_any()
    table = pd.DataFrame(ratings, columns=[*_IN_EXPORTS, "file", *keys(scales)])
    table["file"] = table["clip"].map(_audio_of(folder, apart)).fillna("")
    sha256, notes = sha256_of(file), []
    if manifest.get("files", {}).get(file.name) != sha256:
        notes.append("ratings.csv is not as it was exported: its hash is not the one in manifest.json.")
    demo = manifest.get("demo") is True
    return Found(str(manifest["study"]), sha256, scales, table, notes, batches, log, pauses, protocol, demo, seed)


def _check_places(
    ratings: Sequence[Mapping[str, Any]],
    batches: Sequence[Mapping[str, Any]],
    log: Sequence[Mapping[str, Any]],
    problems: Problems,
) -> None:
    """Note ratings and changes of batches that there are not, and what is there twice."""
    known = [(row["rater"], row["batch"]) for row in batches]
    there, raters = {*known}, {who for who, _ in known}
    for (who, number), times in Counter(known).items():
        if times > 1:
            problems.add("batches.csv", f"batch {number:g} of {shown_name(who)} is there twice")
    taken: set[tuple[Any, ...]] = set()
    of_clips: dict[str, tuple[str, ...]] = {}
    for row in ratings:
        who, number, place = row["rater"], row["batch"], (row["rater"], row["batch"], row["position"])
        if (who, number) not in there:
            problems.add("ratings.csv", f"batch {number:g} of {shown_name(who)} is not in batches.csv")
        if place in taken:
            what = f"place {row['position']:g} of batch {number:g} of {shown_name(who)}"
            problems.add("ratings.csv", f"{what} is there twice")
        taken.add(place)
        told = (row["kind"], row["system"], row["prompt"])
        if of_clips.setdefault(row["clip"], told) != told:
            problems.add("ratings.csv", f"the clip {shown_name(row['clip'])} has another kind, system or prompt above")
    for row in log:
        if row["batch"] is not None and (row["rater"], row["batch"]) not in there:
            what = f"batch {row['batch']:g} of {shown_name(row['rater'])}"
            problems.add("exclusions.csv", f"{what} is not in batches.csv")
        elif row["rater"] not in raters:
            problems.add("exclusions.csv", f"the rater {shown_name(row['rater'])} is not in batches.csv")


def _lines(file: Path, problems: Problems) -> list[Line]:
    of_file = Problems(file.name)
    lines = list(_bounded(open_table(file, ["rater"]), of_file))
    problems.found += of_file.found
    return lines


def _of(lines: Sequence[Line], file: str) -> Iterator[tuple[dict[str, str], str]]:
    return ((line.cells, line_place(file, line.number)) for line in lines)


def _exported_rating(cells: Mapping[str, str], scales: Scales, place: str, problems: Problems) -> dict[str, Any]:
    lacking = [name for name in (*_IN_EXPORTS, *keys(scales)) if name not in cells]
    if lacking:
        problems.add(place, f"there is no column {', '.join(lacking)}")
        return {}
    row: dict[str, Any] = {name: cells[name] for name in _IN_EXPORTS}
    for name in ("kind", "role"):
        row[name] = _OUR_WORDS.get(row[name], row[name])
    for name, words in (("kind", ("stimulus", "anchor", "practice")), ("role", _ROLES)):
        if row[name] not in words:
            problems.add(place, f"{name} is {shown_name(row[name])}, and can be {', '.join(words)}")
    row |= {name: _time(row[name], name, place, problems) for name in _TIMES}
    row |= {name: _number(row[name], name, place, problems) for name in ("batch", "position", "heard_s", "duration_s")}
    row |= {key: _score(cells[key], key, place, problems) for key in keys(scales)}
    if row["batch"] is None or row["position"] is None:
        problems.add(place, "batch or position is empty")
    return row


_ROLES = ("stimulus", "anchor", "duplicate", "practice")
_STATES = ("open", "valid", "empty", "excluded")


def _exported_batch(cells: Mapping[str, str], place: str, problems: Problems) -> dict[str, Any]:
    row: dict[str, Any] = {"rater": cells["rater"], "state": cells.get("state", "")}
    row["short"] = cells.get("short", "").casefold() == "true"
    row["batch"] = _number(cells.get("batch", ""), "batch", place, problems)
    for name in ("opened_at", "lease_until", "closed_at", "screened_at"):
        row[name] = _time(cells.get(name, ""), name, place, problems)
    if row["state"] not in _STATES:
        problems.add(place, f"state is {shown_name(row['state'])}, and can be {', '.join(_STATES)}")
    return row


def _pauses(file: Path, raters: Collection[str], problems: Problems) -> list[dict[str, Any]]:
    """Read when raters with a batch were paused or let go on; exports of before do not tell."""
    lines = _lines(file, problems) if file.is_file() else []
    rows = [_logged(line, ACTIONS, place, problems) for line, place in _of(lines, PAUSES)]
    return [row for row in rows if row["rater"] in raters]


def _exported_change(cells: Mapping[str, str], place: str, problems: Problems) -> dict[str, Any]:
    row = _logged(cells, ("exclude", "restore"), place, problems)
    row["batch"] = None if cells.get("batch") == "all" else _number(cells.get("batch", ""), "batch", place, problems)
    return row


def _logged(cells: Mapping[str, str], actions: Collection[str], place: str, problems: Problems) -> dict[str, Any]:
    """Read a row of a log."""
    row: dict[str, Any] = {name: cells.get(name, "") for name in ("rater", "action", "rule", "reason", "author")}
    row["at"] = _time(cells.get("at", ""), "at", place, problems)
    try:
        row["evidence"] = json.loads(cells.get("evidence") or "{}")
    except (ValueError, RecursionError):
        row["evidence"] = None
    if row["action"] not in actions or not isinstance(row["evidence"], dict) or row["at"] is None:
        problems.add(place, "this is no row that an export writes")
    return row


def _time(text: str, name: str, place: str, problems: Problems) -> datetime | None:
    if means_nothing(text):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        problems.add(place, f"{name} is {shown_name(text)}, and is no time")
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _number(text: str, name: str, place: str, problems: Problems) -> float | None:
    if means_nothing(text):
        return None
    try:
        return parse_number(text)
    except ValueError as error:
        problems.add(place, f"{name}: {error}")
        return None


def _audio_of(folder: Path, apart: bool) -> dict[str, str]:
    """Return the files that lie in an export, by clip; of audio that came apart, its names."""
    file = folder / EXPORTED
    if not file.is_file():
        return {}
    inside = folder.resolve()
    table = open_table(file, ["clip_id", "audio_path"])
    names = {line.cells.get("clip_id", ""): line.cells.get("audio_path", "") for line in table.rows(Problems(""))}
    if apart:
        return names
    paths = {clip: folder / name for clip, name in names.items()}
    return {clip: str(path) for clip, path in paths.items() if path.resolve().is_relative_to(inside) and path.is_file()}


def parse_columns(given: Iterable[str]) -> dict[str, str]:
    """Read ``clip=sample_id``, one a part of a rating; a DataError where that is not what was given."""
    columns = {}
    for pair in given:
        role, equals, column = (part.strip() for part in pair.partition("="))
        if not (role and equals and column):
            raise DataError(f"{shown_name(pair)} names no column. Write clip=NAME, rater=NAME, and so on.")
        columns[role] = column
    return columns
