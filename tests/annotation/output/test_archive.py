"""A ZIP of which any part can be sent alone."""

import hashlib
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from annotation.archive import Archive
from annotation.material.files import ClipFile

AT = datetime(2026, 3, 1, 12, 0, 2, tzinfo=UTC)
CLIPS = {f"clips/{number}.wav": bytes([number]) * (50 + number) for number in range(3)}
TEXTS = {"a.csv": b"a,b", "Straße.csv": b"", "manifest.json": b"{}"}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    members: dict[str, bytes | ClipFile] = {**TEXTS}
    for place, content in CLIPS.items():
        path = tmp_path / Path(place).name
        path.write_bytes(content)
        members[place] = ClipFile(path, hashlib.sha256(content).hexdigest(), len(content))
    return Archive.of("top", members, AT)


def opened(content: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(content))


def test_a_zip_as_others_read_it(archive: Archive) -> None:
    whole = b"".join(archive.read())
    assert (archive.name, archive.size) == ("top.zip", len(whole))
    with opened(whole) as packed:
        assert packed.testzip() is None
        assert {name: packed.read(name) for name in packed.namelist()} == {
            f"top/{place}": content for place, content in {**TEXTS, **CLIPS}.items()
        }
        assert {entry.date_time for entry in packed.infolist()} == {(2026, 3, 1, 12, 0, 2)}
        assert {entry.external_attr >> 16 for entry in packed.infolist()} == {0o600}


def test_every_part_is_a_part_of_the_whole(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("annotation.archive._BLOCK_BYTES", 7)
    whole = b"".join(archive.read())
    for start in range(archive.size):
        assert b"".join(archive.read(start)) == whole[start:]
        for end in (start + 1, start + 100, archive.size - 1):
            assert b"".join(archive.read(start, end)) == whole[start:end]
    assert max(map(len, archive.read())) == 7


def test_no_clip_before_a_part_is_read(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, read = b"".join(archive.read()), []
    plain = ClipFile.read
    monkeypatch.setattr(ClipFile, "read", lambda file: read.append(file.path.name) or plain(file))
    b"".join(archive.read(whole.index(CLIPS["clips/2.wav"]) + 5))
    assert read == ["2.wav"]


def test_a_zip_of_many_gigabytes(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no longer fits into 32 bits, as if they were fewer."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 60)
    large = Archive.of("top", {"a": bytes(100), "b": b"b"}, AT)
    whole = b"".join(large.read())
    assert len(whole) == large.size
    with opened(whole) as packed:
        assert packed.testzip() is None
        assert [packed.read(name) for name in packed.namelist()] == [bytes(100), b"b"]
        assert packed.infolist()[1].header_offset > 100
