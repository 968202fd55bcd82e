"""What each genre of composed music is made of: instruments, chords, rhythm. Tables only.

Chords are scale degrees from 0 (the tonic); a bar has 16 steps, or 12 in three-four time. In drum patterns ``X``
is a loud stroke, ``x`` a soft one, ``.`` none.
"""

from collections.abc import Mapping
from dataclasses import dataclass

KEYS = ("piano", "electric piano", "organ")
PLUCKED = ("acoustic guitar", "harp")
WINDS = ("flute", "clarinet", "trumpet")
MALLETS = ("celesta", "vibraphone")
VOICES = ("female voice", "male voice")

POP_CHORDS = ((0, 4, 5, 3), (5, 3, 0, 4), (0, 5, 3, 4), (0, 3, 4, 3))
ROCK_CHORDS = ((0, 3, 4, 0), (0, 6, 3, 0), (0, 0, 3, 4), (5, 6, 0, 0))
JAZZ_CHORDS = ((1, 4, 0, 5), (0, 5, 1, 4), (2, 5, 1, 4))
BLUES_CHORDS = ((0, 0, 3, 0, 4, 3, 0, 4),)
CLASSICAL_CHORDS = ((0, 3, 4, 0), (0, 1, 4, 0), (0, 3, 6, 2, 5, 1, 4, 0), (0, 4, 5, 2, 3, 0, 3, 4))
STILL_CHORDS = ((0, 0, 3, 3), (0, 5, 0, 5), (0, 0, 0, 6))


@dataclass(frozen=True)
class Genre:
    """One kind of music. ``form`` is pop (motifs over a loop), classical (phrases with a cadence) or percussion."""

    words: tuple[str, ...]
    form: str
    tempo_bpm: tuple[int, int]
    minor: float  # share of pieces in a minor key
    leads: tuple[str, ...]
    backings: tuple[str, ...]
    figures: tuple[str, ...]  # how the backing plays: see composer.FIGURES
    basses: tuple[str, ...]
    kits: tuple[str, ...]  # keys of KITS
    chords: tuple[tuple[int, ...], ...]
    swing: float = 0.0
    steps: int = 16


