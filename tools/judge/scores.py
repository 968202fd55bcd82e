"""Written music played by sampled instruments, as it stands and with mistakes.

Notes come from music21's corpus and from MIDI files; FluidSynth plays them. A mistake has two strengths,
0 (a listener notices) and 1 (it spoils the piece). Times are in seconds.
"""

import ctypes
import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy import signal

from core.errors import DataError
from tools.judge.sounds import RATE_HZ, Random, Samples

SYNTHESIZER_HZ, BLOCK = 48_000, 64  # samples that FluidSynth makes at once
DRUMS = -1
BENDS = (-1.5, -0.7, 0.0, 0.7, 1.5)  # times the spread: out of tune in five ways, a channel each

Mistake = Callable[[Sequence["Note"], int, Random], list["Note"]]


@dataclass(frozen=True)
class Note:
    """A note of one instrument: its General MIDI program, or DRUMS."""

    start_s: float
    end_s: float
    midi: int
    program: int
    velocity: int = 80
    cents: float = 0.0


def read_score(python: Path, file: Path, programs: Sequence[int], bpm: float) -> list[Note]:
    """Read the beginning of a piece of music21's corpus; its parts go to the programs in turn."""
    parts, beat_s = _imported(python, "music21.converter").parse(file).parts, 60.0 / bpm
    return [
        Note(
            float(n.offset) * beat_s,
            float(n.offset + n.quarterLength) * beat_s,
            pitch.midi,
            programs[i % len(programs)],
        )
        for i, part in enumerate(parts)
        for n in part.measures(0, 24).stripTies().flatten().notes
        if n.quarterLength > 0  # no grace notes
        for pitch in n.pitches
    ]


def read_midi(python: Path, file: Path) -> list[Note]:
    """Read a MIDI file; channel 10 is drums, and a channel's volume goes into how hard its notes are struck."""
    notes, sounding, programs, volumes, at_s = [], {}, {}, {}, 0.0
    for message in _imported(python, "mido").MidiFile(file):
        at_s += message.time
        if message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type == "control_change" and message.control == 7:
            volumes[message.channel] = message.value
        elif message.type == "note_on" and message.velocity:
            velocity = round(message.velocity * volumes.get(message.channel, 100) / 127)
            sounding[message.channel, message.note] = (at_s, velocity)
        elif message.type in {"note_on", "note_off"} and (message.channel, message.note) in sounding:
            start_s, velocity = sounding.pop((message.channel, message.note))
            program = DRUMS if message.channel == 9 else programs.get(message.channel, 0)
            notes.append(Note(start_s, max(at_s, start_s + 0.05), message.note, program, velocity))
    return notes


def excerpt(notes: Iterable[Note], start_s: float, duration_s: float) -> list[Note]:
    """Return the notes that begin within a stretch, from its start on."""
    return [
        dataclasses.replace(n, start_s=n.start_s - start_s, end_s=n.end_s - start_s)
        for n in notes
        if start_s <= n.start_s < start_s + duration_s
    ]


def by_hand(notes: Iterable[Note], random: Random) -> list[Note]:
    """Play as people do: a few milliseconds off, some notes stronger than others."""
    return [
        dataclasses.replace(
            n,
            start_s=max(0.0, n.start_s + float(random.normal(0, 0.006))),
            velocity=int(np.clip(n.velocity + random.normal(0, 7), 20, 127)),
        )
        for n in notes
    ]


def _wrong_notes(notes: Sequence[Note], strength: int, random: Random) -> list[Note]:
    """A share of the notes a semitone or a tritone off."""
    off = random.random(len(notes)) < (0.15, 0.5)[strength]
    steps = random.choice((-6, -1, 1, 6), len(notes))
    return [
        dataclasses.replace(n, midi=n.midi + int(step)) if wrong and n.program != DRUMS else n
        for n, wrong, step in zip(notes, off, steps, strict=True)
    ]


def _out_of_tune(notes: Sequence[Note], strength: int, random: Random) -> list[Note]:
    """Each note off by up to a third of a semitone, or up to three quarters."""
    cents = (22.0, 50.0)[strength] * random.choice(BENDS, len(notes))
    return [
        n if n.program == DRUMS else dataclasses.replace(n, cents=float(c)) for n, c in zip(notes, cents, strict=True)
    ]


def _jitter(notes: Sequence[Note], strength: int, random: Random) -> list[Note]:
    """Each note early or late by 60 or 150 ms on average."""
    starts_s = [max(0.0, n.start_s + float(random.normal(0, (0.075, 0.19)[strength]))) for n in notes]
    return [
        dataclasses.replace(n, start_s=start_s, end_s=start_s + n.end_s - n.start_s)
        for n, start_s in zip(notes, starts_s, strict=True)
    ]


