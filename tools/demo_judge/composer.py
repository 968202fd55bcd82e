"""The composer: music by rule, from labelled attributes to notes.

A seed gives the attributes (genre, tempo, mode, mood, instruments, density), the attributes give a chord
progression, a melody of repeated motifs, an accompaniment, a bass and drums. ``render`` turns the notes into
sound; ``faults`` spoils either. Nothing here is random but through the generator that is passed in.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tools.demo_judge.genres import GENRES, KITS, Genre
from tools.demo_judge.timbres import NOTE_S, TIMBRES

Random = np.random.Generator

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
DENSITIES = ("sparse", "moderate", "dense")
TEMPOS = ("slow", "medium", "fast")
MOODS = ("calm", "happy", "sad", "dark", "energetic", "dreamy")


@dataclass(frozen=True)
class Attributes:
    """What a piece is; every field is a label that captions name and the small model learns to predict."""

    genre: str
    tempo_bpm: int
    mode: str
    mood: str
    lead: str
    backing: str
    bass: str
    kit: str
    density: str

    @property
    def tempo(self) -> str:
        """Slow (under 84 beats a minute), medium, or fast (116 and over)."""
        return TEMPOS[int(self.tempo_bpm >= 84) + int(self.tempo_bpm >= 116)]


@dataclass(frozen=True)
class Note:
    """A pitched note; ``cents`` is its deviation from the tempered pitch."""

    start_s: float
    duration_s: float
    midi: int
    velocity: float
    timbre: str
    cents: float = 0.0


@dataclass(frozen=True)
class Stroke:
    """A drum stroke."""

    start_s: float
    drum: str
    velocity: float


@dataclass(frozen=True)
class Composition:
    """A piece before it sounds."""

    attributes: Attributes
    duration_s: float
    notes: tuple[Note, ...]
    strokes: tuple[Stroke, ...]


def draw_attributes(random: Random, genre: str | None = None) -> Attributes:
    """Draw a piece's attributes; instruments, tempo and mode are those of the genre."""
    name = genre or str(random.choice(list(GENRES)))
    kind = GENRES[name]
    tempo_bpm = int(random.integers(kind.tempo_bpm[0], kind.tempo_bpm[1] + 1))
    mode = "minor" if random.random() < kind.minor else "major"
    return Attributes(
        genre=name,
        tempo_bpm=tempo_bpm,
        mode=mode,
        mood=_draw_mood(tempo_bpm, mode, random),
        lead=str(random.choice(kind.leads)),
        backing=str(random.choice(kind.backings)),
        bass=str(random.choice(kind.basses)),
        kit=str(random.choice(kind.kits)),
        density=str(random.choice(DENSITIES)),
    )


def _draw_mood(tempo_bpm: int, mode: str, random: Random) -> str:
    if tempo_bpm >= 112:
        fitting = ("energetic", "happy") if mode == "major" else ("energetic", "dark")
    elif tempo_bpm >= 84:
        fitting = ("happy", "calm") if mode == "major" else ("dark", "sad")
    else:
        fitting = ("calm", "dreamy") if mode == "major" else ("sad", "dreamy")
    return str(random.choice(fitting))


def compose(attributes: Attributes, duration_s: float, random: Random) -> Composition:
    """Write a piece of a given length."""
    kind = GENRES[attributes.genre]
    step_s = 60.0 / attributes.tempo_bpm / 4
    bars = int(duration_s / (step_s * kind.steps)) + 1
    writer = _Writer(attributes, kind, step_s, bars, random)
    notes = [note for note in writer.notes() if note.start_s < duration_s - 0.05]
    strokes = [stroke for stroke in writer.strokes() if stroke.start_s < duration_s - 0.05]
    return Composition(attributes, duration_s, tuple(notes), tuple(strokes))


