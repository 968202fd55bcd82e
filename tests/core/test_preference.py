"""What people prefer, by a stand-in for TuneJury's head: fetched, verified, and ranking clips among others."""

import dataclasses
import functools
import hashlib
import io
import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from torch import Tensor

from core.cli import main
from core.embeddings import EmbeddedClips
from core.errors import CheckpointError
from core.preference import (
    DESCRIPTION,
    HEAD,
    LEAST_REFERENCES,
    MAX_BYTES,
    RECORD,
    Preference,
    PreferenceHead,
    fetch_preference,
    load_preference,
    preference_folder,
)
from core.towers import TOWERS, StartingTower, load_tower
from core.towers.clap import SPECS
from core.towers.official import load_official
from tests import hub as stand_in
from tests import officials
from tests.clips import pluck, write_clip
from tests.hub import REVISION, Hub
from tests.officials import Little, checkpoint, little, state_dict

DIM = officials.SPEC.joint_dim
DESCRIBED = {"input_dim": DIM, "exclude": ["mert", "text"]}
NAMES = [f"input_ablation/{HEAD}", f"input_ablation/{DESCRIPTION}"]


@functools.cache
def head_weights(seed: int = 0) -> dict[str, Tensor]:
    """Weights of a head that was trained: its normalisation has seen something."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = PreferenceHead(DIM)
        for _ in range(20):
            head(torch.nn.functional.normalize(torch.randn(64, DIM), dim=1))
    return dict(head.state_dict())


def saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def described(content: Any) -> bytes:
    return json.dumps(content).encode()


WHOLE = {HEAD: saved(head_weights()), DESCRIPTION: described(DESCRIBED)}


@pytest.fixture(scope="module")
def whole() -> Little:
    return little(checkpoint(state_dict()))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setitem(SPECS, officials.SPEC.name, officials.SPEC)
    monkeypatch.setattr("core.preference.REPOSITORY", stand_in.REPOSITORY)
    stand_in.use(monkeypatch, tmp_path / "home", "http://127.0.0.1:9")
    return tmp_path / "home"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.file_download.time", types.SimpleNamespace(sleep=lambda _: None))
    with stand_in.serving() as hub:
        stand_in.use(monkeypatch, home, hub.url)
        hub.files |= dict(zip(NAMES, WHOLE.values(), strict=True))
        yield hub


def fetch(whole: Little, beside: Path | None = None) -> list[str]:
    told: list[str] = []
    assert fetch_preference(whole.official, beside, told.append) == preference_folder(whole.official) / HEAD
    return told


def kept(whole: Little) -> dict[str, bytes]:
    return {name: (preference_folder(whole.official) / name).read_bytes() for name in (HEAD, DESCRIPTION)}


def lay(folder: Path, files: dict[str, bytes] = WHOLE) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


# Fetched once, and verified from then on


def test_it_is_fetched_once_and_recorded(hub: Hub, whole: Little) -> None:
    told = fetch(whole)
    assert [sentence.split()[0] for sentence in told] == ["Fetching", "The"]
    assert kept(whole) == WHOLE
    record = json.loads((preference_folder(whole.official) / RECORD).read_text())
    assert [entry["name"] for entry in record] == NAMES
    assert {entry["revision"] for entry in record} == {REVISION}
    assert [entry["sha256"] for entry in record] == [hashlib.sha256(content).hexdigest() for content in WHOLE.values()]
    hub.requests = []
    assert fetch(whole)[0].startswith("The preference head is there and whole")
    assert hub.requests == hub.tokens == []


def test_it_may_lie_at_the_top_of_its_repository(hub: Hub, whole: Little) -> None:
    hub.files = dict(WHOLE)
    fetch(whole)
    assert kept(whole) == WHOLE
    hub.files = {}
    (preference_folder(whole.official) / RECORD).unlink()
    with pytest.raises(CheckpointError, match=rf"The hub refused {HEAD} of .* \(HTTP 404\)\. Or lay {HEAD}"):
        fetch(whole)


def test_a_cut_fetch_goes_on_at_the_next_call(hub: Hub, whole: Little) -> None:
    hub.cuts = [1_000_000, *[0] * 6]
    with pytest.raises(CheckpointError, match=r"was cut.*goes on where it ended"):
        fetch(whole)
    hub.cuts, hub.requests = [], []
    fetch(whole)
    assert hub.downloads()[0] == "bytes=1000000-"
    assert kept(whole) == WHOLE


def test_what_does_not_fit_the_record_is_fetched_again_and_nothing_else(hub: Hub, whole: Little) -> None:
    fetch(whole)
    path = preference_folder(whole.official) / HEAD
    path.write_bytes(WHOLE[HEAD][:-1] + b"x")
    with pytest.raises(CheckpointError, match="is damaged"):
        load_preference(StartingTower("little", torch.nn.Identity(), None, "", ""), whole.official)  # type: ignore[arg-type]
    hub.files[NAMES[0]] = saved(head_weights(seed=1))
    with pytest.raises(CheckpointError, match=r"was not opened|were expected"):
        fetch(whole)
    hub.files[NAMES[0]] = WHOLE[HEAD]
    fetch(whole)
    assert kept(whole) == WHOLE


def test_the_hubs_own_hash_holds_at_the_first_fetch(hub: Hub, whole: Little) -> None:
    hub.etags[NAMES[0]] = hashlib.sha256(b"another").hexdigest()
    with pytest.raises(CheckpointError, match="is damaged"):
        fetch(whole)
    hub.etags[NAMES[0]] = hashlib.sha256(WHOLE[HEAD]).hexdigest()
    fetch(whole)


def test_it_can_be_brought_by_hand(whole: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=rf"^HF_HUB_OFFLINE is set: {HEAD} .* Or lay {HEAD} and {DESCRIPTION}"):
        fetch(whole, tmp_path / "nothing")
    stick = lay(tmp_path / "stick")
    fetch(whole, stick)
    assert kept(whole) == WHOLE
    (preference_folder(whole.official) / HEAD).unlink()
    (stick / HEAD).write_bytes(saved(head_weights(seed=1)))
    with pytest.raises(CheckpointError, match="is not A1_clap_audio_only"):
        fetch(whole, stick)
    (stick / DESCRIPTION).unlink()
    with pytest.raises(CheckpointError):
        fetch(whole, stick)


def test_what_was_refused_does_not_stand_in_the_way(hub: Hub, whole: Little, tmp_path: Path) -> None:
    weights = head_weights(seed=1)
    weights["net.99.bias"] = weights.pop("net.16.bias")
    other = saved(weights)
    assert len(other) == len(WHOLE[HEAD])
    with pytest.raises(CheckpointError, match="not those of TuneJury's network"):
        fetch(whole, lay(tmp_path / "stick", WHOLE | {HEAD: other}))
    fetch(whole)
    assert kept(whole) == WHOLE


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("it ran",)


OTHERS = {
    "harmful": ({HEAD: saved(Harmful())}, "holds more than tensors"),
    "no pickle": ({HEAD: b"<html>"}, "holds more than tensors"),
    "of more inputs": ({HEAD: saved(PreferenceHead(2_048).state_dict())}, "not those of TuneJury's network"),
    "of other layers": ({HEAD: saved({"weight": torch.zeros(3)})}, "not those of TuneJury's network"),
    "not finite": ({HEAD: saved(head_weights() | {"net.16.bias": torch.tensor([torch.nan])})}, "ValueError"),
    "described for more": ({DESCRIPTION: described(DESCRIBED | {"input_dim": 2_048})}, "for other inputs"),
    "described for text": ({DESCRIPTION: described(DESCRIBED | {"exclude": ["mert"]})}, "for other inputs"),
    "not described": ({DESCRIPTION: b"[]"}, "does not describe"),
    "too large": ({HEAD: bytes(MAX_BYTES + 1)}, r"20,000,001 bytes; .* It was not opened"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_another_file_is_refused_and_not_recorded(
    whole: Little, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    changed, message = OTHERS[kind]
    with pytest.raises(CheckpointError, match=message):
        fetch(whole, lay(tmp_path / "stick", WHOLE | changed))
    assert not (preference_folder(whole.official) / RECORD).exists()
    assert capfd.readouterr().out == ""


def test_a_file_that_is_too_large_is_not_fetched(hub: Hub, whole: Little) -> None:
    hub.files[NAMES[0]] = bytes(MAX_BYTES + 1)
    with pytest.raises(CheckpointError, match="It was not opened"):
        fetch(whole)
    assert hub.downloads() == []


# Ranks


def test_the_head_is_the_published_network() -> None:
    weights = head_weights()
    assert [key for key in weights if key.endswith("weight")] == [
        f"net.{n}.weight" for n in (0, 1, 4, 5, 8, 9, 12, 13, 16)
    ]
    head = PreferenceHead(DIM).eval()
    head.load_state_dict(weights)
    given = np.random.default_rng(0).normal(size=(3, DIM)).astype(np.float32)
    hidden = given
    arrays = {key: value.numpy() for key, value in weights.items()}
    for n in (0, 4, 8, 12):
        hidden = hidden @ arrays[f"net.{n}.weight"].T + arrays[f"net.{n}.bias"]
        spread = np.sqrt(arrays[f"net.{n + 1}.running_var"] + 1e-5)
        hidden = (hidden - arrays[f"net.{n + 1}.running_mean"]) / spread
        hidden = np.maximum(hidden * arrays[f"net.{n + 1}.weight"] + arrays[f"net.{n + 1}.bias"], 0)
    expected = (hidden @ arrays["net.16.weight"].T + arrays["net.16.bias"])[:, 0]
    np.testing.assert_allclose(head(torch.from_numpy(given)).detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_a_clip_is_ranked_by_the_mean_of_its_windows() -> None:
    head = PreferenceHead(DIM).eval()
    head.load_state_dict(head_weights())
    windows = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        values = head(windows).double()
    clips = EmbeddedClips(windows, torch.tensor([0, 0, 1]), torch.zeros(2, DIM), torch.tensor([1.0, 0.5, 1.0]))
    first, second = float((values[0] + values[1] / 2) / 1.5), float(values[2])
    references = tuple(sorted([first - 0.1, first, second - 0.1, second + 0.1]))
    ranks = Preference(head, "", references, "").rank(clips)
    assert [rank.value for rank in ranks] == pytest.approx([first, second])
    assert [rank.n_references for rank in ranks] == [4, 4]
    assert [rank.higher_than_percent for rank in ranks] == [
        25.0 * sum(one < value - 1e-9 for one in references) for value in (first, second)
    ]
    [none, _] = Preference(head, "", (), "There are none.").rank(clips)
    assert (none.higher_than_percent, none.n_references, none.reason, str(none)) == (None, 0, "There are none.", "–")


@pytest.fixture
def official(whole: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the official CLAP as the registry's, and its copy with the head beside it."""
    monkeypatch.setattr("core.pinned.OFFICIAL", whole.official)
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "own"))
    entry = dataclasses.replace(TOWERS["music-audioset"], start=lambda: load_official(official=whole.official))
    monkeypatch.setitem(TOWERS, "little", entry)
    return lay(whole.write(tmp_path / "stick").parent)


