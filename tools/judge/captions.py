"""What a clip is, said in two ways that share no word: a sentence, and a list of tags.

Only what is known is said: what a generator was asked for, which instruments play a score, what a package
calls itself. The six prompts of the reference clips lend no word but those of instruments.
"""

from dataclasses import dataclass

MOODS = {
    "calm": ("calm and unhurried", "relaxing, peaceful, soothing"),
    "energetic": ("energetic and driving", "powerful, intense, workout"),
    "happy": ("cheerful and bright", "happy, joyful, sunny"),
    "nostalgic": ("wistful and nostalgic", "sad, sentimental, bittersweet"),
    "tender": ("gentle and tender", "romantic, warm, soft"),
}
STYLES = {
    "acoustic": ("acoustic instrumental", "unplugged"),
    "electronic": ("electronic instrumental", "synth, digital, techno"),
    "metal": ("heavy metal track", "distorted electric guitar, hard, loud, aggressive"),
    "chorale": ("baroque chorale", "hymn, church, sacred, solemn"),
    "quartet": ("classical movement", "chamber, orchestral, symphonic"),
    "virtuoso": ("romantic recital work", "concert, expressive"),
    "ragtime": ("ragtime", "old time, syncopated, saloon"),
    "madrigal": ("renaissance madrigal", "early, polyphonic, medieval"),
    "folk": ("traditional folk tune", "irish, celtic, reel, jig"),
    "aria": ("opera aria", "lyrical, theatre"),
    "game": ("video game soundtrack", "arcade, midi"),
    "loop": ("looped sample", "breaks, sampled, repeated"),
}
TEMPI = ((85, "slow", "adagio"), (115, "moderate", "andante"), (999, "fast", "allegro, quick"))
PROGRAMS = """-1 drums, 0 piano, 4 electric piano, 6 harpsichord, 8 celesta, 11 vibraphone, 16 organ, 21 accordion,
22 harmonica, 24 acoustic guitar, 26 electric guitar, 32 bass, 40 violin, 41 viola, 42 cello, 43 double bass, 44
strings, 46 harp, 47 timpani, 48 strings, 52 choir, 55 orchestra, 56 trumpet, 57 trombone, 58 tuba, 59 trumpet, 60
french horn, 61 brass, 64 saxophone, 68 oboe, 70 bassoon, 71 clarinet, 72 flute, 80 synthesizer, 104 sitar, 105
banjo, 106 koto, 110 fiddle, 112 bells"""  # each name from its General MIDI program up to the next


@dataclass(frozen=True)
class Content:
    """What is known of a clip; an empty field is not known."""

    mood: str = ""
    style: str = ""
    instruments: tuple[str, ...] = ()
    tempo_bpm: float = 0.0
    key: str = ""

    def shares(self, other: "Content") -> bool:
        """Return whether something said of one is true of the other too."""
        return bool(
            (self.mood and self.mood == other.mood)
            or (self.style and self.style == other.style)
            or {*self.instruments} & {*other.instruments}
        )


def instrument(program: int) -> str:
    """Return the name of a General MIDI program, or of DRUMS."""
    rows = [row.split(maxsplit=1) for row in PROGRAMS.split(",")]
    return [name for first, name in rows if int(first) <= program][-1]


def sentence(content: Content) -> str:
    """Return a sentence."""
    mood, style = MOODS.get(content.mood, ("",))[0], STYLES.get(content.style, ("instrumental",))[0]
    named = " ".join(filter(None, (mood, style)))
    said = [f"{'An' if named[0] in 'aeiou' else 'A'} {named}"]
    if content.instruments:
        *first, last = content.instruments
        said.append(f"for {', '.join(first)} and {last}" if first else f"for solo {last}")
    if content.tempo_bpm:
        said.append(f"in a {_tempo(content)[0]} tempo")
    if content.key:
        said.append(f"in {content.key}")
    return " ".join(said) + "."


def tags(content: Content) -> str:
    """Return a list of tags."""
    said = [MOODS.get(content.mood, ("", ""))[1], STYLES.get(content.style, ("", ""))[1], *content.instruments]
    return ", ".join(filter(None, [*said, _tempo(content)[1] if content.tempo_bpm else ""]))


def _tempo(content: Content) -> tuple[str, str]:
    return next((word, tag) for below, word, tag in TEMPI if content.tempo_bpm < below)
