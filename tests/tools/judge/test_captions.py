import csv
import re

import pytest

from tools.judge.captions import MOODS, PROGRAMS, STYLES, Content, instrument, sentence, tags
from tools.judge.scores import DRUMS

FUNCTION_WORDS = {"a", "an", "and", "for", "in", "of", "on", "with", "the", "be", "is", "by", "to", "this"}


def words(text):
    return {*re.findall(r"[a-z]+", text.lower())}


def instruments():
    return words(re.sub(r"[-\d]", "", PROGRAMS))


def test_a_sentence_and_tags_say_what_is_known():
    content = Content("calm", "quartet", ("violin", "viola", "cello"), 68, "D minor")
    assert sentence(content) == (
        "A calm and unhurried classical movement for violin, viola and cello in a slow tempo in D minor."
    )
    assert tags(content) == "relaxing, peaceful, soothing, chamber, orchestral, symphonic, violin, viola, cello, adagio"


def test_what_is_not_known_is_not_said():
    assert sentence(Content(style="aria", instruments=("flute",))) == "An opera aria for solo flute."
    assert tags(Content(instruments=("drums",))) == "drums"


@pytest.mark.parametrize(("program", "name"), [(DRUMS, "drums"), (0, "piano"), (5, "electric piano"), (127, "bells")])
def test_programs_have_names(program, name):
    assert instrument(program) == name


def test_the_two_ways_share_no_word():
    for said, tagged in [*MOODS.values(), *STYLES.values()]:
        assert not (words(said) & words(tagged)) - FUNCTION_WORDS - instruments()


def test_contents_share_a_mood_a_style_or_an_instrument():
    flute, duet = Content(instruments=("flute",)), Content(instruments=("harp", "flute"))
    assert flute.shares(duet)
    assert not flute.shares(Content(instruments=("harp",)))
    assert Content("calm", "acoustic").shares(Content("calm", "electronic"))
    assert not Content("calm").shares(Content("tender"))


@pytest.mark.reference
def test_captions_lend_no_word_from_the_prompts_that_alignment_is_checked_with(reference_data):
    with (reference_data / "audio/ttm/manifest.csv").open(encoding="utf-8") as file:
        burnt = set().union(*(words(row["prompt"]) for row in csv.DictReader(file)))
    vocabulary = set().union(*(words(text) for pair in [*MOODS.values(), *STYLES.values()] for text in pair))
    assert not vocabulary & burnt - FUNCTION_WORDS - instruments()
