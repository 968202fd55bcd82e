from typing import Any
from xml.etree import ElementTree

from core.evaluation import Measured
from core.scales import MUSICEVAL
from core.training.recipe import RECIPES
from core.training.report import draw_curves, draw_scatter, model_card
from tests.core.test_evaluation import predictions

FIGURES = {"n": 40, "mse": 0.5, "lcc": 0.9, "srcc": 0.8, "ktau": 0.7}
FIGURES |= {f"{name}_ci95": [0.1, 0.95] for name in ("mse", "lcc", "srcc", "ktau")}  # type: ignore[dict-item]
RUN: dict[str, Any] = {
    "recipe": RECIPES["paper"].to_json() | {"epochs": 7},
    "tower": {"name": "small", "sha256": "t" * 64},
    "split": {"kind": "systems", "seed": 4},
    "seed": 4,
    "data": {"sha256": "d" * 64, "clips": 60, "systems": 12, "parts": {"train": 15, "dev": 5, "test": 40}},
    "processes": 2,
    "device": "cuda",
    "versions": {"musiceval": "0.1.0", "torch": "2.12.1"},
}
METRICS: dict[str, Any] = {
    "part": "test",
    "held_out": {
        "data": "the test part",
        "which": "clips of systems that the model was not trained on",
        "no_range": "",
        "n_clips": 40,
        "n_systems": 2,
        "interval_level": 0.9,
        "absolute_error_quantile": {"musical_impression": 0.625, "textual_alignment": 1.2},
    },
    "utterance": {"musical_impression": FIGURES},
    "not_measured": {"system": {"musical_impression": "2 points are too few to correlate."}},
    "controls": {"mean": {"utterance": {"musical_impression": {"n": 40, "mse": 0.6}}}},
    "epochs": 7,
    "best_epoch": 3,
    "learned": True,
    "doubts": ["The best epoch is chosen mostly by chance."],
}


def card(run: dict[str, Any] | None = None, metrics: dict[str, Any] | None = None, caveat: str = "") -> str:
    stored = METRICS | (metrics or {})
    measured = Measured.from_json(stored, MUSICEVAL)
    return model_card("judge-1", RUN | (run or {}), stored, measured, "the rated clips X", caveat)


def test_the_card_says_what_was_done_and_measured() -> None:
    text = card()
    for sentence in (
        "# judge-1: a judge of generated music\n",
        "- The rated clips X: 60 clips of 12 systems.",
        "- Split by system: no system has clips in two parts: 15 train, 5 dev, 40 test; seed 4.",
        "- Recipe `paper`. Towers and heads are trained, to the least mean absolute error of all scores.",
        "learning rate 0.0005; schedule constant; momentum 0.9;",
        "epochs 7 (the recipe has 1000); patience 20;",
        "- 7 epochs; the weights are those after epoch 3.",
        "- Seed 4, 2 process(es) on cuda; musiceval 0.1.0, torch 2.12.1.",
        "For 90% of 40 clips of systems that the model was not trained on (2 systems), the raters' mean is at most "
        "0.62 (musical impression) and 1.20",
        "| musical impression, training mean | utterance | 40 | 0.600 | – | – | – |",
        "- The best epoch is chosen mostly by chance.",
        "| musical impression | utterance | 40 | 0.500 [0.100, 0.950] | 0.900 [0.100, 0.950] |",
        "Musical impression, system level, is not measured: 2 points are too few to correlate.",
        "- Figures over 2 systems are little more than hints.",
    ):
        assert sentence in text
    assert "Not an expert panel" not in text
    assert "Not trained" not in text
    assert "were in training" not in text


def test_a_caveat_stands_first() -> None:
    text = card(caveat="trained on simulated ratings")
    assert text.splitlines()[2] == ("**Not an expert panel: trained on simulated ratings.** Do not report its scores.")


def test_limits_follow_from_the_run() -> None:
    limit = "Systems and prompts of the measured clips were in training"
    assert limit in card({"split": {"kind": "random", "seed": 0}})
    assert limit not in card()


def test_without_a_range_or_an_interval_there_is_the_reason() -> None:
    held_out = METRICS["held_out"] | {"absolute_error_quantile": None, "no_range": "5 held-out clips are too few."}
    figures = {name: value for name, value in FIGURES.items() if not name.endswith("_ci95")}
    text = card(metrics={"held_out": held_out, "utterance": {"musical_impression": figures}})
    assert "Its scores have no range: 5 held-out clips are too few." in text
    assert "| musical impression | utterance | 40 | 0.500 | 0.900 | 0.800 | 0.700 |" in text


def test_what_learned_nothing_says_so_first() -> None:
    text = card(metrics={"learned": False, "doubts": ["It is not trained."]})
    assert text.splitlines()[2] == "**Not trained: It is not trained.**"


def test_without_any_figure_there_is_no_table() -> None:
    assert "|---" not in card(metrics={"utterance": {}})


LOG = [
    {
        "epoch": epoch,
        "train_l1": 1 / epoch,
        "dev_l1": 2 / epoch,
        "dev_l1_musical_impression": 1.5 / epoch,
        "dev_l1_textual_alignment": 2.5 / epoch,
    }
    for epoch in (1, 2, 3)
]


def words(svg: str) -> set[str]:
    root = ElementTree.fromstring(svg)
    return {element.text.strip() for element in root.iter("{http://www.w3.org/2000/svg}text") if element.text}


def test_curves_are_named() -> None:
    shown = words(draw_curves(LOG, MUSICEVAL, 2))
    assert {"training", "dev", "dev, musical impression", "dev, textual alignment", "epoch"} <= shown
    assert "epoch 2 is kept" in shown
    assert {"1", "2", "3"} <= shown


def test_without_a_dev_part_there_is_one_curve() -> None:
    shown = words(draw_curves([{"epoch": 1, "train_l1": 0.5}], MUSICEVAL, 1))
    assert "training" in shown
    assert "dev" not in shown


def test_the_scatter_plot_has_both_scales_and_a_ring_for_each_system() -> None:
    svg = draw_scatter(predictions(20, 4))
    assert {"Musical impression", "Textual alignment", "rated", "predicted"} <= words(svg)
    assert svg.count("<use ") >= 2 * (20 + 4)


def test_the_same_bytes_again() -> None:
    assert draw_curves(LOG, MUSICEVAL, 2) == draw_curves(LOG, MUSICEVAL, 2)
    assert draw_scatter(predictions(20, 4)) == draw_scatter(predictions(20, 4))
