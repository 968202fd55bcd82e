import importlib.util
import os
from pathlib import Path

import pytest

from core.errors import DataError
from core.many.manifest import Manifest, Row
from core.many.table import SCORE_COLUMNS
from tests.clips import pluck, write_clip
from tests.manifests import manifest_rows, write_manifest

PARQUET = pytest.param(
    ".parquet",
    marks=pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="pyarrow is not installed"),
)


def problems(path: Path) -> list[str]:
    with pytest.raises(DataError) as error:
        Manifest.check(path, SCORE_COLUMNS)
    return str(error.value).splitlines()


def test_the_same_rows_in_every_format(tmp_path: Path) -> None:
    rows = manifest_rows(tmp_path, 5)
    suffixes = [".csv", ".jsonl", *([".parquet"] if importlib.util.find_spec("pyarrow") else [])]
    manifests = [Manifest.check(write_manifest(tmp_path / f"m{suffix}", rows)) for suffix in suffixes]
    first = list(manifests[0].rows())
    assert first[4] == Row(
        "row 4", "clip0.wav", "Loud drums and a bass", "S1", tmp_path / "clip0.wav", {"note": "é"}
    )
    for manifest in manifests:
        assert (manifest.n_rows, manifest.others, manifest.sha256) == (5, ("note",), manifests[0].sha256)
        assert list(manifest.rows()) == first


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", PARQUET])
def test_any_cell_changes_the_hash(tmp_path: Path, suffix: str) -> None:
    rows = manifest_rows(tmp_path, 3)
    changed = [
        [{**row, column: row[column] + "x"} if row is rows[1] else row for row in rows] for column in rows[1]
    ]
    tables = [rows, *changed, rows[::-1]]
    hashes = [Manifest.check(write_manifest(tmp_path / f"m{suffix}", table)).sha256 for table in tables]
    assert len({*hashes}) == len(tables)


def test_ids_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("prompt,file\na,x.wav\nb,/y.wav\nc,\n")
    rows = list(Manifest.check(path).rows())
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
    row = next(Manifest.check(path).rows())
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
        (
            "name,text\n",
            '"m.csv" has no column file and no column prompt. A manifest has the columns file and prompt',
        ),
        ("file,prompt,a,a\n", "\"m.csv\" has two columns 'a'."),
        ("", '"m.csv" has no column file'),
        ("file,prompt\n", '"m.csv" has no rows: there is nothing to score.'),
    ],
)
def test_headings(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(content)
    assert problems(tmp_path / "m.csv")[0].startswith(message)


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b.WAV", "a/c.flac", "a/.hidden.wav", ".git/d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    write_clip(tmp_path / "d.mp3", pluck(1.0))
    (tmp_path / "d.txt").write_text("\ufeffA calm piano\n")
    (tmp_path / "notes.txt").write_text("no clip")
    (tmp_path / os.fsdecode(b"e\xff.ogg")).touch()
    manifest = Manifest.check(tmp_path)
    rows = list(manifest.rows())
    assert [(row.id, row.file, row.prompt) for row in rows] == [
        ("b.WAV", "b.WAV", ""),
        ("d.mp3", "d.mp3", "A calm piano"),
        ("e\\xff.ogg", "e\\xff.ogg", ""),
        ("a/c.flac", "a/c.flac", ""),
    ]
    assert all(row.path is not None and row.path.is_file() for row in rows)


def test_an_empty_folder(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f'"{tmp_path.name}" has no rows: there is nothing to score.']


def test_a_manifest_that_changes_under_the_run(tmp_path: Path) -> None:
    path = write_manifest(tmp_path / "m.csv", manifest_rows(tmp_path, 3))
    manifest = Manifest.check(path)
    path.write_text(path.read_text().rsplit("\n", 2)[0] + "\n")
    with pytest.raises(DataError, match="was changed while it was being scored"):
        list(manifest.rows())
