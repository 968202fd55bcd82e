"""Composed music as the towers take it: log-mel spectrograms, made on all cores.

Each piece of the training pool comes twice, clean and with random faults. Spectrograms are kept in float16:
(1001, 64) a window, 128 kB.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from core.audio import InputPolicy, condition, split_windows
from core.towers.clap import ClapTower
from tools.demo_judge import faults
from tools.demo_judge.composer import Attributes, compose, draw_attributes
from tools.demo_judge.cores import on_all_cores
from tools.demo_judge.panel import SimulatedClip
from tools.demo_judge.rendering import render
from tools.demo_judge.timbres import SAMPLE_RATE_HZ, Samples

PIECE_S = 10.0  # one window
POLICY = InputPolicy()
WHOLE_BAND = InputPolicy(bandwidth_hz=SAMPLE_RATE_HZ / 2)

Mels = NDArray[np.float16]


@dataclass(frozen=True)
class Piece:
    """One piece of the training pool."""

    attributes: Attributes
    severities: NDArray[np.float32]
    mels: Mels


def pieces(count: int, seed: int, policy: InputPolicy = POLICY) -> list[Piece]:
    """Compose a training pool."""
    tasks = [(seed, index, policy) for index in range(count)]
    return list(on_all_cores(_piece, tasks, "composing", _one_thread))


def mels_of_clips(clips: Iterable[SimulatedClip]) -> dict[tuple[int, ...], Mels]:
    """The windows of rated clips by the clip's seed, (n_windows, 1001, 64) each; a sound is played once."""
    sounds = {clip.seed: clip for clip in clips}
    mels = on_all_cores(_mels_of_clip, list(sounds.values()), "playing rated clips", _one_thread)
    return dict(zip(sounds, mels, strict=True))


def log_mels(sound: Samples, policy: InputPolicy = POLICY) -> Mels:
    """The windows of a 16 kHz sound, conditioned as the scorer conditions an upload."""
    windows = split_windows(condition(sound, SAMPLE_RATE_HZ, policy))
    return _front_end().features(windows)[:, 0].numpy().astype(np.float16)


def _piece(task: tuple[int, int, InputPolicy]) -> Piece:
    seed, index, policy = task
    random = np.random.default_rng([seed, index])
    attributes = draw_attributes(random)
    composition = compose(attributes, PIECE_S, random)
    severities = faults.draw_few(random) if index % 2 else faults.draw_habits(random.uniform(0.3, 1.5), random)
    clean = render(composition, random)
    spoiled_notes = faults.spoil_notes(composition, severities, random)
    base = clean if spoiled_notes is composition else render(spoiled_notes, random)
    spoiled = faults.spoil_sound(base, severities, random)
    vector = np.array([severities.get(name, 0.0) for name in faults.NAMES], dtype=np.float32)
    return Piece(attributes, vector, np.concatenate([log_mels(s, policy) for s in (clean, spoiled)]))


def _mels_of_clip(clip: SimulatedClip) -> Mels:
    return log_mels(clip.sound())


@functools.cache
def _front_end() -> ClapTower:
    """A tower for its fixed spectrogram alone."""
    return ClapTower.build("small")


def _one_thread() -> None:
    torch.set_num_threads(1)
