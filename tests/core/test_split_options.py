"""Options of a split, as text and as a split."""

import argparse

import pytest

from core.command import Parser
from core.errors import DataError
from core.split_options import add_split_options, split_from, split_if_given
from core.splits import Split


def parse(*words: str, default: str | None = None) -> argparse.Namespace:
    parser = Parser(prog="try")
    add_split_options(parser, default)
    return parser.parse_args(words)


def test_options_are_the_fields_of_a_split() -> None:
    assert split_from(parse()) == Split()
    words = "--split systems --seed 3 --dev-share 0.2 --folds 5 --fold 4"
    assert split_from(parse(*words.split())) == Split("systems", 3, dev_share=0.2, folds=5, fold=4)
    assert split_from(parse("--test-share", "0.3", default="prompts")) == Split("prompts", test_share=0.3)


def test_no_split_is_none() -> None:
    assert split_if_given(parse()) is None
    assert split_if_given(parse("--split", "random")) == Split()
    with pytest.raises(DataError, match=r"^A seed, shares or folds need --split, one of official, random, "):
        split_if_given(parse("--folds", "3"))


def test_mistakes(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse("--split", "halves")
    assert stopped.value.code == 2
    assert "invalid choice: 'halves'" in capfd.readouterr().err
    with pytest.raises(DataError, match="There is no fold 5 of 5"):
        split_from(parse("--folds", "5", "--fold", "5"))
