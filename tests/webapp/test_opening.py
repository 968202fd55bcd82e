"""A study is opened on its page in steps: what comes late never stands under another study."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.state_holder import SessionState
from markupsafe import Markup

from annotation.database import Database
from tests.annotation.rooms import Room
from webapp.listening_api import StudyStore
from webapp.study import StudyPage


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Database:
    return Database(f"sqlite:///{shutil.copy(empty_database, tmp_path / 'musiceval.sqlite')}", durable=False)


def test_what_was_found_for_a_study_before_is_dropped(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Gradio calls the handlers in one browser's session: the study is chosen anew while an answer is made."""
    for name in ("room", "hall"):
        Room.build(database, raters=1, name=name)
    with gr.Blocks() as app:
        page = StudyPage(StudyStore(database, tmp_path), str)
    handlers = {function.fn.__name__: function for function in app.fns.values() if function.fn}
    session = SessionState(app)

    async def call(name: str, *given: Any) -> dict[Any, Any]:
        answer = await app.process_api(
            handlers[name], [*given, *[None] * (len(handlers[name].inputs) - len(given))], state=session
        )
        return dict(zip(handlers[name].outputs, answer["data"], strict=True))

    begun, chosen = threading.Event(), threading.Event()
    trust = page.trust

    def slow(study: str) -> Markup:
        begun.set()
        assert chosen.wait(60)
        return trust(study)

    monkeypatch.setattr(page, "trust", slow)

    async def meanwhile() -> dict[Any, Any]:
        await call("open", None, None)
        answer = asyncio.create_task(call("show_reliability"))
        await asyncio.to_thread(begun.wait, 60)
        shown = await call("open", "room", None)
        assert "room: " in shown[page.live.view]
        chosen.set()
        return await answer

    assert "value" not in asyncio.run(meanwhile())[page.views["reliability"]]
    assert "No rating is valid yet" in asyncio.run(call("show_reliability"))[page.views["reliability"]]