def write_references(folder: Path, n_clips: int) -> Path:
    folder.mkdir()
    for number in range(n_clips):
        noise = np.random.default_rng(number).normal(0.0, 0.02 * number, 8_000)
        write_clip(folder / f"c{number:02d}.wav", (pluck(0.5) + noise).astype(np.float32))
    return folder


def test_from_the_command_to_a_rank(
    official: Path, whole: Little, tmp_path: Path, clip_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fetch-clap", "--from", str(official / "little.pt"), "--preference"]
    score = ["score", str(clip_path), "--prompt", "A calm guitar line", "--zero-shot", "little"]

    def ask(asked: list[str], code: int = 0) -> str:
        assert main(asked) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    ask(command[:-1])
    assert "musical_impression" in json.loads(ask([*score, "--json"]))  # by opposites, as long as there is no head
    assert "The preference head is ready" in ask(command)
    without = json.loads(ask([*score, "--json"]))
    assert "musical_impression" not in {*without, *without["windows"][0]}
    assert without["preference"]["higher_than_percent"] is None
    assert [warning["code"] for warning in without["warnings"]] == ["zero_shot", "no_references"]
    assert ask(score).splitlines()[0].split() == ["Musical", "impression", "–"]

    few = write_references(tmp_path / "few", LEAST_REFERENCES - 1)
    write_clip(few / "the same.wav", pluck(0.5))
    assert f"There are {LEAST_REFERENCES - 1} different clips" in ask([*command, "--reference", str(few)], 2)
    enough = write_references(tmp_path / "enough", LEAST_REFERENCES)
    write_clip(enough / "silent.wav", np.zeros(8_000, dtype=np.float32))
    said = ask([*command, "--reference", str(enough)])
    assert '"silent.wav" is left out: ' in said
    assert said.splitlines()[-1] == "A clip is now ranked among 20 reference clips."
    ranked = json.loads(ask([*score, "--json"]))
    rank = ranked["preference"]
    assert rank["n_references"] == 20
    assert rank["higher_than_percent"] in [5.0 * n for n in range(21)]
    assert ranked["provenance"]["checkpoint"]["id"] == "zero-shot little with TuneJury A1"
    assert ranked["provenance"]["checkpoint"]["sha256"] != without["provenance"]["checkpoint"]["sha256"]
    expected = f"higher than {rank['higher_than_percent']:.0f} % of 20 reference clips"
    assert ask(score).splitlines()[0] == f"Musical impression   {expected}"

    listed, output = tmp_path / "clips.csv", tmp_path / "scores.jsonl"
    listed.write_text("file,prompt\n" + "".join(f"enough/c{n:02d}.wav,x\n" for n in range(20)))
    many = ["score", "--manifest", str(listed), "-o", str(output), "--no-cache", "--zero-shot", "little"]
    ask(many)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(row["preference_higher_than_percent"] for row in rows) == [5.0 * n for n in range(20)]
    assert "musical_impression" not in rows[0]
    assert "20 ok, 0 failed. 0 of them now" in ask(many)  # the table that is there is read again


def test_references_of_another_head_or_tower_are_not_used(official: Path, whole: Little, tmp_path: Path) -> None:
    folder = write_references(tmp_path / "enough", LEAST_REFERENCES)
    command = ["fetch-clap", "--from", str(official / "little.pt"), "--preference", "--reference", str(folder)]
    assert main(command) == 0
    start = load_tower("little")
    preference = load_preference(start, whole.official)
    assert preference is not None
    assert (len(preference.references), preference.why_none) == (LEAST_REFERENCES, "")
    other = load_preference(dataclasses.replace(start, sha256="0" * 64), whole.official)
    assert other is not None
    assert "measured with another head, tower or input policy" in other.why_none
    assert other.references == ()
    (preference_folder(whole.official) / "references.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"references\.json of the preference head is damaged"):
        load_preference(start, whole.official)


def test_reference_clips_need_the_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch-clap", "--reference", "x"]) == 2
    assert "--reference goes with --preference" in capsys.readouterr().err
