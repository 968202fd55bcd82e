"""The tab's wiring: nobody gets at a control but through the guard, and the layout tells nothing."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from starlette.requests import Request

from annotation.database import Database
from core.settings import Settings
from tests.webapp.desks import Desk, rated_desk
from tests.webapp.studies import rows
from webapp.admin import Administration
from webapp.study_tab import build_study_tab


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    yield rated_desk(database, tmp_path)
    database.close()


@pytest.fixture
def page(desk: Desk, tmp_path: Path) -> gr.Blocks:
    """The tab alone, over a database that has a study."""
    admin = Administration(Settings(data=tmp_path, admin_password="a long password"), {})
    with gr.Blocks() as page:
        token = gr.BrowserState("")
        look = page.load(admin.guarded(lambda: None), token, api_visibility="private")
        build_study_tab(admin, token, desk.venue, [look], lambda study: study)
    return page


def test_every_handler_is_guarded_and_none_is_an_endpoint(page: gr.Blocks) -> None:
    functions = list(page.fns.values())
    assert len(functions) >= 10
    for function in functions:
        assert hasattr(function.fn, "guards"), function
        assert function.api_visibility == "private"


def test_the_layout_tells_nothing_of_a_study(page: gr.Blocks) -> None:
    config = json.dumps(page.get_config_file(), default=str)
    for word in ("room", "R01", "S0", "Prompt 0"):
        assert f'"{word}"' not in config


def test_without_a_token_every_handler_refuses(page: gr.Blocks, desk: Desk) -> None:
    stranger = gr.Request(Request({"type": "http", "headers": [], "client": ("203.0.113.9", 1)}))
    before = rows(desk.venue.database)
    for function in page.fns.values():
        given = [None] * (len(inspect.signature(function.fn).parameters) - 2)
        if function.trigger_after == 0:  # filling the tab: nobody asked, so nobody is refused
            assert function.fn("", stranger, *given) == gr.skip()
            continue
        with pytest.raises(gr.Error, match="not signed in"):
            function.fn("", stranger, *given)
    assert rows(desk.venue.database) == before
    assert desk.trained == []
