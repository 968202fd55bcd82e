"""The courses of runs beside each other: what each came to at the epoch that is kept, and what to know of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from core.model_files import LOG_FILE

RISE = 0.1  # of the dev error above its least, from which on it is called overfitting
_NUMBERS = ("epoch", "train_l1", "dev_l1")


@dataclass(frozen=True)
class Course:
    """The rows of ``log.csv``; none where nothing was trained yet."""

    log: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read that of a run; a log that cannot be read has no rows."""
        try:
            log = pd.read_csv(folder / LOG_FILE)
            return cls(log.apply(pd.to_numeric, errors="coerce").dropna(subset=["epoch"]))
        except (OSError, ValueError, KeyError):
            return cls(pd.DataFrame(columns=list(_NUMBERS), dtype=float))

    @property
    def kept(self) -> int | None:
        """The epoch whose weights are kept, so far; None where the log does not say."""
        rows = self.log.loc[self.log["kept"] == 1, "epoch"].tolist() if "kept" in self.log else []
        return int(rows[-1]) if rows else None

    def points(self, column: str) -> list[tuple[float, float]]:
        """Return epoch and value where a column has one."""
        if column not in self.log:
            return []
        return [(float(epoch), float(value)) for epoch, value in self.log[["epoch", column]].dropna().to_numpy()]

    def at_kept(self, column: str) -> float | None:
        """Return the value of a column at the epoch that is kept."""
        return dict(self.points(column)).get(float(self.kept)) if self.kept is not None else None

    def overfits(self) -> str:
        """Say whether it went on learning its clips by heart; "" where it did not."""
        train, dev = dict(self.points("train_l1")), dict(self.points("dev_l1"))
        if len(dev) < 2 or not dev.keys() <= train.keys():
            return ""
        best, last = min(dev, key=lambda epoch: dev[epoch]), max(dev)
        if dev[last] < (1 + RISE) * dev[best] or train[last] >= train[best]:
            return ""
        return (
            f"It overfits after epoch {best:.0f}: until epoch {last:.0f} its error on the training clips fell from "
            f"{train[best]:.2f} to {train[last]:.2f}, and on the dev part rose from {dev[best]:.2f} to {dev[last]:.2f}."
        )
