"""The app in a process of its own, on a free port: what the tools that measure it ask."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import httpx

ROOT = Path(__file__).parents[1]
_PATIENCE_S = 120.0

App = subprocess.Popen[bytes]


@contextlib.contextmanager
def served(variables: Mapping[str, str], folder: Path = ROOT) -> Iterator[tuple[str, App]]:
    """Start the app of a version of the project, with these variables; give its address and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"MUSICEVAL_PORT": str(port), **variables}
    with subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=subprocess.DEVNULL) as app:
        try:
            yield f"http://127.0.0.1:{port}/", app
        finally:
            app.terminate()


def wait_for(page: str, app: App) -> None:
    """Return once a page of the app is there."""
    while app.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(page, timeout=_PATIENCE_S).is_success:
                return
        time.sleep(0.02)
    raise click.ClickException("The app ended: what it said stands above.")
