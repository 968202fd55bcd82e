"""The judge that is chosen on the page Training: its card, what it is called, its files, and judges from elsewhere."""

import io
import shutil
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.errors import CheckpointError
from core.pinned import find_official
from core.scorer import Scorer
from core.settings import Settings
from core.towers.clap import SPECS
from core.training.judges import describe, offer, pack
from core.training.registry import ModelRegistry
from tests import hub as stand_in
from tests.hub import Hub
from tests.officials import SPEC, Little, checkpoint, little, state_dict
from tests.webapp.conftest import in_process, make_app, sign_in
from tests.webapp.layouts import laid_out
from tests.webapp.test_audit import call, handlers, noted
from webapp.fetching import Fetching
from webapp.html import render
from webapp.judge_desk import judge_card

HOSTILE = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> Settings:
    """A data folder with one judge."""
    folder = tmp_path_factory.mktemp("judges")
    shutil.copytree(random_checkpoint, folder / "models" / "one")
    offer(ModelRegistry(folder / "models"), "one", True)
    return Settings(data=folder)


@pytest.fixture(scope="module")
def app(scorer: Scorer, settings: Settings) -> FastAPI:
    return make_app(scorer, settings)


@pytest.fixture(scope="module")
def registry(settings: Settings) -> ModelRegistry:
    return ModelRegistry(settings.models)


@pytest.fixture(scope="module")
def administrator(app: FastAPI) -> Iterator[TestClient]:
    with in_process(app) as one:
        sign_in(app, one)
        yield one


def upload(client: TestClient, content: bytes) -> dict[str, Any]:
    """Upload a file as the page does; return how its handlers are given it."""
    answer = client.post("/admin/gradio_api/upload", files={"files": ("judge.zip", content)})
    return {"path": answer.raise_for_status().json()[0], "meta": {"_type": "gradio.FileData"}}


def test_the_card_says_what_a_judge_is(registry: ModelRegistry) -> None:
    describe(registry, "one", "", HOSTILE)
    shown = judge_card(registry.model("one"), is_active=False)
    for said in ("nothing: random weights", "not measured", "offered to visitors", "# Random weights"):
        assert said in shown
    for action in ("withhold", "delete-judge"):
        assert f'data-action="{action}" data-name="one"' in shown
    assert 'href="export/judges/one/judge.zip"' in shown
    assert "<img" not in shown
    assert "data-action" not in judge_card(registry.model("one"), is_active=True)
    assert judge_card(None, is_active=False) == ""
    describe(registry, "one", "", "")


def test_a_judge_is_renamed_and_that_is_noted(app: FastAPI, administrator: TestClient, settings: Settings) -> None:
    save = handlers(app)["save_judge"]
    assert "There is no judge yet" in call(administrator, save, "one", "x", "")
    call(administrator, handlers(app)["act"], None, event={"action": "show", "name": "one"})  # a page's own state
    assert "Autumn panel" in call(administrator, save, "one", "Autumn panel", "Of the autumn")
    about = ModelRegistry(settings.models).model("one").about
    assert (about.title, about.note) == ("Autumn panel", "Of the autumn")
    assert noted(settings)[0][:2] == ("Rename a judge, or note something on it", "one, Autumn panel")


