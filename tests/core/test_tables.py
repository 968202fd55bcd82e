"""The one reader of tables: what is read alike, what is refused, and that nothing is lost between."""

import csv
import io
import re
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.files import Problems
from core.tables import (
    SEPARATORS,
    Line,
    TextTable,
    as_asked,
    escape_cell,
    means_nothing,
    open_table,
    parse_number,
    parse_score,
    read_lines,
    read_text,
    stripped,
    unescape_cell,
)

ASKED = ("file", "prompt", "system")
ROWS = [{"file": "a.wav", "prompt": "Slow, calm", "system": "S1"}, {"file": "b.wav", "prompt": "钢琴", "system": "S2"}]


def write(folder: Path, content: bytes | str, encoding: str = "utf-8") -> Path:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def read(path: Path, numbers: tuple[str, ...] = ()) -> tuple[TextTable, list[Line], list[str]]:
    table, problems = open_table(path, ASKED, numbers), Problems(path.name)
    return table, list(table.rows(problems)), problems.found


def cells(path: Path) -> list[dict[str, str]]:
    """The rows of a table that has nothing wrong."""
    _, lines, problems = read(path)
    assert problems == []
    return [line.cells for line in lines]


# What is read alike


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_separators_and_line_ends(tmp_path: Path, encoding: str, separator: str, end: str) -> None:
    lines = ["file,prompt,system", 'a.wav,"Slow, calm",S1', "b.wav,钢琴,S2"]
    lines[1:2] = [f'a.wav{separator}"Slow, calm"{separator}S1']
    text = end.join([lines[0].replace(",", separator), lines[1], lines[2].replace(",", separator), ""])
    path = write(tmp_path, text, encoding)
    assert cells(path) == ROWS
    assert open_table(path, ASKED).separator == separator


@pytest.mark.parametrize(
    "text",
    [
        "file, prompt, system\na.wav, Slow, S1\n",  # spaces by hand
        "  file,prompt ,system\t\na.wav,  Slow,S1  \n",
        'file,prompt,system\na.wav, "Slow", S1\n',
        "\r\n \nfile,prompt,system\na.wav,Slow,S1\n",  # blank first lines
        "file,prompt,system\na.wav,Slow,S1\n,,\n\n , , \n",  # empty rows of a spreadsheet
        ",,\nfile,prompt,system\n,,\na.wav,Slow,S1\n",
        "file,prompt,system,,\na.wav,Slow,S1,,\n",  # empty columns
        "file,prompt,system,,\na.wav,Slow,S1\n",
        "file,prompt,system\na.wav,Slow,S1,,\n",
        "file,,prompt,system\na.wav,,Slow,S1\n",
        "sep=;\nfile;prompt;system\na.wav;Slow;S1\n",
        "file\u00a0,\u200bprompt,system\ufeff\na.wav\u200b,\u2060 Slow\u200e,S1\u00a0\u200b\n",  # copied with a text
        "File,PROMPT, System \na.wav,Slow,S1\n",
        '"sep=|"\nfile|prompt|system\na.wav|Slow|S1\n',
        "file;prompt;system;a,b,c,d\na.wav;Slow;S1;\n",  # more commas than semicolons
    ],
)
def test_what_spreadsheets_and_people_add(tmp_path: Path, text: str) -> None:
    (row,) = cells(write(tmp_path, text))
    assert {name: row[name] for name in ASKED} == {"file": "a.wav", "prompt": "Slow", "system": "S1"}


def test_a_row_is_where_it_begins(tmp_path: Path) -> None:
    path = write(tmp_path, b'a,b\n1,"x\ny"\n\n2,"""z"""\n3\n4,w')
    table, lines, problems = read(path)
    assert table.columns == ("a", "b")
    assert lines == [Line(2, {"a": "1", "b": "x\ny"}), Line(5, {"a": "2", "b": '"z"'}), Line(7, {"a": "4", "b": "w"})]
    assert problems == ["t.csv, line 6: 1 instead of 2 cells"]


def test_a_decimal_comma_is_a_point_where_semicolons_separate(tmp_path: Path) -> None:
    _, (line,), _ = read(write(tmp_path, "file;prompt;system;mos\n1,5;1,5;1,5;1,5\n"), ("mos",))
    assert line.cells == {"file": "1,5", "prompt": "1,5", "system": "1,5", "mos": "1.5"}
    for text in ("1.234,5", "1,2,3", "1,", ",", "a,5"):
        _, (line,), _ = read(write(tmp_path, f"file;prompt;system;mos\na;b;c;{text}\n"), ("mos",))
        assert line.cells["mos"] == text  # no number, which whoever asks for one says
    _, (line,), _ = read(write(tmp_path, 'file,prompt,system,mos\na,b,c,"1,234"\n'), ("mos",))
    assert line.cells["mos"] == "1,234"  # in English this is a thousand


