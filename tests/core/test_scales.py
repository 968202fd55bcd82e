import pytest

from core.scales import SCALE_TITLES, SCALE_WORDS, SCALES, clamp, describe


def test_every_scale_has_a_title_and_five_words() -> None:
    assert tuple(SCALE_WORDS) == tuple(SCALE_TITLES) == SCALES
    assert [len(set(words)) for words in SCALE_WORDS.values()] == [5, 5]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (-3.0, "no musicality"),
        (1.49, "no musicality"),
        (1.5, "poor"),
        (3.4, "fair"),
        (4.5, "excellent"),
        (9.0, "excellent"),
    ],
)
def test_describe_takes_the_nearest_point(value: float, word: str) -> None:
    assert describe("musical_impression", value) == word


def test_describe_names_the_scales_when_one_is_unknown() -> None:
    with pytest.raises(KeyError, match="musical_impression, textual_alignment"):
        describe("loudness", 3.0)


def test_clamp() -> None:
    assert [clamp(value) for value in (0.2, 3.3, 5.1)] == [1.0, 3.3, 5.0]
