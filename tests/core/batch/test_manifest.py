"""Tables of cells, and clip lists: what is read, and how what is wrong is said."""

import datetime
import os
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.batch.manifest import (
    FORMATS,
    ClipList,
    Row,
    from_cells,
    read_columns,
    read_records,
    score_columns,
    table_columns,
    write_records,
)
from core.batch.run import local_file
from core.errors import AudioError, DataError
from core.files import Problems
from core.scales import MUSICEVAL, Scale
from tests.clips import pluck, write_clip
from tests.manifests import manifest_rows, write_manifest

TYPES = {"name": str, "value": float, "more": str}
RECORDS = [
    {"name": "=SUM(A1)", "value": 1.5, "more": {"a": [1, None]}},
    {"name": 'two\r\nlines, "quoted" é 🎹', "value": None, "more": None},
    {"name": "'-x", "value": 0.1 + 0.2, "more": "plain"},
]


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


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
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
    assert (tmp_path / "t.csv").read_text("utf-8-sig").splitlines()[:2] == [
        '"name","value","more"',
        '"\'=SUM(A1)",1.5,"{""a"": [1, null]}"',
    ]


def test_a_table_is_written_for_spreadsheets_in_any_language(tmp_path: Path) -> None:
    write_records(tmp_path / "t.csv", TYPES, RECORDS)
    assert (tmp_path / "t.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_key_that_is_there_twice_is_no_choice(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 1, "b": {"c": 1, "c": 2}}\n{"a": 1, "a": 2}\n{"a": 1}\n')
    found = Problems("t.jsonl")
    assert [cells for _, cells in read_records(tmp_path / "t.jsonl", found)] == [{"a": 1}]
    assert found.found == ['t.jsonl, line 1: it has "c" twice', 't.jsonl, line 2: it has "a" twice']


def test_what_json_cannot_say_becomes_null_or_a_question_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('\ufeff{"a": NaN, "b": [Infinity], "c": "\\ud83c"}\n\n{"a": 1e999}\n')
    assert read(path) == [{"a": None, "b": [None], "c": "?"}, {"a": None}]


def test_parquet_of_others(tmp_path: Path) -> None:
    table = pyarrow.table({"at": [datetime.datetime(2026, 1, 2)], "x": [float("nan")], "n": [3], "l": [[1, 2]]})
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
    write_records(tmp_path / "t.csv", {"x": float, "y": float}, [{"x": 1 / 3}])
    assert from_cells(read(tmp_path / "t.csv")[0], {"x": float, "z": float}) == {"x": 1 / 3, "y": ""}


def problems(path: Path) -> list[str]:
    with pytest.raises(DataError) as error:
        ClipList.check(path, score_columns(MUSICEVAL))
    return str(error.value).splitlines()


def test_the_same_rows_in_every_format(tmp_path: Path) -> None:
    rows = manifest_rows(tmp_path, 5)
    manifests = [ClipList.check(write_manifest(tmp_path / f"m{suffix}", rows)) for suffix in FORMATS]
    first = list(manifests[0].rows())
    assert first[4] == Row("row 4", "clip0.wav", "Loud drums and a bass", "S1", tmp_path / "clip0.wav", {"note": "é"})
    for manifest in manifests:
        assert (manifest.n_rows, manifest.others, manifest.sha256) == (5, ("note",), manifests[0].sha256)
        assert list(manifest.rows()) == first


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_any_cell_changes_the_hash(tmp_path: Path, suffix: str) -> None:
    rows = manifest_rows(tmp_path, 3)
    changed = [[{**row, column: row[column] + "x"} if row is rows[1] else row for row in rows] for column in rows[1]]
    tables = [rows, *changed, rows[::-1]]
    hashes = [ClipList.check(write_manifest(tmp_path / f"m{suffix}", table)).sha256 for table in tables]
    assert len({*hashes}) == len(tables)


def test_ids_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("prompt,file\na,x.wav\nb,/y.wav\nc,\n")
    rows = list(ClipList.check(path).rows())
    assert [(row.id, row.system, row.path) for row in rows] == [
        ("1", "", tmp_path / "x.wav"),
        ("2", "", Path("/y.wav")),
        ("3", "", None),
    ]


def test_json_cells_that_are_no_texts(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(
        '{"id": 7, "file": "x.wav", "prompt": null, "tags": ["a"]}\n'
        '{"id": "8", "file": "x.wav", "prompt": 1984, "system": true}\n'
        '{"id": "", "file": 0.5, "prompt": ""}\n'
        '{"id": "9", "system": "S"}\n'
    )
    assert problems(path) == [
        '"m.jsonl" cannot be used, it has 3 problems:',
        '  m.jsonl, line 2: system is "True"; it must be a text',
        '  m.jsonl, line 3: file is "0.5"; it must be a text',
        "  m.jsonl, line 4: it has no file and no prompt",
    ]
    path.write_text(path.read_text().split("\n")[0])
    row = next(ClipList.check(path).rows())
    assert (row.id, row.prompt, row.others) == ("7", "", {"tags": ["a"]})


def test_everything_wrong_is_said_together(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,file,prompt,status,sha256\na,x,y,,\nb,x,y,\n,x,y,,\na,x,y,,\n")
    assert problems(path) == [
        '"m.csv" cannot be used, it has 5 problems:',
        "  m.csv, line 3: 4 instead of 5 cells",
        "  m.csv, line 4: the id is empty",
        '  m.csv, line 5: the id "a" is there twice',
        "  m.csv: the scores have a column sha256 of their own; rename this one",
        "  m.csv: the scores have a column status of their own; rename this one",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,text\n", '"m.csv" has no column file and no column prompt. A clip list has the columns file and prompt'),
        ("file,prompt,a,a\n", "\"m.csv\" has two columns 'a'."),
        ("", '"m.csv" cannot be read: it is empty.'),
        ("file,prompt\n", '"m.csv" has no rows: there is nothing to score.'),
    ],
)
def test_headings(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    assert problems(tmp_path / "m.csv")[0].startswith(message)


def test_every_scale_of_the_judge_has_its_columns() -> None:
    scales = (Scale("mood", "Mood", "How sad?", ("1", "2", "3", "4", "5")),)
    columns = table_columns(scales, ["note"])
    assert [*columns][:8] == ["id", "file", "prompt", "system", "mood", "mood_low", "mood_high", "interval_level"]
    assert [*columns][-4:] == ["model", "model_sha256", "precision", "note"]


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b.WAV", "a/c.flac", "a/.hidden.wav", ".git/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write_clip(tmp_path / "d.mp3", pluck(1.0))
    (tmp_path / "d.txt").write_text("\ufeffA calm piano\n")
    (tmp_path / "notes.txt").write_text("no clip")
    (tmp_path / os.fsdecode(b"e\xff.ogg")).touch()
    manifest = ClipList.check(tmp_path)
    rows = list(manifest.rows())
    assert [(row.id, row.file, row.prompt) for row in rows] == [
        ("b.WAV", "b.WAV", ""),
        ("d.mp3", "d.mp3", "A calm piano"),
        ("e\\xff.ogg", "e\\xff.ogg", ""),
        ("a/c.flac", "a/c.flac", ""),
    ]
    assert all(row.path is not None and row.path.is_file() for row in rows)
    assert manifest.notes[0].endswith("left out: notes.txt.")


def test_prompts_beside_audio_are_decoded_or_fail_their_row(tmp_path: Path) -> None:
    contents = {
        "a.txt": "钢琴".encode("utf-8-sig"),
        "b.txt": "Loud rock riff".encode("utf-16"),
        "c.TXT": b"A calm piano\r\n",
        "d.txt": "钢琴曲".encode("gbk"),
        "e.txt": b"\xff\xfe\x00",
        "f.txt": b"x" * 500_000,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        write_clip((tmp_path / name).with_suffix(".wav"), pluck(0.6))
    rows = list(ClipList.check(tmp_path).rows())
    assert [row.prompt for row in rows] == ["钢琴", "Loud rock riff", "A calm piano", "", "", ""]
    assert [row.fault for row in rows[:3]] == ["", "", ""]
    assert "d.txt" in rows[3].fault
    assert "it may be GBK" in rows[3].fault
    assert "it is not UTF-8 text" in rows[4].fault
    assert rows[5].fault == 'The prompt: "f.txt" has more than 100,000 bytes. Shorten it.'
    with pytest.raises(AudioError, match=r'The prompt: "d.txt" cannot be read'):
        local_file(rows[3])


def test_spaces_make_no_other_system(tmp_path: Path) -> None:
    rows = []
    for suffix in (".csv", ".jsonl", ".parquet"):
        cells = {"id": " 1", "file": "a.wav ", "prompt": " calm ", "system": "S1 "}
        write_records(tmp_path / f"m{suffix}", dict.fromkeys(cells, str), [cells])
        rows += ClipList.check(tmp_path / f"m{suffix}").rows()
    assert rows == [Row("1", "a.wav", "calm", "S1", tmp_path / "a.wav")] * 3


def test_cells_that_say_nothing_are_empty_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("file,prompt,system\na.wav,nan,S1\nb.wav,None,n/a\nc.wav,,-\nd.wav,calm,\n")
    clip_list = ClipList.check(path)
    assert [(row.prompt, row.system) for row in clip_list.rows()] == [("", "S1"), ("", ""), ("", ""), ("calm", "")]
    prompts, systems = clip_list.notes
    assert prompts.startswith("Taken as empty: 2 cells of prompt with what means that there is none (#n/a, -")
    assert systems.startswith("Taken as empty: 2 cells of system with")


def test_what_a_folder_holds_beside_its_clips_is_said(tmp_path: Path) -> None:
    def notes() -> tuple[str, ...]:
        return ClipList.check(tmp_path, output=tmp_path / "scores.csv").notes

    for name in ("a.wav", "a.txt", "b.TXT", "deep/c.xyz", "scores.csv", ".hidden"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (left_out,) = notes()
    assert left_out.endswith("neither a clip nor the prompt of one, and are left out: b.TXT, deep/c.xyz.")
    (tmp_path / "manifest.csv").touch()
    assert notes() == (
        "The folder has tables, which were not read: manifest.csv. To score a list, give its file.",
        left_out,
    )


def test_an_empty_folder(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f'"{tmp_path.name}" has no rows: there is nothing to score.']


def test_a_manifest_that_changes_under_the_run(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.csv", manifest_rows(tmp_path, 3))
    manifest = ClipList.check(path)
    path.write_text(path.read_text().rsplit("\n", 2)[0] + "\n")
    with pytest.raises(DataError, match="was changed while it was being scored"):
        list(manifest.rows())
