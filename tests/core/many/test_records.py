import importlib.util
import json
from pathlib import Path

import pytest

from core.errors import DataError
from core.many.records import read_columns, read_records, write_records
from core.tables import Problems

TYPES = {"name": str, "value": float, "more": str}
RECORDS = [
    {"name": "=SUM(A1)", "value": 1.5, "more": {"a": [1, None]}},
    {"name": 'two\r\nlines, "quoted" é 🎹', "value": None, "more": None},
    {"name": "'-x", "value": 0.1 + 0.2, "more": "plain"},
]
PARQUET = pytest.param(
    ".parquet",
    marks=pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is not installed"),
)


def read(path: Path) -> list[dict]:
    problems = Problems(path.name)
    records = [cells for _, cells in read_records(path, problems)]
    problems.stop_if_any()
    return records


def test_json_lines_keep_everything(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_records(path, TYPES, RECORDS)
    assert read(path) == RECORDS
    assert read_columns(path) is None


@pytest.mark.parametrize("suffix", [".csv", PARQUET])
def test_tables_keep_texts(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    write_records(path, TYPES, RECORDS)
    assert read_columns(path) == ["name", "value", "more"]
    none = "" if suffix == ".csv" else None
    numbers = ["1.5", "", "0.30000000000000004"] if suffix == ".csv" else [1.5, None, 0.1 + 0.2]
    assert read(path) == [
        {"name": record["name"], "value": number, "more": more}
        for record, number, more in zip(RECORDS, numbers, ['{"a": [1, null]}', none, "plain"], strict=True)
    ]


def test_no_formula_reaches_a_spreadsheet(tmp_path: Path) -> None:
    write_records(tmp_path / "t.csv", TYPES, RECORDS)
    assert (tmp_path / "t.csv").read_text().splitlines()[:2] == [
        '"name","value","more"',
        '"\'=SUM(A1)",1.5,"{""a"": [1, null]}"',
    ]


def test_what_json_cannot_say_becomes_null_or_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('\ufeff{"a": NaN, "b": [Infinity], "c": "\\ud83c"}\n\n{"a": 1e999}\n')
    assert read(path) == [{"a": None, "b": [None], "c": "?"}, {"a": None}]


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is not installed")
def test_parquet_of_others(tmp_path: Path) -> None:
    import datetime

    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(
        {"at": [datetime.datetime(2026, 1, 2)], "x": [float("nan")], "n": [3], "l": [[1, 2]]}
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet") == [{"at": "2026-01-02 00:00:00", "x": None, "n": 3, "l": [1, 2]}]


def test_rows_that_cannot_be_read_are_all_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1,2\n3\n"x\ny",4\n5,6,7\n')
    (tmp_path / "t.jsonl").write_text('{"a": 1}\n[1]\n{"a"\n')
    with pytest.raises(DataError) as csv:
        read(tmp_path / "t.csv")
    with pytest.raises(DataError) as lines:
        read(tmp_path / "t.jsonl")
    assert str(csv.value).splitlines()[1:] == [
        "  t.csv, line 3: 1 instead of 2 cells",
        "  t.csv, line 6: 3 instead of 2 cells",
    ]
    assert str(lines.value).splitlines()[1:] == [
        "  t.jsonl, line 2: it is no JSON object",
        "  t.jsonl, line 3: it is no JSON object",
    ]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("t.csv", None, "No such file or directory"),
        ("t.csv", b"a\n\xff\n", "it is not UTF-8 text"),
        ("t.csv", b"a\n" + b"x" * 200_000, "field larger than field limit"),
        ("t.jsonl", b"\xff\n", "it is not UTF-8 text"),
        ("t.xlsx", b"", "is no table. The name of a table ends in .csv, .jsonl, .parquet."),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=why):
        list(read_records(tmp_path / name, Problems(name)))


def test_a_table_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def broken():
        yield RECORDS[0]
        raise KeyboardInterrupt

    path = tmp_path / "t.jsonl"
    path.write_text("before\n")
    with pytest.raises(KeyboardInterrupt):
        write_records(path, TYPES, broken())
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"t.jsonl": "before\n"}
    with pytest.raises(DataError, match=r'"t.csv" cannot be written'):
        write_records(tmp_path / "nowhere" / "t.csv", TYPES, RECORDS)


def test_numbers_survive_a_csv_file(tmp_path: Path) -> None:
    write_records(tmp_path / "t.csv", {"x": float}, [{"x": 1 / 3}])
    assert json.loads(read(tmp_path / "t.csv")[0]["x"]) == 1 / 3
