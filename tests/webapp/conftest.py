"""One running server for all tests of the pages, with the scorer that has random weights."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client

from core.scorer import Scorer
from core.settings import Settings
from webapp import build_app, serve

# Gradio's own statistics use what pandas 3 deprecates; raised as an error it would stop Gradio's queue.
GRADIO_AND_PANDAS = "ignore::pandas.errors.Pandas4Warning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings(GRADIO_AND_PANDAS))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="session")
def address(scorer: Scorer) -> Iterator[str]:
    """Where the pages are served."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            patch.delenv(name)
        app = build_app(scorer)
        yield serve(app, Settings(port=free_port()), block=False)
        app.close(verbose=False)


@pytest.fixture(scope="session")
def client(address: str) -> Client:
    return Client(address, verbose=False)