class _Writer:
    """Writes the parts of one piece; a step is a sixteenth note."""

    def __init__(self, attributes: Attributes, kind: Genre, step_s: float, bars: int, random: Random) -> None:
        self.attributes, self.kind, self.step_s, self.bars, self.random = (attributes, kind, step_s, bars, random)
        self.tonic = int(random.integers(0, 12))
        self.scale = SCALES[attributes.mode]
        self.progression = kind.chords[int(random.integers(len(kind.chords)))]
        self.legato = {"calm": 1.0, "sad": 1.0, "dreamy": 1.1, "dark": 0.9, "happy": 0.75, "energetic": 0.6}
        self.force = {"calm": 0.6, "sad": 0.6, "dreamy": 0.55, "dark": 0.8, "happy": 0.8, "energetic": 1.0}

    def notes(self) -> Iterator[Note]:
        for bar in range(self.bars):
            degree = self.progression[bar % len(self.progression)]
            last = bar == self.bars - 1 and self.kind.form == "classical"
            if self.attributes.backing != "none":
                yield from self._backing(bar, 0 if last else degree)
            if self.attributes.bass != "none":
                yield from self._bass(bar, 0 if last else degree)
        if self.attributes.lead != "none":
            yield from self._melody()

    def strokes(self) -> Iterator[Stroke]:
        fill = {"sparse": 0.25, "moderate": 0.6, "dense": 1.0}[self.attributes.density]
        for drum, pattern in KITS[self.attributes.kit].strokes.items():
            kept = [i for i, mark in enumerate(pattern) if mark == "X" or (mark == "x" and self.random.random() < fill)]
            for bar in range(self.bars):
                for step in kept:
                    if step < self.kind.steps:
                        loud = 0.9 if pattern[step] == "X" else 0.5
                        yield Stroke(self._time(bar, step), drum, self._velocity(loud))

    def _pitch(self, degree: int, low: int) -> int:
        """The lowest pitch of a scale degree at or above ``low``."""
        octave, index = divmod(degree, 7)
        pitch_class = (self.tonic + self.scale[index]) % 12
        return low + (pitch_class - low) % 12 + 12 * max(0, octave if degree < 0 else 0)

    def _time(self, bar: int, step: float) -> float:
        late = self.kind.swing if int(step) % 4 == 2 else 0.0  # swung eighths
        human_s = float(self.random.normal(0.0, 0.004))
        return max(0.0, (bar * self.kind.steps + step + 2 * late) * self.step_s + human_s)

    def _velocity(self, loud: float) -> float:
        return float(loud * self.force[self.attributes.mood] * self.random.uniform(0.85, 1.1))

    def _note(self, bar: int, step: float, steps: float, midi: int, loud: float, timbre: str) -> Note:
        held_s = min(NOTE_S, max(0.08, steps * self.step_s * self.legato[self.attributes.mood]))
        return Note(self._time(bar, step), held_s, midi, self._velocity(loud), timbre)

    def _backing(self, bar: int, degree: int) -> Iterator[Note]:
        timbre = self.attributes.backing
        low = max(TIMBRES[timbre].low, 50)
        sevenths = self.attributes.genre in ("jazz", "funk", "blues")
        chord = sorted(self._pitch(degree + third, low) for third in ((0, 2, 4, 6) if sevenths else (0, 2, 4)))
        figure = self.kind.figures[self.tonic % len(self.kind.figures)]
        for step, steps, tones in FIGURES[figure](self.kind.steps, self.attributes.density):
            for tone in tones or range(len(chord)):
                octave, index = divmod(tone, len(chord))
                yield self._note(bar, step, steps, chord[index] + 12 * octave, 0.45, timbre)

    def _bass(self, bar: int, degree: int) -> Iterator[Note]:
        timbre, low = self.attributes.bass, TIMBRES[self.attributes.bass].low
        root, fifth = self._pitch(degree, low), self._pitch(degree + 4, low)
        for i, step in enumerate(_bass_steps(self.attributes, self.kind)):
            walking = self.attributes.genre in ("jazz", "blues")
            midi = self._pitch(degree + (0, 2, 4, 5)[i % 4], low) if walking else (fifth if i % 4 == 2 else root)
            yield self._note(bar, step, 3.5, midi, 0.75, timbre)

    def _melody(self) -> Iterator[Note]:
        timbre = TIMBRES[self.attributes.lead]
        low = max(timbre.low, min(60, timbre.high - 17))
        motifs = [self._motif() for _ in range(2)]
        plan = (0, 0, 1, 0) if self.kind.form == "classical" else (0, 1, 0, 1)
        place = int(self.random.integers(3, 8))
        for bar in range(self.bars):
            degree = self.progression[bar % len(self.progression)]
            if self.attributes.density == "sparse" and bar % 2 and self.random.random() < 0.4:
                continue
            for step, steps, move in motifs[plan[bar % 4]]:
                place = int(np.clip(place + move, 0, 11))
                if step % 8 == 0:  # strong steps stand on a tone of the chord
                    place = min((p for p in range(12) if (p - degree) % 7 in (0, 2, 4)), key=lambda p: abs(p - place))
                yield self._note(
                    bar, step, steps, self._scale_pitch(place, low, timbre.high), 0.85, self.attributes.lead
                )

    def _scale_pitch(self, place: int, low: int, high: int) -> int:
        octave, index = divmod(place, 7)
        midi = low + (self.tonic - low) % 12 + self.scale[index] + 12 * octave
        while midi > high:
            midi -= 12
        return midi

    def _motif(self) -> list[tuple[int, float, int]]:
        """One bar of melody: step, length in steps, move along the scale."""
        mean = {"sparse": 6, "moderate": 3.5, "dense": 2}[self.attributes.density]
        motif, step = [], 0
        while step < self.kind.steps:
            steps = max(1, int(self.random.choice((0.5, 1, 1, 1.5)) * mean))
            motif.append(
                (step, min(steps, self.kind.steps - step) * 0.95, int(self.random.choice((-2, -1, -1, 0, 1, 1, 2, 3))))
            )
            step += steps
        return motif


