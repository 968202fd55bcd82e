"""Writes the material that the embedded judge is made from: FLAC files and the tables that the trainer reads.

`clips.csv` names the originals, `captions.csv` what they are; `sounds.csv` is a table of rated clips: what is no
music, rated 1. `damaged.csv`, `damaged_twice.csv`, `mistakes.csv` and `prompts.csv` are pairs, better before
worse, on one scale; `same.csv` has pairs that must score alike. `part` is `build` or
`check`: all that is made from one track is on one side, so that what is learned on one can be measured on the
other. `SOURCES.md` is for the model card.
"""

import csv
import functools
import itertools
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from core.errors import DataError
from tools.judge import captions, damages, packages, sounds
from tools.judge.captions import Content
from tools.judge.originals import CLIP_S, Mistakes, Original, all_music, hear, slug, spoken
from tools.judge.packages import Fetched
from tools.judge.scores import Orchestra
from tools.judge.sounds import RATE_HZ, Random, Samples

PAIR = ("scale", "better_file", "better_prompt", "worse_file", "worse_prompt", "weight", "kind", "part")
COLUMNS = {
    "clips": ("file", "prompt", "system_id", "kind", "source", "group", "part"),
    "captions": ("file", "prompt", "source", "part"),
    "sounds": ("clip_id", "audio_path", "prompt", "system_id", "musical_impression", "split"),
    "damaged": PAIR,
    "damaged_twice": PAIR,
    "mistakes": PAIR,
    "prompts": PAIR,
    "same": ("file", "other_file", "kind", "part"),
    "sources": ("package", "registry", "version", "licence", "authors", "clips"),
}
SPLITS = {"build": "train", "check": "test"}  # what a table of rated clips calls the parts
EVERY_CHECK = 4  # each fourth track of a package is kept apart
DAMAGES_EACH, SOUNDS_EACH = 7, 8  # damages of an original, in both strengths; sounds of each kind
AGAIN = (1, 0)  # strengths by which a strong copy is damaged once more, each in another way
OTHERS_EACH = 2  # captions, and clips, that a clip with its own is held against
MILD = 0.5  # weight of a mild fault: not every listener minds it

Row = dict[str, object]
Tables = dict[str, list[Row]]


@dataclass(frozen=True)
class Task:
    """An original from which everything is to be made, in a process of a pool."""

    original: Original
    number: int
    part: str
    folder: Path
    python: Path
    packages: Path
    seed: int


def write(folder: Path, cache: Path | None, without: Collection[str], seed: int, say: Callable[[str], None]) -> None:
    """Fetch the packages (into a cache, if there is one) and write audio and tables into a new folder."""
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder.name} is not empty: give a new folder")
    wanted, packages_folder = packages.chosen(without), cache or Path(tempfile.mkdtemp(prefix="material-"))
    try:
        say(f"fetching {len(wanted)} packages")
        tables = _tables(packages.fetch(wanted, packages_folder.resolve()), folder, seed, say)
    finally:
        if cache is None:
            shutil.rmtree(packages_folder)
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS[name], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        say(f"{name}.csv: {len(rows)} rows")
    (folder / "SOURCES.md").write_text(sources_as_text(tables["sources"]), encoding="utf-8")


def _tables(fetched: Mapping[str, Fetched], folder: Path, seed: int, say: Callable[[str], None]) -> Tables:
    """Write the audio and return the rows of all tables."""
    tables: Tables = {name: [] for name in COLUMNS}
    python = fetched["music21"].root
    tasks = [
        Task(original, number, part, folder, python, python.parent, seed)
        for number, (original, part) in enumerate(in_parts(all_music(fetched)))
    ]
    say(f"cutting and playing {len(tasks)} clips")
    with ProcessPoolExecutor() as pool:
        for made in pool.map(_made_from, tasks):
            for name, rows in made.items():
                tables[name] += rows
    contents = {_file(task.original.name): task.original.content for task in tasks}
    known = {str(row["file"]): contents[str(row["file"])] for row in tables["clips"] if row["prompt"]}
    parts = {str(row["file"]): str(row["part"]) for row in tables["clips"]}
    _add_captions(tables, known, parts, np.random.default_rng([seed, 1]))
    _add_sounds(tables, fetched, folder, np.random.default_rng([seed, 2]))
    tables["sources"] = list(_sources(fetched.values(), tables))
    return tables


