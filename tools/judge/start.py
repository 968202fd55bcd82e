"""The checkpoint that training begins from: the converted tower, and heads that learned nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from core.audio import InputPolicy
from core.checkpoint import save_checkpoint
from core.heads import SequenceHeads, SequenceParts
from core.scales import MUSICEVAL
from tools.judge.conversion import convert
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


def write_start(packages: Mapping[str, Fetched], clips: Sequence[Path], folder: Path) -> None:
    """Convert the tower and write it with heads that learned nothing."""
    policy = InputPolicy()
    tower = convert(packages, folder, clips, policy)
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
