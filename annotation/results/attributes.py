"""Mean scores of groups of systems that have an attribute in common, such as commercial or open.

Source: the MusicEval paper, figure 4. A group's score is the mean of its systems' scores, and its interval Student's
over these: the systems stand for others like them. One system alone tells nothing of its group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from annotation.results import Table, number
from annotation.results.scores import Results
from core.errors import DataError
from core.files import Problems, first_of, line_place
from core.scales import MAX_SCORE, MIN_SCORE, Scales, keys
from core.tables import open_table

LEAST_SYSTEMS = 2  # of an attribute, before it has a mean
_COLUMNS = ("system", "attribute")
_LEVEL = 0.975


@dataclass(frozen=True)
class Groups:
    """A row a group: ``attribute``, ``n_systems``, and each scale's key alone and with ``_low`` and ``_high``."""

    scales: Scales
    table: pd.DataFrame

    @property
    def shown(self) -> Table:
        """The groups with their means and intervals."""
        rows = [
            (row["attribute"], row["n_systems"], *(_standing(row, key) for key in keys(self.scales)))
            for row in self.table.to_dict("records")
        ]
        heads = ("Attribute", "Systems", *(f"{scale.title} [95 % interval]" for scale in self.scales))
        nothing = "No attribute has a system that was rated."
        return Table("Systems by attribute: mean of the systems’ scores", heads, rows, nothing)


def read_attributes(path: Path) -> dict[str, str]:
    """Read a table with the columns ``system`` and ``attribute``; a DataError says all that is wrong with it."""
    problems, table = Problems(path.name), open_table(path, _COLUMNS)
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"The table of attributes has no column {', '.join(missing)}. It needs {', '.join(_COLUMNS)}.")
    found: dict[str, str] = {}
    for row in table.rows(problems):
        system, attribute = (row.cells[name].strip() for name in _COLUMNS)
        place = line_place(path.name, row.number)
        if not system or not attribute:
            problems.add(place, "a system and its attribute are needed")
        elif found.setdefault(system, attribute) != attribute:
            problems.add(place, "the system is there with another attribute")
    problems.stop_if_any()
    return found


def by_attribute(results: Results, attributes: Mapping[str, str]) -> Groups:
    """Group the systems of a study; those without an attribute are left out, and unknown names refused."""
    unknown = [system for system in attributes if system not in set(results.systems["system"])]
    if unknown:
        raise DataError(f"No rated clip of the study is of {first_of(unknown)}. Correct the table of attributes.")
    groups = results.systems.groupby(results.systems["system"].map(dict(attributes)))
    table = pd.DataFrame({"n_systems": groups.size()})
    for key in keys(results.scales):
        enough = table["n_systems"] >= LEAST_SYSTEMS
        mean = groups[key].mean().where(enough)
        reach = _student(table["n_systems"]) * groups[key].std() / np.sqrt(table["n_systems"])
        table[key] = mean
        table[f"{key}_low"] = (mean - reach).clip(MIN_SCORE, MAX_SCORE)
        table[f"{key}_high"] = (mean + reach).clip(MIN_SCORE, MAX_SCORE)
    return Groups(results.scales, table.reset_index(names="attribute"))


def _student(n: pd.Series) -> NDArray[np.float64]:
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    return np.asarray(stats.t.ppf(_LEVEL, np.maximum(n - 1, 1)), dtype=np.float64)


def _standing(row: Mapping[str, Any], key: str) -> str:
    if np.isnan(row[key]):
        return "– (needs 1 more system)"
    return f"{number(row[key])} [{row[f'{key}_low']:.2f}, {row[f'{key}_high']:.2f}]"