def test_a_table_without_a_heading(tmp_path: Path) -> None:
    for text in ("x,1.5,2\n", "x;1,5;2\n", " x\t1.5 \t2\n\n"):
        problems = Problems("t.csv")
        rows = open_table(write(tmp_path, text), ["name"], ["mi", "ta"], has_heading=False).rows(problems)
        assert [line.cells for line in rows] == [{"name": "x", "mi": "1.5", "ta": "2"}]
    path = write(tmp_path, "x,1\n\ny,1,2\nz,1,2,3\n")
    lines = list(open_table(path, ["name"], ["mi", "ta"], has_heading=False).rows(problems))
    assert [line.number for line in lines] == [3]
    assert problems.found == ["t.csv, line 1: 2 instead of 3 cells", "t.csv, line 4: 4 instead of 3 cells"]


def test_lines_are_counted_with_blank_ones(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbfone\r\n\r\n \ntwo\x0bstill two\n")
    assert list(read_lines(path)) == [(1, "one"), (4, "two\x0bstill two")]
    assert read_text(write(tmp_path, "钢琴\n", "utf-16")) == "钢琴\n"


# What is refused


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty."),
        (b"\n \r\n", "it is empty."),
        (b"file,prompt\n\xff", 'it is not UTF-8 text. Save it as "CSV UTF-8".'),
        ("file,prompt\na.wav,钢琴".encode("gbk"), "it is not UTF-8 text (it may be GBK, as spreadsheets in Chinese"),
        ("file,prompt\na.wav,Café, piano".encode("cp1252"), 'it is not UTF-8 text. Save it as "CSV UTF-8".'),
        ("file,prompt\n".encode("utf-16-le"), "it is not UTF-8 text (it may be UTF-16 without its mark)"),
        ("file,prompt\n".encode("utf-16")[:-1], "it is not UTF-8 text"),
        (b"PK\x03\x04\x14", 'it is a workbook. Save its sheet as "CSV UTF-8".'),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=re.escape(f'"t.csv" cannot be read: {sentence}')):
        open_table(write(tmp_path, content), ASKED)
    with pytest.raises(DataError, match=r'"none.csv" cannot be read: No such file'):
        open_table(tmp_path / "none.csv", ASKED)


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"t.csv" has two columns \'file\''):
        open_table(write(tmp_path, "file,prompt,File\n"), ASKED)
    for heading in ("file,prompt,a,a", "file,prompt,a, a ,b,b"):
        with pytest.raises(DataError, match=r'"t.csv" has two columns \'a\''):
            open_table(write(tmp_path, f"{heading}\n"), ASKED)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('file,prompt\na.wav,"Rock\nb.wav,Calm\n', 'line 2: a quote (") is opened here and never closed'),
        ('file,prompt\na.wav,"Rock" riff\nb.wav,Calm\n', "line 2: a quoted text goes on after its closing quote"),
        ('file,prompt\na.wav,"Rock\nb.wav,Calm"\n', "line 2: a quoted text goes on over line 3, which looks like"),
        ('prompt,file\n"Rock,a.wav\nCalm",b.wav\n', "line 2: a quoted text goes on over line 3"),
        ('file,prompt,s\na.wav,"Rock, hard,S1\nb.wav,Calm",S1\n', "line 2: a quoted text goes on over line 3"),
        ('prompt,system\na,"b\nc\nd,e\nf"\n', "line 2: a quoted text goes on over line 4"),
        ("file,prompt\na.wav,Rock,riff\n", "line 2: 3 instead of 2 cells"),
        ("file,prompt\n\na.wav\n", "line 3: 1 instead of 2 cells"),
        ("file,prompt,,\na.wav,Rock,,x\n", "line 2: 4 instead of 2 cells"),
        ("file,,prompt\na.wav,x,Rock\n", 'line 2: "x" stands under no heading'),
        ("file,prompt\na.wav," + "x" * 200_000, "line 2: field larger than field limit"),
    ],
)
def test_rows_that_could_be_read_in_two_ways(tmp_path: Path, text: str, problem: str) -> None:
    _, lines, problems = read(write(tmp_path, text))
    assert problems[0].startswith(f"t.csv, {problem}")
    assert all(line.cells.get("file") != "a.wav" for line in lines)


def test_a_text_over_several_lines_is_one(tmp_path: Path) -> None:
    song = "[verse] Rain, rain\n\nSing, softly, now"
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        for columns in (["file", "prompt"], ["file", "prompt", "system"], ["prompt", "file", "system"]):
            rows = [{"file": "a.wav", "prompt": song, "system": "S1"}, {"file": "b.wav", "prompt": "x", "system": "S"}]
            pd.DataFrame(rows)[columns].to_csv(tmp_path / "t.csv", index=False, quoting=quoting)
            assert cells(tmp_path / "t.csv") == [{name: row[name] for name in columns} for row in rows]


