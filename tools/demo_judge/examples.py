"""Composed sounds that the product ships: the example clips of the page and the clips of the demo study.

They are rendered once, by ``python -m tools.demo_judge examples``, and committed: nothing is composed later.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tools.demo_judge import captions, panel
from tools.demo_judge.composer import Attributes, draw_attributes
from tools.demo_judge.panel import play
from tools.demo_judge.timbres import SAMPLE_RATE_HZ, Samples

EXAMPLE_S, DEMO_CLIP_S, SOUND_CHECK_S = 16.0, 8.0, 10.0
SEED = 20  # of the demo study
SYSTEMS, CLIPS_EACH, ANCHORS = 4, 2, 3


@dataclass(frozen=True)
class Sketch:
    """A piece to be composed, the prompt it stands with, and what to listen for."""

    title: str
    prompt: str
    note: str
    attributes: Attributes
    severities: Mapping[str, float] = field(default_factory=dict)


# fmt: off
EXAMPLES = (
    Sketch("Piano at rest", "A calm, slow piano solo in a major key.",
           "clean, and what the prompt asks for",
           Attributes("piano solo", 66, "major", "calm", "piano", "piano", "none", "none", "sparse")),
    Sketch("Jazz trio", "A cheerful jazz trio with piano, double bass and brushed drums.",
           "clean, and what the prompt asks for",
           Attributes("jazz", 132, "major", "happy", "piano", "piano", "double bass", "swing", "moderate")),
    Sketch("Drum circle", "Energetic Latin percussion with congas, cowbells and timbales.",
           "clean, nothing but percussion",
           Attributes("latin percussion", 116, "minor", "energetic", "none", "none", "none", "congas",
                      "dense")),
    Sketch("Overdriven rock", "A loud rock song with electric guitar, bass guitar and driving drums.",
           "clipped: far too loud for its own good",
           Attributes("rock", 128, "minor", "energetic", "electric guitar", "electric guitar", "bass guitar",
                      "driving", "dense"),
           {"clipping": 0.85}),
    Sketch("Waltz in shreds", "A graceful Viennese waltz for strings in a major key.",
           "metallic, and with holes, as from a broken codec",
           Attributes("waltz", 138, "major", "happy", "strings", "strings", "double bass", "none",
                      "moderate"),
           {"metallic": 0.5, "drop-outs": 0.4}),
    Sketch("Wrong number", "A tender lullaby on a music box.",
           "clean, but it is dance music",
           Attributes("dance", 128, "minor", "energetic", "synth lead", "synth pad", "synth bass",
                      "four on the floor", "dense")),
    Sketch("Floating pads", "Dreamy ambient music with a flute over warm synth pads.",
           "clean, and what the prompt asks for",
           Attributes("ambient", 60, "major", "dreamy", "flute", "synth pad", "synth bass", "none",
                      "sparse")),
    Sketch("Blues on worn tape", "A slow, sad blues with electric guitar, organ and shuffle drums.",
           "hiss as loud as the band",
           Attributes("blues", 72, "minor", "sad", "electric guitar", "organ", "bass guitar", "shuffle",
                      "moderate"),
           {"noise": 0.75}),
    Sketch("Parade out of step", "A happy military march with trumpets and snare drums.",
           "nobody keeps time, and the sound drops out",
           Attributes("march", 116, "major", "happy", "trumpet", "trumpet", "double bass", "march",
                      "moderate"),
           {"rhythm jitter": 0.9, "drop-outs": 0.4}),
    Sketch("Orchestra next door", "A dark, cinematic orchestral piece with strings and timpani.",
           "muffled, as through a wall",
           Attributes("orchestral", 92, "minor", "dark", "strings", "strings", "double bass", "timpani",
                      "moderate"),
           {"band limit": 0.9}),
    Sketch("Chopped funk", "Upbeat funk with trumpet, electric piano and syncopated drums.",
           "cut up, and put together in another order",
           Attributes("funk", 108, "minor", "energetic", "trumpet", "electric piano", "bass guitar",
                      "funk", "dense"),
           {"abrupt cuts": 0.9}),
    Sketch("Sour ballad", "A soft folk song, fingerpicked acoustic guitar and a female voice.",
           "out of tune, with many wrong notes",
           Attributes("folk", 84, "major", "calm", "female voice", "acoustic guitar", "double bass",
                      "none", "moderate"),
           {"detuning": 0.8, "wrong notes": 0.6}),
)
# fmt: on


PRACTICE: tuple[tuple[Attributes, dict[str, float], dict[str, Any]], ...] = (
    (
        Attributes("piano solo", 66, "major", "calm", "piano", "piano", "none", "none", "sparse"),
        {},
        {
            "prompt": "A calm, slow piano solo in a major key.",
            "explanation": "Clean sound, steady rhythm and a melody that goes somewhere, if a simple one: a "
            "good 4. Everything that the prompt asks for is there.",
            "expected": {"musical_impression": 4.0, "textual_alignment": 5.0},
        },
    ),
    (
        EXAMPLES[3].attributes,
        {"noise": 0.6, "drop-outs": 0.6},
        {
            "prompt": "A tender lullaby on a music box.",
            "explanation": "Hiss and gaps are obvious machine artefacts, so the impression is poor. "
            "And it is rock music: nothing of the prompt is there.",
            "expected": {"musical_impression": 2.0, "textual_alignment": 1.0},
        },
    ),
)


def write_examples(folder: Path) -> None:
    """Write the example clips of the page, and ``examples.json``."""
    table = []
    for number, sketch in enumerate(EXAMPLES):
        sound = play(sketch.attributes, sketch.severities, EXAMPLE_S, np.random.default_rng([number, 7]))
        # A lossy codec would round off the flat tops that the clipping warning looks for.
        suffix = "flac" if "clipping" in sketch.severities else "ogg"
        file = f"{sketch.title.lower().replace(' ', '-')}.{suffix}"
        _write_sound(folder / file, sound)
        table.append({"title": sketch.title, "prompt": sketch.prompt, "note": sketch.note, "file": file})
    _write_table(folder / "examples.json", table)


def write_demo_study(folder: Path) -> None:
    """Write the clips of the demo study, its sound check, and ``clips.json``."""
    table = []
    for number, (row, sound) in enumerate(_demo_clips(), 1):
        name = f"clip-{number:02d}.ogg"
        _write_sound(folder / name, sound)
        table.append({"sound": name, **row})
    _write_table(folder / "clips.json", table)
    jazz = EXAMPLES[1].attributes
    _write_sound(folder / "sound-check.ogg", play(jazz, {}, SOUND_CHECK_S, np.random.default_rng([SEED, 3])))


def _demo_clips() -> Iterator[tuple[dict[str, Any], Samples]]:
    """The columns of a clip list (`annotation.material.ingest.Entry`) for each clip, and its sound."""
    for clip in panel.simulate(SYSTEMS, CLIPS_EACH, SEED, DEMO_CLIP_S):
        row: dict[str, Any] = {"file": f"composed: {clip.clip_id}", "prompt": clip.prompt, "system": clip.system_id}
        yield {**row, "kind": "stimulus"}, clip.sound()
    for number in range(1, ANCHORS + 1):
        random = np.random.default_rng([SEED, 1, number])
        attributes = draw_attributes(random)
        source = f"composed stand-in for a human-made recording, {number}"
        row = {"file": source, "prompt": captions.write(attributes, random).text, "system": "stand-in"}
        yield {**row, "kind": "anchor"}, play(attributes, {}, DEMO_CLIP_S, random)
    for number, (attributes, severities, row) in enumerate(PRACTICE, 1):
        sound = play(attributes, severities, DEMO_CLIP_S, np.random.default_rng([SEED, 2, number]))
        yield {"file": f"composed: practice {number}", "system": "composed", "kind": "practice", **row}, sound


def _write_sound(path: Path, sound: Samples) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lossless = path.suffix == ".flac"
    soundfile.write(
        path,
        np.clip(sound, -1.0, 1.0),
        SAMPLE_RATE_HZ,
        subtype="PCM_16" if lossless else "VORBIS",
        compression_level=1.0 if lossless else 0.4,
    )


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(rows, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
