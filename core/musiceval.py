"""Rated clips from wherever they are: a release of MusicEval, the export of a study, a table; and back.

The layout of a release:

    wav/                              the clips: audiomos2025-track1-S002_P051.wav
    sets/{train,dev,test}_mos_list.txt    wav,musical impression,textual alignment; no heading
    sets/total_mos_list.txt           the same of all clips; alone, or beside the parts
    person_mos/*_person_mos.txt       wav,rater,musical impression,textual alignment; may be missing
    prompt_info.txt                   id<TAB>text with this heading; ids such as P051
    demo_prompt_info.txt              the same; ids are whole wav names

A wav's name holds its system and the key of its prompt. Six systems are known from demo pages only and have
prompts of their own: P051 of S013 is another text than P051 of S002, so the prompt of a demo clip goes by
its whole name. Systems may be missing and prompts unused. Where there are lists of train and dev but none of
test, the test part is what only the list of all clips has.

Ratings that nobody gave are known by what lies beside them: a file ``SIMULATED`` in a composed data set, or
``"demo": true`` in the ``manifest.json`` of an exported study.

Source: the release of MusicEval for the AudioMOS Challenge 2025, track 1, https://arxiv.org/abs/2501.10811.
"""

import hashlib
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from core.errors import DataError, shown_name
from core.files import Problems, first_of, line_place
from core.opinions import RATINGS_FILE, Reading, is_opinions, read_opinions
from core.rated_clips import OUR_RANGE, Opinions, RatedClips, columns_of, read_manifest
from core.scales import MUSICEVAL, Scales, keys
from core.splits import SPLITS
from core.tables import open_table, parse_score, read_lines

EXPORTED = "rated_clips.csv"
SIMULATED = "SIMULATED"
DEMO_SYSTEMS = frozenset({"S001", "S006", "S013", "S017", "S018", "S033"})
TOTAL = "total"
PROMPTS, DEMO_PROMPTS = "prompt_info.txt", "demo_prompt_info.txt"
HEADING = "id\ttext"
MEAN_TOLERANCE = 0.01  # lists are rounded to two decimals at most,
ROUNDING = 0.05 + 1e-9  # or to one, which is noted; a mean that is farther off is an error

_WAV = re.compile(r"(?:[^/\\]*-)?(?P<system>S\d+)_(?P<key>P\d+)\.wav")
_PUBLISHED_TRAIN_SHA256 = "0580dbedee5b43a1e32e1d6c9a11a26128914580c32d5c9e21add6fab138f2fa"  # lines sorted
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')

Scores = tuple[float, float]


def read_source(path: Path, reading: Reading | None = None) -> RatedClips:
    """Read rated clips.

    Parameters
    ----------
    path : Path
        A release folder, the export of a study (with ``rated_clips.csv``), a CSV file, or a folder with
        ``ratings.csv``.
    reading : Reading, optional
        How a table of ratings is read (`core.opinions`).

    Raises
    ------
    DataError
        It is none of these, or holds no clips, or something is wrong with it; the message says all of it.
    """
    is_folder = path.is_dir()
    if is_folder and is_release(path):
        if (reading or Reading()) != Reading():
            raise DataError(
                f"{shown_name(path.name)} is a release and says all of itself: --clips, --scale and --scale-range are "
                "for tables of ratings."
            )
        return read_release(path)
    names = (EXPORTED, RATINGS_FILE) if is_folder else ("",)
    file = next((path / name for name in names if (path / name).is_file()), None)
    if file is None:
        raise DataError(
            f"{shown_name(path.name)} is not rated clips. Give a release folder (with sets/), the export of "
            f"a study (with {EXPORTED}), a CSV file, or a folder with {RATINGS_FILE}."
        )
    if file.name == RATINGS_FILE or (reading or Reading()) != Reading() or is_opinions(file):
        return read_opinions(file, reading or Reading())
    clips = RatedClips.from_csv(file)
    if not is_folder:  # of a table, and not of an export, people's agreement is shown
        clips = replace(clips, opinions=Opinions(dict.fromkeys(keys(clips.scales), OUR_RANGE)))
    if not len(clips):
        raise DataError(f"{shown_name(path.name)} holds no rated clips.")
    return clips


def is_simulated(path: Path) -> bool:
    """Return whether the ratings that `read_source` reads from a path are simulated."""
    folder = path if path.is_dir() else path.parent
    return (folder / SIMULATED).is_file() or read_manifest(path).get("demo") is True


