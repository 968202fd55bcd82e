"""The page Training in Chromium, and the way from a table of ratings to a new judge."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from core.files import sha256_of
from core.scorer import Scorer
from core.settings import Settings
from core.training.registry import ModelRegistry
from tests.rated import write_rated
from tests.webapp.browsing import open_page, overflow
from tests.webapp.conftest import free_port, make_app, running
from webapp.app import build_app
from webapp.judge import Judge
from webapp.pages import build_pages

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
MOST_MS = 300_000  # that a run may take, on a busy machine
# Stands in for training: tells of an epoch, waits for a sign, and gives a copy of a model.
TRAINER = """
import json, pathlib, shutil, sys, time
options = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
model, sign, output = pathlib.Path({model!r}), pathlib.Path({sign!r}), pathlib.Path(options["output"])
told = dict(phase="training", message="Epoch 2 of 9", share=0.2, eta_s=70, epoch=2, epochs=9)
(output / "log.csv").write_text("epoch,train_l1,dev_l1\\n1,0.9,0.95\\n2,0.7,0.8\\n")
(output / "progress.json").write_text(json.dumps(told))
while not sign.exists():
    time.sleep(0.05)
for path in sorted(model.iterdir(), key=lambda path: path.name == "config.json"):
    shutil.copy(path, output)
"""
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> Path:
    """A data folder with a measured model and a run that broke off."""
    folder = tmp_path_factory.mktemp("trained")
    model = Path(shutil.copytree(random_checkpoint, folder / "models" / "measured"))
    figures = {"n": 12, "mse": 0.4, "lcc": 0.7, "srcc": 0.65, "srcc_ci95": [0.25, 0.8], "ktau": 0.5}
    levels = {level: {"musical_impression": figures} for level in ("utterance", "system")}
    metrics = json.loads((model / "metrics.json").read_text()) | levels
    (model / "metrics.json").write_text(json.dumps(metrics))
    config = json.loads((model / "config.json").read_text()) | {"metrics_sha256": sha256_of(model / "metrics.json")}
    (model / "config.json").write_text(json.dumps(config))
    (model / "predictions.csv").write_text(
        "clip_id,system_id,musical_impression,predicted_musical_impression\nc1,S1,2,3\nc2,S2,4,3.5\n"
    )
    run = folder / "models" / "broken"
    run.mkdir()
    split = {"kind": "random", "seed": 0, "test_share": 0.15, "dev_share": 0.1, "folds": 0, "fold": 0}
    order = {"data": "/somewhere", "recipe": "paper", "tower": "small", "split": split, "fields": {}}
    (run / "order.json").write_text(json.dumps(order))
    (run / "log.csv").write_text("epoch,train_l1,dev_l1\n1,0.9,0.95\n2,0.7,0.8\n")
    return folder


@pytest.fixture(scope="module")
def locked(data: Path, scorer: Scorer) -> Iterator[str]:
    """Address of a server with a password."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            patch.delenv(name)
        settings = Settings(port=free_port(), data=data, admin_password=PASSWORD)
        with running(make_app(scorer, settings), settings) as address:
            yield address


@pytest.fixture
def page(browser: Browser, look: tuple[int, str]) -> Iterator[Page]:
    """A page that logs no error, whatever a test does with it."""
    with open_page(browser, look) as opened:
        yield opened


def sign_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Administrator’s password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def open_tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_the_tab_fits_the_screen(page: Page, locked: str, look: tuple[int, str]) -> None:
    page.goto(f"{locked}#training")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert overflow(page) == 0
    sign_in(page)
    expect(page.get_by_role("heading", name="broken broke off")).to_be_visible()
    expect(page.get_by_role("heading", name="Result of measured")).to_be_visible()
    expect(page.locator("#training-curves canvas, #training-curves svg.marks").first).to_be_visible()
    expect(page.locator("#scatter-0")).to_contain_text("")
    expect(page.locator("#scatter-1")).to_be_hidden()
    assert overflow(page) == 0


def test_a_sign_in_lasts_for_both_pages(page: Page, locked: str) -> None:
    page.goto(f"{locked}admin/")
    sign_in(page)
    expect(page.get_by_text("There is no study yet").first).to_be_visible()
    page.reload()
    expect(page.get_by_text("There is no study yet").first).to_be_visible()
    open_tab(page, "Training")
    expect(page.locator("#models")).to_contain_text("measured")
    page.get_by_role("button", name="Sign out").first.click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("#models")).to_have_count(0)