def test_a_swallowed_row_of_numbers(tmp_path: Path) -> None:
    text = 'id,note,mos\na,"b,1.5\nc,d,{}\ne",2\n'
    for cell, n_problems in (("2.5", 1), ("2,5", 0), ("two", 0)):
        assert len(read(write(tmp_path, text.format(cell)), ("mos",))[2]) == n_problems


# Whoever writes a list, it is read as it was, or refused by line

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
PROSE = st.lists(st.sampled_from(['say "ah"', "a, b", "x; y", "two\nlines", "calm", "'tis", "钢琴", "=1"]), max_size=4)
CELLS = TEXTS | PROSE.map(" ".join)
LISTS = st.lists(st.fixed_dictionaries({"file": CELLS, "prompt": CELLS, "system": CELLS}), min_size=1, max_size=6)
WRITERS = {
    "pandas": {"quoting": csv.QUOTE_MINIMAL},
    "quoted": {"quoting": csv.QUOTE_ALL},
    "Excel": {"quoting": csv.QUOTE_MINIMAL, "lineterminator": "\r\n"},
}


def written(rows: list[dict[str, str]], writer: str, separator: str) -> str:
    if writer == "by hand":  # as people do who know nothing of quotes
        lines = [list(ASKED), *([row[name] for name in ASKED] for row in rows)]
        return "\n".join(f"{separator} ".join(line) for line in lines)
    escaped = pd.DataFrame([{name: escape_cell(text) for name, text in row.items()} for row in rows], columns=ASKED)
    text = io.StringIO()
    escaped.to_csv(text, index=False, sep=separator, **WRITERS[writer])
    return text.getvalue()


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    LISTS, st.sampled_from([*WRITERS, "by hand"]), st.sampled_from(SEPARATORS),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
)  # fmt: skip
@example([{"file": "a", "prompt": "b\nc,d,e", "system": "f"}], "pandas", ",", "utf-8")
@example([{"file": "a", "prompt": '"b', "system": 'c"'}], "by hand", ",", "utf-8")
def test_a_list_is_read_as_it_was_written_or_refused_by_line(
    tmp_path: Path, rows: list[dict[str, str]], writer: str, separator: str, encoding: str
) -> None:
    path = write(tmp_path, written(rows, writer, separator), encoding)
    _, lines, problems = read(path)
    if problems:
        assert all(re.match(r"t\.csv, line \d+: ", problem) for problem in problems)
        return
    expected = [{name: stripped(text) for name, text in row.items()} for row in rows]
    found = [line.cells for line in lines]
    if writer == "by hand":  # a quote, a separator and a line end in a cell are the writer's mistake
        if not any(re.search(r"[\"\n\r',;\t]", text) for row in rows for text in row.values()):
            assert found == [row for row in expected if any(row.values())]
    else:
        assert [plain(row) for row in found] == [plain(row) for row in expected if any(row.values())]


def plain(row: dict[str, str]) -> dict[str, str]:
    """Line ends as one sign: a file with ``\\r\\n`` may have others in its texts."""
    return {name: text.replace("\r\n", "\n").replace("\r", "\n") for name, text in row.items()}


# Cells


def test_numbers_and_scores() -> None:
    assert (parse_number(" -2.5 "), parse_score("1"), parse_score("5.0")) == (-2.5, 1.0, 5.0)
    for text, sentence in (("", '"" is not a number'), ("inf", "not a finite"), ("1e999", "not a finite")):
        with pytest.raises(ValueError, match=sentence):
            parse_number(text)
    for text in ("0.99", "5.01", "nan"):
        with pytest.raises(ValueError, match="not"):
            parse_score(text)


def test_columns_are_known_as_people_write_them() -> None:
    asked = ("clip_id", "musical_impression")
    assert as_asked(["Clip-ID ", "Musical impression", "Note 1"], asked) == (*asked, "Note 1")


def test_texts_that_say_nothing() -> None:
    assert all(map(means_nothing, ("", " ", "nan", "NaN", "None", "n/a", "N/A", " - ", "NULL", "<NA>")))
    assert not any(map(means_nothing, ("NA", "none of it", "A calm piano", "--", "0")))


@pytest.mark.parametrize(
    "text",
    [
        "=1",
        "+1",
        "-1",
        "@a",
        "\t=1",
        "\ra",
        "\n=1",
        " =1",
        "\u3000=1",
        "\u00a0@a",
        "＝1",
        "＋1",
        "－1",
        "＠a",
        "\n",
        "'=1",
        "'",
    ],
)
def test_a_formula_is_escaped_and_comes_back(text: str) -> None:
    escaped = escape_cell(text)
    assert escaped == (text if text == "'" else f"'{text}")
    assert unescape_cell(escaped) == text


@pytest.mark.parametrize("text", ["", "a=1", "1-2", "é", "“a”", " a", "'a"])
def test_a_text_that_is_no_formula_stays(text: str) -> None:
    assert escape_cell(text) == unescape_cell(text) == text
