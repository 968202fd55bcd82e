"""A folder of small files that hold rows of numbers, each known by a name that says what it was made from.

A file holds the SHA-256 of its name and rows, then the rows, little-endian float32. It appears whole, by
renaming, so several processes and machines may share a folder: at worst two make the same. A file that is
not what it was when written counts as not there.
"""

import hashlib
import secrets
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.errors import DataError, shown_name

_DIGEST_BYTES = 32


class EmbeddingFiles:
    """Rows of one length by name.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    dim : int
        Numbers in a row.
    """

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self._dim = dim

    def read(self, name: str) -> Tensor | None:
        """Give the rows (n, dim) of a name, float32; None where they are missing or damaged.

        Raises
        ------
        DataError
            The folder cannot be read.
        """
        try:
            content = self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        digest, rows = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest != _digest(name, rows):
            return None
        return torch.from_numpy(np.frombuffer(rows, "<f4").astype(np.float32).reshape(-1, self._dim))

    def write(self, name: str, rows: Tensor) -> None:
        """Keep rows (n, dim) under a name.

        Raises
        ------
        DataError
            The folder cannot be written.
        """
        content = rows.numpy().astype("<f4").tobytes()
        path = self._path(name)
        unfinished = path.with_name(f"{name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                unfinished.write_bytes(_digest(name, content) + content)
                unfinished.replace(path)
            finally:
                unfinished.unlink(missing_ok=True)
        except OSError as error:
            raise self._unusable(error) from error

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name

    def _unusable(self, error: OSError) -> DataError:
        return DataError(
            f"The folder of embeddings {shown_name(self.folder.name)} cannot be used: {error.strerror}. "
            "Give another one."
        )


def _digest(name: str, rows: bytes) -> bytes:
    return hashlib.sha256(name.encode() + rows).digest()
