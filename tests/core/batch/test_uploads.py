"""Clips by the names of rows: what fits, what is ambiguous, what means harm; and lists that are too large."""

import io
import time
import zipfile
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.audio import AudioLimits, read_clip
from core.batch.uploads import ClipFiles, ListLimits, read_list
from core.errors import AudioError, BatchError, DataError
from tests.clips import pluck, write_clip
from tests.manifests import manifest_rows, write_manifest

LIMITS = AudioLimits(max_bytes=1_000_000)


def pack(path: Path, content: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def found(paths: list[Path], asked: list[str]) -> dict[str, object]:
    """What each row gets: a path, bytes, or the sentence why not."""
    said: dict[str, object] = {}
    with ClipFiles(paths, asked, LIMITS) as clips:
        for file in asked:
            try:
                said[file] = clips.find(file)
            except AudioError as error:
                said[file] = str(error)
    return said


def test_files_are_found_by_the_end_of_their_path(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.ZIP", {"all/S1/a.wav": b"1", "all/S2/a.wav": b"2", "all/Größe!.wav": b"3"})
    alone = tmp_path / "b.wav"
    alone.touch()
    asked = ["S1/a.wav", ".\\S2\\a.wav", "Gro\u0308ße.wav", "/Music/b.wav"]
    assert list(found([archive, alone], asked).values()) == [b"1", b"2", b"3", alone]


def test_what_is_ambiguous_is_nobodys_clip(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"S1/a.wav": b"1", "S2/a.wav": b"2", "b.wav": b"3"})
    said = found([archive], ["a.wav", "S1/b.wav", "S2/b.wav", "S3/a.wav", ""])
    assert said == {
        "a.wav": '"a.wav" fits 2 of the files. Give more of its path.',
        "S1/b.wav": 'Rows name "b.wav" in several folders, but there is one. Give a ZIP with their folders.',
        "S2/b.wav": 'Rows name "b.wav" in several folders, but there is one. Give a ZIP with their folders.',
        "S3/a.wav": '"S3/a.wav" is not among the files. Add it, alone or in a ZIP.',
        "": '"" is not among the files. Add it, alone or in a ZIP.',
    }


def test_two_rows_may_have_the_same_clip(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"S1/a.wav": b"1", "S1/b.wav": b"2"})
    with ClipFiles([archive], ["S1/a.wav", "./S1/a.wav"], LIMITS) as clips:
        assert clips.find("S1/a.wav") == clips.find("./S1/a.wav") == b"1"
        assert clips.n_unused == 1


def test_a_clip_in_an_archive_is_the_clip(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.wav", pluck(1.0))
    archive = pack(tmp_path / "a.zip", {"a.wav": path.read_bytes()})
    with ClipFiles([archive], ["a.wav"], LIMITS) as clips:
        assert read_clip(clips.find("a.wav")).sha256 == read_clip(path).sha256


@pytest.mark.parametrize("file", ["../secret.wav", "/etc/passwd", "..\\secret.wav", "S1/../../secret.wav"])
def test_no_row_reaches_what_did_not_come(tmp_path: Path, file: str) -> None:
    (tmp_path / "secret.wav").touch()
    (tmp_path / "up").mkdir()
    archive = pack(tmp_path / "up" / "a.zip", {"a.wav": b"1"})
    assert "is not among the files" in str(found([archive], [file])[file])


def test_an_entry_that_climbs_is_only_a_name(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"../../climbed.wav": b"1", "/root.wav": b"2"})
    assert list(found([archive], ["climbed.wav", "root.wav"]).values()) == [b"1", b"2"]
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_a_bomb_is_unpacked_up_to_the_limit(tmp_path: Path) -> None:
    bomb = pack(tmp_path / "a.zip", {"a.wav": bytes(50_000_000)})
    data = bytearray(bomb.read_bytes())
    assert len(data) < 100_000
    assert "unpacks to more than 1 MB" in str(found([bomb], ["a.wav"])["a.wav"])
    for at in (data.find(b"PK\x03\x04") + 22, data.find(b"PK\x01\x02") + 24):
        data[at : at + 4] = (10).to_bytes(4, "little")  # the entry claims ten bytes
    bomb.write_bytes(data)
    assert "cannot be unpacked" in str(found([bomb], ["a.wav"])["a.wav"])


