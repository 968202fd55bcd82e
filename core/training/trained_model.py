"""What a run trains on and what it leaves: the material, its description, and the folder of the model."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from torch import Tensor

import core
from core.checkpoint import save_checkpoint
from core.embedded_clips import predict_table
from core.heads import Heads
from core.measuring import held_out, measure_all
from core.musiceval import is_published
from core.ratings import SPLITS, RatedClips, write_csv
from core.sources import is_simulated, read_source
from core.splits import Split, split_clips
from core.table_one import comparison
from core.towers import StartingTower, load_tower
from core.training.curves import draw_curves, draw_scatter
from core.training.fitting import FitState
from core.training.model_card import model_card
from core.training.run_folder import CURVES_FILE, PREDICTIONS_FILE, SCATTER_FILE, SPLIT_FILE, RunFolder

_MAX_SHARD_SIZE = "2GB"
_PACKAGES = ("torch", "accelerate", "laion_clap", "librosa", "soxr", "numpy")


@dataclass(frozen=True)
class Material:
    """What a run trains on.

    Attributes
    ----------
    name : str
        Of the data's file or folder.
    source, clips : RatedClips
        As the data has them, and in the parts of the run's split.
    starting : StartingTower
    is_simulated : bool
        Whether nobody gave the ratings.
    """

    name: str
    source: RatedClips
    clips: RatedClips
    starting: StartingTower
    is_simulated: bool

    @classmethod
    def read(cls, data: Path, split: Split, tower: str) -> Self:
        """Read what a plan names.

        Raises
        ------
        DataError, CheckpointError
            Data, split or tower cannot be used.
        """
        source = read_source(data)
        clips = split_clips(source, split)
        return cls(data.absolute().name, source, clips, load_tower(tower), is_simulated(data))

    @property
    def measured_part(self) -> str:
        """The test part; where there is none, the dev part."""
        return "test" if self.rows("test") else "dev"

    @property
    def caveat(self) -> str:
        """What is not real in it (`core.checkpoint.Checkpoint`)."""
        ratings = "trained on simulated ratings" if self.is_simulated else ""
        return "; ".join(part for part in (ratings, self.starting.caveat) if part)

    def rows(self, part: str) -> list[int]:
        """Rows of a part."""
        return [row for row, of in enumerate(self.clips.table["split"]) if of == part]

    def in_words(self) -> str:
        """What the data is."""
        kind = "the MusicEval release" if is_published(self.source) else f"the rated clips {self.name}"
        return f"{kind}, with simulated ratings" if self.is_simulated else kind


def describe_run(material: Material, data_sha256: str) -> dict[str, Any]:
    """What ``run.json`` says of the material and of the programs, as JSON."""
    table = material.clips.table
    return {
        "tower": {"name": material.starting.name, "sha256": material.starting.sha256},
        "data": {
            "name": material.name,
            "sha256": data_sha256,
            "clips": len(table),
            "systems": int(table["system_id"].nunique()),
            "parts": {part: len(material.rows(part)) for part in SPLITS},
            "simulated": material.is_simulated,
            "published": is_published(material.source),
        },
        "versions": {
            "musiceval": core.__version__,
            **{package: version(package) for package in _PACKAGES},
            "python": platform.python_version(),
        },
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_model(
    folder: RunFolder,
    run: Mapping[str, Any],
    material: Material,
    heads: Heads,
    values: Tensor,
    state: FitState,
) -> None:
    """Measure a trained judge and write everything that its folder has, ``config.json`` last.

    Parameters
    ----------
    folder : RunFolder
    run : mapping
        ``run.json``.
    material : Material
        Its tower as it is after training.
    heads : Heads
    values : Tensor, (n, 2)
        What the judge says of the clips of the measured part.
    state : FitState
    """
    part, data, path = material.measured_part, material.in_words(), folder.path
    measured = RatedClips(material.clips.table.iloc[material.rows(part)])
    table = predict_table(measured, values.double().numpy())
    levels, not_measured = measure_all(table)
    metrics = {
        "part": part,
        "held_out": held_out(table, f"the {part} part of {data}"),
        **levels,
        "not_measured": not_measured,
        "system_truth": "the means of the clips measured",
        "comparison": comparison(list(table["clip_id"]), material.source),
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "data_sha256": run["data"]["sha256"],
        "split": run["split"],
    }
    write_csv(table, path / PREDICTIONS_FILE)
    write_csv(material.clips.table[["clip_id", "split"]], path / SPLIT_FILE)
    folder.write(CURVES_FILE, draw_curves(state.log))
    folder.write(SCATTER_FILE, draw_scatter(table))
    name = path.absolute().name
    save_checkpoint(
        path,
        checkpoint_id=name,
        tower=material.starting.tower,
        heads=heads,
        policy=material.starting.policy,
        metrics=metrics,
        model_card=model_card(name, run, metrics, data, material.caveat),
        demo=material.is_simulated,
        provenance={"data": data, "run": run},
        caveat=material.caveat,
        max_shard_size=_MAX_SHARD_SIZE,
    )
