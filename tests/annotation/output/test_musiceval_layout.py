"""Names in the layout of the release."""

from annotation.output.musiceval_layout import name_clips
from annotation.schema import Clip


def clip(name: str, system_id: int, prompt_id: int) -> Clip:
    return Clip(name=name, system_id=system_id, prompt_id=prompt_id)


def wavs(*clips: Clip) -> list[str]:
    return [named.wav for named in name_clips(clips).values()]


def test_numbers_in_the_order_of_the_study() -> None:
    assert wavs(clip("a", 7, 3), clip("b", 7, 9), clip("c", 2, 9), clip("d", 2, 3)) == [
        "S002_P001.wav",
        "S002_P002.wav",
        "S003_P002.wav",
        "S003_P001.wav",
    ]


def test_numbers_of_the_demo_page_systems_are_left_out() -> None:
    names = wavs(*(clip(f"c{number}", number, 1) for number in range(31)))
    numbers = [int(name[1:4]) for name in names]
    assert numbers[:5] == [2, 3, 4, 5, 7]
    assert {1, 6, 13, 17, 18, 33}.isdisjoint(numbers)
    assert len(set(numbers)) == 31


def test_a_second_take_has_a_prompt_number_of_its_own() -> None:
    clips = [clip("a", 1, 1), clip("b", 1, 1), clip("c", 2, 1), clip("d", 2, 1), clip("e", 1, 2)]
    assert wavs(*clips) == [
        "S002_P001.wav",
        "S002_P002.wav",
        "S003_P001.wav",
        "S003_P002.wav",
        "S002_P003.wav",
    ]


def test_what_comes_later_changes_no_number() -> None:
    clips = [clip(f"c{number}", number % 3, number % 5) for number in range(40)]
    whole = name_clips(clips)
    assert {name: whole[name] for name in name_clips(clips[:17])} == name_clips(clips[:17])
    assert len({named.wav for named in whole.values()}) == 40
