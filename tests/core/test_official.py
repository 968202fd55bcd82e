"""The official CLAP by a small stand-in: fetched from a hub on this machine, kept, loaded, checked."""

import dataclasses
import fcntl
import io
import os
import subprocess
import sys
import threading
import time
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from huggingface_hub import constants

from core.audio import WINDOW_SAMPLES
from core.cli import main
from core.errors import CheckpointError
from core.pinned import (
    OFFICIAL,
    PREPARED_RECORD,
    PREPARED_WEIGHTS,
    check_free_space,
    download,
    find_official,
    in_hub_cache,
    missing_bytes,
    prepared_folder,
    show_size,
    verify,
)
from core.settings import Settings
from core.towers.clap import SPECS, ClapTower, RobertaTokens
from core.towers.official import fetch_official, load_official
from tests import hub as stand_in
from tests import officials
from tests.hub import Hub, pinned
from tests.officials import Little, checkpoint, little, state_dict

CONTENT = bytes(range(256)) * 1_000
FILE = pinned("weights.bin", CONTENT)
OTHERWISE = "Or do it by hand."
KEPT = {"fetch.lock", PREPARED_RECORD, PREPARED_WEIGHTS, "merges.txt", "vocab.json"}
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole() -> Little:
    return little(checkpoint(state_dict()))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the hub keeps its files; nobody answers at its address."""
    monkeypatch.setitem(SPECS, officials.SPEC.name, officials.SPEC)
    stand_in.use(monkeypatch, tmp_path / "home", "http://127.0.0.1:9")
    return tmp_path / "home"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, home: Path, whole: Little) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.file_download.time", types.SimpleNamespace(sleep=lambda _: None))
    with stand_in.serving() as hub:
        stand_in.use(monkeypatch, home, hub.url)
        hub.files |= {FILE.name: CONTENT, **whole.files}
        yield hub


# One file


def part_of(folder: Path) -> Path:
    return folder / f"{FILE.name}.part"


def get(folder: Path) -> bytes:
    path = download(FILE, folder, OTHERWISE)
    assert path == folder / FILE.name
    assert not part_of(folder).exists()
    return path.read_bytes()


def test_a_file_is_fetched_under_its_name_without_a_token(hub: Hub, tmp_path: Path) -> None:
    assert get(tmp_path) == CONTENT
    assert [method for method, *_ in hub.requests] == ["HEAD", "GET"]
    assert hub.tokens == []


def test_a_cut_connection_is_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [100_000]
    assert get(tmp_path) == CONTENT
    assert hub.downloads() == [None, "bytes=100000-"]


def test_a_download_that_ended_early_goes_on_at_the_next_call(hub: Hub, tmp_path: Path) -> None:
    hub.cuts = [70_000, 0, 0, 0, 0, 0, 0]
    with pytest.raises(CheckpointError, match=rf"weights\.bin \(256 kB\) .* was cut .* {OTHERWISE}"):
        get(tmp_path)
    assert not (tmp_path / FILE.name).exists()
    assert part_of(tmp_path).read_bytes() == CONTENT[:70_000]
    assert missing_bytes(FILE, tmp_path) == len(CONTENT) - 70_000
    hub.cuts, hub.requests = [], []
    assert get(tmp_path) == CONTENT
    assert hub.downloads() == ["bytes=70000-"]
    assert missing_bytes(FILE, tmp_path) == 0


def test_a_killed_process_leaves_a_part_that_the_next_goes_on_with(hub: Hub, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from core.pinned import PinnedFile, download; "
        "download(PinnedFile(*sys.argv[2:5], int(sys.argv[5]), sys.argv[6]), Path(sys.argv[1]), '')"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url}
    large = CONTENT * 120  # three of the chunks that are written at a time
    hub.files[FILE.name], hub.pause_s = large, 0.01
    file = pinned(FILE.name, large)
    command = [sys.executable, "-c", code, str(tmp_path), *map(str, dataclasses.astuple(file))]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline_s = time.monotonic() + 120
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


@pytest.mark.parametrize(
    ("part", "ranges", "requests"),
    [(b"x" * 1_000, False, 2), (CONTENT, True, 0), (CONTENT + b"more", True, 2)],
    ids=["of a server that cannot go on", "whole", "too long"],
)
def test_a_part_is_used_where_it_can_be(hub: Hub, tmp_path: Path, part: bytes, ranges: bool, requests: int) -> None:
    part_of(tmp_path).write_bytes(part)
    hub.ranges = ranges
    assert get(tmp_path) == CONTENT
    assert len(hub.requests) == requests
    assert get(tmp_path) == CONTENT  # what is there is verified, and not fetched again
    assert len(hub.requests) == requests


def test_what_is_not_the_pinned_file_is_thrown_away(hub: Hub, tmp_path: Path) -> None:
    hub.files[FILE.name] = CONTENT[::-1]
    with pytest.raises(CheckpointError, match=r"SHA-256 begins \w{12}, not \w{12}\. It was not opened"):
        get(tmp_path)
    assert list(tmp_path.iterdir()) == []
    hub.files[FILE.name], hub.requests = CONTENT + b"more", []
    with pytest.raises(CheckpointError, match=r"256,004 bytes; 256,000 were expected\. Nothing was fetched"):
        get(tmp_path)
    assert hub.downloads() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, where every write finds no room")
def test_a_disk_that_fills_up_is_said(hub: Hub, tmp_path: Path) -> None:
    part_of(tmp_path).symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"The disk is full; weights\.bin .* Make room\. .* goes on"):
        get(tmp_path)
    assert not (tmp_path / FILE.name).exists()


def test_offline_nothing_is_asked(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=rf"^HF_HUB_OFFLINE is set: .* Unset it\. {OTHERWISE}$"):
        get(tmp_path)
    assert hub.requests == []


@pytest.mark.parametrize("status", [404, 403])
def test_a_refusal_names_its_status(hub: Hub, tmp_path: Path, status: int) -> None:
    hub.files, hub.status = {}, 200 if status == 404 else status
    with pytest.raises(CheckpointError, match=rf"refused weights\.bin .*HTTP {status}"):
        get(tmp_path)


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"was cut \(ConnectError\)"):
        get(tmp_path)


def test_room_is_checked_where_the_folder_will_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []
    usage = types.SimpleNamespace(free=1_000_000)
    monkeypatch.setattr("core.pinned.shutil.disk_usage", lambda path: asked.append(path) or usage)
    check_free_space(tmp_path / "not" / "yet", 1_000_000)
    with pytest.raises(CheckpointError, match=r"2\.5 GB are needed and 1 MB are free\..*HF_HOME"):
        check_free_space(tmp_path, 2_500_000_000)
    assert asked == [tmp_path, tmp_path]


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
    ("n_bytes", "shown"), [(2_352_471_003, "2.35 GB"), (898_823, "899 kB"), (1_000_000, "1 MB"), (17, "17 bytes")]
)
def test_sizes_are_shown(n_bytes: int, shown: str) -> None:
    assert show_size(n_bytes) == dataclasses.replace(FILE, size_bytes=n_bytes).shown_size == shown


# Fetched once, and kept ready


def fetch(whole: Little, source: Path | None = None) -> list[str]:
    told: list[str] = []
    assert fetch_official(whole.official, source, told.append) == folder_of(whole) / PREPARED_WEIGHTS
    return told


def folder_of(whole: Little) -> Path:
    return prepared_folder(whole.official)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} | {"fetch.lock"}  # which may be gone when it is released


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


def test_a_cut_fetch_goes_on_at_the_next_call(hub: Hub, whole: Little) -> None:
    hub.cuts = [10_000_000, 10_000_000, 3_000_000, *[0] * 6]  # vocabulary, merges, then the checkpoint
    with pytest.raises(CheckpointError, match=r"little\.pt .*was cut.*--from FILE"):
        fetch(whole)
    assert not (folder_of(whole) / PREPARED_RECORD).exists()
    kept = (folder_of(whole) / "little.pt.part").stat().st_size
    hub.cuts, hub.requests = [], []
    fetch(whole)
    assert kept == 3_000_000
    assert hub.downloads() == [f"bytes={kept}-"]
    assert names(folder_of(whole)) == KEPT


def test_what_is_at_hand_is_not_fetched(
    hub: Hub, whole: Little, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = whole.write(tmp_path / "stick").rename(tmp_path / "stick" / "renamed.pt")
    for file in whole.official.tokenizer:
        (source.parent / file.name).rename(tmp_path / file.name)
    fetch(whole, source)
    assert {name for _, name, _ in hub.requests} == {"vocab.json", "merges.txt"}
    (folder_of(whole) / PREPARED_RECORD).unlink()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetch(whole, source)  # the tokenizer is kept by now
    assert source.is_file()
    (folder_of(whole) / PREPARED_RECORD).unlink()
    (folder_of(whole) / "vocab.json").unlink()
    with pytest.raises(CheckpointError, match=r"HF_HUB_OFFLINE.*vocab\.json.*Or lay vocab\.json beside"):
        fetch(whole, source)
    (tmp_path / "vocab.json").rename(source.parent / "vocab.json")
    hub.requests = []
    fetch(whole, source)
    for path in folder_of(whole).iterdir():
        path.unlink()
    files = (whole.official.weights, *whole.official.tokenizer)
    cached = [stand_in.put_in_cache(home, file, whole.files[file.name]) for file in files]
    fetch(whole)
    assert hub.requests == []
    assert names(folder_of(whole)) == KEPT
    assert all(path.is_file() for path in cached)
    assert load_official(official=whole.official).dim == 32


@pytest.mark.parametrize("fault", ["size", "content", "gone"])
def test_a_wrong_copy_is_refused(whole: Little, tmp_path: Path, fault: str) -> None:
    source = whole.write(tmp_path / "stick")
    content = source.read_bytes()
    if fault == "gone":
        source.unlink()
    else:
        source.write_bytes(content[:-1] if fault == "size" else content[:-1] + b"x")
    with pytest.raises(CheckpointError, match=r"was cut|or is damaged|is missing"):
        fetch(whole, source)
    assert PREPARED_RECORD not in names(folder_of(whole))


def test_what_was_damaged_is_made_again(whole: Little, tmp_path: Path) -> None:
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


def test_too_little_room_is_said_before_anything_is_fetched(
    hub: Hub, whole: Little, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = types.SimpleNamespace(free=40_000_001)
    monkeypatch.setattr("core.pinned.shutil.disk_usage", lambda _: usage)
    needed = whole.official.weights.size_bytes + whole.official.prepared_bytes
    with pytest.raises(CheckpointError, match=rf"{needed / 1e6:.3g} MB are needed and 40 MB are free"):
        fetch(whole)
    assert hub.requests == []


def test_a_disk_that_fills_up_while_it_is_kept_is_said(
    hub: Hub, whole: Little, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise safetensors.SafetensorError("No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", fail)
        with pytest.raises(CheckpointError, match=r"tower\.safetensors could not be written.*No space.*HF_H"):
            fetch(whole)
    hub.requests = []
    fetch(whole)  # goes on with the original that is there
    assert hub.requests == []
    assert names(folder_of(whole)) == KEPT


def test_a_folder_that_cannot_be_written_is_said(whole: Little, home: Path) -> None:
    home.write_text("a file")
    with pytest.raises(CheckpointError, match=r'Nothing can be written to "little" under HF_HOME'):
        fetch(whole)


def test_only_one_fetches_at_a_time(whole: Little, tmp_path: Path) -> None:
    folder_of(whole).mkdir(parents=True)
    told: list[str] = []
    waiting = threading.Event()

    def report(sentence: str) -> None:
        told.append(sentence)
        waiting.set()

    source = whole.write(tmp_path / "stick")
    with (folder_of(whole) / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=fetch_official, args=(whole.official, source, report))
        second.start()
        assert waiting.wait(10)
    second.join(60)
    assert told[0] == "Another process is fetching it; waiting for that."
    assert told[-1].startswith("The official CLAP is ready")


@pytest.mark.parametrize("how", ["option", "setting"])
def test_the_command(
    whole: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    monkeypatch.setattr("core.pinned.OFFICIAL", whole.official)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert main(["fetch-clap"]) == 2
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert "HF_HUB_OFFLINE is set" in said.err
    source = str(whole.write(tmp_path / "stick"))
    if how == "setting":
        monkeypatch.setenv("MUSICEVAL_CLAP_CHECKPOINT", source)
    assert main(["fetch-clap", *(["--from", source] if how == "option" else [])]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines() == [
        "Loading and checking little.pt.",
        f"The official CLAP is ready: {folder_of(whole) / PREPARED_WEIGHTS}",
    ]


# Loaded and checked


def load(stand_in: Little, folder: Path) -> ClapTower:
    return load_official(stand_in.write(folder), stand_in.official)


def test_the_pins_are_those_of_the_paper_s_tower() -> None:
    assert OFFICIAL.tower in SPECS
    assert (OFFICIAL.weights.size_bytes, OFFICIAL.weights.sha256[:12]) == (2_352_471_003, "fae3e9c087f2")
    assert [file.name for file in OFFICIAL.tokenizer] == ["vocab.json", "merges.txt"]


@pytest.mark.reference
def test_the_reference_tokenizer_is_the_pinned_one(reference_data: Path) -> None:
    first, second = OFFICIAL.tokenizer
    folder = reference_data / "roberta-base"
    for file in (first, second):
        verify(folder / file.name, file)
    with pytest.raises(CheckpointError, match="another file"):
        verify(folder / second.name, first)


def test_a_checkpoint_of_laion_clap_is_loaded(whole: Little, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    tower = load(whole, tmp_path)
    assert torch.equal(before, torch.get_rng_state())
    stored = state_dict()
    for key, value in tower.clap.state_dict().items():
        assert torch.equal(value, stored[f"module.{key}"]), key
    assert not tower.training
    prompts = ["slow piano", "fast drums"]
    windows = 0.1 * torch.randn(2, WINDOW_SAMPLES, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = tower.embed_text(prompts), tower.embed_features(tower.features(windows))
        theirs = (
            tower.clap.get_text_embedding(RobertaTokens(tmp_path)(prompts)),
            tower.clap.get_audio_embedding([{"waveform": window} for window in windows]),
        )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert tower.tokenizer_files() == [tmp_path / "vocab.json", tmp_path / "merges.txt"]


def test_a_checkpoint_of_bare_weights_in_the_old_format_is_loaded(tmp_path: Path) -> None:
    bare = {key.removeprefix("module."): value for key, value in state_dict().items()}
    assert load(little(bare, _use_new_zipfile_serialization=False), tmp_path).dim == 32


class Payload:
    """Runs when it is unpickled by someone who runs what a pickle says."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.proof,))


