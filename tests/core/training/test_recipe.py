import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from core.checkpoint import ACTIVATIONS
from core.errors import TrainingError
from core.splits import Split
from core.training.recipe import RECIPES, TrainingPlan, changeable_fields, changed_recipe


def test_the_papers_recipe() -> None:
    paper = RECIPES["paper"]
    assert (paper.optimizer, paper.learning_rate, paper.batch_size) == ("sgd", 5e-4, 64)
    assert (paper.fine_tune, paper.schedule, paper.patience) == (True, "constant", 20)
    assert not RECIPES["frozen"].fine_tune


def test_the_released_recipe_is_the_papers_with_affine_heads() -> None:
    paper, released = RECIPES["paper"], RECIPES["released"]
    assert released == dataclasses.replace(paper, name="released", activation="affine")
    assert (paper.activation, paper.start) == ("relu", "plain")
    assert {recipe.activation for recipe in RECIPES.values()} == set(ACTIVATIONS)


def test_each_field_but_what_makes_the_recipe_can_be_changed() -> None:
    names = [field.name for field in changeable_fields()]
    assert names == [name for name in RECIPES["paper"].to_json() if name not in ("name", "fine_tune")]
    changed = changed_recipe("frozen", {"epochs": 7, "momentum": None, "optimizer": "sgd"})
    assert changed.to_json() == RECIPES["frozen"].to_json() | {"epochs": 7, "optimizer": "sgd"}
    assert changed_recipe("paper", {}) == RECIPES["paper"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimizer", "lion", "The recipe's optimizer is 'lion'; it must be sgd or adamw."),
        ("precision", "int8", "The recipe's precision is 'int8'; it must be float32 or bfloat16."),
        ("schedule", "up", "The recipe's schedule is 'up'; it must be constant or cosine."),
        ("batch_size", 0, "The recipe's batch_size is 0; it must be a whole number from 1."),
        ("epochs", -1, "The recipe's epochs is -1; it must be a whole number from 0."),
        ("patience", -1, "The recipe's patience is -1; it must be a whole number from 0."),
        ("learning_rate", float("nan"), "The recipe's learning_rate is nan; it must be a number above 0."),
        ("weight_decay", -1.0, "The recipe's weight_decay is -1.0; it must be a number from 0."),
        ("momentum", 1.0, "The recipe's momentum is 1.0; it must be a number from 0 and below 1."),
    ],
)
def test_values_that_cannot_be(field: str, value: Any, message: str) -> None:
    with pytest.raises(TrainingError) as raised:
        changed_recipe("frozen", {field: value})
    assert str(raised.value) == message


def test_an_unknown_recipe_is_answered_with_the_known_ones() -> None:
    with pytest.raises(TrainingError, match=r"There is no recipe 'best'\. The recipes are paper, released, frozen\."):
        changed_recipe("best", {})
    with pytest.raises(TrainingError, match=r"A recipe has no colour\. It has optimizer, learning_rate"):
        changed_recipe("frozen", {"colour": "blue"})


def test_few_clips_get_more_epochs_unless_the_recipe_says_how_many() -> None:
    assert [RECIPES["frozen"].most_epochs(batches) for batches in (2, 16, 17, 40)] == [250, 32, 30, 30]
    assert changed_recipe("frozen", {"epochs": 7}).most_epochs(2) == 7
    assert RECIPES["paper"].most_epochs(2) == 1000


def test_a_plan_is_stored_and_given_as_options() -> None:
    recipe = changed_recipe("paper", {"learning_rate": 1e-5, "batch_size": 8})
    plan = TrainingPlan(Path("/data/x.csv"), recipe, "music-audioset", Split("systems", 7, folds=5, fold=2))
    stored = json.loads(json.dumps(plan.to_json()))
    assert TrainingPlan.from_json(stored) == plan
    assert stored["seed"] == 7
    before = {key: value for key, value in stored["recipe"].items() if key not in ("activation", "start")}
    old = TrainingPlan.from_json(stored | {"recipe": before}).recipe
    assert (old.activation, old.start) == ("relu", "mean")  # as it was when there was no choice
    assert plan.arguments() == [
        *("--data=/data/x.csv", "--recipe=paper", "--tower=music-audioset", "--split=systems", "--seed=7"),
        *("--test-share=0.15", "--dev-share=0.1", "--folds=5", "--fold=2"),
        *("--learning-rate=1e-05", "--batch-size=8"),
    ]


def test_an_order_of_before_names_its_recipe_and_what_differs() -> None:
    order = {"data": "/x", "recipe": "frozen", "tower": "small", "split": Split().to_json()}
    assert TrainingPlan.from_json(order | {"fields": {}}) == TrainingPlan(Path("/x"))
    plan = TrainingPlan.from_json(order | {"fields": {"batch-size": "8", "weight-decay": "0.5"}})
    assert (plan.recipe.batch_size, plan.recipe.weight_decay) == (8, 0.5)
