"""Groups of systems: their means and intervals, and tables that cannot be used."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from annotation.report.figures import attribute_figure
from annotation.results.attributes import by_attribute, read_attributes
from annotation.results.scores import Results
from core.errors import DataError
from core.scales import MUSICEVAL
from tests.annotation.results.panels import panel

KINDS = {f"s{n}": kind for n, kind in enumerate(("open", "open", "commercial"))}


@pytest.fixture(scope="module")
def results() -> Results:
    return Results.of(panel({"R1": "honest", "R2": "honest", "R3": "honest"}), MUSICEVAL)


def test_a_group_has_the_mean_of_its_systems(results: Results) -> None:
    groups = by_attribute(results, KINDS).table.set_index("attribute")
    means = results.systems.set_index("system")["musical_impression"][["s0", "s1"]]
    low, high = stats.t.interval(0.95, 1, means.mean(), stats.sem(means))
    row = groups.loc["open"]
    assert row["n_systems"] == 2
    assert row["musical_impression"] == pytest.approx(means.mean())
    assert row["musical_impression_low"] == pytest.approx(max(low, 1.0))
    assert row["musical_impression_high"] == pytest.approx(min(high, 5.0))


def test_one_system_makes_no_group(results: Results) -> None:
    groups = by_attribute(results, KINDS)
    assert np.isnan(groups.table.set_index("attribute").loc["commercial", "textual_alignment"])
    assert groups.shown.rows[0] == ("commercial", 1, "– (needs 1 more system)", "– (needs 1 more system)")
    plot = attribute_figure(groups)
    assert plot is not None
    assert "open (2)" in plot.svg
    assert "commercial" not in plot.svg
    assert attribute_figure(by_attribute(results, {"s2": "commercial"})) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("system,kind\ns0,open\n", "no column attribute"),
        ("system,attribute\ns0,open\ns0,commercial\n", "with another attribute"),
        ("system,attribute\ns0,\n", "a system and its attribute are needed"),
    ],
)
def test_a_table_that_cannot_be_used(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "systems.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_attributes(tmp_path / "systems.csv")


def test_a_table_is_read(tmp_path: Path, results: Results) -> None:
    pd.Series(KINDS, name="attribute").rename_axis("system").to_csv(tmp_path / "systems.csv")
    assert read_attributes(tmp_path / "systems.csv") == KINDS
    with pytest.raises(DataError, match="is of s9"):
        by_attribute(results, {**KINDS, "s9": "open"})
