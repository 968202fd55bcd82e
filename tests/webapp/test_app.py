"""The front door: what starts it, what stops it with one line, and what nobody can set from outside."""

import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

import httpx
import pytest

import app as front_door
from core.scorer import Scorer
from core.settings import Settings
from tests.bad_inputs import BAD_MODELS, BadModel
from tests.webapp.conftest import free_port
from webapp import build_app, serve
from webapp.guard import KEPT_S, drop_old_uploads, shut_environment

ROOT = Path(__file__).parents[2]


def started(capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = front_door.main()
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("MUSICEVAL_PROT", "80", "MUSICEVAL_PROT is not a setting. The settings are MUSICEVAL_MODEL,"),
        ("MUSICEVAL_PORT", "http", "MUSICEVAL_PORT is 'http'"),
        ("MUSICEVAL_MODEL", "nowhere", '"nowhere" is not a model folder'),
        ("MUSICEVAL_DATABASE_URL", "postgresql://localhost/x", "Only SQLite is supported"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(
    name: str, value: str, part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    code, out, err = started(capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("app.py: ")
    assert part in err


@pytest.mark.parametrize("case", BAD_MODELS, ids=lambda case: case.name)
def test_a_bad_model_is_one_line_and_exit_code_2(
    case: BadModel,
    random_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = case.spoil(Path(shutil.copytree(random_checkpoint, tmp_path / "model")))
    monkeypatch.setenv("MUSICEVAL_MODEL", str(folder))
    code, out, err = started(capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert case.error in err


def test_a_port_in_use_is_one_line_and_exit_code_2(
    random_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("MUSICEVAL_MODEL", str(random_checkpoint))
        monkeypatch.setenv("MUSICEVAL_PORT", str(port))
        monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path))
        code, out, err = started(capsys)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"app.py: 127.0.0.1:{port} cannot be listened on.")


def test_gradios_variables_are_taken_away() -> None:
    environment = {"GRADIO_SHARE": "true", "GRADIO_TEMP_DIR": "/", "HOME": "/somewhere"}
    shut_environment(environment)
    assert environment.keys() == {"GRADIO_TEMP_DIR", "HOME"}
    assert Path(environment["GRADIO_TEMP_DIR"]).stat().st_mode & 0o077 == 0


def test_gradios_variables_cannot_reopen_the_server(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = {
        "ALLOWED_PATHS": "/",
        "ANALYTICS_ENABLED": "True",
        "DEBUG": "1",
        "MCP_SERVER": "true",
        "NUM_WORKERS": "2",
        "ROOT_PATH": "/elsewhere",
        "RUN_HISTORY": "true",
        "SERVER_NAME": "0.0.0.0",
        "SERVER_PORT": "1",
        "SHARE": "true",
        "SSR_MODE": "true",
        "TEMP_DIR": "/",
        "VIBE_MODE": "1",
        "WATCH_DIRS": str(ROOT),
    }
    for name, value in hostile.items():
        monkeypatch.setenv(f"GRADIO_{name}", value)
    settings = Settings(port=free_port(), data=tmp_path)
    app = build_app(scorer, settings)
    address = serve(app, settings, block=False)
    try:
        assert address == f"http://127.0.0.1:{settings.port}/"
        assert (app.allowed_paths, app.root_path, app.server_name) == ([], "", "127.0.0.1")
        assert (app.share, app.ssr_mode, app.pwa, app.run_history) == (False, False, False, False)
        assert (app.analytics_enabled, app.mcp_server, app.vibe_mode) == (False, False, False)
        assert app.enable_monitoring is False
        assert httpx.get(f"{address}gradio_api/file=/etc/passwd").status_code == 403
    finally:
        app.close(verbose=False)


def test_a_space_is_reached_from_outside(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/musiceval")
    settings = Settings(port=free_port(), data=tmp_path)
    app = build_app(scorer, settings)
    serve(app, settings, block=False)
    assert app.server_name == "0.0.0.0"
    app.close(verbose=False)


def test_what_killed_servers_left_is_deleted_after_a_day() -> None:
    old, new = (Path(tempfile.mkdtemp(prefix="musiceval-uploads-")) for _ in range(2))
    for folder in (old, new):
        (folder / "clip.wav").touch()
    os.utime(old, (0, time.time() - KEPT_S - 60))
    drop_old_uploads()
    assert [path.name for path in (old, new) if path.exists()] == [new.name]
    shutil.rmtree(new)
