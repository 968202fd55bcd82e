"""Files found by their names, problems told at once, folders that appear whole."""

from pathlib import Path

import pytest

from core.errors import DataError, StudyError
from core.files import Problems, find_file, first_of, new_folder


def test_one_problem_and_many() -> None:
    problems = Problems("data")
    problems.stop_if_any()  # there is none yet
    problems.add("a.txt, line 1", "it is wrong")
    with pytest.raises(DataError) as caught:
        problems.stop_if_any()
    assert str(caught.value) == '"data" cannot be used, it has 1 problem:\n  a.txt, line 1: it is wrong'
    for number in range(2, 24):
        problems.add(f"a.txt, line {number}", "it is wrong")
    with pytest.raises(DataError) as caught:
        problems.stop_if_any()
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("it has 23 problems:")
    assert lines[20:] == ["  a.txt, line 20: it is wrong", "  and 3 more like these"]


def test_of_many_problems_no_kind_hides_another() -> None:
    problems = Problems("data")
    for number in range(1, 2_000):
        problems.add(f"a.txt, line {number}", f'there is no file "{number}.wav"')
    problems.add("b.txt, line 7", "the score 9 is not from 1 to 5")
    problems.add("b.txt, line 8", "the score 0.5 is not from 1 to 5")
    with pytest.raises(DataError) as caught:
        problems.stop_if_any()
    lines = str(caught.value).splitlines()
    assert (lines[1], lines[11]) == ('  a.txt, line 1: there is no file "1.wav"', "  and 1,989 more like these")
    assert [line.split(":")[0] for line in lines[12:]] == ["  b.txt, line 7", "  b.txt, line 8"]


def test_more_kinds_of_problems_than_are_shown() -> None:
    problems = Problems("data")
    for letter in "abcdefghijklmnopqrstuvwxyz":
        problems.add("a.txt", f"there is {letter}")
        problems.add("a.txt", f"there is {letter}")
    with pytest.raises(DataError, match=r"a.txt: there is t\n  and 1 more like this\n  and 6 more kinds$"):
        problems.stop_if_any()


def test_a_file_is_found_as_other_systems_write_its_name(tmp_path: Path) -> None:
    (tmp_path / "S1").mkdir()
    decomposed = tmp_path / "S1" / "Cafe\u0301.wav"
    decomposed.touch()
    for name in ("S1/Cafe\u0301.wav", "S1/Caf\u00e9.wav", "S1\\Caf\u00e9.wav", ".\\S1\\Cafe\u0301.wav"):
        assert find_file(tmp_path / name) == decomposed
    for name in ("S2/Caf\u00e9.wav", "S1\\Cafe.wav", "x" * 300, "a\0b"):
        assert find_file(tmp_path / name) == tmp_path / name


def test_the_name_as_it_is_written_comes_first(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    names = ("a/b.wav", "a\\b.wav", "e\u0301.wav", "\u00e9.wav")
    for name in names:
        (tmp_path / name).touch()
    assert [find_file(tmp_path / name) for name in names] == [tmp_path / name for name in names]


def test_of_many_names_the_first_are_shown() -> None:
    assert (first_of(["a"]), first_of([*"abcde"])) == ("a", "a, b, c, d, e")
    assert first_of([*"abcdefg"]) == "a, b, c, d, e and 2 more"


def test_a_folder_appears_at_the_end(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "b") as unfinished:
        (unfinished / "file").write_text("whole")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_after_an_error_there_is_no_folder(tmp_path: Path) -> None:
    def write() -> None:
        with new_folder(tmp_path / "b") as unfinished:
            (unfinished / "file").touch()
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert list(tmp_path.iterdir()) == []


def test_only_an_empty_folder_that_can_be_written_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as unfinished:
        (unfinished / "file").touch()
    for taken in (tmp_path / "empty", tmp_path / "empty" / "file"):
        with pytest.raises(StudyError, match=r"has something in it\. Give a new folder"), new_folder(taken):
            pass
    with pytest.raises(StudyError, match='"b" cannot be written: '), new_folder(taken / "b"):
        pass