def _bass_steps(attributes: Attributes, kind: Genre) -> tuple[int, ...]:
    if attributes.genre in ("jazz", "blues"):
        return (0, 4, 8, 12)
    if attributes.genre == "latin pop":
        return (0, 6, 12)
    if attributes.genre in ("funk", "dance"):
        return (0, 3, 6, 8, 10, 14)
    if attributes.density == "dense" and kind.steps == 16:
        return (0, 2, 4, 6, 8, 10, 12, 14)
    return (0, 8) if kind.steps == 16 else (0,)


Figure = list[tuple[int, float, tuple[int, ...]]]


def _every(every: int, length: float, tones: tuple[int, ...] = (), first: int = 0):  # type: ignore[no-untyped-def]
    def figure(steps: int, density: str) -> Figure:
        gap = every * 2 if density == "sparse" and every < 8 else every
        return [(step, length, tones) for step in range(first, steps, gap)]

    return figure


def _arpeggio(steps: int, density: str) -> Figure:
    gap = {"sparse": 4, "moderate": 2, "dense": 1}[density]
    order = (0, 1, 2, 3, 2, 1)
    return [(step, 2.0 * gap, (order[i % 6],)) for i, step in enumerate(range(0, steps, gap))]


def _at(*places: int, length: float):  # type: ignore[no-untyped-def]
    def figure(steps: int, density: str) -> Figure:
        kept = places[: 2 if density == "sparse" else len(places)]
        return [(step, length, ()) for step in kept if step < steps]

    return figure


def _waltz(_steps: int, _density: str) -> Figure:
    return [(0, 4.0, (0,)), (4, 3.0, (1, 2)), (8, 3.0, (1, 2))]


FIGURES = {
    "block": _every(8, 7.5),
    "held": _every(16, 16.0),
    "pulse": _every(2, 1.6),
    "strum": _at(0, 4, 6, 10, 12, 14, length=2.5),
    "offbeat": _every(4, 1.5, first=2),
    "comp": _at(0, 6, 10, length=2.0),
    "montuno": _at(0, 3, 6, 8, 11, 14, length=1.5),
    "arpeggio": _arpeggio,
    "waltz": _waltz,
}


def change(composition: Composition, notes: tuple[Note, ...], strokes: tuple[Stroke, ...] | None = None) -> Composition:
    """The same piece with other notes."""
    kept = composition.strokes if strokes is None else strokes
    return dataclasses.replace(composition, notes=notes, strokes=kept)
