"""The simulated panel: systems of differing quality, and raters who are biased and inconsistent.

A system has habitual faults and a habit of missing its prompt; a clip of it has a composed piece, faults
around the system's, and a prompt that fits more or less. Each rater adds a bias of their own and an
inconsistency, and answers in whole points from 1 to 5.

These ratings are simulated. They teach the embedded model to respond sensibly; they are nobody's opinion.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from tools.demo_judge import captions, faults
from tools.demo_judge.composer import Attributes, Random, compose, draw_attributes
from tools.demo_judge.rendering import render
from tools.demo_judge.timbres import Samples

RATINGS_PER_CLIP = 5
BIAS_SD = 0.3
INCONSISTENCY_SD = 0.45  # of one rater's answers to the same clip, before rounding


@dataclass(frozen=True)
class System:
    """A simulated text-to-music model."""

    system_id: str
    severities: Mapping[str, float]  # its habitual faults
    mismatch: float  # chance that it misses each attribute of its prompt


@dataclass(frozen=True)
class Rater:
    """A simulated listener; biases per scale in points."""

    bias: tuple[float, float]
    inconsistency_sd: float = INCONSISTENCY_SD

    def rate(self, opinion: tuple[float, float], random: Random) -> tuple[int, int]:
        """Answer on both five-point scales, given what the panel at large would say."""
        said = np.asarray(opinion) + self.bias + random.normal(0, self.inconsistency_sd, 2)
        impression, alignment = np.clip(np.rint(said), 1, 5).astype(int)
        return int(impression), int(alignment)


@dataclass(frozen=True)
class SimulatedClip:
    """A clip of a simulated system with the ratings of a simulated panel."""

    clip_id: str
    system_id: str
    prompt: str
    seed: tuple[int, ...]
    duration_s: float
    severities: Mapping[str, float]
    opinion: tuple[float, float]
    ratings: tuple[tuple[int, int], ...]

    @property
    def mos(self) -> tuple[float, float]:
        """Mean opinion scores: musical impression, textual alignment."""
        impression, alignment = np.mean(self.ratings, axis=0)
        return float(impression), float(alignment)

    def sound(self) -> Samples:
        """Play it: float32 mono at 16 kHz, the same at each call."""
        random = np.random.default_rng(self.seed)
        return play(draw_attributes(random), self.severities, self.duration_s, random)


def draw_system(system_id: str, random: Random) -> System:
    """Draw a system: anything from nearly clean and faithful to broken and deaf to its prompt."""
    poor = random.uniform(0.0, 1.0)
    return System(system_id, faults.draw_habits(poor, random), float(0.45 * poor + 0.35 * random.uniform(0, 1)))


def draw_raters(count: int, random: Random) -> list[Rater]:
    """Draw a panel."""
    return [Rater((float(random.normal(0, BIAS_SD)), float(random.normal(0, BIAS_SD)))) for _ in range(count)]


def draw_slips(system: System, random: Random) -> dict[str, float]:
    """Severities of one clip's faults, around the system's habits."""
    severities = {name: min(1.0, habit * float(random.uniform(0.4, 1.6))) for name, habit in system.severities.items()}
    if random.random() < 0.2:  # an accident that is not the system's habit
        severities[str(random.choice(faults.NAMES))] = float(random.uniform(0.1, 0.6))
    return severities


def play(attributes: Attributes, severities: Mapping[str, float], duration_s: float, random: Random) -> Samples:
    """Compose and play a piece with its faults: float32 mono at 16 kHz."""
    composition = compose(attributes, duration_s, random)
    dry = render(faults.spoil_notes(composition, severities, random), random)
    return faults.spoil_sound(dry, severities, random)


def alignment(share: float, impression: float) -> float:
    """What a listener says of the fit: the share of the prompt that holds, less where faults hide it."""
    clear = 0.65 + 0.35 * (impression - 1.0) / 3.7
    return 1.0 + 3.7 * float(share**1.3) * clear


def simulate(
    systems: int, clips_each: int, seed: int, duration_s: float = 10.0, raters: int = 14, prompts_each: int = 1
) -> Iterator[SimulatedClip]:
    """A listening test, simulated: every clip rated by five of the raters."""
    random = np.random.default_rng([seed, 0])
    panel = draw_raters(raters, random)
    for index in range(systems):
        system = draw_system(f"S{index + 1:03d}", random)
        for number in range(clips_each):
            clip_seed = (seed, index + 1, number)
            clip_random = np.random.default_rng([*clip_seed, 1])
            severities = draw_slips(system, clip_random)
            for prompt in range(number * prompts_each, (number + 1) * prompts_each):
                yield _clip(system, prompt, clip_seed, duration_s, severities, panel, clip_random)


def _clip(
    system: System,
    number: int,
    seed: tuple[int, ...],
    duration_s: float,
    severities: Mapping[str, float],
    panel: list[Rater],
    random: Random,
) -> SimulatedClip:
    attributes = draw_attributes(np.random.default_rng(seed))  # those that SimulatedClip.sound draws again
    caption = captions.write(captions.mismatch(attributes, system.mismatch, random), random)
    impression = faults.impression(severities)
    opinion = (impression, alignment(captions.match(caption.named, attributes), impression))
    chosen = random.choice(len(panel), RATINGS_PER_CLIP, replace=False)
    return SimulatedClip(
        clip_id=f"{system.system_id}_P{number + 1:03d}",
        system_id=system.system_id,
        prompt=caption.text,
        seed=seed,
        duration_s=duration_s,
        severities=severities,
        opinion=opinion,
        ratings=tuple(panel[i].rate(opinion, random) for i in chosen),
    )