# fmt: off
GENRES: Mapping[str, Genre] = {
    "pop": Genre(("pop", "pop song", "pop ballad", "radio pop"), "pop", (78, 124), 0.3, (*VOICES, "piano", "synth lead"), (*KEYS, "acoustic guitar", "synth pad"), ("block", "arpeggio", "pulse"), ("bass guitar",), ("backbeat", "halftime"), POP_CHORDS),
    "rock": Genre(("rock", "rock song", "hard rock", "indie rock"), "pop", (96, 150), 0.45, ("electric guitar", *VOICES), ("electric guitar",), ("pulse", "strum"), ("bass guitar",), ("backbeat", "driving"), ROCK_CHORDS),
    "psychedelic rock": Genre(("psychedelic rock", "psychedelic", "hippie", "acid rock"), "pop", (76, 120), 0.6, ("electric guitar", "organ", "male voice"), ("organ", "electric guitar"), ("block", "strum"), ("bass guitar",), ("backbeat", "halftime"), STILL_CHORDS),
    "dance": Genre(("dance", "dance-pop", "electronic dance music", "house", "techno", "club music"), "pop", (118, 138), 0.5, ("synth lead", *VOICES), ("synth pad", "synth lead", "electric piano"), ("pulse", "block", "offbeat"), ("synth bass",), ("four on the floor",), POP_CHORDS),
    "funk": Genre(("funk", "funky", "disco funk", "groove"), "pop", (94, 118), 0.5, ("electric guitar", "trumpet", "female voice"), ("electric guitar", "electric piano", "organ"), ("offbeat", "strum"), ("bass guitar", "synth bass"), ("funk",), ROCK_CHORDS),
    "latin pop": Genre(("Latin pop", "Latin", "salsa", "reggaeton", "bossa nova"), "pop", (92, 128), 0.5, (*VOICES, "trumpet"), ("piano", "acoustic guitar"), ("montuno", "strum"), ("bass guitar",), ("latin",), POP_CHORDS),
    "jazz": Genre(("jazz", "swing", "smooth jazz", "cool jazz", "jazz trio"), "pop", (96, 168), 0.4, ("trumpet", "piano", "clarinet", "vibraphone"), ("piano", "electric piano", "vibraphone"), ("comp",), ("double bass",), ("swing",), JAZZ_CHORDS, swing=0.32),
    "blues": Genre(("blues", "slow blues", "rhythm and blues"), "pop", (66, 112), 0.6, ("electric guitar", "male voice", "acoustic guitar"), ("piano", "organ", "acoustic guitar"), ("strum", "comp"), ("bass guitar", "double bass"), ("shuffle",), BLUES_CHORDS, swing=0.33),
    "ambient": Genre(("ambient", "meditation music", "atmospheric", "new age", "soundscape"), "pop", (52, 76), 0.5, ("synth pad", "flute", "piano", "female voice"), ("synth pad", "strings"), ("held",), ("synth bass",), ("none",), STILL_CHORDS),
    "folk": Genre(("folk", "folk song", "country", "singer-songwriter", "acoustic folk"), "pop", (76, 124), 0.3, (*VOICES, "flute", "acoustic guitar"), ("acoustic guitar", "harp"), ("arpeggio", "strum"), ("double bass", "none"), ("none", "tambourine"), POP_CHORDS),
    "latin percussion": Genre(("Latin percussion", "Afro-Cuban percussion", "percussion solo", "drum circle"), "percussion", (88, 132), 0.5, ("none",), ("none",), ("block",), ("none",), ("congas",), STILL_CHORDS),
    "middle-eastern percussion": Genre(("Middle-Eastern percussion", "Arabic rhythm", "oriental percussion", "belly dance"), "percussion", (84, 126), 1.0, ("none",), ("none",), ("block",), ("none",), ("darbuka",), STILL_CHORDS),
    "drum solo": Genre(("drum solo", "drum beat", "drum loop", "breakbeat"), "percussion", (84, 150), 0.5, ("none",), ("none",), ("block",), ("none",), ("driving", "funk", "backbeat"), STILL_CHORDS),
    "middle-eastern": Genre(("Middle-Eastern", "Arabic music", "oriental", "Turkish folk"), "pop", (84, 126), 1.0, ("clarinet", "flute", "strings", "harp"), ("harp", "strings"), ("pulse", "strum"), ("double bass", "none"), ("darbuka",), STILL_CHORDS),
    "waltz": Genre(("waltz", "Viennese waltz", "three-four dance"), "classical", (96, 168), 0.35, ("strings", "clarinet", "piano", "flute"), ("strings", "piano", "harp"), ("waltz",), ("double bass",), ("none",), CLASSICAL_CHORDS, steps=12),
    "minuet": Genre(("classical", "baroque", "minuet", "chamber music"), "classical", (84, 132), 0.35, ("flute", "strings", "piano", "harp", "clarinet"), ("strings", "piano", "harp"), ("arpeggio", "block"), ("double bass", "none"), ("none",), CLASSICAL_CHORDS, steps=12),
    "orchestral": Genre(("orchestral", "symphonic", "film music", "cinematic orchestra"), "classical", (66, 144), 0.55, ("strings", "trumpet", "flute"), ("strings",), ("held", "pulse", "block"), ("double bass",), ("none", "timpani"), CLASSICAL_CHORDS),
    "piano solo": Genre(("piano solo", "solo piano piece", "piano music"), "classical", (56, 132), 0.5, ("piano",), ("piano",), ("arpeggio", "block"), ("none",), ("none",), CLASSICAL_CHORDS),
    "solo": Genre(("solo instrument", "unaccompanied solo", "solo melody"), "classical", (60, 126), 0.5, (*WINDS, *PLUCKED, *MALLETS, *VOICES, "strings", "electric guitar"), ("none",), ("block",), ("none",), ("none",), CLASSICAL_CHORDS),
    "lullaby": Genre(("lullaby", "music box tune", "children's music"), "classical", (60, 92), 0.2, (*MALLETS, "female voice", "flute"), ("celesta", "harp", "piano"), ("arpeggio", "waltz"), ("none",), ("none",), CLASSICAL_CHORDS, steps=12),
    "march": Genre(("march", "military march", "brass band", "parade music"), "classical", (104, 132), 0.15, ("trumpet", "flute"), ("trumpet", "clarinet"), ("offbeat", "pulse"), ("double bass",), ("march",), CLASSICAL_CHORDS),
}
# fmt: on


