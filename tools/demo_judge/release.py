"""A composed data set in the layout of the MusicEval release, to try with what the release is for.

As in the release there are 31 systems, S001 to S033 without S005 and S025: 25 with a clip for each of the
same 100 prompts, and six *demo systems* with few or many clips of prompts of their own (how many each is an
estimate). 2,748 clips are divided so, other numbers in proportion. Some prompts have no clip. The parts are
drawn at random, and the test part has no list.

A system takes some attributes of its prompt for others, composes, and spoils what it composed by its habits
(`tools.demo_judge.panel`). Five raters of a simulated panel rate each clip. A seed gives the same bytes.
"""

import itertools
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from core.errors import DataError, shown_name
from core.musiceval import DEMO_PROMPTS, HEADING, PROMPTS, SIMULATED
from tools.demo_judge import captions, faults, panel
from tools.demo_judge.composer import Attributes, draw_attributes
from tools.demo_judge.cores import on_all_cores
from tools.demo_judge.timbres import SAMPLE_RATE_HZ

DEMO_CLIPS: Mapping[str, int] = {"S001": 24, "S006": 8, "S013": 56, "S017": 133, "S018": 9, "S033": 18}
SHARED_CLIPS = 100
SYSTEMS = tuple(f"S{number:03d}" for number in range(1, 34) if number not in (5, 25))
UNUSED_KEY = 8  # every eighth prompt of a demo system has no clip
RATERS = 14
TRAIN_SHARE = 0.7
SHORTEST_S, LONGEST_S = 0.5, 600.0
SHARED = "S002"  # any system with the shared prompts
PREFIX = "audiomos2025-track1-"

README = """# Composed music, not MusicEval

These {clips} clips of {systems} systems were composed by rule, and their ratings are simulated: they are
nobody's opinion. The folder has the layout of the MusicEval release, so that what reads the release can be
tried. Do not report figures from it as results on MusicEval.

Made by `python -m tools.demo_judge release`: {clips} clips of {duration_s:g} s, {systems} systems, seed
{seed}.
"""


@dataclass(frozen=True)
class ReleaseClip:
    """A clip to be composed, with its ratings."""

    system_id: str
    key: str
    prompt: str
    heard: Attributes
    severities: Mapping[str, float]
    ratings: Mapping[str, tuple[int, int]]  # by rater
    seed: tuple[int, ...]

    @property
    def wav(self) -> str:
        """Name of its file."""
        return f"{PREFIX}{self.system_id}_{self.key}.wav"


