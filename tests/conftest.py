"""What tests share: a checkpoint with random weights, a scorer with it, reference data where there is any."""

import contextlib
import dataclasses
import functools
import gc
import os
import sqlite3
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy
import torch
from sqlalchemy import Connection

from annotation import database, durability
from annotation.database import Database
from annotation.dialects import opened
from annotation.schema import Base
from core.audio import InputPolicy
from core.checkpoint import load_checkpoint, save_checkpoint
from core.heads import Heads
from core.scorer import Scorer
from core.towers.clap import ClapTower
from core.towers.laion import clap_module
from core.training import baselines
from core.training.recipe import RECIPES
from tests.clips import write_clip
from tests.small_disk import leave_out_small_disks
from tests.towers import random_tower

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):  # they share the cores, and so do their children
    torch.set_num_threads(max(1, torch.get_num_threads() // int(workers)))
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())

POSTGRESQL_URL = os.environ.get("MUSICEVAL_POSTGRESQL_URL")
REFERENCE_DATA = os.environ.get("MUSICEVAL_REFERENCE_DATA")
TABLES = [table.name for table in Base.metadata.sorted_tables]
# Ten times as quick as TRUNCATE, which makes the files of each table anew. Triggers refuse it: ratings are only added.
EMPTYING = [
    *(f"ALTER TABLE {name} DISABLE TRIGGER USER" for name in TABLES),
    *(f"DELETE FROM {name}" for name in reversed(TABLES)),
    *(f"ALTER TABLE {name} ENABLE TRIGGER USER" for name in TABLES),
]
METRICS = {
    "held_out": {
        "n_clips": 40,
        "n_systems": 10,
        "data": "nothing: random weights",
        "interval_level": 0.9,
        "absolute_error_quantile": {"musical_impression": 0.5, "textual_alignment": 0.75},
    }
}


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests wait a sixth of their time, for other processes and for clocks."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what cannot be had on this machine by any means; files with long tests come first.

    Workers that share the files out then end together, and none begins a test of minutes when all else is done.
    """
    leave_out_small_disks(config, items)
    long = {item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("browser")}
    items.sort(key=lambda item: item.path not in long)


def pytest_collection_finish() -> None:
    """What is imported stays: looking for garbage among it takes a seventh of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_settings() -> Iterator[None]:
    """A test sees no setting of the one who runs it, nor does what tests share."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MUSICEVAL_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_container() -> Iterator[None]:
    """Studies are opened alike wherever the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durability, "_MARKS", ())
        patch.setattr(durability, "_VARIABLES", ("SPACE_ID",))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_disk_is_waited_for() -> Iterator[None]:
    """A thousand commits wait six seconds for a disk; no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            database, "opened", lambda url, durable, waits_s: opened(url, durable and "sqlite" not in url, waits_s)
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_fourier_matrix() -> Iterator[None]:
    """Every CLAP that is built computes the same matrix, for a third of a second; in tests the first one does."""
    kind = sys.modules[clap_module("htsat").Spectrogram.__module__].DFTBase
    compute = functools.cache(kind().dft_matrix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "dft_matrix", lambda _, n: compute(n))
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_vocabulary() -> Iterator[None]:
    """Every small CLAP reads the same vocabulary, for half the time that it takes to build; in tests the first one."""
    module = clap_module("tokenizer")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SimpleTokenizer", functools.cache(module.SimpleTokenizer))
        yield


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """Every client of httpx reads all certificates, for a twentieth of a second; in tests the first one does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session", autouse=True)
def _few_steps_on_prompts_alone() -> Iterator[None]:
    """Beside almost every judge, heads learn from prompts alone, in 500 steps; in tests 10 are enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "RECIPES", {"frozen": dataclasses.replace(RECIPES["frozen"], epochs=10)})
        yield


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of the small tower with random weights, whose scores spread around 3."""
    folder = tmp_path_factory.mktemp("checkpoints") / "random"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = ClapTower.build("small")
        heads = Heads(tower.dim)
    with torch.no_grad():
        for head in (heads.musical_impression, heads.textual_alignment):
            head[-1].weight.mul_(20.0)
            head[-1].bias.fill_(3.0)
    save_checkpoint(
        folder,
        checkpoint_id="random",
        tower=tower,
        heads=heads,
        policy=InputPolicy(),
        metrics=METRICS,
        model_card="# Random weights\n",
        demo=True,
        provenance={"seed": 0},
        dtype=torch.float16,
    )
    return folder


