"""What the page Training shows of runs, results and models, and what its buttons do; without training."""

import dataclasses
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from annotation.database import Database
from core.controls import Controls
from core.errors import CheckpointError, DataError, StudyError, TrainingError
from core.evaluation import Measured
from core.metrics import Agreement
from core.scales import MUSICEVAL, Scale
from core.scorer import Scorer
from core.splits import KINDS, Split
from core.towers import TOWERS
from core.training.manager import BROKEN_OFF, DONE, FAILED, RUNNING, STOPPED, Run, RunManager
from core.training.recipe import RECIPES, RunProgress, TrainingPlan
from core.training.registry import Model, ModelRegistry, RunFacts
from tests.rated import write_rated
from tests.waiting import until
from tests.webapp.layouts import laid_out
from tests.webapp.studies import make_study
from webapp import training, training_plots
from webapp.judge import Judge
from webapp.listening_api import StudyStore
from webapp.training import FROM_SERVER, FROM_STUDY, TrainingPage

HOSTILE = '<img src=x onerror="alert(1)">'
FIGURES = Agreement(12, {"mse": 0.41, "lcc": 0.7, "srcc": 0.655, "ktau": -0.1}, {"srcc": (0.25, 0.8125)})
REASON = "All scores of one side are the same."
MODEL = Model(
    "one",
    Path("one"),
    datetime(2026, 3, 1, 12, 30, tzinfo=UTC),
    RunFacts("frozen", "small", "systems", "7", HOSTILE, "0123456789abcdef", {"train": 60, "dev": 0, "test": 12}),
    Measured(  # on one scale only
        MUSICEVAL,
        {
            ("utterance", "musical_impression"): FIGURES,
            ("system", "musical_impression"): dataclasses.replace(FIGURES, n=5),
        },
        {("system", "textual_alignment"): REASON},
    ),
    part="test",
    system_truth="the means of the clips measured",
    comparison="The published rows are no comparison.",
    caveat="made with simulated ratings",
)
NOTHING = (sys.executable, "-S", "-c", "")  # a trainer that ends at once


def run(state: str, **more: Any) -> Run:
    plan = TrainingPlan(Path(f"/data/{HOSTILE}"), split=Split("systems", 7))
    return Run("one", Path("one"), plan, state, RunProgress(**more))


def test_every_choice_is_one_that_training_takes() -> None:
    assert sorted(training.RECIPE_CHOICES.values()) == sorted([*RECIPES, training.CALIBRATE])
    assert sorted(training.TOWER_CHOICES.values()) == sorted({*TOWERS} - {"small"})  # of models of before
    assert sorted(training.SPLIT_CHOICES.values()) == sorted(KINDS)


def test_before_the_first_run_and_model_it_says_what_to_do() -> None:
    assert "Choose below what to train on" in training.run_card(None)
    assert "Table I of the MusicEval paper stands here" in training.result(None)


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
    shown = training.run_card(run(RUNNING, phase="training", message="Epoch 3", share=0.254, eta_s=eta_s))
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
    shown = training.run_card(run(state, message=HOSTILE, epoch=3, epochs=9))
    assert f"<h2>{title}</h2>" in shown
    assert 'role="status"' in shown
    assert ("<pre" in shown) == message
    assert "<img" not in shown


def test_only_unfinished_runs_can_go_on_or_be_deleted() -> None:
    assert training.unfinished_list([run(RUNNING), run(DONE)], None).strip() == ""
    shown = training.unfinished_list([run(STOPPED, epoch=3, epochs=9)], HOSTILE)
    for action, name in (("resume", "one"), ("delete", "one"), ("restore", "&lt;img")):
        assert f'data-action="{action}" data-name="{name}' in shown
    assert "brought back until another run is deleted" in shown


def test_table_one_stands_beside_the_papers() -> None:
    shown = training.result(MODEL)
    assert "<b>0.655</b> <small>0.250 to 0.812</small>" in shown
    assert "<td>0.633</td>" in shown
    assert "<b>-0.100</b>" in shown
    assert shown.count("not measured") == 8 + 1
    assert "Utterance level, n = 12" in shown
    assert "System level, n = 5" in shown
    for note in (
        "Measured on the test part.",
        "System truth: the means of the clips measured.",
        "The published rows are no comparison.",
        f"Textual alignment, system level, is not measured: {REASON}",
        "Not real in what it learned from: made with simulated ratings.",
        "(0123456789ab); recipe frozen; tower small; split systems, seed 7; clips: 60 train, 12 test",
    ):
        assert note in shown
    assert "<img" not in shown


