"""Ratings that go with the machine are told loudly."""

from pathlib import Path

import pytest

from core.settings import Settings
from webapp import durability
from webapp.durability import NOT_DURABLE, is_lost_with_machine
from webapp.pages import warning


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
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) in ("/", mount))
    settings = Settings(data=Path("/data/studies"), journal_url=journal_url)
    assert is_lost_with_machine(settings, environment) is lost


def test_a_container_is_known_by_its_mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(durability, "_MARKS", (tmp_path,))
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) == "/")
    assert is_lost_with_machine(Settings(data=tmp_path), {})


def test_the_administrator_sees_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(durability, "_MARKS", ())
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) == "/")
    assert warning(Settings(data=tmp_path)) == ""
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert NOT_DURABLE in warning(Settings(data=tmp_path))
