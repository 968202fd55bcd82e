"""The front door: what starts it, what stops it with one line, and what nobody can set from outside."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette

import app as front_door
from core.errors import MusicEvalError
from core.scorer import Scorer
from core.settings import Settings
from tests.bad_inputs import BAD_MODELS, BadModel
from tests.webapp.conftest import free_port, in_process, make_app, sign_in
from webapp.app import build_app, serve
from webapp.example_clips import load_examples
from webapp.judge import Judge
from webapp.temporary import shut_environment

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
        ("MUSICEVAL_DATABASE_URL", "mysql://localhost/x", "SQLite and PostgreSQL are supported"),
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


def test_pages_that_cannot_begin_are_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)
    for name, value in {"MODEL": "nowhere", "DATA": str(tmp_path), "PORT": str(free_port())}.items():
        monkeypatch.setenv(f"MUSICEVAL_{name}", value)
    assert front_door.main() == 2
    err = capfd.readouterr().err
    assert err.startswith('app.py: "nowhere" is not a model folder')
    assert err.count("\n") == 1


@pytest.mark.parametrize("case", BAD_MODELS, ids=lambda case: case.name)
def test_a_bad_model_is_one_line(case: BadModel, random_checkpoint: Path, tmp_path: Path) -> None:
    folder = case.spoil(Path(shutil.copytree(random_checkpoint, tmp_path / "model")))
    with pytest.raises(MusicEvalError) as refused:
        assert Judge.open(Settings(model=folder, data=tmp_path)).scorer
    assert case.error in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_port_in_use_is_one_line_and_exit_code_2(
    random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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


def test_no_folder_is_shared_with_other_users(tmp_path: Path) -> None:
    """Gradio's own stands there, and is somebody else's: pages are laid out all the same."""
    (tmp_path / "gradio").touch()
    lay_out = "import webapp.pages_main, gradio\nwith gradio.Blocks(): pass"
    command = [sys.executable, "-c", lay_out]
    done = subprocess.run(command, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("environment", "host", "listening", "shown"),
    [
        ({}, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ({"SPACE_ID": "someone/musiceval"}, "127.0.0.1", "0.0.0.0", "localhost"),
        ({}, "::1", "::1", "[::1]"),
        ({}, "0.0.0.0", "0.0.0.0", "localhost"),
    ],
    ids=str,
)
def test_the_server_listens_where_it_is_told_to(
    environment: dict[str, str],
    host: str,
    listening: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = []

    def run(_: uvicorn.Server, sockets: list[socket.socket]) -> None:
        places.extend(one.getsockname()[:2] for one in sockets)
        raise KeyboardInterrupt  # as uvicorn does after SIGINT and SIGTERM

    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("uvicorn.Server.run", run)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    settings = Settings(host=host, port=free_port(), data=tmp_path)
    serve(build_app(Starlette(), settings), settings)
    assert places == [(listening, settings.port)]
    first, *more = capsys.readouterr().out.splitlines()
    assert first == f"MusicEval is at http://{shown}:{settings.port}/ (Ctrl+C stops it)"
    link = f"http://{shown}:{settings.port}/admin/?token="
    assert [line.partition(link)[1] for line in more] == ([] if environment else [link])


def test_the_data_folder_is_private(scorer: Scorer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    umask = os.umask(0o022)
    try:
        make_app(scorer, Settings(data=tmp_path / "new"))
        made = [tmp_path / "new", *(tmp_path / "new").rglob("*")]
        assert [path.name for path in made if path.stat().st_mode & 0o077] == []
        assert len(made) > 1
        assert capsys.readouterr().out == ""
        (tmp_path / "old").mkdir(mode=0o755)
        (tmp_path / "old").chmod(0o755)
        make_app(scorer, Settings(data=tmp_path / "old"))
        assert '"old", the data folder: chmod 700 it.' in capsys.readouterr().out
        assert [path.name for path in (tmp_path / "old").rglob("*") if path.stat().st_mode & 0o077] == []
    finally:
        os.umask(umask)


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
        "SHARE": "true",
        "SSR_MODE": "true",
        "TEMP_DIR": "/",
        "VIBE_MODE": "1",
        "WATCH_DIRS": str(ROOT),
    }
    for name, value in hostile.items():
        monkeypatch.setenv(f"GRADIO_{name}", value)
    app = make_app(scorer, Settings(data=tmp_path))
    pages = [route.app.get_blocks() for route in app.state.pages.routes if route.path in ("/admin", "") and route.app]
    assert len(pages) == 2
    for page in pages:
        assert (page.allowed_paths, page.blocked_paths, page.root_path) == ([], [], "")
        assert (page.share, page.ssr_mode, page.pwa, page.run_history) == (False, False, False, False)
        assert (page.analytics_enabled, page.mcp_server, page.vibe_mode) == (False, False, False)
        assert (page.enable_monitoring, page.show_error) == (False, False)
        assert page.max_file_size == 100_000_000
    with in_process(app) as one:
        assert one.get("/gradio_api/file=/etc/passwd").status_code == 403
        sign_in(app, one)
        for path in ("docs", "redoc", "openapi.json", "admin/openapi.json"):
            assert one.get(f"/{path}").status_code == 404


def test_examples_are_given_wherever_the_app_was_started(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # Gradio gives files from both untold
    with in_process(make_app(scorer, Settings(data=tmp_path))) as one:
        config = one.get("/config").json()
        (choice,) = (fn["id"] for fn in config["dependencies"] if fn["targets"][0][1] == "select")
        body = {"data": ["judge"], "fn_index": choice, "session_hash": "test", "event_data": {"number": 0}}
        one.post("/gradio_api/queue/join", json=body).raise_for_status()
        said = one.get("/gradio_api/queue/data", params={"session_hash": "test"}).text
        (uploaded,) = re.findall(r'"path":"([^"]+)"', said)
        first = load_examples()[0]
        assert one.get(f"/gradio_api/file={uploaded}").content == first.path.read_bytes()
        assert first.prompt in said
        assert one.get(f"/{first.address}").content == first.path.read_bytes()
        assert one.get("/examples/").status_code == one.get("/examples/%2e%2e/app.py").status_code == 404
