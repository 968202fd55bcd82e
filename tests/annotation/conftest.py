"""A fresh database for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    yield database
    database.close()