@dataclass(frozen=True)
class Kit:
    """A drum pattern of one bar, and how captions call its sound."""

    words: tuple[str, ...]
    strokes: Mapping[str, str]


# fmt: off
KITS: Mapping[str, Kit] = {
    "none": Kit((), {}),
    "backbeat": Kit(("drums", "drum kit", "steady drums", "live drums"), {"kick": "X.....x.X.x.....", "snare": "....X.......X..x", "hat": "x.x.x.x.x.x.x.x."}),
    "halftime": Kit(("drums", "slow drums", "soft drums"), {"kick": "X.........x.....", "snare": "........X.......", "hat": "x...x...x...x..."}),
    "driving": Kit(("driving drums", "loud drums", "pounding drums", "drums"), {"kick": "X.x.X...X.x.X...", "snare": "....X.......X.xx", "open hat": "X...X...X...X...", "tom": "..............x."}),
    "four on the floor": Kit(("four on the floor beat", "drum machine", "electronic drums", "dance beat"), {"kick": "X...X...X...X...", "clap": "....X.......X...", "open hat": "..x...x...x...x.", "shaker": "xxxxxxxxxxxxxxxx"}),
    "funk": Kit(("funky drums", "syncopated drums", "breakbeat"), {"kick": "X..x..X...x..X..", "snare": "....X..x.x..X..x", "hat": "x.xxx.xxx.xxx.xx"}),
    "latin": Kit(("Latin percussion", "congas and drums", "lively percussion", "timbales"), {"kick": "X.......X.......", "low conga": "..x...xx..x...xx", "high conga": "X..X..X.X..X..X.", "cowbell": "X...X.X.X...X.X.", "shaker": "x.x.x.x.x.x.x.x."}),
    "congas": Kit(("congas", "congas, cowbells and timbales", "bongos", "hand drums"), {"low conga": "X..x..xxX..x..xx", "high conga": ".xX.xX...xX.xX..", "cowbell": "X..X..X...X.X...", "timbale": "......xX......xX", "shaker": "x.xxx.xxx.xxx.xx"}),
    "darbuka": Kit(("darbuka", "doumbek", "frame drum", "Middle-Eastern drums"), {"dum": "X.......X.......", "tek": "..X.x.X...X.x.xx", "tambourine": "x...x.x.x...x.x."}),
    "swing": Kit(("brushed drums", "swing drums", "jazz drums"), {"hat": "x...x.x.x...x.x.", "snare": "......x.......x.", "kick": "x.......x......."}),
    "shuffle": Kit(("shuffle drums", "drums", "bluesy drums"), {"kick": "X.......X.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."}),
    "tambourine": Kit(("tambourine", "light percussion", "shaker"), {"tambourine": "....X.......X...", "shaker": "x.x.x.x.x.x.x.x."}),
    "timpani": Kit(("timpani", "orchestral percussion", "cymbals"), {"tom": "X.......X.....xx", "crash": "X..............."}),
    "march": Kit(("snare drums", "marching drums", "drum corps"), {"snare": "X.xxX.x.X.xxX.xx", "kick": "X.......X......."}),
}
# fmt: on