def in_parts(music: Iterable[Original]) -> Iterator[tuple[Original, str]]:
    """Say of each original whether it is kept apart: each fourth track of a package is, with all its excerpts."""
    tracks: dict[str, dict[str, int]] = {}
    for original in music:
        numbers = tracks.setdefault(original.package, {})
        yield original, _part(numbers.setdefault(original.group, len(numbers)))


def _part(number: int) -> str:
    return "check" if number % EVERY_CHECK == EVERY_CHECK - 1 else "build"


def _file(name: str) -> str:
    return f"audio/{name}.flac"


def _save(folder: Path, name: str, sound: Samples) -> str:
    """Write a sound and return its place in the tables."""
    path = folder / _file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(sound, -1, 1), RATE_HZ, subtype="PCM_16")
    return _file(name)


def _orchestra(python: Path, packages_folder: Path) -> Orchestra:
    return Orchestra(python, packages_folder, next(packages_folder.rglob("MuseScore_General_Lite.sf3")))


def _made_from(task: Task) -> Tables:
    """Write an original and all that is made from it."""
    original, random = task.original, np.random.default_rng([task.seed, 0, task.number])
    orchestra = functools.partial(_orchestra, task.python, task.packages)
    heard = hear(original, task.python, orchestra, task.seed + task.number)
    if heard is None:
        return {}
    sound, mistakes = heard
    file = _save(task.folder, original.name, sound)
    clip: Row = {
        "file": file,
        "prompt": captions.sentence(original.content) if original.content != Content() else "",
        "system_id": original.package,
        "kind": original.kind,
        "source": original.package,
        "group": original.group,
        "part": task.part,
    }
    damaged = list(_damaged(task, sound, file, random))
    return {
        "clips": [clip],
        "damaged": damaged,
        "damaged_twice": list(_damaged_twice(task, damaged)),
        "mistakes": list(_mistaken(task, mistakes, file)),
        "same": list(_same(task, sound, file, random)),
    }


def _damaged(task: Task, sound: Samples, file: str, random: Random) -> Iterator[Row]:
    """Yield an original above its damaged copies, a mild copy above a strong one, and music above what it was."""
    kinds, spoilt = [*damages.DAMAGES], [*sounds.SPOILT_MUSIC]
    for turn in range(DAMAGES_EACH):
        kind = kinds[(task.number * DAMAGES_EACH + turn) % len(kinds)]
        copies = [damages.damage(sound, kind, strength, random) for strength in (0, 1)]
        mild, strong = (_save(task.folder, _copy(task.original.name, kind, i), copy) for i, copy in enumerate(copies))
        yield pair(file, mild, kind, task.part, MILD)
        yield pair(file, strong, kind, task.part)
        yield pair(mild, strong, kind, task.part, MILD)
    kind = spoilt[task.number % len(spoilt)]
    worse = _save(task.folder, _copy(task.original.name, kind), sounds.SPOILT_MUSIC[kind](sound, random))
    yield pair(file, worse, kind, task.part)


def _damaged_twice(task: Task, damaged: Iterable[Row]) -> Iterator[Row]:
    """Yield strong copies above what they are with a second damage."""
    random = np.random.default_rng([task.seed, 6, task.number])
    for row in damaged:
        if row["weight"] != 1.0 or row["kind"] not in damages.DAMAGES:
            continue
        once = str(row["worse_file"])
        sound: Samples = soundfile.read(task.folder / once, dtype="float32")[0]
        kinds = random.permutation([kind for kind in damages.DAMAGES if kind != row["kind"]])
        for kind, strength in zip(kinds, AGAIN, strict=False):
            copy = damages.damage(sound, kind, strength, random)
            twice = _save(task.folder, _copy(once.removeprefix("audio/").removesuffix(".flac"), kind, strength), copy)
            yield pair(once, twice, f"{row['kind']} and {kind}", task.part, 1.0 if strength else MILD)


