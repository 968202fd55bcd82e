"""Rated clips from a release, an export, a table; and what is none of them."""

from pathlib import Path

import pytest

from core.errors import DataError
from core.sources import is_simulated, read_source
from tests.releases import write_release


def test_a_release_and_its_table_are_the_same_clips(tmp_path: Path) -> None:
    release = read_source(write_release(tmp_path / "release"))
    export = tmp_path / "export"
    export.mkdir()
    release.to_csv(export / "rated_clips.csv")
    for path in (export, export / "rated_clips.csv"):
        again = read_source(path).table
        assert again.drop(columns="audio_path").equals(release.table.drop(columns="audio_path"))
        assert all(Path(audio).is_file() for audio in again["audio_path"])


def test_what_holds_no_clips(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("folder", "nowhere"):
        with pytest.raises(DataError, match=f'"{name}" is not rated clips. Give a release folder'):
            read_source(tmp_path / name)
    read_source(write_release(tmp_path / "release")).table.head(0).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r'"t.csv" holds no rated clips'):
        read_source(tmp_path / "t.csv")


def test_simulated_ratings_are_known_by_what_lies_beside_them(tmp_path: Path) -> None:
    table = tmp_path / "rated_clips.csv"
    table.touch()
    assert not is_simulated(tmp_path)
    for text, expected in (
        ('{"demo": true}', True),
        ('{"demo": false}', False),
        ("{}", False),
        ("[]", False),
    ):
        (tmp_path / "manifest.json").write_text(text)
        assert is_simulated(tmp_path) is is_simulated(table) is expected
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(
        DataError, match=r"^manifest\.json beside the rated clips is damaged\. Export the study"
    ):
        is_simulated(table)
    (tmp_path / "SIMULATED").touch()
    assert is_simulated(tmp_path) is is_simulated(table) is True