def test_an_unfinished_run_is_deleted_and_brought_back(page: Page, locked: str) -> None:
    page.goto(f"{locked}#training")
    sign_in(page)
    page.locator("#unfinished").get_by_text("Delete…").click()
    expect(page.get_by_text("it can be brought back until another run is deleted")).to_be_visible()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Bring back").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()


@pytest.fixture(params=["stand-in", pytest.param("real", marks=pytest.mark.slow)])
def server(
    request: pytest.FixtureRequest, data: Path, scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where the administrator signs in, who has a password; training is of either kind."""
    if request.param == "stand-in":
        script = tmp_path / "trainer.py"
        given = {"model": str(data / "models" / "measured"), "sign": str(tmp_path / "go")}
        script.write_text(TRAINER.format(**given))
        monkeypatch.setattr("core.training.manager.TRAINER", (sys.executable, "-S", str(script)))
    settings = Settings(port=free_port(), data=tmp_path / "data", admin_password=PASSWORD)
    with running(make_app(scorer, settings), settings) as address:
        yield address


@pytest.mark.timeout(900)
def test_from_ratings_to_a_new_judge(server: str, page: Page, tmp_path: Path) -> None:
    page.goto(f"{server}admin/#training")
    sign_in(page)
    page.get_by_label("Folder or CSV file").fill(str(tmp_path / "missing.csv"))
    page.get_by_label("Name of the new model").fill("fresh")
    start = page.get_by_role("button", name="Start training")
    start.click()
    expect(page.get_by_text('There is nothing on the server at "')).to_be_visible()
    page.get_by_label("Folder or CSV file").fill(str(write_rated(tmp_path / "rated", clips=24)))
    start.click()
    expect(page.locator("#training-doubts")).to_contain_text("training clips are too few")
    start.click()
    expect(page.get_by_role("heading", name="Training fresh")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Training fresh")).to_be_visible()
    (tmp_path / "go").touch()
    expect(page.get_by_role("heading", name="fresh is trained")).to_be_visible(timeout=MOST_MS)
    expect(page.get_by_role("heading", name="Result of fresh")).to_be_visible()
    expect(page.locator("#training-result .me-own b").first).to_have_text(re.compile(r"^\d\.\d{3}$"))
    fresh = page.locator("#models li", has_text="fresh")
    if fresh.get_by_text("Use this model…").count():  # 24 clips leave doubts, the stand-in's model has none
        fresh.get_by_text("Use this model…").click()
        fresh.get_by_role("button", name="Use it all the same").click()
    else:
        fresh.get_by_role("button", name="Use this model").click()
    back = page.get_by_role("button", name="Back to the previous model")
    expect(back).to_be_visible()
    expect(page.locator("#models li", has_text="fresh")).to_contain_text("judges now")
    back.click()
    expect(back).to_be_hidden()


def test_the_note_on_the_judge_follows(page: Page, scorer: Scorer, tmp_path: Path) -> None:
    settings = Settings(port=free_port(), data=tmp_path)
    judge = Judge(scorer, ModelRegistry(settings.models))
    with running(build_app(build_pages(judge, settings), settings), settings) as address:
        page.goto(address)
        expect(page.locator(".me-banner")).to_contain_text("Demo judge: trained on composed music")
        judge.scorer = Scorer(replace(scorer.checkpoint, demo=False, caveat="its towers heard <b>little</b>"))
        page.locator("#examples button").first.click()
        expect(page.locator("#clip #duration")).to_have_text("0:16")
        page.get_by_role("button", name="Score", exact=True).click()
        expect(page.locator(".me-banner")).to_contain_text("This judge: its towers heard <b>little</b>.")
        expect(page.locator("#result .me-value b")).to_have_count(2, timeout=20_000)
        expect(page.locator("#result .me-warnings")).to_contain_text("its towers heard <b>little</b>")
        judge.scorer = Scorer(replace(scorer.checkpoint, demo=False, caveat=""))
        page.reload()
        expect(page.locator("#result")).to_contain_text("Two scores will stand here")
        expect(page.locator(".me-banner")).to_have_count(0)
        page.goto("about:blank")