def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "it-ran"
    bad = little(checkpoint(state_dict()) | {"name": Payload(proof)})
    torch.load(io.BytesIO(bad.files["little.pt"]), weights_only=False)
    assert proof.exists()  # so it would have run
    proof.unlink()
    with pytest.raises(CheckpointError, match=r'"little\.pt" holds more than tensors.*was not loaded'):
        load(bad, tmp_path / "files")  # even where its hash is the pinned one
    assert not proof.exists()


def test_another_file_is_not_even_opened(whole: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = whole.write(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(CheckpointError, match=r'"little\.pt" is not little\.pt of .*, or is damaged'):
        load_official(path, whole.official)


def broken(fault: str) -> Little:
    """A checkpoint that is the pinned one, and not what the tower needs."""
    state = state_dict()
    mel = "module.audio_branch.logmel_extractor.melW"
    if fault == "weights missing":
        del state["module.text_projection.0.bias"]
    elif fault == "weights unknown":
        state["module.stray"] = torch.zeros(1)
    elif fault == "weights of another shape":
        state["module.logit_scale_a"] = torch.zeros(2)
    elif fault == "front end missing":
        del state[mel]
    elif fault == "front end changed":
        state[mel] = state[mel].roll(1, dims=1)
    elif fault == "text is dead":
        state["module.text_projection.2.weight"] = 1e-4 * state["module.text_projection.2.weight"]
    elif fault == "audio is dead":
        state["module.audio_projection.2.weight"] = 1e-4 * state["module.audio_projection.2.weight"]
    else:
        state["module.audio_projection.0.bias"] = torch.full((32,), float("nan"))
    return little(checkpoint(state))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("weights missing", r"'little' tower.*text_projection\.0\.bias"),
        ("weights unknown", r"'little' tower.*stray"),
        ("weights of another shape", r"'little' tower.*logit_scale_a"),
        ("front end missing", "another audio front end"),
        ("front end changed", "another audio front end"),
        ("text is dead", r"two unrelated prompts for the same \(cosine (0\.99|1\.0)"),
        ("audio is dead", r"two unrelated clips for the same \(cosine (0\.99|1\.0)"),
        ("not a number", "two unrelated clips"),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, fault: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(broken(fault), tmp_path)


@pytest.mark.parametrize("content", [{"state_dict": {"module.epoch": 3}}, {"state_dict": None}, ["weights"], None])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint of laion-clap"):
        load(little(content), tmp_path)


def test_a_file_that_is_no_pickle_is_refused(whole: Little, tmp_path: Path) -> None:
    text = b"<html>Sign in first</html>"
    official = dataclasses.replace(whole.official, weights=pinned("little.pt", text))
    with pytest.raises(CheckpointError, match="or is no checkpoint"):
        load(Little(official, {**whole.files, "little.pt": text}), tmp_path)


def test_the_tokenizer_is_looked_for_and_verified(whole: Little, tmp_path: Path, home: Path) -> None:
    path = whole.write(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"#version: 9.9\n")
    with pytest.raises(CheckpointError, match=r'"merges\.txt" is not merges\.txt of'):
        load_official(path, whole.official)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"RoBERTa's vocab\.json and merges\.txt.*fetch-clap"):
        load_official(path, whole.official)
    for file in whole.official.tokenizer:
        cached = stand_in.put_in_cache(home, file, whole.files[file.name])
    tower = load_official(path, whole.official)
    assert [file.parent for file in tower.tokenizer_files()] == [cached.parent] * 2


def test_where_it_is_looked_for(whole: Little, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = whole.official
    with pytest.raises(CheckpointError) as missing:
        find_official(Settings(), official)
    message = str(missing.value)
    assert f"little.pt, {official.weights.shown_size}" in message
    assert "`python -m core fetch-clap`" in message
    assert "fetch-clap --from FILE`" in message
    assert in_hub_cache(official.weights) is None
    cached = stand_in.put_in_cache(home, official.weights, b"")
    assert find_official(Settings(), official) == in_hub_cache(official.weights) == cached
    prepared = prepared_folder(official)
    assert prepared == home / "assets" / "musiceval" / "little"
    prepared.mkdir(parents=True)
    (prepared / PREPARED_RECORD).touch()
    assert find_official(Settings(), official) == prepared / PREPARED_WEIGHTS
    named = whole.write(tmp_path / "named")
    assert find_official(Settings(clap_checkpoint=named), official) == named
    with pytest.raises(CheckpointError, match=r'MUSICEVAL_CLAP_CHECKPOINT names "gone\.pt".*not there'):
        find_official(Settings(clap_checkpoint=tmp_path / "gone.pt"), official)
    monkeypatch.setenv("MUSICEVAL_CLAP_CHECKPOINT", str(named))
    assert load_official(official=official).dim == 32


@pytest.mark.parametrize("record", [None, "{}", "[]", "no json", '{"source_sha256": "another"}'])
def test_prepared_weights_need_their_record(whole: Little, tmp_path: Path, record: str | None) -> None:
    whole.write(tmp_path)
    (tmp_path / PREPARED_WEIGHTS).write_bytes(b"anything")
    if record is not None:
        (tmp_path / PREPARED_RECORD).write_text(record)
    with pytest.raises(CheckpointError, match=r"has no tower\.json beside it that fits.*fetch-clap"):
        load_official(tmp_path / PREPARED_WEIGHTS, whole.official)
