import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import TrainingError
from core.heads import ACTIVATIONS
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
    assert names == [name for name in RECIPES["paper"].to_json() if name not in ("name", "fine_tune", "sequence")]
    changed = changed_recipe("frozen", {"epochs": 7, "momentum": None, "optimizer": "sgd"})
    assert changed.to_json() == RECIPES["frozen"].to_json() | {"epochs": 7, "optimizer": "sgd"}
    assert changed_recipe("paper", {}) == RECIPES["paper"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimizer", "lion", "The recipe's optimizer is 'lion'; it must be sgd or adam or adamw."),
        ("precision", "int8", "The recipe's precision is 'int8'; it must be float32 or tf32 or bfloat16."),
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
    with pytest.raises(
        TrainingError, match=r"There is no recipe 'best'\. The recipes are paper, released, frozen, ordinal\."
    ):
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
    assert TrainingPlan.from_json(order | {"fields": {}}) == TrainingPlan(Path("/x"), RECIPES["frozen"], "small")
    plan = TrainingPlan.from_json(order | {"fields": {"batch-size": "8", "weight-decay": "0.5"}})
    assert (plan.recipe.batch_size, plan.recipe.weight_decay) == (8, 0.5)


def test_what_hears_no_frames_has_none_of_their_options() -> None:
    with pytest.raises(TrainingError) as raised:
        changed_recipe("frozen", {"attention": True, "hidden": 8, "loss": "bins"})
    assert str(raised.value) == (
        "The heads of the recipe frozen hear no frames, so it has no attention, hidden, loss bins. Take ordinal."
    )
    assert changed_recipe("frozen", {"loss": "squared", "ranking": 0.5}).ranking == 0.5


def test_recipes_stored_before_there_was_a_choice_are_what_they_were() -> None:
    frozen = TrainingPlan(Path("/x"), RECIPES["frozen"])
    stored = frozen.to_json()
    since = "sequence loss ranking margin pair_weight stop_on attention product tokens hidden bound dropout seeds"
    new = since.split()
    before = {key: value for key, value in stored["recipe"].items() if key not in new}
    assert TrainingPlan.from_json(stored | {"recipe": before}) == frozen


def test_a_part_that_is_switched_off_is_an_option_of_the_command() -> None:
    plan = TrainingPlan(Path("/x"), changed_recipe("ordinal", {"attention": False, "loss": "l1"}))
    assert plan.arguments()[-2:] == ["--loss=l1", "--attention=False"]


def test_a_plan_of_several_sources_is_stored_and_given_as_options() -> None:
    recipe = changed_recipe("ordinal", {"margin": 0.5})
    plan = TrainingPlan(Path("/a.csv"), recipe, "small", Split(), (Path("/b.csv"),), (1.0, 0.1), (Path("/p.csv"),))
    assert TrainingPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.arguments()[:6] == [
        *("--data=/a.csv", "--data=/b.csv", "--pairs=/p.csv", "--weight=1.0", "--weight=0.1", "--recipe=ordinal")
    ]


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, 1.0, 1.0)])
def test_weights_are_one_for_each_table(weights: tuple[float, ...]) -> None:
    with pytest.raises(TrainingError, match=r"^There are 2 tables of rated clips and the weights 1\.0"):
        TrainingPlan(Path("/a.csv"), more_data=(Path("/b.csv"),), weights=weights)


def test_who_trains_towers_learns_from_one_table() -> None:
    with pytest.raises(TrainingError, match=r"^The recipe paper learns from one table .* frozen or ordinal"):
        TrainingPlan(Path("/a.csv"), RECIPES["paper"], pairs=(Path("/p.csv"),))
    with pytest.raises(TrainingError, match=r"^The recipe paper has too little of a batch in memory to rank it"):
        changed_recipe("paper", {"ranking": 1.0})
