"""Tables on other file systems, and runs on a cluster; without Ray, which is optional, those are skipped."""

import importlib.util
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from core.audio import AudioLimits
from core.batch.manifest import Cells, Row, from_cells, read_records, score_columns, write_records
from core.batch.ray import Table, _check, count_rows, fetch_clip, score_on_ray
from core.batch.run import Counts, Judging, score_manifest
from core.errors import AudioError, BatchError, DataError
from core.files import Problems
from core.scales import MUSICEVAL
from tests.clips import write_clip
from tests.manifests import manifest_rows, nearly, write_manifest

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

HAS_RAY = importlib.util.find_spec("ray") is not None
N_BAD = 20
SCORES = score_columns(MUSICEVAL)


def on_a_cluster(test: object) -> object:
    """Mark a test that needs Ray; what Ray itself warns of is not ours."""
    test = pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed (requirements-cluster.txt)")(test)
    return pytest.mark.cluster(pytest.mark.filterwarnings("ignore")(test))


TEXTS = [{"id": "007", "text": 'two\nlines, "quoted"'}, {"id": "1e3", "text": "NA"}, {"id": "x", "text": ""}]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("scheme", ["", "file://", "fsspec+local://"])
def test_texts_stay_texts(tmp_path: Path, suffix: str, scheme: str) -> None:
    write_records(tmp_path / f"t{suffix}", {"id": str, "text": str}, TEXTS)
    table = Table.of(f"{scheme}{tmp_path}/t{suffix}")
    assert table.is_there()
    assert (table.name, table.is_csv, table.is_local) == (f"t{suffix}", suffix == ".csv", "fsspec" not in scheme)
    assert table.columns() == ["id", "text"]
    assert list(table.rows()) == TEXTS
    assert list(table.rows(["text"])) == [{"text": record["text"]} for record in TEXTS]


def test_a_folder_of_files_in_order(tmp_path: Path) -> None:
    for number, record in enumerate(TEXTS):
        write_records(tmp_path / f"part-{number}.parquet", {"id": str, "text": str}, [record])
    assert list(Table.of(str(tmp_path)).rows()) == TEXTS


def test_files_beside(tmp_path: Path) -> None:
    table = Table.of(f"file://{tmp_path}/m.csv")
    assert table.beside("a/b.wav").path == f"{tmp_path}/a/b.wav"
    other = table.beside("memory://bucket/b.wav")
    assert (other.path, other.is_local) == ("/bucket/b.wav", False)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Neither Arrow nor fsspec opens tape:// here"):
        Table.of("tape://reel/m.csv")
    with pytest.raises(DataError, match=r'"m.csv" cannot be read as a table: it is not there\.'):
        Table.of(str(tmp_path / "m.csv")).columns()
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r'"m.parquet" cannot be read as a table: '):
        list(Table.of(str(tmp_path / "m.parquet")).rows())
    assert not Table.of(str(tmp_path / "m.csv")).is_there()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("id,file,prompt\n1,a.wav,calm\n,,\n", "the id is empty"),
        ("id;file;prompt\n1;a.wav;calm\n", "has no column file"),
        ('id,file,prompt\n1,a.wav,"calm\n2,b.wav,loud"\n', "line 2: a quoted text goes on over line 3"),
        ('id,file,prompt\n1,a.wav, "calm, soft"\n', "Expected 3 columns, got 4"),
        ('id,file,prompt\n1,a.wav, "calm"\n', "is no plain CSV file, and a cluster would read it otherwise"),
    ],
)
def test_a_list_that_a_cluster_would_read_otherwise_is_refused(tmp_path: Path, text: str, part: str) -> None:
    for encoding in ("utf-8", "utf-8-sig"):
        (tmp_path / "m.csv").write_text(text, encoding=encoding)
        with pytest.raises(DataError, match=part):
            _check(Table.of(str(tmp_path / "m.csv")), [])


def test_a_plain_list_is_the_same_for_both_readers(tmp_path: Path) -> None:
    rows = manifest_rows(tmp_path, 8)
    write_manifest(tmp_path / "m.csv", rows)
    (tmp_path / "n.csv").write_text('id,file,prompt,x\n1, a.wav,"two\nlines, é",y \n2,b.wav,nan,\n', encoding="utf-8")
    assert _check(Table.of(f"file://{tmp_path}/m.csv"), []) == (8, ("note",))
    assert _check(Table.of(f"fsspec+local://{tmp_path}/n.csv"), []) == (2, ("x",))


