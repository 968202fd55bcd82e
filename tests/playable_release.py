"""A small data set in the layout of the MusicEval release, whose ratings can be learned from its sounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.musiceval import DEMO_PROMPTS, HEADING, PROMPTS, SIMULATED
from tests.clips import pluck, write_clip

RATE_HZ = 16_000
PREFIX = "audiomos2025-track1-"
SOUNDS = ("a guitar", "an organ", "drums", "a flute")
RATINGS_EACH = 5


@dataclass(frozen=True)
class ReleaseClip:
    """A clip: what it sounds like, how noisy it is, and the ratings of each scale."""

    system: str
    number: int
    sound: str
    noise: float
    opinion: tuple[float, float]  # of raters at large

    @property
    def wav(self) -> str:
        return f"{PREFIX}{self.system}_P{self.number:03d}.wav"

    @property
    def prompt(self) -> str:
        return f"{SOUNDS[self.number % len(SOUNDS)].capitalize()} plays melody {self.number}"

    def play(self, duration_s: float, random: np.random.Generator) -> NDArray[np.float32]:
        """Return the clip's samples at `RATE_HZ`."""
        hiss = self.noise * random.normal(0, 0.1, round(duration_s * RATE_HZ))
        return (0.5 * (_play(self.sound, duration_s, random) + hiss)).astype(np.float32)


def write_release(folder: Path, clips: int, duration_s: float = 1.0, systems: int = 8, seed: int = 0) -> None:
    """Write the data set."""
    random = np.random.default_rng(seed)
    drawn = list(draw_clips(clips, systems, random))
    for clip in drawn:
        write_clip(_path(folder, f"wav/{clip.wav}"), clip.play(duration_s, random), RATE_HZ)
    ratings = {clip: [rate(clip.opinion, random) for _ in range(RATINGS_EACH)] for clip in drawn}
    order = random.permutation(clips)
    parts = {"train": order[: int(0.7 * clips)], "dev": order[int(0.7 * clips) : int(0.85 * clips)], "total": order}
    for part, numbers in parts.items():
        rows = sorted((drawn[number] for number in numbers), key=lambda clip: clip.wav)
        means = ((clip, np.mean(ratings[clip], axis=0)) for clip in rows)
        _write(folder, f"sets/{part}_mos_list.txt", (f"{clip.wav},{a:.1f},{b:.1f}" for clip, (a, b) in means))
        single = (f"{clip.wav},R{n:02d},{a},{b}" for clip in rows for n, (a, b) in enumerate(ratings[clip]))
        _write(folder, f"person_mos/{part}_person_mos.txt", single)
    prompts = {clip.number: clip.prompt for clip in drawn}
    _write(folder, PROMPTS, [HEADING, *(f"P{number:03d}\t{prompt}" for number, prompt in sorted(prompts.items()))])
    _write(folder, DEMO_PROMPTS, [HEADING])
    _write(folder, SIMULATED, ["The ratings here are simulated."])


def rate(opinion: tuple[float, float], random: np.random.Generator) -> tuple[int, int]:
    """Give one rater's two scores."""
    first, second = (round(min(max(of + random.normal(0, 0.5), 1), 5)) for of in opinion)
    return first, second


def draw_clips(clips: int, systems: int, random: np.random.Generator) -> Iterator[ReleaseClip]:
    """Draw clips of systems that differ in how noisy they are and how often they play what was asked for."""
    for index in range(clips):
        number, system = divmod(index, systems)
        noise = abs(random.normal(system / systems, 0.1))
        fits = random.random() > 0.6 * ((system * 3) % systems) / systems
        sound = SOUNDS[(number + (0 if fits else 1)) % len(SOUNDS)]
        opinion = (5 - 4 * min(noise, 1), 4.5 if fits else 2.0)
        yield ReleaseClip(f"S{system + 19:03d}", number, sound, noise, opinion)


def _play(sound: str, duration_s: float, random: np.random.Generator) -> NDArray[np.float64]:
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    if sound == "a guitar":
        return pluck(duration_s, RATE_HZ).astype(np.float64)
    if sound == "an organ":
        return sum(np.sin(2 * np.pi * 110 * k * time_s) for k in range(1, 6)) / 6
    if sound == "drums":
        return random.normal(0, 0.5, time_s.size) * np.exp(-30 * (time_s % 0.25))
    return 0.5 * np.sin(2 * np.pi * (880 + 8 * np.sin(2 * np.pi * 5 * time_s)) * time_s)


def _write(folder: Path, name: str, lines: Iterator[str] | list[str]) -> None:
    _path(folder, name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _path(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
