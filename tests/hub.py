"""A stand-in for the Hugging Face hub on this machine: files of one revision, and how it fails."""

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from core.pinned import PinnedFile

REPOSITORY, REVISION = "someone/tower", "b" * 40


def pinned(name: str, content: bytes) -> PinnedFile:
    """Pin a file with this content."""
    return PinnedFile(REPOSITORY, REVISION, name, len(content), hashlib.sha256(content).hexdigest())


class Hub:
    """What the server gives out and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str | None]] = []  # method, name and ``Range``
        self.etags: dict[str, str] = {}  # where files are stored by their SHA-256, that
        self.tokens: list[str] = []  # every ``Authorization`` that was sent
        self.cuts: list[int] = []  # after how many bytes the next downloads break
        self.status = 200
        self.ranges = True  # whether ``Range`` is honoured
        self.pause_s = 0.0  # between two blocks of a download
        self.url = ""

    def downloads(self) -> list[str | None]:
        """The ``Range`` of each download."""
        return [span for method, _, span in self.requests if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    """Answers as the hub does: metadata at ``resolve``, the content at another host."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._note()
        content = self._content()
        if content is None or self.hub.status != 200:
            self._refuse()
            return
        self.send_response(302)
        self.send_header("Location", f"http://localhost:{self.server.server_port}/content{self.path}")
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Linked-Etag", f'"{self.hub.etags.get(self._name(), "any")}"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self._note()
        content = self._content()
        if content is None or self.hub.status != 200:
            self._refuse()
            return
        span = self.headers.get("Range")
        start = int(span.removeprefix("bytes=").rstrip("-")) if span and self.hub.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = start + self.hub.cuts.pop(0) if self.hub.cuts else len(content)
        for block in range(start, min(end, len(content)), 65_536):
            self.wfile.write(content[block : min(block + 65_536, end)])
            time.sleep(self.hub.pause_s)
        if end < len(content):
            self.close_connection = True

    def _content(self) -> bytes | None:
        return self.hub.files.get(self._name())

    def _name(self) -> str:
        """What is asked for, with the repository's folders; nothing of another repository or revision."""
        found = re.fullmatch(rf"(?:/content)?/{REPOSITORY}/resolve/(?:main|{REVISION})/(.+)", self.path)
        return found[1] if found else ""

    def _note(self) -> None:
        if name := self._name():
            self.hub.requests.append((self.command, name, self.headers.get("Range")))
        if "Authorization" in self.headers:
            self.hub.tokens.append(self.headers["Authorization"])

    def _refuse(self) -> None:
        self.send_response(404 if self.hub.status == 200 else self.hub.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """Run a hub on a free port."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


def use(monkeypatch: pytest.MonkeyPatch, home: Path, url: str) -> None:
    """Have `huggingface_hub` ask this address and keep its files here, as HF_ENDPOINT and HF_HOME do."""
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(home / "assets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)  # of a cut, whole chunks are kept
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")


def put_in_cache(home: Path, file: PinnedFile, content: bytes) -> Path:
    """Lay a file where the hub's cache has it."""
    repository = f"models--{file.repository.replace('/', '--')}"
    path = home / "hub" / repository / "snapshots" / file.revision / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
