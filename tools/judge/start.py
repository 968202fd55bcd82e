"""The checkpoint that training begins from: the converted tower, and heads that learned nothing."""

from collections.abc import Mapping
from pathlib import Path

import torch

from core.audio import InputPolicy
from core.checkpoint import save_checkpoint
from core.embeddings import EmbeddingCache
from core.heads import SequenceHeads, SequenceParts
from core.scales import MUSICEVAL
from core.towers.ears import KINDS, EarsTower
from tools.judge.conversion import convert
from tools.judge.lessons import SILENT, rows_of
from tools.judge.packages import Fetched

ID = "ears-untrained"
_NOTHING_LEFT = SequenceParts(False, False, False, bins=False)
_NOTHING_MEASURED = {
    "interval_level": 0.9,
    "absolute_error_quantile": None,
    "no_range": "nothing was learned, so nothing was measured.",
    "n_clips": 0,
    "n_systems": 0,
    "data": "none",
}


_SOUNDS = {
    **{"sine": "a lone tone", "mains-hum": "hum", "held-chord": "a held chord", "random-notes": "notes at random"},
    **{"clicks": "clicks", "babble": "a babble"},
    **dict.fromkeys(("white-noise", "pink-noise", "brown-noise", "wind"), "noise"),
}


def write_start(packages: Mapping[str, Fetched], material: Path, folder: Path) -> None:
    """Convert the tower and write it with heads that learned nothing."""
    policy = InputPolicy()
    music = [material / row["file"] for row in rows_of(material, "clips", "build")]
    captions = [row["prompt"] for row in rows_of(material, "captions", "build")]
    tower = convert(packages, folder, music, captions, policy)
    sounds = {
        material / row["audio_path"]: _SOUNDS.get(row["system_id"], "speech")
        for row in rows_of(material, "sounds", "build")
        if row["system_id"] != SILENT
    }
    _remember(tower, policy, {**dict.fromkeys(music, KINDS[0]), **sounds})
    save_checkpoint(
        folder,
        checkpoint_id=ID,
        tower=tower,
        heads=SequenceHeads(tower.dim, tower.sequence_dim, MUSICEVAL, _NOTHING_LEFT).eval(),
        policy=policy,
        metrics={"held_out": _NOTHING_MEASURED},
        model_card="# The tower of the embedded judge, with heads that learned nothing\n",
        demo=True,
        provenance={},
    )


def _remember(tower: EarsTower, policy: InputPolicy, kinds: Mapping[Path, str]) -> None:
    clips = [rows[:, : tower.dim] for rows in EmbeddingCache(None, tower, policy).audio([*kinds])]
    named = [kind for rows, kind in zip(clips, kinds.values(), strict=True) for _ in rows]
    tower.know(torch.cat(clips), named)
