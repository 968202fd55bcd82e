"""The MusicEval release, read into rated clips.

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

Source: the release of MusicEval for the AudioMOS Challenge 2025, track 1, https://arxiv.org/abs/2501.10811.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from core.errors import DataError, shown_name
from core.ratings import COLUMNS, SPLITS, RatedClips, unescape_cell
from core.scales import SCALES
from core.tables import Problems, line_place, parse_score, read_lines

DEMO_SYSTEMS = frozenset({"S001", "S006", "S013", "S017", "S018", "S033"})
TOTAL = "total"
PROMPTS, DEMO_PROMPTS = "prompt_info.txt", "demo_prompt_info.txt"
HEADING = "id\ttext"
MEAN_TOLERANCE = 0.01  # lists are rounded to two decimals at most

_WAV = re.compile(r"(?:[^/\\]*-)?(?P<system>S\d+)_(?P<key>P\d+)\.wav")
_PUBLISHED_TRAIN_SHA256 = "0580dbedee5b43a1e32e1d6c9a11a26128914580c32d5c9e21add6fab138f2fa"  # lines sorted
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')

Scores = tuple[float, float]


@dataclass(frozen=True)
class WavName:
    """What a wav's name says.

    Attributes
    ----------
    system, key : str
        Such as S002 and P051.
    """

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


def is_release(folder: Path) -> bool:
    """Tell whether a folder has MOS lists as the release has them."""
    return any((folder / "sets" / f"{part}_mos_list.txt").is_file() for part in (*SPLITS, TOTAL))


def read_release(folder: Path) -> RatedClips:
    """Read a release folder.

    Parameters
    ----------
    folder : Path
        In the layout above.

    Returns
    -------
    RatedClips
        A clip's id is its wav's name without ``.wav``; a demo prompt's id is system and key, as in S013_P051.
        Numbers and deviations of ratings are there for clips of the person files: each line is a rating.

    Raises
    ------
    DataError
        With all that is wrong, by file and line: missing audio, unknown prompts, scores outside 1 to 5, a
        clip listed twice or with two scores, lines that are not as above, means of a clip's ratings that are
        not its listed scores.
    """
    if not is_release(folder):
        raise DataError(f"{shown_name(folder.name)} has no sets/total_mos_list.txt or lists of its parts.")
    problems = Problems(folder.absolute().name)
    listed = _listed(folder, problems)
    prompts = {file: _prompt_list(folder, file, problems) for file in (PROMPTS, DEMO_PROMPTS)}
    ratings = _ratings(folder, problems)
    rows = []
    for wav, clip in listed.items():
        if not (folder / "wav" / wav).is_file():
            problems.add(clip.place, f"there is no audio file {shown_name(f'wav/{wav}')}")
        prompt_id, prompt = _prompt(wav, clip, prompts, problems)
        row = {"clip_id": wav.removesuffix(".wav"), "audio_path": str(folder / "wav" / wav)}
        row |= {"prompt": prompt, "prompt_id": prompt_id, "system_id": clip.name.system, "split": clip.split}
        rows.append(row | dict(zip(SCALES, clip.mos, strict=True)) | _rated(clip, ratings.get(wav), problems))
    problems.stop_if_any()
    return RatedClips(pd.DataFrame(rows, columns=list(COLUMNS)))


def is_published(clips: RatedClips) -> bool:
    """Tell whether clips have the train part that was published in 2025, with its scores."""
    train = clips.table[clips.table["split"] == "train"]
    rows = zip(train["clip_id"], *(train[scale] for scale in SCALES), strict=True)
    lines = sorted(f"{clip_id}.wav,{impression},{alignment}\n" for clip_id, impression, alignment in rows)
    return hashlib.sha256("".join(lines).encode()).hexdigest() == _PUBLISHED_TRAIN_SHA256


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
    for place, wav, mos in _score_lines(folder, _list_name(part), 3, problems):
        name = WavName.parse(wav)
        if name is None:
            problems.add(place, f"{shown_name(wav)} is not a name such as S002_P051.wav")
        elif wav in clips:
            problems.add(place, f"the clip is in {clips[wav].place} already")
        else:
            clips[wav] = _Listed(name, mos, split, place)
    return clips


def _ratings(folder: Path, problems: Problems) -> dict[str, list[Scores]]:
    """All ratings by wav: of the file of all clips where it has the clip, else of another file."""
    files = [path.name for path in sorted((folder / "person_mos").glob("*_person_mos.txt"))]
    ratings: dict[str, list[Scores]] = {}
    for file in sorted(files, key=lambda name: not name.startswith(TOTAL)):
        of_file: dict[str, list[Scores]] = {}
        for _, wav, scores in _score_lines(folder, f"person_mos/{file}", 4, problems):
            of_file.setdefault(wav, []).append(scores)
        ratings = of_file | ratings
    return ratings


def _score_lines(
    folder: Path, file: str, cells: int, problems: Problems
) -> Iterator[tuple[str, str, Scores]]:
    """Place, wav and scores of each good line of a list."""
    for place, line in _lines(folder, file, problems):
        parts = [part.strip() for part in line.split(",")]
        try:
            if len(parts) != cells:
                raise ValueError(f"{len(parts)} instead of {cells} cells")
            yield (
                place,
                f"{parts[0].removesuffix('.wav')}.wav",
                (parse_score(parts[-2]), parse_score(parts[-1])),
            )
        except ValueError as error:
            problems.add(place, str(error))


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
        text = unescape_cell(quoted[1].replace('""', '"') if quoted else text)
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


def _prompt(
    wav: str, clip: _Listed, prompts: Mapping[str, Mapping[str, str]], problems: Problems
) -> tuple[str, str]:
    """Id and text of a clip's prompt."""
    if wav in prompts[DEMO_PROMPTS]:
        return f"{clip.name.system}_{clip.name.key}", prompts[DEMO_PROMPTS][wav]
    if clip.name.system in DEMO_SYSTEMS:
        problems.add(clip.place, f"{DEMO_PROMPTS} has no prompt {shown_name(wav)}")
    elif clip.name.key not in prompts[PROMPTS]:
        problems.add(clip.place, f"{PROMPTS} has no prompt {shown_name(clip.name.key)}")
    return clip.name.key, prompts[PROMPTS].get(clip.name.key, "")


def _rated(clip: _Listed, ratings: list[Scores] | None, problems: Problems) -> dict[str, Any]:
    """Number and deviations of a clip's ratings; their means must be the listed scores."""
    given = np.array(ratings or [], dtype=np.float64).reshape(-1, len(SCALES))
    if not len(given):
        return {}
    for scale, mean, mos in zip(SCALES, given.mean(axis=0), clip.mos, strict=True):
        if abs(mean - mos) > MEAN_TOLERANCE:
            what = f"the mean of {len(given)} ratings in person_mos is {mean:.3g}"
            problems.add(clip.place, f"{scale} is {mos:g}, but {what}")
    deviations = given.std(axis=0, ddof=1) if len(given) > 1 else [None] * len(SCALES)
    return {"n_ratings": len(given), **dict(zip((f"{s}_sd" for s in SCALES), deviations, strict=True))}
