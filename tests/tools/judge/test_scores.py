import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tools.judge.scores import BLOCK, DRUMS, MISTAKES, SYNTHESIZER_HZ, Note, Orchestra, by_hand, excerpt, read_midi
from tools.judge.sounds import RATE_HZ, rms

SCALE = [
    Note(0.25 * i, 0.25 * i + 0.2, 60 + step, 0) for i, step in enumerate([0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5] * 8)
]
STROKES = [Note(0.5 * i, 0.5 * i + 0.1, 38, DRUMS) for i in range(40)]


def changed(mistake, strength, notes=SCALE):
    return MISTAKES[mistake](notes, strength, np.random.default_rng(0))


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_spares_the_drums_pitch_and_loses_no_note(mistake):
    for strength in (0, 1):
        notes = changed(mistake, strength, SCALE + STROKES)
        assert len(notes) == len(SCALE) + len(STROKES)
        assert [(n.midi, n.cents) for n in notes if n.program == DRUMS] == [(38, 0.0)] * len(STROKES)
        assert [n.program for n in notes] == [n.program for n in SCALE + STROKES]


@pytest.mark.parametrize(("strength", "share"), [(0, 0.15), (1, 0.5)])
def test_a_share_of_the_notes_is_wrong(strength, share):
    steps = [n.midi - right.midi for n, right in zip(changed("wrong notes", strength), SCALE, strict=True)]
    assert {*steps} == {-6, -1, 0, 1, 6}
    assert np.mean(np.array(steps) != 0) == pytest.approx(share, abs=0.12)


@pytest.mark.parametrize(("strength", "most"), [(0, 33), (1, 75)])
def test_notes_out_of_tune_are_off_by_cents(strength, most):
    cents = {round(n.cents, 3) for n in changed("out of tune", strength)}
    assert len(cents) == 5
    assert (min(cents), max(cents)) == (-most, most)


@pytest.mark.parametrize(("strength", "mean_s"), [(0, 0.06), (1, 0.15)])
def test_jitter_moves_notes_and_keeps_their_length(strength, mean_s):
    late = [n.start_s - right.start_s for n, right in zip(changed("jitter", strength), SCALE, strict=True)]
    assert np.mean(np.abs(late)) == pytest.approx(mean_s, rel=0.25)
    lengths = [n.end_s - n.start_s for n in changed("jitter", strength)]
    np.testing.assert_allclose(lengths, 0.2, atol=1e-9)


@pytest.mark.parametrize(("strength", "step"), [(0, 1), (1, 6)])
def test_in_two_keys_the_lower_half_moves_together(strength, step):
    moved = [n.midi - right.midi for n, right in zip(changed("two keys", strength), SCALE, strict=True)]
    assert {abs(m) for m in moved} == {0, step}
    assert len({*moved}) == 2
    assert all(m == 0 for m, n in zip(moved, SCALE, strict=True) if n.midi >= 67)


def test_by_hand_is_near_what_is_written():
    played = by_hand(SCALE, np.random.default_rng(0))
    assert 0 < np.std([n.start_s - right.start_s for n, right in zip(played, SCALE, strict=True)]) < 0.01
    assert len({n.velocity for n in played}) > 10
    assert [n.midi for n in played] == [n.midi for n in SCALE]


def test_an_excerpt_begins_at_nought():
    assert excerpt(SCALE, 1.0, 0.5) == [
        dataclasses.replace(n, start_s=n.start_s - 1, end_s=n.end_s - 1) for n in SCALE[4:6]
    ]


def test_a_midi_file_becomes_notes(monkeypatch):
    def message(kind, time, channel=0, **fields):
        return SimpleNamespace(type=kind, time=time, channel=channel, **fields)

    messages = [
        message("program_change", 0.0, program=40),
        message("control_change", 0.0, control=7, value=127),
        message("note_on", 0.5, note=60, velocity=90),
        message("note_on", 0.0, 9, note=36, velocity=127),
        message("note_off", 0.25, note=60, velocity=0),
        message("note_on", 0.25, 9, note=36, velocity=0),
    ]
    monkeypatch.setitem(sys.modules, "mido", SimpleNamespace(MidiFile=lambda file: messages))
    assert read_midi(Path("python"), Path("tune.mid")) == [
        Note(0.5, 0.75, 60, 40, 90),
        Note(0.5, 1.0, 36, DRUMS, 100),  # a channel's volume is 100 of 127 where it says nothing
    ]


class Recorder:
    """A synthesizer that plays ones, and writes down what it is told and after how many samples."""

    def __init__(self):
        self.told, self.at = [], 0

    def __getattr__(self, name):
        return lambda *given: self.told.append((self.at, name, *given))

    def get_samples(self, count):
        self.at += count
        return np.full(2 * count, 16384, np.int16)


@pytest.fixture
def orchestra():
    orchestra = Orchestra.__new__(Orchestra)
    orchestra._synth, orchestra._soundfont = Recorder(), 1
    return orchestra


def test_notes_begin_and_end_in_time_each_on_its_channel(orchestra):
    notes = [Note(0.5, 1.0, 60, 40, 90, 50.0), Note(0.5, 0.6, 36, DRUMS, 100), Note(1.5, 9.0, 62, 40, 80)]
    sound = orchestra.play(notes, 2.0, 0.0)
    assert (len(sound), float(sound[RATE_HZ])) == (2 * RATE_HZ, pytest.approx(0.5, abs=1e-3))
    told = [(round(at / SYNTHESIZER_HZ, 2), *rest) for at, *rest in orchestra._synth.told]
    assert [event for event in told if event[1].startswith("note")] == [
        (0.5, "noteon", 2, 60, 90),
        (0.5, "noteon", 9, 36, 100),
        (0.6, "noteoff", 9, 36),
        (1.0, "noteoff", 2, 60),
        (1.5, "noteon", 1, 62, 80),
    ]
    assert {event[1:] for event in told if event[1] == "pitch_bend"} == {
        ("pitch_bend", 9, 0), ("pitch_bend", 1, 0), ("pitch_bend", 2, 2048)
    }  # fmt: skip
    assert all(at % BLOCK == 0 for at, *_ in orchestra._synth.told)


def test_a_room_rings(orchestra, monkeypatch):
    clap = np.zeros(2 * 2 * SYNTHESIZER_HZ, np.int16)
    clap[:2000] = 16384
    monkeypatch.setattr(orchestra._synth, "get_samples", lambda count: clap[: 2 * count], raising=False)
    dry, short, long = (orchestra.play([], 2.0, room_s)[RATE_HZ:] for room_s in (0.0, 0.4, 1.6))
    assert rms(dry) < 1e-3 * rms(long)
    assert rms(short) < 0.1 * rms(long)
