"""The judge: a clip and its prompt in, opinion scores out; and how it is trained and measured.

``from core import Scorer`` is all that scoring needs; the names below are what a Python user may rely on.
They are imported when they are first asked for, because torch takes seconds and ``--help`` must not. This
package knows no database and no web page, and imports nothing from ``annotation`` or ``webapp``.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from core.audio import AudioLimits as AudioLimits
    from core.audio import read_clip as read_clip
    from core.checkpoint import load_checkpoint as load_checkpoint
    from core.errors import MusicEvalError as MusicEvalError
    from core.musiceval import read_source as read_source
    from core.opinions import Reading as Reading
    from core.rated_clips import RatedClips as RatedClips
    from core.scales import Scale as Scale
    from core.scorer import Item as Item
    from core.scorer import Scorer as Scorer
    from core.scores import Score as Score
    from core.scores import Unscored as Unscored
    from core.training.recipe import TrainingPlan as TrainingPlan
    from core.training.run import train as train

__version__ = "0.2.0"

PUBLIC = {
    "AudioLimits": "core.audio",
    "Item": "core.scorer",
    "MusicEvalError": "core.errors",
    "RatedClips": "core.rated_clips",
    "Reading": "core.opinions",
    "Scale": "core.scales",
    "Score": "core.scores",
    "Scorer": "core.scorer",
    "TrainingPlan": "core.training.recipe",
    "Unscored": "core.scores",
    "load_checkpoint": "core.checkpoint",
    "read_clip": "core.audio",
    "read_source": "core.musiceval",
    "train": "core.training.run",
}


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'core' has no attribute {name!r}; it has {', '.join(PUBLIC)}")
    return getattr(importlib.import_module(PUBLIC[name]), name)
