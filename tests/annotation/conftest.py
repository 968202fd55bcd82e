"""A fresh database for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.database import Database


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    shutil.copy(empty_database, tmp_path / "musiceval.sqlite")
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}", durable=False)
    yield database
    database.close()
