"""Folders that appear whole."""

from pathlib import Path

import pytest

from annotation.output.new_folder import new_folder
from core.errors import StudyError


def test_it_appears_at_the_end(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as unfinished:
        (unfinished / "file").write_text("whole")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_after_an_error_nothing_is_there(tmp_path: Path) -> None:

    def write() -> None:
        with new_folder(tmp_path / "b") as unfinished:
            (unfinished / "file").touch()
            raise KeyError("what was to be written")

    with pytest.raises(KeyError, match="what was to be written"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_only_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as unfinished:
        (unfinished / "file").touch()
    for taken in (tmp_path / "empty", tmp_path / "empty" / "file"):
        with pytest.raises(StudyError, match="has something in it"), new_folder(taken):
            pass


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StudyError, match='"b" cannot be written: '),
        new_folder(tmp_path / "file" / "b"),
    ):
        pass
