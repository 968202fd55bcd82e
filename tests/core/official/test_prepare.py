import fcntl
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from core.errors import CheckpointError
from core.laion import SPECS
from core.official.prepare import fetch_official
from core.official.tower import PREPARED_RECORD, PREPARED_WEIGHTS, load_official, prepared_folder
from tests import hub as stand_in
from tests import officials
from tests.hub import Hub
from tests.officials import Little, checkpoint, little, state_dict

KEPT = {"fetch.lock", PREPARED_RECORD, PREPARED_WEIGHTS, "merges.txt", "vocab.json"}


@pytest.fixture(scope="module")
def whole() -> Little:
    return little(checkpoint(state_dict()))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, whole: Little) -> Iterator[Hub]:
    monkeypatch.setitem(SPECS, officials.SPEC.name, officials.SPEC)
    monkeypatch.setattr("huggingface_hub.file_download.time", types.SimpleNamespace(sleep=lambda _: None))
    with stand_in.serving() as hub:
        stand_in.use(monkeypatch, tmp_path / "home", hub.url)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1_000_000)
        hub.files |= whole.files
        yield hub


def fetch(whole: Little, source: Path | None = None) -> list[str]:
    told: list[str] = []
    assert fetch_official(whole.official, source, told.append) == folder_of(whole) / PREPARED_WEIGHTS
    return told


def folder_of(whole: Little) -> Path:
    return prepared_folder(whole.official)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_is_fetched_once_and_kept_ready(hub: Hub, whole: Little, tmp_path: Path) -> None:
    told = fetch(whole)
    assert [sentence.split()[0] for sentence in told] == ["Fetching", "Loading", "The"]
    assert names(folder_of(whole)) == KEPT
    assert sorted(name for method, name, _ in hub.requests if method == "GET") == sorted(whole.files)
    original = load_official(whole.write(tmp_path / "original"), whole.official)
    ready = load_official(official=whole.official)
    assert ready.tokenizer_files() == [folder_of(whole) / "vocab.json", folder_of(whole) / "merges.txt"]
    for key, value in original.clap.state_dict().items():
        assert torch.equal(value, ready.clap.state_dict()[key]), key
    hub.requests = []
    assert fetch(whole) == [f"The official CLAP is there and whole: {folder_of(whole) / PREPARED_WEIGHTS}"]
    assert hub.requests == []


def test_a_cut_download_goes_on_at_the_next_call(hub: Hub, whole: Little) -> None:
    hub.cuts = [
        10_000_000,
        10_000_000,
        3_000_000,
        *[0] * 6,
    ]  # the vocabulary, the merges, then the checkpoint
    with pytest.raises(CheckpointError, match=r"little\.pt .*was cut.*--from FILE"):
        fetch(whole)
    assert not (folder_of(whole) / PREPARED_RECORD).exists()
    assert (folder_of(whole) / "little.pt.part").stat().st_size == 3_000_000
    hub.cuts, hub.requests = [], []
    fetch(whole)
    assert hub.downloads() == ["bytes=3000000-"]
    assert names(folder_of(whole)) == KEPT


def test_a_copy_brought_by_hand_needs_no_network(
    hub: Hub, whole: Little, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    source = whole.write(tmp_path / "stick").rename(tmp_path / "stick" / "renamed.pt")
    fetch(whole, source)
    assert names(folder_of(whole)) == KEPT
    assert source.is_file()
    assert hub.requests == []
    assert load_official(official=whole.official).dim == 32


def test_without_the_tokenizer_beside_it_only_that_is_fetched(
    hub: Hub, whole: Little, tmp_path: Path
) -> None:
    source = whole.write(tmp_path / "stick")
    for file in whole.official.tokenizer:
        (source.parent / file.name).unlink()
    fetch(whole, source)
    assert {name for _, name, _ in hub.requests} == {"vocab.json", "merges.txt"}


def test_offline_it_says_how_to_do_without(hub: Hub, whole: Little, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    lonely = tmp_path / "little.pt"
    lonely.write_bytes(whole.files["little.pt"])
    with pytest.raises(
        CheckpointError, match=r"HF_HUB_OFFLINE.*vocab\.json.*Or lay vocab\.json beside the check"
    ):
        fetch(whole, lonely)


def test_the_cache_of_the_hub_is_used_and_left_alone(hub: Hub, whole: Little, tmp_path: Path) -> None:
    files = (whole.official.weights, *whole.official.tokenizer)
    cached = [stand_in.put_in_cache(tmp_path / "home", file, whole.files[file.name]) for file in files]
    fetch(whole)
    assert hub.requests == []
    assert names(folder_of(whole)) == KEPT
    assert all(path.is_file() for path in cached)


@pytest.mark.parametrize("fault", ["size", "content", "gone"])
def test_a_wrong_copy_is_refused(hub: Hub, whole: Little, tmp_path: Path, fault: str) -> None:
    source = whole.write(tmp_path / "stick")
    content = source.read_bytes()
    if fault == "gone":
        source.unlink()
    else:
        source.write_bytes(content[:-1] if fault == "size" else content[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"was cut|or is damaged|is missing"):
        fetch(whole, source)
    assert PREPARED_RECORD not in names(folder_of(whole))


def test_what_was_damaged_is_made_again(hub: Hub, whole: Little, tmp_path: Path) -> None:
    source = whole.write(tmp_path / "stick")
    fetch(whole, source)
    for damaged in (PREPARED_WEIGHTS, PREPARED_RECORD, "vocab.json"):
        path = folder_of(whole) / damaged
        before = path.read_bytes()
        path.write_bytes(before[:-9] + b"something")
        with pytest.raises(CheckpointError, match=r"fetch|Fetch"):
            load_official(official=whole.official)
        fetch(whole, source)
        assert path.read_bytes() == before


def test_too_little_room_is_said_before_anything_is_fetched(hub: Hub, whole: Little, monkeypatch) -> None:
    monkeypatch.setattr(
        "core.official.pinned.shutil.disk_usage", lambda _: types.SimpleNamespace(free=40_000_001)
    )
    needed = whole.official.weights.size_bytes + whole.official.prepared_bytes
    with pytest.raises(CheckpointError, match=rf"{needed / 1e6:.3g} MB are needed and 40 MB are free"):
        fetch(whole)
    assert hub.requests == []


def test_a_disk_that_fills_up_while_it_is_kept_is_said(
    hub: Hub, whole: Little, tmp_path: Path, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise safetensors.SafetensorError("No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", fail)
        with pytest.raises(
            CheckpointError, match=r"tower\.safetensors could not be written.*No space.*HF_HOME"
        ):
            fetch(whole)
    hub.requests = []
    fetch(whole)  # goes on with the original that is there
    assert hub.requests == []
    assert names(folder_of(whole)) == KEPT


def test_a_folder_that_cannot_be_written_is_said(hub: Hub, whole: Little, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(CheckpointError, match=r'Nothing can be written to "little" under HF_HOME'):
        fetch(whole)


def test_only_one_fetches_at_a_time(hub: Hub, whole: Little, tmp_path: Path) -> None:
    folder_of(whole).mkdir(parents=True)
    told: list[str] = []
    waiting = threading.Event()

    def tell(sentence: str) -> None:
        told.append(sentence)
        waiting.set()

    source = whole.write(tmp_path / "stick")
    with (folder_of(whole) / "fetch.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        second = threading.Thread(target=fetch_official, args=(whole.official, source, tell))
        second.start()
        assert waiting.wait(10)
    second.join(30)
    assert told[0] == "Another process is fetching it; waiting for that."
    assert told[-1].startswith("The official CLAP is ready")
