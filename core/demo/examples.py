"""Composed example clips for the scoring page: some good, some with a fault that a listener hears at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from core.demo import faults
from core.demo.composer import Attributes, compose
from core.demo.rendering import render
from core.demo.timbres import SAMPLE_RATE_HZ, Samples

DURATION_S = 16.0


@dataclass(frozen=True)
class Example:
    """An example on disk: a 16 kHz WAV file, the prompt it stands with, and what to listen for."""

    title: str
    prompt: str
    note: str
    path: Path


@dataclass(frozen=True)
class _Sketch:
    title: str
    prompt: str
    note: str
    attributes: Attributes
    severities: Mapping[str, float] = field(default_factory=dict)


_SKETCHES = (
    _Sketch(
        "Piano at rest",
        "A calm, slow piano solo in a major key.",
        "clean, and what the prompt asks for",
        Attributes("piano solo", 66, "major", "calm", "piano", "piano", "none", "none", "sparse"),
    ),
    _Sketch(
        "Jazz trio",
        "A cheerful jazz trio with piano, double bass and brushed drums.",
        "clean, and what the prompt asks for",
        Attributes("jazz", 132, "major", "happy", "piano", "piano", "double bass", "swing", "moderate"),
    ),
    _Sketch(
        "Drum circle",
        "Energetic Latin percussion with congas, cowbells and timbales.",
        "clean, nothing but percussion",
        Attributes("latin percussion", 116, "minor", "energetic", "none", "none", "none", "congas", "dense"),
    ),
    _Sketch(
        "Overdriven rock",
        "A loud rock song with electric guitar, bass guitar and driving drums.",
        "clipped: far too loud for its own good",
        Attributes(
            "rock",
            128,
            "minor",
            "energetic",
            "electric guitar",
            "electric guitar",
            "bass guitar",
            "driving",
            "dense",
        ),
        {"clipping": 0.85},
    ),
    _Sketch(
        "Waltz in shreds",
        "A graceful Viennese waltz for strings in a major key.",
        "metallic, and with holes, as from a broken codec",
        Attributes("waltz", 138, "major", "happy", "strings", "strings", "double bass", "none", "moderate"),
        {"metallic": 0.5, "drop-outs": 0.4},
    ),
    _Sketch(
        "Wrong number",
        "A tender lullaby on a music box.",
        "clean, but it is dance music",
        Attributes(
            "dance",
            128,
            "minor",
            "energetic",
            "synth lead",
            "synth pad",
            "synth bass",
            "four on the floor",
            "dense",
        ),
    ),
)


def write_examples(folder: Path) -> list[Example]:
    """Compose the examples and write them as 16-bit WAV files.

    Parameters
    ----------
    folder : Path
        Made if it is missing; files of the same names are replaced.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, sketch in enumerate(_SKETCHES):
        path = folder / f"{sketch.title.lower().replace(',', '').replace(' ', '-')}.wav"
        soundfile.write(path, _play(sketch, number), SAMPLE_RATE_HZ, subtype="PCM_16")
        written.append(Example(sketch.title, sketch.prompt, sketch.note, path))
    return written


def _play(sketch: _Sketch, number: int) -> Samples:
    random = np.random.default_rng([number, 7])
    composition = compose(sketch.attributes, DURATION_S, random)
    dry = render(faults.spoil_notes(composition, sketch.severities, random), random)
    return faults.spoil_sound(dry, sketch.severities, random)
