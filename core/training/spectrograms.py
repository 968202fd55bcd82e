"""Spectrograms of clips, computed once for all epochs: nothing in a recipe changes them.

They stay on the GPU where a quarter of what is free there holds them, and otherwise lie in a file that has no name
and ends with the process. What the disk has no room for is not kept, and computed again each time.
"""

import contextlib
import os
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

_SHARE = 4  # of the memory of a GPU


@dataclass(frozen=True)
class _InFile:
    """Where a clip's spectrograms lie."""

    start: int
    shape: tuple[int, ...]


class Spectrograms:
    """Spectrograms and weights of clips' windows by row; float32."""

    def __init__(self, device: torch.device, folder: Path | None = None) -> None:
        self._free_bytes = torch.cuda.mem_get_info(device)[0] // _SHARE if device.type == "cuda" else 0
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._kept: dict[int, tuple[Tensor | _InFile, list[float]]] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._kept

    def __getitem__(self, row: int) -> tuple[Tensor, list[float]]:
        kept, weights = self._kept[row]
        return (kept if isinstance(kept, Tensor) else self._read(kept)), weights

    def __setitem__(self, row: int, heard: tuple[Tensor, list[float]]) -> None:
        features, weights = heard
        if features.nbytes <= self._free_bytes:
            self._free_bytes -= features.nbytes
            self._kept[row] = heard
            return
        with contextlib.suppress(OSError):
            self._kept[row] = self._write(features), weights

    def _write(self, features: Tensor) -> _InFile:
        if self._file is None:
            if self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  # closed with this
            weakref.finalize(self, self._file.close)
        start = self._file.seek(0, os.SEEK_END)
        content = features.cpu().numpy().tobytes()
        if self._file.write(content) < len(content):
            self._file.truncate(start)
            raise OSError("no room")
        return _InFile(start, tuple(features.shape))

    def _read(self, kept: _InFile) -> Tensor:
        assert self._file is not None
        return torch.from_numpy(np.array(np.memmap(self._file, np.float32, "r", kept.start, kept.shape)))
