"""A fresh database for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.database import Database


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database without a row: a copy is there sooner than one made by the migrations."""
    file = tmp_path_factory.mktemp("database") / "empty.sqlite"
    Database(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    shutil.copy(empty_database, tmp_path / "musiceval.sqlite")
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}", durable=False)
    yield database
    database.close()