def _two_keys(notes: Sequence[Note], strength: int, random: Random) -> list[Note]:
    """The lower half a semitone or a tritone away from the upper."""
    middle, step = np.median([n.midi for n in notes]), (1, 6)[strength] * int(random.choice((-1, 1)))
    return [dataclasses.replace(n, midi=n.midi + step) if n.midi < middle and n.program != DRUMS else n for n in notes]


MISTAKES: Mapping[str, Mistake] = {
    "wrong notes": _wrong_notes,
    "out of tune": _out_of_tune,
    "jitter": _jitter,
    "two keys": _two_keys,
}


class Orchestra:
    """FluidSynth with a soundfont. One plays a piece and its mistakes: rounding depends on what it played before."""

    def __init__(self, python: Path, libraries: Path, soundfont: Path) -> None:
        # Its reverb and chorus go on into what is played next.
        settings = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.dynamic-sample-loading": 1}
        self._synth = _fluidsynth(python, libraries).Synth(0.3, SYNTHESIZER_HZ, **settings)
        self._soundfont = self._synth.sfload(str(soundfont))

    def close(self) -> None:
        """Free the memory of what was loaded."""
        self._synth.delete()

    def play(self, notes: Sequence[Note], duration_s: float, room_s: float) -> Samples:
        """Play notes for whole seconds, in a room that rings for so long (0: none)."""
        channels = self._channels(notes)
        starts = [(n.start_s, 1, n) for n in notes]
        ends = [(n.end_s, 0, n) for n in notes]
        pieces, at = [], 0
        for time_s, begins, n in sorted(starts + ends, key=lambda event: event[:2]):
            until = round(time_s * SYNTHESIZER_HZ / BLOCK) * BLOCK
            if until >= duration_s * SYNTHESIZER_HZ:
                break
            pieces.append(self._generate(until - at))
            at = max(at, until)
            channel = channels[n.program, n.cents]
            if begins:
                self._synth.noteon(channel, n.midi, n.velocity)
            else:
                self._synth.noteoff(channel, n.midi)
        pieces.append(self._generate(round(duration_s) * SYNTHESIZER_HZ - at))
        self._synth.system_reset()
        self._generate(SYNTHESIZER_HZ)
        return _in_room(soxr.resample(np.concatenate(pieces), SYNTHESIZER_HZ, RATE_HZ), room_s)

    def _channels(self, notes: Sequence[Note]) -> dict[tuple[int, float], int]:
        """Give each instrument, and each of its bends, a channel."""
        melodic = [channel for channel in range(256) if channel % 16 != 9]  # each tenth is for drums
        channels: dict[tuple[int, float], int] = {}
        for program, cents in sorted({(n.program, n.cents) for n in notes}):
            channel = channels[program, cents] = 9 if program == DRUMS else melodic[len(channels)]
            bank, preset = (128, 0) if program == DRUMS else (0, program)
            self._synth.program_select(channel, self._soundfont, bank, preset)
            self._synth.pitch_bend(channel, round(cents / 200 * 8192))  # the wheel's range is two semitones
        return channels

    def _generate(self, count: int) -> Samples:
        if count <= 0:
            return np.zeros(0, np.float32)
        stereo: NDArray[np.int16] = self._synth.get_samples(count).reshape(-1, 2)
        mono: Samples = stereo.mean(axis=1, dtype=np.float32) / np.float32(32768)
        return mono


def _in_room(dry: Samples, room_s: float) -> Samples:
    """Add the decaying noise that a room answers with."""
    if room_s <= 0:
        return dry
    t = np.arange(round(min(2 * room_s, 3.0) * RATE_HZ)) / RATE_HZ
    response = np.random.default_rng(0).standard_normal(len(t)) * np.exp(-6.9 * t / room_s)
    response = signal.lfilter([0.4], [1, -0.6], response)  # walls swallow the highs
    wet = signal.oaconvolve(dry, response / np.sqrt(np.sum(response**2)))[: len(dry)]
    ringing: Samples = (dry + 0.35 * wet).astype(np.float32)
    return ringing


def _imported(python: Path, module: str) -> Any:
    """Import a module from the folder of what was fetched; what is installed goes first."""
    if str(python) not in sys.path:
        sys.path.append(str(python))
    return importlib.import_module(module)


def _fluidsynth(python: Path, libraries: Path) -> Any:
    """Import FluidSynth's binding with the library that was fetched, and not one that is perhaps installed."""
    try:
        for name in ("libinstpatch-1.0.so.2", "libfluidsynth.so.3"):
            found = next(libraries.rglob(name))
            ctypes.CDLL(str(found), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise DataError(
            f"FluidSynth cannot be used ({error}): apt-get install libfluidsynth3 brings what it needs"
        ) from error
    with mock.patch("ctypes.util.find_library", return_value=str(found)):
        return _imported(python, "fluidsynth")
