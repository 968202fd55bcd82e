"""Ray is not needed to run MusicEval: without it these tests are skipped."""

import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from core.audio import AudioLimits
from core.errors import AudioError, BatchError, DataError
from core.many.manifest import Row
from core.many.records import Cells, read_records, write_records
from core.many.rows import Judging
from core.many.run import Counts, score_manifest
from core.many.table import from_table
from core.tables import Problems
from tests.clips import write_clip
from tests.manifests import manifest_rows, nearly, write_manifest

ray = pytest.importorskip("ray", reason="Ray is not installed (requirements-cluster.txt)")
from ray.cluster_utils import Cluster  # noqa: E402

import core.many.on_ray  # noqa: E402
from core.many.on_ray import score_on_ray  # noqa: E402
from core.many.places import Place  # noqa: E402

# What Ray itself warns of is not ours.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore")]
N_BAD = 20


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without cores, to which this process is connected, and two machines with one core each."""
    head = {"num_cpus": 0, "object_store_memory": 10**8}
    cluster = Cluster(initialize_head=True, connect=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=10**8)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def lose_a_machine(cluster: Cluster, cache: Path, wait_s: float, lost: list[str]) -> None:
    """Kill a machine that has an actor at work: some time after the first clip was embedded."""
    while not any(cache.rglob("*")):
        time.sleep(0.05)
    time.sleep(wait_s)
    actors = ray._private.state.actors().values()
    machine = next(
        actor["Address"]["NodeID"]
        for actor in actors
        if actor["State"] == "ALIVE" and "_Worker" in actor["ActorClassName"]
    )
    node = next(node for node in cluster.list_all_nodes() if node.node_id == machine)
    cluster.remove_node(node, allow_graceful=False)
    lost.append(machine)


def on_one_machine(manifest: Path, judging: Judging) -> list[Cells]:
    output = manifest.with_name("one.csv")
    score_manifest(manifest, output, judging, ["cpu"], lambda counts: None)
    return [from_table(cells) for _, cells in read_records(output, Problems(output.name))]


def on_a_shrinking_cluster(cluster: Cluster, manifest: Path, judging: Judging, wait_s: float) -> list[Cells]:
    lost: list[str] = []

    killer = threading.Thread(target=lose_a_machine, args=(cluster, judging.cache, wait_s, lost))
    killer.start()
    output = manifest.with_name("many.csv")
    counts = score_on_ray(str(manifest), str(output), judging, cluster.address)
    killer.join()
    assert len(lost) == 1
    records = [from_table(cells) for cells in Place.of(str(output)).rows()]
    assert counts == Counts(len(records), len(records), len(records) - N_BAD)
    return records


def test_a_machine_is_lost(
    cluster: Cluster, random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.many.on_ray, "ROWS_AT_ONCE", 2)
    manifest = write_manifest(tmp_path / "manifest.csv", manifest_rows(tmp_path, 40, N_BAD, n_clips=20))
    judging = Judging(random_checkpoint, tmp_path / "cache", "float32", AudioLimits())
    records = on_a_shrinking_cluster(cluster, manifest, judging, 0.0)
    alone = Judging(random_checkpoint, None, "float32", AudioLimits())
    assert records == nearly(on_one_machine(manifest, alone))


@pytest.mark.slow
def test_a_machine_is_lost_among_two_thousand_rows(
    cluster: Cluster, random_checkpoint: Path, tmp_path: Path
) -> None:
    rows = manifest_rows(tmp_path, 2_000, N_BAD, n_clips=200)
    manifest = write_manifest(tmp_path / "manifest.parquet", rows)
    judging = Judging(random_checkpoint, tmp_path / "cache", "float32", AudioLimits())
    records = on_a_shrinking_cluster(cluster, manifest, judging, 2.0)
    alone = Judging(random_checkpoint, None, "float32", AudioLimits())
    assert records == nearly(on_one_machine(manifest, alone))


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
        core.many.on_ray._verify(Place.of(str(tmp_path / "a.parquet")), 2)


def test_clips_on_another_file_system(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.wav")
    source = Place.of(f"fsspec+local://{tmp_path}/m.csv")
    fetch = partial(core.many.on_ray._fetch, source, 1_000_000)
    assert fetch(row("clip.wav")) == clip.read_bytes()
    assert fetch(row(f"fsspec+local://{clip}")) == clip.read_bytes()
    assert len(core.many.on_ray._fetch(source, 100, row("clip.wav"))) == 101  # more than is allowed
    assert core.many.on_ray._fetch(Place.of(str(tmp_path / "m.csv")), 100, row("clip.wav", tmp_path)) == clip
    for file, message in (
        ("no.wav", '"no.wav" cannot be opened'),
        ("tape://x.wav", "opened"),
        (" ", "no file"),
    ):
        with pytest.raises(AudioError, match=message):
            fetch(row(file))


def row(file: str, folder: Path | None = None) -> Row:
    return Row("1", file, "", "", folder / file if folder else None)
