import itertools
from pathlib import Path

import pytest

from core.errors import CheckpointError, DataError
from core.splits import Split
from core.training.trained_model import Material, describe_run
from tests.rated import write_rated


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated(tmp_path_factory.mktemp("music"), clips=8)


def test_the_material_and_its_parts(data: Path) -> None:
    material = Material.read(data, Split("random", seed=1, test_share=0.25), "small")
    rows = [material.rows(part) for part in ("train", "dev", "test")]
    assert [len(part) for part in rows] == [5, 1, 2]
    assert sorted(itertools.chain(*rows)) == list(range(8))
    assert material.measured_part == "test"
    assert material.caveat == "its towers learned composed music only"
    assert material.in_words() == "the rated clips rated_clips.csv"
    described = describe_run(material, "abc")
    assert described["data"] == {
        "name": "rated_clips.csv",
        "sha256": "abc",
        "clips": 8,
        "systems": 4,
        "parts": {"train": 5, "dev": 1, "test": 2},
        "simulated": False,
        "published": False,
    }
    assert described["tower"] == {"name": "small", "sha256": material.starting.sha256}
    assert {"musiceval", "torch", "accelerate", "python"} <= described["versions"].keys()


def test_simulated_ratings_are_named(data: Path, tmp_path: Path) -> None:
    copy = write_rated(tmp_path, clips=8)
    (tmp_path / "SIMULATED").touch()
    material = Material.read(copy.parent, Split(), "small")
    assert material.in_words() == f"the rated clips {tmp_path.name}, with simulated ratings"
    assert material.caveat.startswith("trained on simulated ratings; ")


def test_what_cannot_be_read(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not rated clips"):
        Material.read(tmp_path, Split(), "small")
    with pytest.raises(DataError, match="came without a split"):
        Material.read(data, Split("official"), "small")
    with pytest.raises(CheckpointError, match="There is no tower"):
        Material.read(data, Split(), "large")
