"""What killed processes leave in the temporary folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from webapp.temporary import drop_folders_of_the_dead, own_folder

MAKE = "import os; from webapp.temporary import own_folder; print(own_folder('test'), flush=True); "


def made_by(ending: str) -> Path:
    """Let a process make a folder and end."""
    said = subprocess.run([sys.executable, "-c", MAKE + ending], capture_output=True, text=True, check=False)
    return Path(said.stdout.strip())


def test_folders_of_the_dead_are_deleted_and_those_in_use_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    foreign = tmp_path / "musiceval-of-somebody"
    foreign.mkdir()
    (tmp_path / "other").mkdir()
    assert len(str(own_folder("test", short=True))) < 60 < len(str(tmp_path))
    mine = own_folder("test")
    assert mine.stat().st_mode & 0o077 == 0
    assert not made_by("").exists()  # it ended by itself
    killed = made_by("os.kill(os.getpid(), 9)")
    drop_folders_of_the_dead()
    assert killed.exists()  # it may have been made just now
    for folder in (killed, mine):
        os.utime(folder / ".in-use", (0, time.time() - 100))
    drop_folders_of_the_dead()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([foreign.name, "other", mine.name])
