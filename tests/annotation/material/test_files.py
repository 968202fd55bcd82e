"""What raters hear is what was ingested: files that are gone, emptied or exchanged are told, and hashed once."""

import hashlib
import os
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from annotation.material import files
from annotation.material.files import CHANGED, MISSING, ClipFile
from core.errors import BusyError, StudyError

WAV = b"RIFF" + bytes(range(256)) * 4


@pytest.fixture
def file(tmp_path: Path) -> ClipFile:
    path = tmp_path / "clips" / "a.wav"
    path.parent.mkdir()
    path.write_bytes(WAV)
    return ClipFile(path, hashlib.sha256(WAV).hexdigest(), len(WAV))


def test_what_was_ingested_is_given_out(file: ClipFile) -> None:
    digest = (file.sha256, zlib.crc32(WAV))
    assert file.read() == (WAV, digest)
    assert (file.digest(), file.fault(), file.looks_right()) == (digest, "", True)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    ("content", "fault", "looks_right"),
    [(None, MISSING, False), (b"", CHANGED, False), (WAV + b"\0", CHANGED, False), (WAV[::-1], CHANGED, True)],
)
def test_another_file_is_refused(
    file: ClipFile, known: bool, content: bytes | None, fault: str, looks_right: bool
) -> None:
    """The one of the same length is told by its content, although the one before was known."""
    if known:
        file.read()
    before = file.path.stat()
    if content is None:
        file.path.unlink()
    else:
        file.path.write_bytes(content)
        os.utime(file.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    for way in (file.read, file.digest):
        with pytest.raises(StudyError) as refused:
            way()
        assert str(refused.value) == fault
    assert (file.fault(), file.looks_right()) == (fault, looks_right)


def test_a_folder_in_place_of_a_clip_is_missing(file: ClipFile) -> None:
    file.path.unlink()
    file.path.mkdir()
    assert file.fault() == MISSING


def test_of_a_clip_without_a_hash_the_length_is_known(file: ClipFile) -> None:
    unknown = replace(file, sha256=None)
    assert unknown.digest().sha256 == file.sha256
    file.path.write_bytes(b"")
    assert unknown.fault() == CHANGED


def test_while_the_folder_is_away_no_clip_is_given_up(file: ClipFile) -> None:
    file.path.parent.rename(file.path.parent.with_name("away"))
    with pytest.raises(BusyError):
        file.read()


def test_a_file_is_hashed_once(file: ClipFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.read()

    def hashed(_: bytes) -> None:
        raise AssertionError("hashed again")

    with monkeypatch.context() as patch:
        patch.setattr(files.hashlib, "sha256", hashed)
        for _ in range(3):
            assert file.read()[0] == WAV
            file.digest()
        file.path.write_bytes(WAV)
        with pytest.raises(AssertionError):
            file.read()


def test_what_is_known_of_files_is_bounded(file: ClipFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_known", {})
    monkeypatch.setattr(files, "_MOST_KNOWN", 2)
    for number in range(5):
        file.path.write_bytes(WAV)
        os.utime(file.path, ns=(0, number))
        file.read()
    assert len(files._known) <= 2
