"""Rated clips as the heads hear them: embeddings of windows and prompts, and what the heads make of them.

The judge gives each window of a clip a value for each scale, and the clip their mean.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.embeddings import EmbeddingCache
from core.file_reading import clip_sha256, read_all, stop_if_any
from core.heads import Heads
from core.predictions import predicted
from core.ratings import RatedClips
from core.scales import MAX_SCORE, MIN_SCORE, SCALES
from core.scorer import Progress


@dataclass(frozen=True)
class EmbeddedClips:
    """Clips as the heads hear them.

    Attributes
    ----------
    audio : Tensor, (n_windows, dim)
        The windows of all clips.
    owner : Tensor, (n_windows,) int64
        The clip of each window, ascending from 0.
    text : Tensor, (n_clips, dim)
        Of each clip's prompt.
    """

    audio: Tensor
    owner: Tensor
    text: Tensor

    def __len__(self) -> int:
        return len(self.text)


def embed_clips(clips: RatedClips, cache: EmbeddingCache, tell: Progress | None = None) -> EmbeddedClips:
    """Embed rated clips and their prompts, in the order of the table.

    Raises
    ------
    DataError
        As :meth:`EmbeddingCache.audio`.
    """
    audio = cache.audio([Path(path) for path in clips.table["audio_path"]], tell)
    owner = torch.repeat_interleave(torch.tensor([len(rows) for rows in audio]))
    return EmbeddedClips(torch.cat(audio), owner, cache.text(list(clips.table["prompt"])))


def pool(values: Tensor, owner: Tensor, n_clips: int) -> Tensor:
    """Mean of the windows' values by clip; differentiable.

    Parameters
    ----------
    values : (n_windows, 2)
    owner : (n_windows,) int64
    n_clips : int

    Returns
    -------
    Tensor, (n_clips, 2)
        Not clamped. A clip without windows has no value (NaN).
    """
    sums = values.new_zeros(n_clips, values.shape[1]).index_add(0, owner, values)
    return sums / torch.bincount(owner, minlength=n_clips).to(values)[:, None]


def clip_values(heads: Heads, clips: EmbeddedClips) -> NDArray[np.float64]:
    """What heads say of clips, (n_clips, 2), not clamped; the clips lie on the heads' device."""
    with torch.no_grad():
        values = heads(clips.audio, clips.text[clips.owner])
        return pool(values.cpu().double(), clips.owner.cpu(), len(clips)).numpy()


def predict_table(clips: RatedClips, values: NDArray[np.float64]) -> pd.DataFrame:
    """Put predictions, (n_clips, 2), clamped here, beside ratings, for `core.predictions.measure`."""
    table = clips.table[["clip_id", "system_id", *SCALES]].reset_index(drop=True)
    clamped = np.clip(np.asarray(values, dtype=np.float64), MIN_SCORE, MAX_SCORE)
    return table.assign(**{predicted(scale): clamped[:, n] for n, scale in enumerate(SCALES)})


def data_sha256(clips: RatedClips) -> str:
    """Hash what can be learned from clips, whatever the order of the rows and wherever the files lie.

    Raises
    ------
    DataError
        Clips that cannot be opened, all of them.
    """
    unreadable: list[str] = []
    paths = [Path(path) for path in clips.table["audio_path"]]
    audio = dict(read_all(clip_sha256, dict.fromkeys(paths), unreadable))
    stop_if_any(unreadable)
    columns = clips.table[["clip_id", "prompt", "system_id", *SCALES]]
    rows = [[*row, audio[path]] for path, row in zip(paths, columns.to_numpy().tolist(), strict=True)]
    return hashlib.sha256("\n".join(sorted(map(json.dumps, rows))).encode()).hexdigest()