def is_published(clips: RatedClips) -> bool:
    """Return whether clips have the train part that was published in 2025, with its scores."""
    if clips.scales != MUSICEVAL:
        return False
    train = clips.table[clips.table["split"] == "train"]
    rows = zip(train["clip_id"], *(train[key] for key in keys(MUSICEVAL)), strict=True)
    lines = sorted(f"{clip_id}.wav,{impression},{alignment}\n" for clip_id, impression, alignment in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest() == _PUBLISHED_TRAIN_SHA256


@dataclass(frozen=True)
class WavName:
    """What a wav's name says: system and key, such as S002 and P051."""

    system: str
    key: str

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a name with or without ``.wav``; None where it is not named as in the release."""
        match = _WAV.fullmatch(name if name.endswith(".wav") else f"{name}.wav")
        return cls(match["system"], match["key"]) if match else None


@dataclass(frozen=True)
class _Listed:
    """A clip of the MOS lists."""

    name: WavName
    mos: Scores
    split: str
    place: str


@dataclass(frozen=True)
class _ScoreLine:
    place: str
    wav: str
    scores: Scores
    rater: str


def is_release(folder: Path) -> bool:
    """Return whether a folder has MOS lists as the release has them."""
    return any((folder / _list_name(part)).is_file() for part in (*SPLITS, TOTAL))


def read_release(folder: Path) -> RatedClips:
    """Read a release folder; a DataError says all that is wrong, by file and line.

    A clip's id is its wav's name without ``.wav``; a demo prompt's id is system and key, as in S013_P051.
    Numbers and deviations of ratings are there for clips of the person files: each line is a rating. The
    means of a clip's ratings must be its listed scores; where these are rounded to one decimal, a note says so.
    """
    if not is_release(folder):
        raise DataError(f"{shown_name(folder.name)} has no sets/total_mos_list.txt or lists of its parts.")
    problems = Problems(folder.absolute().name)
    listed = _listed(folder, problems)
    prompts = {file: _prompt_list(folder, file, problems) for file in (PROMPTS, DEMO_PROMPTS)}
    ratings = _ratings(folder, problems)
    rows = []
    rounded: list[str] = []
    for wav, clip in listed.items():
        if not (folder / "wav" / wav).is_file():
            problems.add(clip.place, f"there is no audio file {shown_name(f'wav/{wav}')}")
        prompt_id, prompt = _prompt(wav, clip, prompts, problems)
        row = {"clip_id": wav.removesuffix(".wav"), "audio_path": str(folder / "wav" / wav)}
        row |= {"prompt": prompt, "prompt_id": prompt_id, "system_id": clip.name.system, "split": clip.split}
        scores = dict(zip(keys(MUSICEVAL), clip.mos, strict=True))
        farthest, rated = _rated(clip, [line.scores for line in ratings.get(wav, [])], problems)
        rounded += [wav] if farthest > MEAN_TOLERANCE else []
        rows.append(row | scores | rated)
    problems.stop_if_any()
    said = f"The listed scores of {len(rounded):,} clips are rounded, and not quite the means of their ratings: "
    notes = (f"{said}{first_of(rounded)}.",) if rounded else ()
    return RatedClips(pd.DataFrame(rows, columns=list(columns_of(MUSICEVAL))), notes=notes)


def read_single_ratings(folder: Path) -> pd.DataFrame:
    """Read who rated what in a release: ``person_mos`` and the prompts; neither audio nor lists of means are needed.

    The columns are ``clip`` (the wav's name), ``rater``, ``system``, ``prompt``, ``audio_path`` (empty where the wav is
    not there), ``place`` (file and line) and the scales. Raises DataError with all that is wrong.
    """
    problems = Problems(folder.absolute().name)
    prompts = {file: _prompt_list(folder, file, problems) for file in (PROMPTS, DEMO_PROMPTS)}
    rows = []
    for wav, lines in _ratings(folder, problems).items():
        name, place, audio = WavName.parse(wav), lines[0].place, folder / "wav" / wav
        if name is None:
            problems.add(place, f"{shown_name(wav)} is not a name such as S002_P051.wav")
            continue
        _, prompt = _prompt(wav, _Listed(name, lines[0].scores, "", place), prompts, problems)
        of_clip = {"clip": wav, "system": name.system, "prompt": prompt}
        of_clip["audio_path"] = str(audio) if audio.is_file() else ""
        for line in lines:
            scores = dict(zip(keys(MUSICEVAL), line.scores, strict=True))
            rows.append({**of_clip, "rater": line.rater, "place": line.place, **scores})
    if not rows:
        problems.add("person_mos", "the files have no ratings")
    problems.stop_if_any()
    return pd.DataFrame(rows)


def _listed(folder: Path, problems: Problems) -> dict[str, _Listed]:
    """The clips of all MOS lists by wav, in the order of the lists."""
    parts = {part: _mos_list(folder, part, problems) for part in (*SPLITS, TOTAL)}
    total = parts.pop(TOTAL)
    listed: dict[str, _Listed] = {}
    for clips in parts.values():
        for wav, clip in clips.items():
            if wav in listed:
                problems.add(clip.place, f"the clip is in {listed[wav].place} as well")
            elif total and wav not in total:
                problems.add(clip.place, f"the clip is not in {_list_name(TOTAL)}")
            listed.setdefault(wav, clip)
    rest = "test" if parts["train"] and parts["dev"] and not parts["test"] else ""
    for wav, clip in total.items():
        if listed.setdefault(wav, replace(clip, split=rest)).mos != clip.mos:
            problems.add(clip.place, f"the scores are others than in {listed[wav].place}")
    if not listed:
        problems.add("sets", "the lists have no clips")
    return listed


def _list_name(part: str) -> str:
    return f"sets/{part}_mos_list.txt"


def _mos_list(folder: Path, part: str, problems: Problems) -> dict[str, _Listed]:
    clips: dict[str, _Listed] = {}
    split = part if part in SPLITS else ""
    for line in _score_lines(folder, _list_name(part), ["wav"], problems):
        name = WavName.parse(line.wav)
        if name is None:
            problems.add(line.place, f"{shown_name(line.wav)} is not a name such as S002_P051.wav")
        elif line.wav in clips:
            problems.add(line.place, f"the clip is in {clips[line.wav].place} already")
        else:
            clips[line.wav] = _Listed(name, line.scores, split, line.place)
    return clips


def _ratings(folder: Path, problems: Problems) -> dict[str, list[_ScoreLine]]:
    """All ratings by wav: of the file of all clips where it has the clip, else of another file."""
    files = sorted(path.name for path in (folder / "person_mos").glob("*_person_mos.txt"))
    ratings: dict[str, list[_ScoreLine]] = {}
    for file in sorted(files, key=lambda name: not name.startswith(TOTAL)):
        of_file: dict[str, list[_ScoreLine]] = {}
        for line in _score_lines(folder, f"person_mos/{file}", ["wav", "rater"], problems):
            of_file.setdefault(line.wav, []).append(line)
        ratings = of_file | ratings
    return ratings


def _score_lines(folder: Path, file: str, names: Sequence[str], problems: Problems) -> Iterator[_ScoreLine]:
    """Each good line of a list: its first cell is a wav, its last two are scores; none without the file."""
    if not (folder / file).is_file():
        return
    scales, of_file = keys(MUSICEVAL), Problems(file)
    try:
        table = open_table(folder / file, names, scales, has_heading=False)
    except DataError as error:
        problems.add(file, str(error).rstrip("."))
        return
    for line in table.rows(of_file):
        place = line_place(file, line.number)
        try:
            impression, alignment = (parse_score(line.cells[key]) for key in scales)
            wav = f"{line.cells['wav'].removesuffix('.wav')}.wav"
            yield _ScoreLine(place, wav, (impression, alignment), line.cells.get("rater", ""))
        except ValueError as error:
            problems.add(place, str(error))
    problems.found += of_file.found


def _prompt_list(folder: Path, file: str, problems: Problems) -> dict[str, str]:
    """Texts by id; the whole wav name is the id of a demo prompt."""
    texts: dict[str, str] = {}
    if file == PROMPTS and not (folder / file).is_file():
        problems.add(file, "this file is missing")
    lines = list(_lines(folder, file, problems))
    if lines and lines[0][1].strip() != HEADING:
        problems.add(lines[0][0], "the heading id<TAB>text is missing")
    for place, line in lines[1:]:
        key, _, text = (cell.strip() for cell in line.partition("\t"))
        quoted = _QUOTED.fullmatch(text)
        text = quoted[1].replace('""', '"') if quoted else text
        if not key or not text:
            problems.add(place, "this is not an id, a tab and a text")
        elif texts.setdefault(key, text) != text:
            problems.add(place, f"{shown_name(key)} has another text above")
    return texts


def _lines(folder: Path, file: str, problems: Problems) -> Iterator[tuple[str, str]]:
    """Place and text of the lines of a file, none where there is no such file."""
    if not (folder / file).is_file():
        return
    try:
        for number, line in read_lines(folder / file):
            yield line_place(file, number), line
    except DataError as error:
        problems.add(file, str(error).rstrip("."))


def _prompt(wav: str, clip: _Listed, prompts: Mapping[str, Mapping[str, str]], problems: Problems) -> tuple[str, str]:
    """Id and text of a clip's prompt."""
    system, key = clip.name.system, clip.name.key
    if wav in prompts[DEMO_PROMPTS]:
        return f"{system}_{key}", prompts[DEMO_PROMPTS][wav]
    if system in DEMO_SYSTEMS:
        problems.add(clip.place, f"{DEMO_PROMPTS} has no prompt {shown_name(wav)}")
    elif key not in prompts[PROMPTS]:
        problems.add(clip.place, f"{PROMPTS} has no prompt {shown_name(key)}")
    return key, prompts[PROMPTS].get(key, "")


def _rated(clip: _Listed, ratings: list[Scores], problems: Problems) -> tuple[float, dict[str, Any]]:
    """Number and deviations of a clip's ratings; before them, how far their means are from the listed scores."""
    if not ratings:
        return 0.0, {}
    rated: dict[str, Any] = {"n_ratings": len(ratings)}
    farthest = 0.0
    for key, given, mos in zip(keys(MUSICEVAL), np.array(ratings).T, clip.mos, strict=True):
        off = abs(float(given.mean()) - mos)
        farthest = max(farthest, off)
        if off > ROUNDING:
            what = f"the mean of {len(given)} ratings in person_mos is {given.mean():.3g}"
            problems.add(clip.place, f"{key} is {mos:g}, but {what}")
        if len(given) > 1:
            rated[f"{key}_sd"] = given.std(ddof=1)
    return farthest, rated


def _prompt_text(text: str) -> str:
    """One line for a prompt; in quotes where it would be taken for a text in quotes."""
    line = " ".join(text.split())
    doubled = line.replace('"', '""')
    return f'"{doubled}"' if _QUOTED.fullmatch(line) else line


def wav_names(clips: Iterable[tuple[int, int]]) -> list[str]:
    """Name the wavs of clips that are given by numbers of their systems and prompts, in this order.

    Systems and prompts are numbered as they come, so that what is added later changes no name; numbers of the
    demo systems are left out. A second clip of a system for a prompt gets another key, for the same text.
    """
    free = (f"S{number:03d}" for number in itertools.count(1) if f"S{number:03d}" not in DEMO_SYSTEMS)
    systems: dict[int, str] = {}
    prompts: dict[tuple[int, int], str] = {}
    takes: Counter[tuple[int, int]] = Counter()
    names = []
    for system, prompt in clips:
        if system not in systems:
            systems[system] = next(free)
        key = prompts.setdefault((prompt, takes[system, prompt]), f"P{len(prompts) + 1:03d}")
        takes[system, prompt] += 1
        names.append(f"{systems[system]}_{key}.wav")
    return names


def key_of(wav: str) -> str:
    """Return the key of the prompt in one of `wav_names`."""
    return wav.removesuffix(".wav").partition("_")[2]


def write_release(
    folder: Path, clips: pd.DataFrame, ratings: pd.DataFrame, systems: pd.DataFrame, scales: Scales
) -> None:
    """Write the layout above, with a file of the systems' MOS, ``system_mos/total_system_mos.csv``.

    `clips` has columns ``wav`` (of `wav_names`) and ``prompt``; `ratings` has ``wav`` and ``rater``; `systems` has
    ``system``; each has the scales. The lists have all of the scales, in order. The folder ``wav`` is left empty.
    """
    for name, table, subject in (
        (_list_name(TOTAL), clips, ["wav"]),
        ("person_mos/total_person_mos.txt", ratings, ["wav", "rater"]),
        ("system_mos/total_system_mos.csv", systems, ["system"]),
    ):
        (folder / name).parent.mkdir(parents=True)
        listed = table[[*subject, *keys(scales)]].sort_values(subject)
        listed.to_csv(folder / name, header=False, index=False, lineterminator="\n")
    texts = {key_of(wav): text for wav, text in zip(clips["wav"], clips["prompt"], strict=True)}
    prompts = [f"{key}\t{_prompt_text(text)}" for key, text in sorted(texts.items())]
    for name, lines in ((PROMPTS, prompts), (DEMO_PROMPTS, [])):
        text = "".join(f"{line}\n" for line in (HEADING, *lines))
        (folder / name).write_text(text, encoding="utf-8", newline="")
    (folder / "wav").mkdir()