@pytest.fixture(scope="session")
def scorer(random_checkpoint: Path) -> Scorer:
    """A scorer with the random checkpoint."""
    return Scorer(load_checkpoint(random_checkpoint))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a database without a row: a copy is there sooner than one made by the migrations."""
    file = tmp_path_factory.mktemp("database") / "empty.sqlite"
    Database(f"sqlite:///{file}").close()
    return file


@pytest.fixture(scope="session", autouse=True)
def _migrated_once(empty_database: Path) -> Iterator[None]:
    """A new database has its tables from one that the migrations made, for a tenth of their time."""
    with contextlib.closing(sqlite3.connect(empty_database)) as made:
        _, *statements, _ = made.iterdump()  # without the transaction

    def upgrade(connection: Connection) -> None:
        if connection.dialect.name == "sqlite":
            with connection.begin():
                if not sqlalchemy.inspect(connection).get_table_names():
                    for statement in statements:
                        connection.exec_driver_sql(statement)
                    return
        migrate(connection)

    migrate = database.upgrade
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "upgrade", upgrade)
        yield


@pytest.fixture(scope="session")
def _postgresql_database() -> Iterator[str]:
    """The URL of a database for these tests alone, with the newest tables."""
    if POSTGRESQL_URL is None:
        pytest.skip("MUSICEVAL_POSTGRESQL_URL does not name a PostgreSQL server")
    name, server = (
        f"musiceval_test_{os.getpid()}",
        sqlalchemy.create_engine(POSTGRESQL_URL, isolation_level="AUTOCOMMIT"),
    )
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    url = sqlalchemy.make_url(POSTGRESQL_URL).set(database=name).render_as_string(hide_password=False)
    Database(url).close()
    yield url
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()


@pytest.fixture
def postgresql_url(_postgresql_database: str) -> str:
    """The URL of a PostgreSQL database without a row, whose numbers begin at 1."""
    emptying = sqlalchemy.create_engine(_postgresql_database)
    with emptying.begin() as connection:
        connection.exec_driver_sql("; ".join(EMPTYING))
        connection.exec_driver_sql("SELECT setval(sequencename::regclass, 1, false) FROM pg_sequences")
    emptying.dispose()
    return _postgresql_database


@pytest.fixture
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is trained has the files of its two plots, and nothing in them: to draw takes longer than to train."""
    for draw in ("draw_curves", "draw_scatter"):
        monkeypatch.setattr(f"core.training.material.{draw}", lambda *_: "")


@pytest.fixture
def _quick_start(monkeypatch: pytest.MonkeyPatch, _no_plots: None) -> None:
    """What is trained or embedded by default starts from the small random tower, which is quicker than the ears."""
    for module in ("core.towers", "core.training.material"):
        monkeypatch.setattr(
            f"{module}.load_tower", {"ears": dataclasses.replace(random_tower(), caveat="")}.__getitem__
        )


@pytest.fixture
def clip_path(tmp_path: Path) -> Path:
    """Four seconds of plucks as a WAV file."""
    return write_clip(tmp_path / "clip.wav")


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of reference data; tests that use it carry the mark ``reference``."""
    if REFERENCE_DATA is None:
        pytest.skip("MUSICEVAL_REFERENCE_DATA does not name the folder of reference data")
    return Path(REFERENCE_DATA)