def test_it_goes_out_and_comes_in_as_one_file(
    app: FastAPI, administrator: TestClient, settings: Settings, registry: ModelRegistry
) -> None:
    answer = administrator.get("/admin/export/judges/one/judge.zip")
    assert answer.headers["content-disposition"] == 'attachment; filename="one.zip"'
    assert zipfile.ZipFile(io.BytesIO(answer.content)).testzip() is None
    assert noted(settings)[0][:2] == ("Download an export", "judges/one/judge.zip")
    said = call(administrator, handlers(app)["upload_judge"], upload(administrator, answer.content))
    assert "one-2" in said
    assert registry.model("one-2").about.uploaded
    damaged = upload(administrator, answer.content[: len(answer.content) // 2])
    assert "cannot be read as a ZIP archive" in call(administrator, handlers(app)["upload_judge"], damaged)
    assert noted(settings)[0][3] is False
    assert "There is no archive" in call(administrator, handlers(app)["upload_judge"], None)


@pytest.mark.parametrize(
    "place", ["one/order.json", "one/about", "one/..%2F..%2Faudit.jsonl", "none/judge.zip", "..%2f/x"]
)
def test_nothing_else_is_sent(administrator: TestClient, registry: ModelRegistry, place: str) -> None:
    (registry.folder / "one" / "order.json").write_text("{}")
    assert administrator.get(f"/admin/export/judges/{place}").status_code == 404
    (registry.folder / "one" / "order.json").unlink()


def test_strangers_get_nothing(app: FastAPI, administrator: TestClient) -> None:
    stranger = TestClient(app, base_url="http://127.0.0.1:7860")
    for name in ("judge.zip", "config.json"):
        assert stranger.get(f"/admin/export/judges/one/{name}").status_code == 401


def test_the_buttons_of_the_card(app: FastAPI, administrator: TestClient, registry: ModelRegistry) -> None:
    act = handlers(app)["act"]

    def click(action: str, name: str = "one") -> str:
        return call(administrator, act, "one", event={"action": action, "name": name})

    click("withhold")
    assert not registry.model("one").is_offered
    click("offer")
    assert registry.model("one").is_offered
    assert "Bring back the judge" in click("delete-judge")
    assert not (registry.folder / "one").exists()
    click("restore-judge")
    assert registry.model("one").is_usable
    assert "no deleted judge" in click("restore-judge")


@pytest.fixture(scope="module")
def whole() -> Iterator[Little]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SPECS, SPEC.name, SPEC)  # type: ignore[arg-type]
        yield little(checkpoint(state_dict()))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Little) -> Iterator[Hub]:
    with stand_in.serving() as hub:
        stand_in.use(monkeypatch, tmp_path / "home", hub.url)
        hub.files |= whole.files
        yield hub


def test_the_official_clap_is_fetched_at_a_click(hub: Hub, whole: Little) -> None:
    fetching = Fetching(whole.official)
    state = fetching.state()
    assert (state.is_there, state.is_running, state.percent) == (False, False, 0)
    assert "It is not on this machine" in render("judge_official.html", state=state)
    hub.pause_s, seen = 0.002, set()
    fetching.start()
    fetching.start()  # it is fetched once
    while fetching.is_running:
        seen.add(fetching.state().percent)
        time.sleep(0.01)
    assert len(seen) > 2
    assert fetching.state().is_there
    assert "It is on this machine" in render("judge_official.html", state=fetching.state())
    assert find_official(Settings(), whole.official).is_file()
    assert len(hub.downloads()) == 3


def test_a_cut_download_is_told_and_goes_on(hub: Hub, whole: Little) -> None:
    fetching = Fetching(whole.official)
    hub.status = 503
    fetching.start()
    fetching.join()
    state = fetching.state()
    assert (state.is_there, state.has_failed) == (False, True)
    assert "HTTP 503" in render("judge_official.html", state=state)
    hub.status = 200
    fetching.start()
    fetching.join()
    assert fetching.state().is_there


def test_what_a_stranger_packs_is_no_path(registry: ModelRegistry) -> None:
    for name in ("..", "../models", ".deleted-judges", "", "none"):
        with pytest.raises(CheckpointError):
            registry.folder_of(name)
    assert b"".join(pack(registry.folder_of("one")))


def test_the_desk_stands_empty_without_a_judge(scorer: Scorer, tmp_path: Path) -> None:
    from webapp.judge import Judge
    from webapp.judge_desk import JudgeDesk

    with laid_out():
        desk = JudgeDesk(Judge(scorer, ModelRegistry(tmp_path)), Fetching(), "")
        desk.lay_out_arrivals()
    shown = desk.show(None)
    assert (shown[desk.card], shown[desk.about]["visible"], shown[desk.title]) == ("", False, "")