def write_release(
    folder: Path, clips: int, duration_s: float = 10.0, systems: int = len(SYSTEMS), seed: int = 0
) -> None:
    """Compose a data set and write it; on all cores, with a progress bar."""
    if not SHORTEST_S <= duration_s <= LONGEST_S:
        raise DataError(f"Clips of {duration_s:g} s cannot be: from {SHORTEST_S:g} to {LONGEST_S:g} s.")
    if seed < 0:
        raise DataError(f"The seed is {seed}. Give a whole number from 0.")
    drawn = list(_draw(divide(clips, systems), seed))
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{shown_name(folder.name)} has something in it. Give a new folder.")
    unfinished = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.part")
    try:
        (unfinished / "wav").mkdir(parents=True)
        for _ in on_all_cores(_play, [(clip, duration_s, unfinished) for clip in drawn], "composing"):
            pass
        lists = {**_score_lists(drawn, seed), **_prompt_lists(drawn, seed)}
        lists["README.md"] = README.format(clips=clips, systems=systems, duration_s=duration_s, seed=seed)
        lists[SIMULATED] = "The ratings here are simulated; see README.md.\n"
        for name, text in lists.items():
            (unfinished / name).parent.mkdir(exist_ok=True)
            (unfinished / name).write_text(text, encoding="utf-8", newline="")
        unfinished.replace(folder)
    except OSError as error:
        raise DataError(f"{shown_name(folder.name)} cannot be written: {error.strerror}.") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def divide(clips: int, systems: int) -> dict[str, int]:
    """Divide clips among systems, in proportion to the release."""
    if not 1 <= systems <= len(SYSTEMS):
        raise DataError(f"{systems} systems cannot be: from 1 to {len(SYSTEMS)}.")
    if clips < systems:
        raise DataError(f"{clips} clips are too few for {systems} systems: at least one for each.")
    chosen = [SYSTEMS[i * len(SYSTEMS) // systems] for i in range(systems)]
    weights = {system: DEMO_CLIPS.get(system, SHARED_CLIPS) for system in chosen}
    due = {system: clips * weight / sum(weights.values()) for system, weight in weights.items()}
    counts = {system: max(1, int(share)) for system, share in due.items()}
    while (left := clips - sum(counts.values())) != 0:
        step = 1 if left > 0 else -1
        can = [system for system in chosen if counts[system] + step >= 1]
        counts[max(can, key=lambda system: step * (due[system] - counts[system]))] += step
    return counts


def _draw(counts: Mapping[str, int], seed: int) -> Iterator[ReleaseClip]:
    random = np.random.default_rng([seed, 0])
    raters = {f"R{n + 1:02d}": rater for n, rater in enumerate(panel.draw_raters(RATERS, random))}
    for system_id, count in counts.items():
        system = panel.draw_system(system_id, random)
        for number in itertools.islice(_used_keys(system_id), count):
            yield _clip(system, number, raters, seed)


def _used_keys(system_id: str) -> Iterator[int]:
    return (n for n in itertools.count(1) if system_id not in DEMO_CLIPS or n % UNUSED_KEY)


def _prompt(system_id: str, number: int, seed: int) -> tuple[Attributes, captions.Caption]:
    """What a prompt asks for; demo systems have prompts of their own."""
    whose = int(system_id[1:]) if system_id in DEMO_CLIPS else 0
    random = np.random.default_rng([seed, 1, whose, number])
    wanted = draw_attributes(random)
    return wanted, captions.write(wanted, random)


def _clip(system: panel.System, number: int, raters: Mapping[str, panel.Rater], seed: int) -> ReleaseClip:
    wanted, caption = _prompt(system.system_id, number, seed)
    clip_seed = (seed, 2, int(system.system_id[1:]), number)
    random = np.random.default_rng([*clip_seed, 1])
    heard = captions.mismatch(wanted, system.mismatch, random)
    if {heard.lead, heard.backing, heard.bass, heard.kit} == {"none"}:
        heard = wanted  # else nobody would play
    severities = panel.draw_slips(system, random)
    impression = faults.impression(severities)
    opinion = (impression, panel.alignment(captions.match(caption.named, heard), impression))
    chosen = sorted(random.choice(list(raters), panel.RATINGS_PER_CLIP, replace=False))
    return ReleaseClip(
        system_id=system.system_id,
        key=f"P{number:03d}",
        prompt=caption.text,
        heard=heard,
        severities=severities,
        ratings={str(name): raters[name].rate(opinion, random) for name in chosen},
        seed=clip_seed,
    )


def _play(task: tuple[ReleaseClip, float, Path]) -> None:
    clip, duration_s, folder = task
    sound = panel.play(clip.heard, clip.severities, duration_s, np.random.default_rng(clip.seed))
    soundfile.write(folder / "wav" / clip.wav, sound, SAMPLE_RATE_HZ, subtype="PCM_16")


def _score_lists(clips: list[ReleaseClip], seed: int) -> dict[str, str]:
    """The MOS lists, the ratings and the systems' scores, by file."""
    order = np.random.default_rng([seed, 3]).permutation(len(clips))
    train = int(TRAIN_SHARE * len(clips))
    dev = max(1, (len(clips) - train) // 2)
    parts = {"train": order[:train], "dev": order[train : train + dev], "total": order}
    files = {}
    for part, numbers in parts.items():
        of_part = sorted((clips[n] for n in numbers), key=lambda clip: clip.wav)
        files[f"sets/{part}_mos_list.txt"] = _text(f"{clip.wav},{_mean(clip.ratings.values(), 1)}" for clip in of_part)
        files[f"person_mos/{part}_person_mos.txt"] = _text(
            f"{clip.wav},{rater},{impression},{alignment}"
            for clip in of_part
            for rater, (impression, alignment) in clip.ratings.items()
        )
    of_systems = {system: list(group) for system, group in itertools.groupby(clips, lambda c: c.system_id)}
    files["system_mos/total_system_mos.csv"] = _text(
        f"{system},{_mean((pair for clip in group for pair in clip.ratings.values()), 4)}"
        for system, group in of_systems.items()
    )
    return files


def _prompt_lists(clips: list[ReleaseClip], seed: int) -> dict[str, str]:
    """The lists of prompts, by file, those in it that have no clip."""
    last: dict[str, int] = {}
    for clip in clips:
        whose = clip.system_id if clip.system_id in DEMO_CLIPS else ""
        last[whose] = max(last.get(whose, 0), int(clip.key[1:]) + 1)
    lists: dict[str, list[str]] = {PROMPTS: [HEADING], DEMO_PROMPTS: [HEADING]}
    for whose, numbers in last.items():
        for number in range(1, numbers + 1):
            key = f"{PREFIX}{whose}_P{number:03d}.wav" if whose else f"P{number:03d}"
            text = _prompt(whose or SHARED, number, seed)[1].text
            lists[DEMO_PROMPTS if whose else PROMPTS].append(f"{key}\t{text}")
    return {file: _text(lines) for file, lines in lists.items()}


def _mean(ratings: Iterable[tuple[int, int]], digits: int) -> str:
    return ",".join(str(round(float(mean), digits)) for mean in np.mean(list(ratings), axis=0))


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