def test_a_third_scale_has_a_table_without_published_figures() -> None:
    energy = Scale("energy", "Energy", "How much drive has it?", ("none", "little", "some", "much", "full"))
    found = {(level, "energy"): FIGURES for level in ("utterance", "system")}
    shown = training.result(dataclasses.replace(MODEL, measured=Measured((*MUSICEVAL, energy), found)))
    table = shown.split("<caption>Energy</caption>")[1].split("</table>")[0]
    assert table.count("<b>0.655</b>") == 2
    assert table.count("<td>–</td>") == 16


def test_doubts_stand_before_a_model_is_used() -> None:
    doubted = dataclasses.replace(MODEL, doubts=(f"It is not trained. {HOSTILE}",))
    shown = training.model_list([doubted], None, False, "demo-small")
    asked = shown.split("<summary>Use this model…</summary>")[1].split("</details>")[0]
    assert "It is not trained." in asked
    assert 'data-action="use" data-name="one"' in asked
    assert "<img" not in shown
    assert "It is not trained." in training.result(doubted)
    assert "<summary>" not in training.model_list([MODEL], None, False, "demo-small")


def test_controls_stand_below_the_models_own_figures() -> None:
    known = Agreement(12, {"mse": 0.3, "lcc": 0.9, "srcc": 0.777, "ktau": 0.6})
    system = Measured(MUSICEVAL, {("utterance", "musical_impression"): known})
    cosine = Measured(MUSICEVAL, {("utterance", "textual_alignment"): Agreement(12, {"srcc": 0.123})})
    controls = Controls({"system": system, "cosine": cosine}, {"mean": "none was kept."})
    shown = training.result(dataclasses.replace(MODEL, controls=controls, kept="epoch 3 of 9 is kept"))
    assert "training mean" in shown
    assert "<td>0.777</td>" in shown
    assert "Plain cosine" in shown
    assert "<td>0.123</td>" in shown
    assert "There is no training mean beside it: none was kept." in shown
    assert "Report figures on held-out systems, by folds: --split systems --folds 5." in shown
    assert "Who knows only which system made a clip does as well: musical impression, utterance level" in shown
    assert "epoch 3 of 9 is kept" in shown


def test_what_learned_nothing_is_not_called_trained() -> None:
    shown = training.run_card(run(DONE, phase="unlearned"))
    assert "one has ended, and nothing was learned" in shown
    assert "is trained" not in shown


def test_a_damaged_model_shows_its_problem_and_cannot_be_used() -> None:
    damaged = dataclasses.replace(MODEL, problem="It is damaged.")
    assert "It is damaged." in training.result(damaged)
    assert 'data-action="use"' not in training.model_list([damaged], None, False, "demo").split("demo")[0]


def test_the_list_says_which_model_judges() -> None:
    new, old = (dataclasses.replace(MODEL, name=name) for name in ("new", "old"))
    models = [new, dataclasses.replace(old, run=None, measured=Measured(MUSICEVAL, {}))]
    shown = training.model_list(models, "old", True, "demo-small")
    assert shown.count("judges now") == 1
    assert re.findall(r'data-action="use" data-name="(\w+)', shown) == ["new"]
    assert 'data-action="base"' in shown
    assert 'data-action="back"' in shown
    assert "2026-03-01 12:30 UTC · &lt;img src=x onerror=&#34;alert(1)&#34;&gt;, 72 clips" in shown
    assert "2026-03-01 12:30 UTC · data that it does not name" in shown
    assert "Musical impression: <b>0.66 by clip, 0.66 by system</b>" in shown
    assert 'data-action="back"' not in training.model_list(models, None, False, "demo-small")


@dataclasses.dataclass
class House:
    judge: Judge
    runs: RunManager
    store: StudyStore
    page: TrainingPage


