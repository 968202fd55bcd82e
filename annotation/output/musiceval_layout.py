"""A study's results in the layout of the MusicEval release, for code that reads the release.

    wav/S002_P001.wav                     the clips that have valid ratings
    sets/total_mos_list.txt               wav,musical impression,textual alignment
    person_mos/total_person_mos.txt       wav,rater,musical impression,textual alignment
    system_mos/total_system_mos.csv       system,musical impression,textual alignment
    prompt_info.txt                       id<TAB>text, with this heading
    demo_prompt_info.txt                  the heading alone

Lists have no heading. A wav's name holds the numbers of its system and its prompt, in the order in which the
study met them. Readers of the release look the prompts of six systems up in ``demo_prompt_info.txt``, by
number; those numbers are left out, so the first system is S002. A second clip of a system for the same prompt
gets a prompt number of its own, with the same text. Source: the release of
MusicEval for the AudioMOS Challenge 2025, track 1.
"""

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from annotation.schema import Clip
from core.ratings import escape_cell
from core.scales import SCALES

_DEMO_PAGE_SYSTEMS = {1, 6, 13, 17, 18, 33}


@dataclass(frozen=True)
class Named:
    """How a clip is called in the layout."""

    system: str
    prompt: str

    @property
    def wav(self) -> str:
        """Name of its file."""
        return f"{self.system}_{self.prompt}.wav"


def name_clips(clips: Sequence[Clip]) -> dict[str, Named]:
    """Number systems and prompts.

    Parameters
    ----------
    clips : sequence of Clip
        All stimuli of the study in the order of their rows: what is added later changes no number.

    Returns
    -------
    dict of str to Named
        By the clip's opaque name.
    """
    free = (number for number in itertools.count(1) if number not in _DEMO_PAGE_SYSTEMS)
    systems: dict[int, str] = {}
    prompts: dict[tuple[int, int], str] = {}
    takes: dict[tuple[int, int], int] = {}
    names = {}
    for clip in clips:
        if clip.system_id not in systems:
            systems[clip.system_id] = f"S{next(free):03d}"
        take = takes.get((clip.system_id, clip.prompt_id), 0)
        takes[clip.system_id, clip.prompt_id] = take + 1
        prompt = prompts.setdefault((clip.prompt_id, take), f"P{len(prompts) + 1:03d}")
        names[clip.name] = Named(systems[clip.system_id], prompt)
    return names


def write_layout(
    folder: Path,
    names: Mapping[str, Named],
    files: Mapping[str, Path],
    ratings: pd.DataFrame,
    mos: pd.DataFrame,
    systems: pd.DataFrame,
) -> None:
    """Write the layout.

    Parameters
    ----------
    folder : Path
        Made here.
    names : mapping of str to Named
        Of `name_clips`.
    files : mapping of str to Path
        The clips' files by opaque name.
    ratings, mos, systems : DataFrame
        Of `annotation.results.ratings`.
    """
    numbers = {row["system"]: names[row["clip"]].system for row in mos.to_dict("records")}
    texts = {names[row["clip"]].prompt: row["prompt"] for row in mos.to_dict("records")}
    valid = ratings[ratings["status"] == "valid"].sort_values("rater", kind="stable")
    lists = {
        "sets/total_mos_list.txt": _lines(mos, lambda row: names[row["clip"]].wav),
        "person_mos/total_person_mos.txt": _lines(
            valid, lambda row: f"{names[row['clip']].wav},{row['rater']}"
        ),
        "system_mos/total_system_mos.csv": _lines(systems, lambda row: numbers[row["system"]]),
        "prompt_info.txt": [
            "id\ttext",
            *sorted(f"{number}\t{_one_line(text)}" for number, text in texts.items()),
        ],
        "demo_prompt_info.txt": ["id\ttext"],
    }
    for name, lines in lists.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    (folder / "wav").mkdir()
    for name in mos["clip"]:
        shutil.copyfile(files[name], folder / "wav" / names[name].wav)


def _lines(table: pd.DataFrame, subject: Callable[[dict[str, Any]], str]) -> list[str]:
    """A line for each row: what it is about, then its two scores; in the order of the first."""
    rows = [(subject(row), row) for row in table.to_dict("records")]
    rows.sort(key=lambda pair: pair[0])
    return [f"{about},{','.join(str(row[scale]) for scale in SCALES)}" for about, row in rows]


def _one_line(text: str) -> str:
    return escape_cell(" ".join(text.split()))
