"""What a judge is to learn from: looked through before the start, uploaded, and the fields of its recipe."""

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from core.audio import AudioLimits
from core.errors import DataError, TrainingError
from core.musiceval import read_source
from core.training.reasons import REASONS
from core.training.recipe import RECIPES, TrainingPlan, changeable_fields
from tests.rated import write_rated
from webapp.data_desk import data_shown, fields_table, receive_data, recipe_of

LIMITS = AudioLimits()


@pytest.fixture
def given(tmp_path: Path) -> tuple[Path, Path]:
    """A table, and a ZIP of its clips."""
    table = write_rated(tmp_path / "given", clips=12)
    named = pd.read_csv(table, encoding="utf-8-sig")
    named["audio_path"] = [f"clips/{Path(file).name}" for file in named["audio_path"]]
    named.to_csv(table, index=False)
    archive = tmp_path / "clips.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in table.parent.glob("*.wav"):
            file.write(path, f"anything/clips/{path.name}")
    return table, archive


def test_an_uploaded_data_set_is_read_like_any_other(given: tuple[Path, Path], tmp_path: Path) -> None:
    table, archive = given
    path = receive_data(tmp_path / "data", "autumn", str(table), [str(archive)], LIMITS)
    clips = read_source(path)
    assert len(clips) == 12
    assert all(Path(file).is_relative_to(tmp_path / "data" / "training") for file in clips.table["audio_path"])
    assert path.parent.name.startswith("uploaded.autumn-")


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("audio_path", "/etc/passwd", "leads out of"),
        ("audio_path", "../../secret.wav", "leads out of"),
        ("audio_path", "..\\secret.wav", "leads out of"),
        ("audio_path", "C:\\secret.wav", "leads out of"),
        ("audio_path", "clips/none.wav", "is not among the files"),
        ("musical_impression", "9", "is not from 1 to 5"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_stays(
    given: tuple[Path, Path], tmp_path: Path, column: str, cell: str, said: str
) -> None:
    table, archive = given
    changed = pd.read_csv(table, dtype=str)
    changed.loc[3, column] = cell
    changed.to_csv(table, index=False)
    with pytest.raises(DataError, match=said):
        receive_data(tmp_path / "data", "", str(table), [str(archive)], LIMITS)
    assert [*(tmp_path / "data").rglob("*.*")] == []


@pytest.mark.parametrize("name", ["../x", "a/b", "x" * 49, "-"])
def test_its_name_is_no_path(given: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError, match="cannot be a name"):
        receive_data(tmp_path, name, str(given[0]), [str(given[1])], LIMITS)
    with pytest.raises(TrainingError, match="Give a table"):
        receive_data(tmp_path, "", None, [], LIMITS)


def test_the_data_is_looked_through_before_the_start(tmp_path: Path) -> None:
    shown = data_shown(TrainingPlan(write_rated(tmp_path / "many", clips=24)))
    assert "Musical impression" in shown
    assert ">24<" in shown.replace("<bdi>", "").replace("</bdi>", "")
    assert "training clips are too few" in shown
    few = data_shown(TrainingPlan(write_rated(tmp_path / "few", clips=4)))
    assert "It cannot be trained on" in few
    assert "are too few" in few


def test_every_field_has_a_meaning_and_a_reason() -> None:
    assert [*REASONS] == [field.name for field in changeable_fields()]
    for name in RECIPES:
        shown = fields_table(name)
        assert all(field.metadata["meaning"].split(":")[0].split("'")[0] in shown for field in changeable_fields())
    assert fields_table("calibrate") == ""


def test_other_values_make_another_recipe() -> None:
    assert recipe_of("frozen", "") == RECIPES["frozen"]
    changed = recipe_of("ordinal", " epochs = 20, learning_rate=3e-4\nattention=off ")
    assert (changed.epochs, changed.learning_rate, changed.attention) == (20, 3e-4, False)


@pytest.mark.parametrize("changes", ["epochs", "epochs=many", "epochs=-1", "nothing=1", "name=x", "attention=maybe"])
def test_values_that_cannot_be_are_told(changes: str) -> None:
    with pytest.raises(TrainingError):
        recipe_of("ordinal", changes)
