"""Every handler of a server with a password is called by someone who is not signed in, and refused."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from annotation.database import Database
from core.scorer import Scorer
from core.settings import Settings
from core.training.shelf import ModelShelf
from tests.webapp.conftest import free_port
from tests.webapp.studies import CANARY, make_study, rows
from webapp import build_app, serve
from webapp.guard import GuardedBlocks
from webapp.judge import Judge

PASSWORD = "correct horse battery"
# What strangers may call: the tabs Score and Batch, and the doors of the administrator's tabs.
OPEN = {
    *("show", "refuse", "fill_in", "score", "show_banner", "note", "offer"),
    *("begin", "run_batch", "stop_batch", "leave", "score_batch"),
    *("look", "enter", "go"),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> Settings:
    """A data folder with a model, an unfinished run and a study; a password."""
    data = tmp_path_factory.mktemp("administration")
    shutil.copytree(random_checkpoint, data / "models" / f"{CANARY}-model")
    run = data / "models" / f"{CANARY}-run"
    run.mkdir()
    split = {"kind": "random", "seed": 0, "test_share": 0.15, "dev_share": 0.1, "folds": 0, "fold": 0}
    order = {"data": str(data / CANARY), "recipe": "frozen", "tower": "small", "split": split, "fields": {}}
    (run / "order.json").write_text(json.dumps(order))
    settings = Settings(port=free_port(), data=data, admin_password=PASSWORD)
    database = Database(settings.database_url)
    make_study(database, data)
    database.close()
    return settings


@pytest.fixture(scope="module")
def app(scorer: Scorer, settings: Settings) -> Iterator[GuardedBlocks]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            patch.delenv(name)
        app = build_app(Judge(scorer, ModelShelf(settings.models)), settings)
        serve(app, settings, block=False)
        yield app
        app.close(verbose=False)


def call(app: GuardedBlocks, fn_index: int, data: list[Any], **more: Any) -> str:
    """Call a handler by its number, past the queue and in it, as the page's script does; give all answers."""
    session = f"test{time.monotonic_ns()}"
    body = {"data": data, "fn_index": fn_index, "session_hash": session, "event_data": None, **more}
    direct = httpx.post(f"{app.local_url}gradio_api/run/predict", json=body)
    assert (direct.status_code == 404) == app.fns[fn_index].queue  # 404: it takes no direct calls
    httpx.post(f"{app.local_url}gradio_api/queue/join", json=body).raise_for_status()
    return (
        direct.text
        + httpx.get(
            f"{app.local_url}gradio_api/queue/data", params={"session_hash": session}, timeout=30
        ).text
    )


def defaults(app: GuardedBlocks, fn_index: int) -> list[Any]:
    """What the page would send at first."""
    values = (getattr(block, "value", None) for block in app.fns[fn_index].inputs)
    return [value if isinstance(value, str | int | float) else None for value in values]


def state(settings: Settings) -> dict[str, str]:
    """Every file of the data folder, but for the database's own, and every row of the database."""
    files = {
        str(path.relative_to(settings.data)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in settings.data.rglob("*")
        if path.is_file() and not path.name.startswith("musiceval.sqlite")
    }
    database = Database(settings.database_url)
    stored = str(rows(database))
    database.close()
    return {**files, "rows": stored}


def guarded(app: GuardedBlocks) -> dict[int, str]:
    return {index: fn.name for index, fn in app.fns.items() if fn.fn and hasattr(fn.fn, "guards")}


def test_what_is_not_guarded_is_for_everybody(app: GuardedBlocks) -> None:
    names = {fn.name for fn in app.fns.values() if fn.fn and not hasattr(fn.fn, "guards")}
    assert names <= OPEN
    assert len(guarded(app)) >= 7


@pytest.mark.parametrize("token", ["", "x" * 43, None, PASSWORD, {"a": 1}], ids=repr)
def test_no_handler_serves_a_stranger(app: GuardedBlocks, settings: Settings, token: Any) -> None:
    before = state(settings)
    chosen = {"action": "base", "name": f"{CANARY}-model"}
    for index in guarded(app):
        given = [token, *defaults(app, index)[1:]]
        said = call(app, index, given, event_data=chosen, trigger_id=None)
        assert CANARY not in said
        refused = "You are not signed in" in said or "This call does not fit" in said
        assert refused or '"__type__":"update"' in said.replace(" ", ""), (index, said)
    assert state(settings) == before


def test_no_handler_serves_a_stranger_who_claims_to_sit_here(app: GuardedBlocks) -> None:
    index = next(index for index, name in guarded(app).items() if name == "start")
    assert "You are not signed in" in call(app, index, ["", *defaults(app, index)[1:]])


def test_the_layout_that_everybody_is_sent_names_nothing(app: GuardedBlocks) -> None:
    for path in ("config", "", "gradio_api/info"):
        text = httpx.get(f"{app.local_url}{path}").text
        assert CANARY not in text
        assert PASSWORD not in text