def test_a_directory_without_end_is_not_read(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.wav", b"")
    data = content.getvalue()
    start, end = data.find(b"PK\x01\x02"), data.find(b"PK\x05\x06")
    n_entries = 90_000
    entries = data[start:end] * n_entries
    tail = bytearray(data[end:])
    tail[12:16] = len(entries).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(data[:start] + entries + tail)
    assert len(entries) > 4_000_000
    with pytest.raises(DataError, match="cannot be read as a ZIP"):
        ClipFiles([tmp_path / "a.zip"], ["a.wav"], LIMITS)


def test_what_is_no_archive(tmp_path: Path) -> None:
    good = pack(tmp_path / "good.zip", {"a.wav": b"1"})
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r'"bad.zip" cannot be read as a ZIP archive'):
        ClipFiles([good, tmp_path / "bad.zip"], [], LIMITS)


def test_a_damaged_and_an_encrypted_clip_are_told(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.wav": bytes(range(256)) * 20, "b.wav": b"2" * 99})
    data = bytearray(archive.read_bytes())
    at = data.find(b"a.wav") + 20
    data[at : at + 40] = bytes(40)
    second = data.rfind(b"PK\x01\x02")
    data[second + 8] |= 1  # encrypted, in the directory and at the entry
    data[data.rfind(b"PK\x03\x04") + 6] |= 1
    archive.write_bytes(data)
    said = found([archive], ["a.wav", "b.wav"])
    assert all("cannot be unpacked" in str(sentence) for sentence in said.values())


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_without_a_limit_are_refused(tmp_path: Path, method: int) -> None:
    archive = pack(tmp_path / "a.zip", {"a.wav": bytes(1_000)}, method)
    assert "packed in an unusual way" in str(found([archive], ["a.wav"])["a.wav"])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_list_is_read_whole(tmp_path: Path, suffix: str) -> None:
    rows = manifest_rows(tmp_path, 5)
    read = read_list(write_manifest(tmp_path / f"clips{suffix}", rows), [])
    assert [(row.id, row.file, row.prompt, row.system) for row in read.rows] == [
        (row["id"], row["file"], row["prompt"], row["system"]) for row in rows
    ]
    with pytest.raises(DataError, match="have a column note of their own"):
        read_list(tmp_path / f"clips{suffix}", ["note"])


@pytest.mark.parametrize(
    ("limits", "part"),
    [
        (ListLimits(max_rows=7), "has more than 7 rows, the most that a clip list has here"),
        (ListLimits(max_bytes=100), "has more than 0.0001 MB"),
        (ListLimits(max_text=50), "has more than 50 characters of text"),
    ],
)
def test_what_is_too_large_is_refused(tmp_path: Path, limits: ListLimits, part: str) -> None:
    path = write_manifest(tmp_path / "clips.csv", manifest_rows(tmp_path, 8))
    with pytest.raises(BatchError, match=part):
        read_list(path, [], limits)


def test_a_table_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    prompts = [f"{number}" + "a" * 100_000 for number in range(100)]
    table = pyarrow.table({"file": ["a.wav"] * 100, "prompt": prompts})
    parquet.write_table(table, tmp_path / "clips.parquet", compression="zstd")
    assert (tmp_path / "clips.parquet").stat().st_size < 100_000
    with pytest.raises(BatchError, match="has more than 5 MB"):
        read_list(tmp_path / "clips.parquet", [])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_many_rows_are_refused_before_all_are_read(tmp_path: Path, suffix: str) -> None:
    """A million rows are two megabytes of text, and a few hundred bytes of Parquet."""
    path = tmp_path / f"clips{suffix}"
    if suffix == ".csv":
        path.write_text("file,prompt\n" + "a,\n" * 1_000_000)
    else:
        parquet.write_table(pyarrow.table({"file": ["a"] * 1_000_000, "prompt": ["b"] * 1_000_000}), path)
    began_s = time.monotonic()
    with pytest.raises(BatchError, match="has more than 1,000 rows"):
        read_list(path, [])
    assert time.monotonic() - began_s < 5  # 40 s and more where all are read


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl", "clips.parquet", "clips.txt"])
def test_what_is_no_list_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff")
    with pytest.raises(DataError, match=name):
        read_list(tmp_path / name, [])
