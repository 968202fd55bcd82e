import argparse
import dataclasses

import pytest

from core.errors import TrainingError
from core.training.recipes import RECIPES, Recipe, add_recipe_options, changed_recipe


def changed(name: str, *options: str) -> Recipe:
    parser = argparse.ArgumentParser()
    add_recipe_options(parser)
    return changed_recipe(name, parser.parse_args(options))


def test_the_papers_recipe() -> None:
    paper = RECIPES["paper"]
    assert (paper.optimizer, paper.learning_rate, paper.batch_size) == ("sgd", 5e-4, 64)
    assert (paper.fine_tune, paper.schedule, paper.patience) == (True, "constant", 20)
    assert not RECIPES["frozen"].fine_tune


def test_each_field_but_what_makes_the_recipe_is_an_option() -> None:
    values = {"optimizer": "sgd", "schedule": "constant", "precision": "bfloat16"}
    for field in dataclasses.fields(Recipe)[2:]:
        value = values.get(field.name, "1" if field.name != "momentum" else "0.5")
        recipe = changed("frozen", f"--{field.name.replace('_', '-')}", value)
        assert str(getattr(recipe, field.name)).removesuffix(".0") == value
        assert recipe.name == "frozen"
        others = [
            name for name, same in recipe.to_json().items() if same != RECIPES["frozen"].to_json()[name]
        ]
        assert others in ([], [field.name])


def test_nothing_changed() -> None:
    assert changed("paper") is not RECIPES["paper"]
    assert changed("paper") == RECIPES["paper"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--optimizer", "lion"], "The recipe's optimizer is 'lion'; it must be sgd or adamw."),
        (["--precision", "int8"], "The recipe's precision is 'int8'; it must be float32 or bfloat16."),
        (["--schedule", "up"], "The recipe's schedule is 'up'; it must be constant or cosine."),
        (["--batch-size", "0"], "The recipe's batch_size is 0; it must be a whole number from 1."),
        (["--epochs", "-1"], "The recipe's epochs is -1; it must be a whole number from 0."),
        (["--patience", "-1"], "The recipe's patience is -1; it must be a whole number from 0."),
        (["--learning-rate", "nan"], "The recipe's learning_rate is nan; it must be a number above 0."),
        (["--weight-decay", "-1"], "The recipe's weight_decay is -1.0; it must be a number from 0."),
        (["--momentum", "1"], "The recipe's momentum is 1.0; it must be a number from 0 and below 1."),
    ],
)
def test_values_that_cannot_be(options: list[str], message: str) -> None:
    with pytest.raises(TrainingError) as raised:
        changed("frozen", *options)
    assert str(raised.value) == message


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match=r"There is no recipe 'best'\. The recipes are paper, frozen\."):
        changed("best")


def test_few_clips_get_more_epochs_unless_the_recipe_says_how_many() -> None:
    assert [changed("frozen").most_epochs(batches) for batches in (2, 16, 17, 40)] == [250, 32, 30, 30]
    assert changed("frozen", "--epochs", "7").most_epochs(2) == 7
    assert changed("paper").most_epochs(2) == 1000
