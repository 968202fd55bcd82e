"""Captions of composed music in varied words, and how far a caption holds for a piece.

A caption names some of a piece's attributes. The *match* of a caption and a piece is the share of the named
attributes that hold, weighted by how much a listener would mind.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tools.demo_judge.composer import Attributes, Random, draw_attributes
from tools.demo_judge.genres import GENRES, KITS
from tools.demo_judge.timbres import TIMBRES

Wordings = Mapping[str, tuple[str, ...]]

WEIGHTS: Mapping[str, float] = {
    "genre": 3.0,
    "lead": 2.0,
    "kit": 1.5,
    "tempo": 1.5,
    "mood": 1.5,
    "backing": 1.0,
    "mode": 1.0,
    "bass": 0.5,
    "density": 0.5,
}

TEMPO_WORDS: Wordings = {
    "slow": ("slow", "slow tempo", "slow-paced", "unhurried"),
    "medium": ("mid-tempo", "moderate tempo", "medium-paced", "walking pace"),
    "fast": ("fast", "fast tempo", "upbeat", "fast-paced", "up-tempo", "lively"),
}
MODE_WORDS: Wordings = {
    "major": ("in a major key", "in major", "with bright harmonies"),
    "minor": ("in a minor key", "in minor", "with dark harmonies"),
}
MOOD_WORDS: Wordings = {
    "calm": ("calm", "relaxing", "peaceful", "soothing", "laid-back"),
    "happy": ("happy", "cheerful", "joyful", "playful", "feel-good"),
    "sad": ("sad", "melancholic", "sorrowful", "emotional", "mournful"),
    "dark": ("dark", "tense", "mysterious", "ominous", "brooding"),
    "energetic": ("energetic", "exciting", "powerful", "driving", "danceable"),
    "dreamy": ("dreamy", "romantic", "ethereal", "tender", "soft"),
}
DENSITY_WORDS: Wordings = {
    "sparse": ("sparse", "minimal", "simple", "few notes"),
    "moderate": ("balanced", "steady"),
    "dense": ("dense", "busy", "complex rhythms", "layered", "full arrangement"),
}

PLACES = ("This song may be playing in a cafe.", "It could be heard at a party.", "It sounds like a film score.")
GOOD_WORDS = ("High quality recording.", "The recording is clean.", "Well played.", "Studio quality.")
POOR_WORDS = (
    "The audio quality is poor.",
    "Low quality recording with artefacts.",
    "It sounds broken.",
    "Amateur recording.",
)


@dataclass(frozen=True)
class Caption:
    """A prompt and what it names: attribute field to value."""

    text: str
    named: Mapping[str, str]


def labels(attributes: Attributes) -> dict[str, str]:
    """The attributes as labels, without those that a piece does not have."""
    whole = {name: str(getattr(attributes, name)) for name in WEIGHTS}
    if GENRES[attributes.genre].form == "percussion":
        del whole["mode"]  # nothing has a pitch
    return {name: value for name, value in whole.items() if value != "none"}


def write(attributes: Attributes, random: Random) -> Caption:
    """Describe a piece: its genre nearly always, some of the rest, in one of several turns of phrase."""
    have = labels(attributes)
    chance = random.uniform(0.35, 0.95)
    named = {
        name: value
        for name, value in have.items()
        if random.random() < chance or (name == "genre" and random.random() < 0.8)
    }
    if not named:
        named = {"genre": have["genre"]}
    words = {name: str(random.choice(_words(name, value))) for name, value in named.items()}
    if "tempo" in words and random.random() < 0.15:
        words["tempo"] = f"{attributes.tempo_bpm} BPM"
    turn = TURNS[int(random.integers(len(TURNS)))]
    text = " ".join(turn(words, random).split())
    return Caption(text if random.random() < 0.8 else text.lower().rstrip("."), named)


def match(named: Mapping[str, str], attributes: Attributes) -> float:
    """Share of the named attributes that hold, weighted; 0 to 1."""
    have = labels(attributes)
    held = sum(WEIGHTS[name] * _agreement(name, value, have.get(name, "none")) for name, value in named.items())
    return held / sum(WEIGHTS[name] for name in named)


def mismatch(attributes: Attributes, level: float, random: Random) -> Attributes:
    """Attributes for a prompt that fits a piece less and less."""
    other = draw_attributes(random)
    fields = [field.name for field in dataclasses.fields(Attributes)]
    taken = {name: getattr(other, name) for name in fields if random.random() < level}
    return dataclasses.replace(attributes, **taken)


def _agreement(name: str, value: str, have: str) -> float:
    if value == have:
        return 1.0
    return 0.25 if name == "genre" and GENRES[value].form == GENRES[have].form else 0.0


def _words(name: str, value: str) -> tuple[str, ...]:
    if name == "genre":
        return GENRES[value].words
    if name == "kit":
        return KITS[value].words
    if name in ("lead", "backing", "bass"):
        return TIMBRES[value].words
    tables = {"tempo": TEMPO_WORDS, "mode": MODE_WORDS, "mood": MOOD_WORDS, "density": DENSITY_WORDS}
    return tables[name][value]


Words = Mapping[str, str]


def _a(phrase: str) -> str:
    return f"{'an' if phrase[:1].lower() in 'aeiou' else 'a'} {phrase}"


def _instruments(words: Words) -> list[str]:
    return [words[name] for name in ("lead", "backing", "bass", "kit") if name in words]


def _and(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(words: Words, random: Random) -> str:
    """Write one sentence: A calm, slow jazz piece in a minor key with piano and drums."""
    kind = random.choice(("piece", "track", "song", "tune"))
    adjectives = [words[name] for name in ("mood", "tempo", "density") if name in words]
    head = f"{', '.join(adjectives)} {words.get('genre', 'music')} {kind}"
    tail = (
        f" {random.choice(('with', 'featuring', 'played by'))} {_and(_instruments(words))}"
        if _instruments(words)
        else ""
    )
    text = f"{_a(head.strip())} {words.get('mode', '')}{tail}."
    return text[0].upper() + text[1:]


def _report(words: Words, random: Random) -> str:
    """Write sentences: This is a jazz piece. The melody comes from piano."""
    parts = [f"This is {_a(words.get('genre', 'instrumental'))} {random.choice(('piece', 'track', 'recording'))}."]
    if "lead" in words:
        verb = random.choice(("is carried by", "comes from", "belongs to"))
        parts.append(f"The {random.choice(('melody', 'tune', 'lead'))} {verb} {words['lead']}.")
    if "backing" in words:
        parts.append(f"The accompaniment is {words['backing']}.")
    if "bass" in words:
        parts.append(f"In the background: {words['bass']}.")
    if "kit" in words:
        parts.append(f"The rhythm comes from {words['kit']}.")
    moods = [words[name] for name in ("mood", "tempo", "density") if name in words]
    if moods:
        parts.append(f"The music is {_and(moods)}.")
    if "mode" in words:
        parts.append(f"It is {words['mode']}.")
    return " ".join(parts)


def _tags(words: Words, random: Random) -> str:
    """Write tags: jazz, piano, slow, calm."""
    tags = list(words.values())
    random.shuffle(tags)
    return ", ".join(tags)


def _someone(words: Words, random: Random) -> str:
    """Write as an onlooker: Piano and drums play calm jazz. It could be heard at a party."""
    style = " ".join(words[name] for name in ("mood", "tempo", "genre") if name in words) or "music"
    players = _instruments(words)
    who = f"{_and(players)} {'play' if len(players) > 1 else 'plays'}" if players else "someone is playing"
    place = f" {random.choice(PLACES)}" if random.random() < 0.2 else ""
    return f"{who[0].upper() + who[1:]} {style} {words.get('mode', '')}.{place}".replace(" .", ".")


def _listing(words: Words, random: Random) -> str:
    """Write a list: Genre: jazz. Mood: calm. Instruments: piano, drums."""
    parts = [f"{name.capitalize()}: {words[name]}" for name in ("genre", "mood", "tempo", "mode") if name in words]
    if _instruments(words):
        parts.append(f"Instruments: {', '.join(_instruments(words))}")
    return ". ".join(parts) + "." if parts else _tags(words, random)


TURNS: tuple[Callable[[Words, Random], str], ...] = (_sentence, _sentence, _report, _tags, _someone, _listing)