def _copy(name: str, kind: str, strength: int | None = None) -> str:
    """Return the name of a copy."""
    return f"{name}.{slug(kind)}" + ("" if strength is None else f"-{strength}")


def _mistaken(task: Task, mistakes: Mistakes, file: str) -> Iterator[Row]:
    for (kind, strength), sound in mistakes.items():
        worse = _save(task.folder, _copy(task.original.name, kind, strength), sound)
        yield pair(file, worse, kind, task.part, 1.0 if strength else MILD)


def _same(task: Task, sound: Samples, file: str, random: Random) -> Iterator[Row]:
    kind = [*damages.HARMLESS][task.number % len(damages.HARMLESS)]
    other = _save(task.folder, _copy(task.original.name, kind), damages.harmless(sound, kind, random))
    yield {"file": file, "other_file": other, "kind": kind, "part": task.part}


def pair(better: str, worse: str, kind: str, part: str, weight: float = 1.0) -> Row:
    """Return a row of what sounds better than what."""
    row: Row = {"scale": "musical_impression", "better_file": better, "worse_file": worse}
    return row | {"weight": weight, "kind": kind, "part": part}


def _add_captions(tables: Tables, known: Mapping[str, Content], parts: Mapping[str, str], random: Random) -> None:
    """Add captions, and pairs of a clip with its own and clips that share nothing with it."""
    for file, content in known.items():
        others = [f for f, other in known.items() if parts[f] == parts[file] and not content.shares(other)]
        for kind, say in (("sentence", captions.sentence), ("tags", captions.tags)):
            tables["captions"].append({"file": file, "prompt": say(content), "source": kind, "part": parts[file]})
            for i in random.permutation(len(others))[:OTHERS_EACH]:
                own: Row = {"better_file": file, "better_prompt": say(content), "weight": 1.0}
                own |= {"scale": "textual_alignment", "kind": kind, "part": parts[file]}
                tables["prompts"].append(own | {"worse_file": file, "worse_prompt": say(known[others[i]])})
                tables["prompts"].append(own | {"worse_file": others[i], "worse_prompt": say(content)})


def _add_sounds(tables: Tables, fetched: Mapping[str, Fetched], folder: Path, random: Random) -> None:
    """Add what is no music: synthetic sounds, and people who speak."""
    kinds = ((f"{slug(kind)}/{i}", kind) for kind in sounds.SYNTHETIC for i in range(SOUNDS_EACH))
    synthetic = ((name, sounds.SYNTHETIC[kind](CLIP_S, random)) for name, kind in kinds)
    speech = (spoken(found, random) for found in fetched.values() if found.package.use == "speech")
    for number, (name, sound) in enumerate(itertools.chain(synthetic, *speech)):
        kind, file = name.split("/")[0], _save(folder, f"no-music/{name}", sound)
        row: Row = {"clip_id": f"no-music-{number}", "audio_path": file, "prompt": kind, "system_id": kind}
        tables["sounds"].append(row | {"musical_impression": 1.0, "split": SPLITS[_part(number)]})


def _sources(fetched: Iterable[Fetched], tables: Tables) -> Iterator[Row]:
    used = [row["system_id"] for row in (*tables["clips"], *tables["sounds"])]
    for found in fetched:
        package = found.package
        row: Row = {"package": package.name, "registry": package.registry, "version": found.version}
        yield row | {"licence": package.licence, "authors": package.authors, "clips": used.count(package.name)}


def sources_as_text(rows: Sequence[Row]) -> str:
    """Return the table of sources as the model card shows it."""
    columns = COLUMNS["sources"]
    lines = [columns, ["---"] * len(columns), *([str(row[column]) for column in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
