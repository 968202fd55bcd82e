"""A fresh database for each test: SQLite's, and once more PostgreSQL's, as a proof."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.database import Database


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database(request: pytest.FixtureRequest, tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        shutil.copy(empty_database, tmp_path / "musiceval.sqlite")
        url = f"sqlite:///{tmp_path / 'musiceval.sqlite'}"
    else:
        url = request.getfixturevalue("postgresql_url")
    database = Database(url, durable=False)
    yield database
    database.close()
