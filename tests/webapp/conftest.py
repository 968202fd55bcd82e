"""One running server for all tests of the pages, with the scorer that has random weights."""

import os
import socket
from collections.abc import Iterator

import pytest
from gradio_client import Client

from core.scorer import Scorer
from core.settings import Settings
from webapp import build_app, serve


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
