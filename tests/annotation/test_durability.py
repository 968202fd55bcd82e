"""Ratings that go with the machine are told loudly."""

from pathlib import Path

import pytest

from annotation import durability
from annotation.cli import main
from annotation.durability import NO_DISK, NOT_DURABLE, danger_of, refuse_unknown
from core.errors import StudyError
from core.settings import Settings


@pytest.mark.parametrize(
    ("environment", "journal_url", "mount", "kind", "danger"),
    [
        ({"SPACE_ID": "owner/name"}, "", "/", "overlay", NOT_DURABLE),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "", "/", "overlay", NOT_DURABLE),
        ({"SPACE_ID": "owner/name"}, "memory://kept", "/", "overlay", ""),
        ({"SPACE_ID": "owner/name"}, "", "/data", "ext4", ""),
        ({}, "", "/", "ext4", ""),
        ({}, "", "/data", "nfs4", NO_DISK),
        ({"SPACE_ID": "owner/name"}, "", "/data", "fuse.hf-mount", NO_DISK),
        ({"SPACE_ID": "owner/name"}, "memory://kept", "/data", "fuse", ""),
        ({}, "", "/data", "fuseblk", ""),
    ],
)
def test_where_ratings_may_be_lost(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: dict[str, str],
    journal_url: str,
    mount: str,
    kind: str,
    danger: str,
) -> None:
    monkeypatch.setattr(durability, "_MARKS", ())
    monkeypatch.setattr(durability, "_VARIABLES", ("SPACE_ID", "KUBERNETES_SERVICE_HOST"))
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) in ("/", mount))
    mounts = tmp_path / "mounts"
    mounts.write_text(f"rootfs / rootfs rw 0 0\nkept {mount} {kind} rw 0 0\nproc /proc proc rw 0 0\n")
    monkeypatch.setattr(durability, "_MOUNTS", mounts)
    settings = Settings(data=Path("/data/studies"), journal_url=journal_url)
    assert danger_of(settings, environment) == danger


def test_a_container_is_known_by_its_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(durability, "_MARKS", (tmp_path,))
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) == "/")
    monkeypatch.setattr(durability, "_MOUNTS", tmp_path / "none")
    assert danger_of(Settings(data=tmp_path), {}) == NOT_DURABLE


def test_the_command_line_opens_no_study_unknowingly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(durability, "_MARKS", (tmp_path,))
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) == "/")
    assert main(("create", "one")) == 2
    assert NOT_DURABLE in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    assert main(("create", "one", "--draft")) == 0
    assert main(("open", "one")) == 2
    assert NOT_DURABLE in capsys.readouterr().err
    assert main(("open", "one", "--ratings-may-be-lost")) == 2
    assert "There are no clips to rate yet" in capsys.readouterr().err
    assert main(("create", "two", "--ratings-may-be-lost")) == 0


def test_only_where_ratings_may_be_lost_it_has_to_be_known() -> None:
    for danger, known in (("", False), ("", True), (NO_DISK, True)):
        refuse_unknown(danger, known)
    with pytest.raises(StudyError, match="tick"):
        refuse_unknown(NO_DISK, False)
