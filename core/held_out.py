"""The held-out error of a checkpoint: what the intervals around its scores are made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import CheckpointError
from core.scales import SCALES

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class HeldOut:
    """How far the checkpoint's scores were from the panel's on clips it was not trained on.

    Attributes
    ----------
    level : float
        Share of held-out clips whose error was at most `absolute_error`, between 0 and 1.
    absolute_error : mapping of scale to float
    n_clips, n_systems : int
    data : str
        What the clips and ratings were, in words.
    """

    level: float
    absolute_error: Mapping[str, float]
    n_clips: int
    n_systems: int
    data: str


def parse_held_out(metrics: Mapping[str, Any]) -> HeldOut:
    """Read the held-out error from the content of ``metrics.json``.

    Raises
    ------
    CheckpointError
        It is not there, or not as it must be.
    """
    try:
        held_out = metrics["held_out"]
        error = {scale: abs(float(held_out["absolute_error_quantile"][scale])) for scale in SCALES}
        level = float(held_out["interval_level"])
        return HeldOut(
            level, error, int(held_out["n_clips"]), int(held_out["n_systems"]), str(held_out["data"])
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise CheckpointError(
            f"{METRICS_FILE} lacks the held-out error that scores are shown with ({problem!r}). "
            "Copy the model folder again, or measure the model again."
        ) from problem
