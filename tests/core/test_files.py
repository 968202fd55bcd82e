"""Tables line by line, problems told at once, folders that appear whole."""

from pathlib import Path

import pytest

from core.errors import DataError, StudyError
from core.files import Problems, new_folder, parse_number, parse_score, read_csv, read_lines


def write(folder: Path, content: bytes) -> Path:
    path = folder / "t.csv"
    path.write_bytes(content)
    return path


def test_no_problem_stops_nothing() -> None:
    Problems("data").stop_if_any()


def test_one_problem_and_many() -> None:
    problems = Problems("data")
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
    assert lines[20:] == ["  a.txt, line 20: it is wrong", "  and 3 more"]


def test_lines_are_counted_with_blank_ones(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfone\r\n\r\n \ntwo\x0bstill two\n")
    assert list(read_lines(path)) == [(1, "one"), (4, "two\x0bstill two")]


def test_a_row_is_where_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n1,"x\ny"\n\n2,"""z"""\n3\n4,w')
    read = read_csv(path)
    assert read.heading == ["a", "b"]
    assert read.rows == [(2, {"a": "1", "b": "x\ny"}), (5, {"a": "2", "b": '"z"'}), (7, {"a": "4", "b": "w"})]
    assert read.problems.found == ["t.csv, line 6: 1 instead of 2 cells"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"\n\n", "it is empty"),
        (b"a\n\xff", "it is not UTF-8 text"),
        (b"a\n" + b"x" * 200_000, "line 2, cannot be read as CSV"),
    ],
)
def test_what_is_no_table(content: bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        read_csv(write(tmp_path, content))


def test_numbers_and_scores() -> None:
    assert (parse_number(" -2.5 "), parse_score("1"), parse_score("5.0")) == (-2.5, 1.0, 5.0)
    for text, sentence in (("", '"" is not a number'), ("inf", "not a finite"), ("1e999", "not a finite")):
        with pytest.raises(ValueError, match=sentence):
            parse_number(text)
    for text in ("0.99", "5.01", "nan"):
        with pytest.raises(ValueError, match="not"):
            parse_score(text)


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
