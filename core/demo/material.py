"""Composed music as the towers take it: log-mel spectrograms, made on all cores.

Each piece of the training pool comes twice, clean and with random faults. Spectrograms are kept in float16:
(1001, 64) a window, 128 kB.
"""

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from core.audio import InputPolicy, condition, split_windows
from core.clap import ClapTower
from core.demo import faults
from core.demo.composer import Attributes, compose, draw_attributes
from core.demo.panel import SimulatedClip
from core.demo.rendering import render
from core.demo.timbres import SAMPLE_RATE_HZ, Samples

PIECE_S = 10.0  # one window
POLICY = InputPolicy()
WHOLE_BAND = InputPolicy(bandwidth_hz=SAMPLE_RATE_HZ / 2)
TASKS_WORTH_A_PROCESS = 50  # starting one takes seconds

Mels = NDArray[np.float16]
Task = TypeVar("Task")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Piece:
    """One piece of the training pool.

    Attributes
    ----------
    attributes : Attributes
    severities : ndarray, (n_faults,)
        Of the spoiled version, in the order of ``faults.NAMES``.
    mels : ndarray, (2, 1001, 64)
        Clean and spoiled.
    """

    attributes: Attributes
    severities: NDArray[np.float32]
    mels: Mels


def pieces(count: int, seed: int, policy: InputPolicy = POLICY) -> list[Piece]:
    """Compose a training pool.

    Parameters
    ----------
    count : int
    seed : int
    policy : InputPolicy
        How the sounds are conditioned.
    """
    tasks = [(seed, index, policy) for index in range(count)]
    return list(_on_all_cores(_piece, tasks, "composing"))


def mels_of_clips(clips: Iterable[SimulatedClip]) -> dict[tuple[int, ...], Mels]:
    """The windows of rated clips by the clip's seed, (n_windows, 1001, 64) each; a sound is played once."""
    sounds = {clip.seed: clip for clip in clips}
    mels = _on_all_cores(_mels_of_clip, list(sounds.values()), "playing rated clips")
    return dict(zip(sounds, mels, strict=True))


def log_mels(sound: Samples, policy: InputPolicy = POLICY) -> Mels:
    """The windows of a 16 kHz sound, conditioned as the scorer conditions an upload."""
    _, windows = split_windows(condition(sound, SAMPLE_RATE_HZ, policy))
    return _front_end().log_mel(windows)[:, 0].numpy().astype(np.float16)


def _piece(task: tuple[int, int, InputPolicy]) -> Piece:
    seed, index, policy = task
    random = np.random.default_rng([seed, index])
    attributes = draw_attributes(random)
    composition = compose(attributes, PIECE_S, random)
    severities = (
        faults.draw_few(random) if index % 2 else faults.draw_habits(random.uniform(0.3, 1.5), random)
    )
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


def _on_all_cores(work: Callable[[Task], Made], tasks: list[Task], what: str) -> Iterator[Made]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(tasks) // TASKS_WORTH_A_PROCESS)
    if workers < 2:
        yield from tqdm(map(work, tasks), what, len(tasks), unit="clip")
        return
    fresh = multiprocessing.get_context("spawn")  # a fork inherits torch's threads in any state
    with ProcessPoolExecutor(workers, fresh, torch.set_num_threads, (1,)) as pool:
        yield from tqdm(pool.map(work, tasks, chunksize=8), what, len(tasks), unit="clip")
