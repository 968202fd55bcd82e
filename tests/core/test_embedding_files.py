"""Files of embeddings: whole or not there, whoever writes beside."""

import threading
from pathlib import Path

import pytest
import torch

from core.embedding_files import EmbeddingFiles
from core.errors import DataError

NAME, OTHER = "ab" * 32, "cd" * 32


@pytest.fixture
def files(tmp_path: Path) -> EmbeddingFiles:
    return EmbeddingFiles(tmp_path / "embeddings", 3)


def test_rows_come_back_as_they_were(files: EmbeddingFiles) -> None:
    rows = torch.tensor([[1.0, -0.0, 1e-30], [float(torch.pi), 2.0, 3.0]])
    assert files.read(NAME) is None
    files.write(NAME, rows)
    again = files.read(NAME)
    assert again is not None
    assert again.dtype == torch.float32
    assert torch.equal(again, rows)
    assert [path.name for path in (files.folder / "ab").iterdir()] == [NAME]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another"])
def test_a_damaged_file_is_as_none(files: EmbeddingFiles, damage: str) -> None:
    files.write(NAME, torch.ones(2, 3))
    files.write(OTHER, torch.zeros(2, 3))
    path = files.folder / "ab" / NAME
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    kept = {"cut": content[:-12], "flipped": content, "empty": b""}
    path.write_bytes(kept.get(damage, (files.folder / "cd" / OTHER).read_bytes()))
    assert files.read(NAME) is None
    files.write(NAME, torch.ones(2, 3))
    assert torch.equal(files.read(NAME), torch.ones(2, 3))


def test_readers_beside_writers_see_whole_files(files: EmbeddingFiles) -> None:
    rows = torch.arange(30_000.0).reshape(-1, 3)
    seen: list[bool] = []
    files.write(NAME, rows)

    def write() -> None:
        for _ in range(40):
            files.write(NAME, rows)

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        found = files.read(NAME)
        seen.append(found is not None and torch.equal(found, rows))
    for writer in writers:
        writer.join()
    assert seen
    assert all(seen)
    assert [path.name for path in (files.folder / "ab").iterdir()] == [NAME]


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    files = EmbeddingFiles(tmp_path / "taken", 3)
    expected = r'^The folder of embeddings "taken" cannot be used: Not a directory\. Give another one\.$'
    with pytest.raises(DataError, match=expected):
        files.read(NAME)
    with pytest.raises(DataError, match=expected.replace("Not a directory", "(File exists|Not a directory)")):
        files.write(NAME, torch.ones(1, 3))
