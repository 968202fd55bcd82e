"""What the Training tab shows of runs, results and models."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.splits import Split
from core.training.run_status import BROKEN_OFF, DONE, FAILED, RUNNING, STOPPED, Run, RunOrder
from core.training.shelf import Model
from webapp import training_views as views

HOSTILE = '<img src=x onerror="alert(1)">'
FIGURES = {"n": 12, "mse": 0.41, "lcc": 0.7, "srcc": 0.655, "srcc_ci95": [0.25, 0.8125], "ktau": -0.1}


def run(state: str, **more: Any) -> Run:
    order = RunOrder(Path(f"/data/{HOSTILE}"), split=Split("systems", 7))
    return Run("one", Path("one"), order, state, **more)


def model(name: str = "one", **more: Any) -> Model:
    """A model that was measured on one scale only."""
    metrics = {
        "part": "test",
        "utterance": {"musical_impression": FIGURES},
        "system": {"musical_impression": {**FIGURES, "n": 5}},
        "not_measured": {"system": {"textual_alignment": "All scores of one side are the same."}},
        "system_truth": "the means of the clips measured",
        "comparison": "The published rows are no comparison.",
    }
    given = {
        "run": {
            "recipe": {"name": "frozen"},
            "tower": {"name": "small"},
            "split": {"kind": "systems"},
            "seed": 7,
            "data": {
                "name": HOSTILE,
                "sha256": "0123456789abcdef",
                "parts": {"train": 60, "dev": 0, "test": 12},
            },
        },
        "metrics": metrics,
        "demo": True,
        "caveat": "made with simulated ratings",
        "problem": "",
        **more,
    }
    return Model(name, Path(name), datetime(2026, 3, 1, 12, 30, tzinfo=UTC), **given)


def test_before_the_first_run_it_says_what_to_do() -> None:
    assert "Choose below what to train on" in views.run_card(None)


@pytest.mark.parametrize(
    ("eta_s", "left"),
    [
        (None, ""),
        (0.2, ", up to 1 s left"),
        (80, ", up to 80 s left"),
        (95, ", up to 2 min left"),
        (9e3, ", up to 2 h left"),
    ],
)
def test_a_run_shows_how_far_it_is(eta_s: float | None, left: str) -> None:
    shown = views.run_card(run(RUNNING, phase="training", message="Epoch 3", share=0.254, eta_s=eta_s))
    assert f"<p>Training{left}</p>" in shown
    assert 'aria-valuenow="25"' in shown
    assert 'style="width:25%"' in shown


@pytest.mark.parametrize(
    ("state", "title", "message"),
    [
        (DONE, "one is trained", False),
        (STOPPED, "one was stopped after epoch 3 of 9", False),
        (FAILED, "one failed", True),
        (BROKEN_OFF, "one broke off", True),
    ],
)
def test_how_a_run_ended(state: str, title: str, message: bool) -> None:
    shown = views.run_card(run(state, message=HOSTILE, epoch=3, epochs=9))
    assert f"<h2>{title}</h2>" in shown
    assert 'role="status"' in shown
    assert ("<pre" in shown) == message
    assert "<img" not in shown


def test_only_unfinished_runs_can_go_on_or_be_deleted() -> None:
    assert views.unfinished_list([run(RUNNING), run(DONE)], None) == ""
    shown = views.unfinished_list([run(STOPPED, epoch=3, epochs=9)], HOSTILE)
    for action, name in (("resume", "one"), ("delete", "one"), ("restore", "&lt;img")):
        assert f'data-action="{action}" data-name="{name}' in shown
    assert "brought back until another run is deleted" in shown


def test_table_one_stands_beside_the_papers() -> None:
    shown = views.result(model())
    assert "<b>0.655</b> <small>0.250 to 0.812</small>" in shown
    assert "<td>0.633</td>" in shown
    assert "<b>-0.100</b>" in shown
    assert shown.count("not measured") == 8
    assert "Utterance level, n = 12" in shown
    assert "System level, n = 5" in shown
    for note in (
        "Measured on the test part.",
        "System truth: the means of the clips measured.",
        "The published rows are no comparison.",
        "Not measured: system: textual_alignment: All scores of one side are the same.",
        "Not real in what it learned from: made with simulated ratings.",
        "(0123456789ab); recipe frozen; tower small; split systems, seed 7; clips: 60 train, 12 test",
    ):
        assert note in shown
    assert "<img" not in shown


def test_without_a_model_it_says_what_will_stand_there() -> None:
    assert "Table I of the MusicEval paper stands here" in views.result(None)


def test_a_damaged_model_shows_its_problem_and_cannot_be_used() -> None:
    damaged = model(problem="It is damaged.")
    assert "It is damaged." in views.result(damaged)
    assert "data-action" not in views.model_list([damaged], None, False, "demo").split("demo")[0]


def test_the_list_says_which_model_judges() -> None:
    models = [model("new"), model("old", run={}, metrics={})]
    shown = views.model_list(models, "old", True, "demo-small")
    assert shown.count("judges now") == 1
    uses = [part.split('"')[0] for part in shown.split('data-action="use" data-name="')[1:]]
    assert uses == ["new"]
    assert 'data-action="base"' in shown
    assert 'data-action="back"' in shown
    assert "2026-03-01 12:30 UTC · data 0123456789ab" in shown
    assert "2026-03-01 12:30 UTC · trained elsewhere" in shown
    assert 'data-action="back"' not in views.model_list(models, None, False, "demo-small")