@pytest.fixture
def house(tmp_path: Path, scorer: Scorer, random_checkpoint: Path) -> Iterator[House]:
    """With one model."""
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    shutil.copytree(random_checkpoint, tmp_path / "models" / "one")
    judge = Judge(scorer, ModelRegistry(tmp_path / "models"))
    runs = RunManager(tmp_path / "models", tmp_path / "cache", NOTHING)
    store = StudyStore(database, tmp_path)
    with laid_out():
        page = TrainingPage(judge, runs, store)
    yield House(judge, runs, store, page)
    database.close()


def test_a_run_from_a_folder_is_ordered_as_chosen(house: House, tmp_path: Path) -> None:
    data = write_rated(tmp_path / "rated", clips=12)
    given = (FROM_SERVER, None, f" {data} ", " mine ", "paper", "music-audioset", "prompts", 3, "")
    shown = begin(house.page, *given)
    assert "mine" in shown[house.page.run]
    (run,) = house.runs.all()
    plan = TrainingPlan(data, RECIPES["paper"], "music-audioset", Split("prompts", 3))
    assert (run.name, run.plan) == ("mine", plan)


def test_doubts_are_said_before_a_run_starts(house: House, tmp_path: Path) -> None:
    data, page = write_rated(tmp_path / "rated", clips=12), house.page
    chosen = (FROM_SERVER, None, str(data), "mine", "frozen", "small", "random", 0, "")
    shown = page.start(*chosen, None)
    assert house.runs.all() == []
    assert "It may learn little more than the mean: 9 training clips are too few" in shown[page.doubts]
    other = (*chosen[:-2], 1, "")
    again = page.start(*other, shown[page.doubted])  # something else is ordered: its doubts come first
    assert house.runs.all() == []
    shown = page.start(*other, again[page.doubted])
    assert (shown[page.doubts], shown[page.doubted]) == ("", None)
    assert [run.plan.split.seed for run in house.runs.all()] == [1]


def test_the_judge_in_use_is_calibrated(house: House, tmp_path: Path) -> None:
    page, data = house.page, write_rated(tmp_path / "rated", clips=24)
    hidden = page.choose_recipe(training.CALIBRATE)
    assert [hidden[part]["visible"] for part in (page.tower, page.split)] == [False, False]
    assert page.choose_recipe("frozen")[page.tower]["visible"]
    chosen = (FROM_SERVER, None, str(data), "", training.CALIBRATE, "ears", "random", 1, "")
    house.judge.activate("one")
    shown = page.start(*chosen, None)
    assert "24 clips tell an SRCC to about" in shown[page.doubts]
    page.start(*chosen, shown[page.doubted])
    (run,) = house.runs.all()
    assert run.name.endswith("-calibrated")
    assert (run.plan.judge, run.plan.split.seed) == (house.judge.registry.model("one").folder, 1)
    few = write_rated(tmp_path / "few", clips=19)
    with pytest.raises(DataError, match="1 more rated clip"):
        page.start(FROM_SERVER, None, str(few), *chosen[3:], None)


def test_what_cannot_be_trained_does_not_start(house: House, tmp_path: Path) -> None:
    data = write_rated(tmp_path / "rated", clips=4)
    with pytest.raises(DataError, match="This data cannot be trained on"):
        house.page.start(FROM_SERVER, None, str(data), *HOW, None)
    assert house.runs.all() == []


def begin(page: TrainingPage, *chosen: Any) -> dict[Any, Any]:
    """Start a run although there are doubts."""
    shown = page.start(*chosen, None)
    return page.start(*chosen, shown[page.doubted])


HOW = ("", "frozen", "small", "random", None, "")


@pytest.mark.parametrize("folder", ["", "  ", "/nowhere/at/all", "\0", None])
def test_nothing_starts_from_nowhere(house: House, folder: str) -> None:
    with pytest.raises(TrainingError, match="There is nothing on the server at"):
        house.page.start(FROM_SERVER, None, folder, *HOW, None)
    assert house.runs.all() == []


