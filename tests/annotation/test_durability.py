"""Ratings that go with the machine are told loudly."""

from pathlib import Path

import pytest

from annotation import durability
from annotation.cli import main
from annotation.durability import NOT_DURABLE, is_lost_with_machine, refuse_unknown
from core.errors import StudyError
from core.settings import Settings


@pytest.mark.parametrize(
    ("environment", "journal_url", "mount", "lost"),
    [
        ({"SPACE_ID": "owner/name"}, "", "/", True),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "", "/", True),
        ({"SPACE_ID": "owner/name"}, "memory://kept", "/", False),
        ({"SPACE_ID": "owner/name"}, "", "/data", False),
        ({}, "", "/", False),
    ],
)
def test_what_is_lost_with_the_machine(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], journal_url: str, mount: str, lost: bool
) -> None:
    monkeypatch.setattr(durability, "_MARKS", ())
    monkeypatch.setattr(durability, "_VARIABLES", ("SPACE_ID", "KUBERNETES_SERVICE_HOST"))
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) in ("/", mount))
    settings = Settings(data=Path("/data/studies"), journal_url=journal_url)
    assert is_lost_with_machine(settings, environment) is lost


def test_a_container_is_known_by_its_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(durability, "_MARKS", (tmp_path,))
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) == "/")
    assert is_lost_with_machine(Settings(data=tmp_path), {})


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
    for lost, known in ((False, False), (False, True), (True, True)):
        refuse_unknown(lost, known)
    with pytest.raises(StudyError, match="tick"):
        refuse_unknown(True, False)
