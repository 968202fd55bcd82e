import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import constants

from core.errors import CheckpointError
from core.official.pinned import (
    PinnedFile,
    check_free_space,
    download,
    in_hub_cache,
    missing_bytes,
    show_size,
    verify,
)
from tests import hub as stand_in
from tests.hub import Hub, pinned

CONTENT = bytes(range(256)) * 1_000
FILE = pinned("weights.bin", CONTENT)
OTHERWISE = "Or do it by hand."
ROOT = Path(__file__).parents[3]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None))
    with stand_in.serving() as hub:
        stand_in.use(monkeypatch, tmp_path / "home", hub.url)
        hub.files[FILE.name] = CONTENT
        yield hub


def fetch(folder: Path) -> Path:
    return download(FILE, folder, OTHERWISE)


def part_of(folder: Path) -> Path:
    return folder / f"{FILE.name}.part"


def test_a_file_is_fetched_under_its_name_without_a_token(hub: Hub, tmp_path: Path) -> None:
    assert fetch(tmp_path) == tmp_path / FILE.name
    assert (tmp_path / FILE.name).read_bytes() == CONTENT
    assert not part_of(tmp_path).exists()
    assert [method for method, *_ in hub.requests] == ["HEAD", "GET"]
    assert hub.tokens == []


def test_a_cut_connection_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [100_000]
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert hub.downloads() == [None, "bytes=100000-"]


def test_a_download_that_ended_early_goes_on_at_the_next_call(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [70_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(CheckpointError, match=rf"weights\.bin \(256 kB\) .* was cut .* {OTHERWISE}"):
        fetch(tmp_path)
    assert not (tmp_path / FILE.name).exists()
    assert part_of(tmp_path).read_bytes() == CONTENT[:70_000]
    assert missing_bytes(FILE, tmp_path) == len(CONTENT) - 70_000
    hub.cuts, hub.requests = [], []
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert hub.downloads() == ["bytes=70000-"]
    assert missing_bytes(FILE, tmp_path) == 0


def test_a_killed_process_leaves_a_part_that_the_next_goes_on_with(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from core.official.pinned import PinnedFile, download; "
        "download(PinnedFile(*sys.argv[2:5], int(sys.argv[5]), sys.argv[6]), Path(sys.argv[1]), '')"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url}
    large = CONTENT * 120  # three of the chunks that are written at a time
    hub.files[FILE.name], hub.pause_s = large, 0.01
    file = pinned(FILE.name, large)
    pin = (file.repository, file.revision, file.name, str(file.size_bytes), file.sha256)
    command = [sys.executable, "-c", code, str(tmp_path), *pin]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline_s = time.monotonic() + 60
        while not (part_of(tmp_path).is_file() and part_of(tmp_path).stat().st_size):
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        process.kill()
    fetched = part_of(tmp_path).stat().st_size
    assert 0 < fetched < len(large)
    hub.pause_s, hub.requests = 0.0, []
    assert download(file, tmp_path, OTHERWISE).read_bytes() == large
    assert hub.downloads() == [f"bytes={fetched}-"]


def test_a_server_that_cannot_go_on_starts_again(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(b"x" * 1_000)
    hub.ranges = False
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_a_whole_part_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT)
    assert fetch(tmp_path).read_bytes() == CONTENT
    (tmp_path / FILE.name).rename(tmp_path / FILE.name)
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert hub.requests == []


def test_another_content_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.files[FILE.name] = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=r"SHA-256 begins \w{12}, not \w{12}\. It was not opened"):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []
    hub.files[FILE.name] = CONTENT
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_another_size_is_not_even_fetched(hub: Hub, tmp_path: Path) -> None:
    hub.files[FILE.name] = CONTENT + b"more"
    with pytest.raises(CheckpointError, match=r"256,004 bytes; 256,000 were expected\. Nothing was fetched"):
        fetch(tmp_path)
    assert hub.downloads() == []


def test_a_part_that_is_too_long_is_started_again(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).write_bytes(CONTENT + b"more")
    assert fetch(tmp_path).read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, where every write finds no room")
def test_a_disk_that_fills_up_is_said(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"The disk is full; weights\.bin .* Make room\. .* goes on"):
        fetch(tmp_path)
    assert not (tmp_path / FILE.name).exists()


def test_room_is_checked_where_the_folder_will_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    usage = SimpleNamespace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or usage)
    check_free_space(tmp_path / "not" / "yet", 1_000_000)
    with pytest.raises(CheckpointError, match=r"2\.5 GB are needed and 1 MB are free\..*HF_HOME"):
        check_free_space(tmp_path, 2_500_000_000)
    assert asked == [tmp_path, tmp_path]


def test_offline_nothing_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=rf"^HF_HUB_OFFLINE is set: .* Unset it\. {OTHERWISE}$"):
        fetch(tmp_path)
    assert hub.requests == []


@pytest.mark.parametrize("status", [200, 403])
def test_a_refusal_names_its_status(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.files, hub.status = {}, status
    with pytest.raises(
        CheckpointError, match=rf"refused weights\.bin .*HTTP {404 if status == 200 else 403}"
    ):
        fetch(tmp_path)


def test_a_hub_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with stand_in.serving() as gone:
        url = gone.url
    stand_in.use(monkeypatch, tmp_path / "home", url)
    with pytest.raises(CheckpointError, match=r"was cut \(ConnectError\)"):
        fetch(tmp_path)


def test_the_cache_of_the_hub_is_looked_into(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in.use(monkeypatch, tmp_path, "http://127.0.0.1:9")
    assert in_hub_cache(FILE) is None
    path = stand_in.put_in_cache(tmp_path, FILE, CONTENT)
    assert in_hub_cache(FILE) == path


def test_verify(tmp_path: Path) -> None:
    path = tmp_path / "mine.bin"
    with pytest.raises(CheckpointError, match=r'^"mine\.bin" is missing or cannot be read'):
        verify(path, FILE)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(CheckpointError, match=r'"mine\.bin" has 255,999 bytes; weights\.bin .* has 256,000'):
        verify(path, FILE)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r'"mine\.bin" is not weights\.bin of .*, or is damaged'):
        verify(path, FILE)
    path.write_bytes(CONTENT)
    verify(path, FILE)


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [(2_352_471_003, "2.35 GB"), (898_823, "899 kB"), (1_000_000, "1 MB"), (17, "17 bytes")],
)
def test_sizes_are_shown(n_bytes: int, shown: str) -> None:
    assert show_size(n_bytes) == shown
    assert PinnedFile("", "", "", n_bytes, "").shown_size == shown
