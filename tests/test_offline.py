"""After the install nothing asks for a network: each command runs in a process that ends when one does.

The attempt ends the process because a library may swallow an exception and go on.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from core.model_files import EMBEDDED_JUDGE

ROOT = Path(__file__).parent.parent
GUARD = """
import os, sys, traceback

def refuse_network(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        target = arguments[1]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        target = arguments[0]
    else:
        return
    host = target[0] if isinstance(target, tuple) else target
    if host in ("127.0.0.1", "::1", "localhost", None) or str(host).startswith("/"):  # a socket of this machine
        return
    traceback.print_stack()
    print("asked for", host, file=sys.stderr, flush=True)
    os._exit(99)

sys.addaudithook(refuse_network)
"""
STARTUP_S = 90


@pytest.fixture
def guarded(tmp_path: Path) -> dict[str, str]:
    """An environment in which a process, and each that it starts, ends when it asks another machine."""
    folder = tmp_path / "guard"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(GUARD)
    return os.environ | {"PYTHONPATH": str(folder)}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_guard_sees_an_attempt(guarded: dict[str, str]) -> None:
    swallowed = "import socket\ntry: socket.create_connection(('192.0.2.1', 9), timeout=1)\nexcept OSError: pass"
    assert run(guarded, "-c", swallowed).returncode == 99
    child = f"import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', {swallowed!r}]).returncode)"
    assert run(guarded, "-c", child).returncode == 99


def test_scoring_downloads_nothing_and_writes_to_a_plain_terminal(tmp_path: Path, guarded: dict[str, str]) -> None:
    clip = tmp_path / "tone.wav"
    soundfile.write(clip, np.sin(np.arange(16_000) * 0.2).astype(np.float32) / 4, 16_000)
    plain = {"PYTHONPATH": guarded["PYTHONPATH"], "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    result = run(plain, "-m", "core", "score", str(clip), "--prompt", "A single tone")
    assert (result.returncode, result.stderr) == (0, "")
    score = re.match(r"Musical impression +(\d\.\d) of 5", result.stdout)
    assert score is not None
    assert 1 <= float(score[1]) <= 5
    model = json.loads((EMBEDDED_JUDGE / "config.json").read_text())["id"]
    assert f"\nModel {model} (" in result.stdout


def test_serving_downloads_nothing_and_a_signal_ends_it(tmp_path: Path, guarded: dict[str, str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/"
    temporary, log = tmp_path / "temporary", tmp_path / "log.txt"
    temporary.mkdir()
    named = {"MUSICEVAL_PORT": address[17:-1], "MUSICEVAL_DATA": str(tmp_path), "TMPDIR": str(temporary)}
    serve = [sys.executable, "app.py"]
    with log.open("w") as errors, subprocess.Popen(serve, cwd=ROOT, env=guarded | named, stderr=errors) as server:
        try:
            assert status_of(address, server) == 200, log.read_text()
            httpx.post(f"{address}gradio_api/upload", files={"files": b"a clip"}).raise_for_status()
            assert len(list(temporary.glob("musiceval-uploads-*/*/*"))) == 1
            with httpx.stream("GET", f"{address}gradio_api/heartbeat/x") as page:  # as an open page has one
                assert page.status_code == 200
                server.terminate()
                assert server.wait(timeout=20) == 0
        finally:
            server.kill()
    assert log.read_text() == ""
    assert list(temporary.glob("musiceval-*")) == []


def status_of(url: str, server: subprocess.Popen[bytes]) -> int | None:
    """Status of the page once the server answers; None if the server ends or the time runs out."""
    deadline_s = time.monotonic() + STARTUP_S
    while server.poll() is None and time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(url, timeout=STARTUP_S) as answer:
                return int(answer.status)
        except urllib.error.URLError:
            time.sleep(0.3)
    return None