def test_nothing_starts_from_a_study_without_ratings(house: House, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no study yet"):
        house.page.start(FROM_STUDY, None, "", *HOW, None)
    study = make_study(house.store.database, tmp_path)
    for name in (study.name, "missing"):
        with pytest.raises(StudyError):
            house.page.start(FROM_STUDY, name, "", *HOW, None)
    assert (house.runs.all(), (tmp_path / "training").exists()) == ([], False)


def test_the_page_opens_with_the_studies_and_the_newest_model(house: House, tmp_path: Path) -> None:
    page = house.page
    shown = page.open(None)
    assert (shown[page.source], shown[page.study]["choices"]) == (FROM_SERVER, [])
    study = make_study(house.store.database, tmp_path)
    shown = page.open(None)
    assert page.source not in shown
    assert (shown[page.study]["choices"], shown[page.study]["value"]) == ([study.name], study.name)
    assert (shown[page.shown], shown[page.stopping]["visible"]) == ("one", False)
    assert {page.seen, page.timer, page.models, *page.plots} <= shown.keys()


def test_what_is_typed_stays_when_a_run_ends(house: House, tmp_path: Path) -> None:
    page, desk = house.page, house.page.desk
    data = write_rated(tmp_path / "rated", clips=12)
    begin(page, FROM_SERVER, None, str(data), "two", *HOW[1:])
    (run,) = house.runs.all()
    until(lambda: not house.runs.running())
    shutil.copytree(tmp_path / "models" / "one", run.folder, dirs_exist_ok=True)
    (run.folder / "config.json").touch()
    typed = page.watch("", "one", "one, the b", "")
    assert (typed[page.shown], typed[desk.title], typed[desk.note]) == ("one", gr.skip(), gr.skip())
    followed = page.watch("", "one", "one", "")
    assert (followed[page.shown], followed[desk.title]) == ("two", "two")


def test_the_buttons(house: House) -> None:
    judge, registry = house.judge, house.judge.registry
    assert not training.has_previous(registry)
    training.act(judge, house.runs, "use", "one")
    assert (judge.name, training.has_previous(registry)) == ("one", True)
    training.act(judge, house.runs, "base", "")
    assert judge.name is None
    training.act(judge, house.runs, "back", "")
    assert judge.name == "one"
    for action, name, error in (
        ("use", "../one", CheckpointError),
        ("resume", "../one", TrainingError),
        ("delete", "one", TrainingError),
        ("restore", "", TrainingError),
        ("__init__", "", TrainingError),
    ):
        with pytest.raises(error):
            training.act(judge, house.runs, action, name)
    assert house.page.stop()[house.page.seen] == ""  # nothing runs, which is no mistake


def test_the_newest_model_is_shown_unless_another_is_named(house: House) -> None:
    for name in ("", "gone", "one"):
        model = training.find_model(house.judge.registry, name)
        assert model is not None
        assert model.name == "one"


def test_the_plots_take_what_training_wrote(house: House, tmp_path: Path) -> None:
    data = write_rated(tmp_path / "rated", clips=12)
    begin(house.page, FROM_SERVER, None, str(data), "two", *HOW[1:])
    (run,) = house.runs.all()
    assert len(training_plots.curves(run)) == 0
    assert training_plots.kept_epoch(run) == ""
    (run.folder / "log.csv").write_text("epoch,train_l1,dev_l1,kept\n1,0.9,0.8,1\n2,0.7,,0\n")
    assert training_plots.kept_epoch(run) == "; epoch 1 is kept"
    assert training_plots.curves(run).to_dict("list") == {
        "epoch": [1, 2, 1],
        "part": ["train", "train", "dev"],
        "L1": [0.9, 0.7, 0.8],
    }
    (tmp_path / "models/one/predictions.csv").write_text(
        "clip_id,system_id,textual_alignment,predicted_textual_alignment\nc1,S1,2.5,3.25\n"
    )
    model = house.judge.registry.model("one")
    assert training_plots.scatter(model, "textual_alignment").to_dict("records") == [
        {"clip": "c1", "system": "S1", "rated": 2.5, "predicted": 3.25}
    ]
    assert len(training_plots.scatter(model, "musical_impression")) == 0
    assert len(training_plots.scatter(None, "textual_alignment")) == 0
    shown = house.page.refresh()
    assert [shown[plot]["visible"] for plot in house.page.plots] == [False, True, False, False]
    assert shown[house.page.plots[1]]["title"] == "Textual alignment, 1 clips"