@pytest.fixture
def cluster() -> Iterator["Cluster"]:
    """A head without cores, to which this process is connected, and two machines with one core each."""
    import ray
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=10**8)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def lose_a_machine(cluster: "Cluster", cache: Path, wait_s: float, lost: list[str]) -> None:
    """Kill a machine that has an actor at work: some time after the first clip was embedded."""
    import ray

    while not any(cache.rglob("*")):
        time.sleep(0.05)
    time.sleep(wait_s)
    machine = next(
        actor["Address"]["NodeID"]
        for actor in ray._private.state.actors().values()
        if actor["State"] == "ALIVE" and "_Worker" in actor["ActorClassName"]
    )
    node = next(node for node in cluster.list_all_nodes() if node.node_id == machine)
    cluster.remove_node(node, allow_graceful=False)
    lost.append(machine)


def on_one_machine(manifest: Path, judging: Judging) -> list[Cells]:
    output = manifest.with_name("one.csv")
    score_manifest(manifest, output, judging, ["cpu"], lambda counts: None)
    return [from_cells(cells, SCORES) for _, cells in read_records(output, Problems(output.name))]


def on_a_shrinking_cluster(cluster: "Cluster", manifest: Path, judging: Judging, wait_s: float) -> list[Cells]:
    lost: list[str] = []

    killer = threading.Thread(target=lose_a_machine, args=(cluster, judging.cache, wait_s, lost))
    killer.start()
    output = manifest.with_name("many.csv")
    counts = score_on_ray(str(manifest), str(output), judging, cluster.address)
    killer.join()
    assert len(lost) == 1
    records = [from_cells(cells, SCORES) for cells in Table.of(str(output)).rows()]
    assert counts == Counts(len(records), len(records), len(records) - N_BAD)
    return records


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@on_a_cluster
def test_a_machine_is_lost_among_many_rows(cluster: "Cluster", random_checkpoint: Path, tmp_path: Path) -> None:
    rows = manifest_rows(tmp_path, 600, N_BAD, n_clips=200)
    manifest = write_manifest(tmp_path / "manifest.parquet", rows)
    judging = Judging(random_checkpoint, tmp_path / "cache", "float32", AudioLimits())
    records = on_a_shrinking_cluster(cluster, manifest, judging, 2.0)
    alone = Judging(random_checkpoint, None, "float32", AudioLimits())
    assert records == nearly(on_one_machine(manifest, alone))


@on_a_cluster
def test_what_is_wrong_is_said_before_anything_starts(random_checkpoint: Path, tmp_path: Path) -> None:
    judging = Judging(random_checkpoint, None, "float32", AudioLimits())
    path = tmp_path / "m.csv"
    path.write_text("file,prompt\na,b\n")
    with pytest.raises(DataError, match="has no column id"):
        score_on_ray(str(path), str(tmp_path / "s"), judging, "local")
    path.write_text("id,file,prompt,status\n1,a,b,\n1,a,b,\n,a,b,\n")
    with pytest.raises(DataError, match="it has 3 problems"):
        score_on_ray(str(path), str(tmp_path / "s"), judging, "local")
    (tmp_path / "s").mkdir()
    with pytest.raises(DataError, match='"s" is there already'):
        score_on_ray(str(path), str(tmp_path / "s"), judging, "local")


def test_rows_that_were_lost_or_doubled_are_noticed(tmp_path: Path) -> None:
    write_records(tmp_path / "a.parquet", {"id": str, "status": str}, [{"id": "1", "status": "ok"}] * 2)
    with pytest.raises(BatchError, match="wrote 2 rows, 1 different ones, for 2 rows"):
        count_rows(Table.of(str(tmp_path / "a.parquet")), 2)


def test_clips_on_another_file_system(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.wav")
    source = Table.of(f"fsspec+local://{tmp_path}/m.csv")
    fetch = partial(fetch_clip, source, 1_000_000)
    assert fetch(row("clip.wav")) == clip.read_bytes()
    assert fetch(row(f"fsspec+local://{clip}")) == clip.read_bytes()
    assert len(fetch_clip(source, 100, row("clip.wav"))) == 101  # more than is allowed
    assert fetch_clip(Table.of(str(tmp_path / "m.csv")), 100, row("clip.wav", tmp_path)) == clip
    for file, message in (("no.wav", '"no.wav" cannot be opened'), ("tape://x.wav", "opened"), (" ", "no file")):
        with pytest.raises(AudioError, match=message):
            fetch(row(file))


def row(file: str, folder: Path | None = None) -> Row:
    return Row("1", file, "", "", folder / file if folder else None)
