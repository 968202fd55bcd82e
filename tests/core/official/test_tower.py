import dataclasses
import io
from pathlib import Path

import pytest
import torch

from core.audio import WINDOW_SAMPLES
from core.errors import CheckpointError
from core.laion import SPECS
from core.official.tower import (
    OFFICIAL,
    PREPARED_RECORD,
    PREPARED_WEIGHTS,
    find_official,
    load_official,
    prepared_folder,
)
from core.settings import Settings
from core.tokens import RobertaTokens
from tests import hub, officials
from tests.officials import Little, checkpoint, little, state_dict


@pytest.fixture(scope="module")
def whole() -> Little:
    return little(checkpoint(state_dict()))


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setitem(SPECS, officials.SPEC.name, officials.SPEC)
    hub.use(monkeypatch, tmp_path / "home", "http://127.0.0.1:9")
    return tmp_path / "home"


def load(stand_in: Little, folder: Path):
    return load_official(stand_in.write(folder), stand_in.official)


def test_the_pins_are_those_of_the_paper_s_tower() -> None:
    assert OFFICIAL.tower in SPECS
    assert (OFFICIAL.weights.size_bytes, OFFICIAL.weights.sha256[:12]) == (2_352_471_003, "fae3e9c087f2")
    assert [file.name for file in OFFICIAL.tokenizer] == ["vocab.json", "merges.txt"]


@pytest.mark.reference
def test_the_reference_tokenizer_is_the_pinned_one(reference_data: Path) -> None:
    from core.official.pinned import verify

    for file in OFFICIAL.tokenizer:
        verify(reference_data / "roberta-base" / file.name, file)


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
        ours = tower.embed_text(prompts), tower.embed_audio(windows)
        tokens = RobertaTokens(tmp_path)(prompts)
        theirs = (
            tower.clap.get_text_embedding(tokens),
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

    def __reduce__(self):
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


def test_another_file_is_not_even_opened(whole: Little, tmp_path: Path, monkeypatch) -> None:
    path = whole.write(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(CheckpointError, match=r'"little\.pt" is not little\.pt of .*, or is damaged'):
        load_official(path, whole.official)
    path.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=r"It is another file or was cut"):
        load_official(path, whole.official)


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape"])
def test_loading_is_strict(tmp_path: Path, fault: str) -> None:
    state = state_dict()
    if fault == "missing":
        del state["module.text_projection.0.bias"]
    elif fault == "unknown":
        state["module.stray"] = torch.zeros(1)
    else:
        state["module.logit_scale_a"] = torch.zeros(2)
    with pytest.raises(
        CheckpointError, match=r"'little' tower.*(text_projection\.0\.bias|stray|logit_scale_a)"
    ):
        load(little(checkpoint(state)), tmp_path)


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_another_audio_front_end_is_refused(tmp_path: Path, fault: str) -> None:
    state = state_dict()
    mel = "module.audio_branch.logmel_extractor.melW"
    if fault == "missing":
        del state[mel]
    else:
        state[mel] = state[mel].roll(1, dims=1)
    with pytest.raises(CheckpointError, match="another audio front end"):
        load(little(checkpoint(state)), tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"module.epoch": 3}}, "not a checkpoint of laion-clap"),
        ({"state_dict": None}, "not a checkpoint of laion-clap"),
        (["weights"], "not a checkpoint of laion-clap"),
        (None, "not a checkpoint of laion-clap"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(little(content), tmp_path)


def test_a_file_that_is_no_pickle_is_refused(whole: Little, tmp_path: Path) -> None:
    text = b"<html>Sign in first</html>"
    fake = Little(
        dataclasses.replace(whole.official, weights=hub.pinned("little.pt", text)), dict(whole.files)
    )
    fake.files["little.pt"] = text
    with pytest.raises(CheckpointError, match="or is no checkpoint"):
        load(fake, tmp_path)


@pytest.mark.parametrize(
    ("dead", "what"),
    [("module.text_projection.2.weight", "prompts"), ("module.audio_projection.2.weight", "clips")],
)
def test_a_dead_tower_is_refused(tmp_path: Path, dead: str, what: str) -> None:
    state = state_dict()
    state[dead] = 1e-4 * state[dead]
    with pytest.raises(CheckpointError, match=rf"two unrelated {what} for the same \(cosine (0\.99|1\.0)"):
        load(little(checkpoint(state)), tmp_path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    state = state_dict()
    state["module.audio_projection.0.bias"] = torch.full((32,), float("nan"))
    with pytest.raises(CheckpointError, match="two unrelated clips"):
        load(little(checkpoint(state)), tmp_path)


def test_without_its_tokenizer_it_says_where_to_get_it(whole: Little, tmp_path: Path) -> None:
    path = whole.write(tmp_path)
    (tmp_path / "merges.txt").unlink()
    with pytest.raises(CheckpointError, match=r"RoBERTa's vocab\.json and merges\.txt.*fetch-clap"):
        load_official(path, whole.official)


def test_another_tokenizer_is_refused(whole: Little, tmp_path: Path) -> None:
    path = whole.write(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"#version: 9.9\n")
    with pytest.raises(CheckpointError, match=r'"merges\.txt" is not merges\.txt of'):
        load_official(path, whole.official)


def test_the_tokenizer_may_be_in_the_hub_s_cache(whole: Little, tmp_path: Path, home: Path) -> None:
    path = whole.write(tmp_path)
    for file in whole.official.tokenizer:
        cached = hub.put_in_cache(home, file, whole.files[file.name])
        (tmp_path / file.name).unlink()
    tower = load_official(path, whole.official)
    assert [file.parent for file in tower.tokenizer_files()] == [cached.parent] * 2


def test_where_it_is_looked_for(whole: Little, tmp_path: Path, home: Path) -> None:
    official = whole.official
    with pytest.raises(CheckpointError) as missing:
        find_official(Settings(), official)
    message = str(missing.value)
    assert f"little.pt, {official.weights.shown_size}" in message
    assert "`python -m core fetch-clap`" in message
    assert "fetch-clap --from FILE`" in message
    cached = hub.put_in_cache(home, official.weights, b"")
    assert find_official(Settings(), official) == cached
    prepared = prepared_folder(official)
    assert prepared == home / "assets" / "musiceval" / "little"
    prepared.mkdir(parents=True)
    (prepared / PREPARED_RECORD).touch()
    assert find_official(Settings(), official) == prepared / PREPARED_WEIGHTS
    named = whole.write(tmp_path / "named")
    assert find_official(Settings(clap_checkpoint=named), official) == named
    with pytest.raises(CheckpointError, match=r'MUSICEVAL_CLAP_CHECKPOINT names "gone\.pt".*not there'):
        find_official(Settings(clap_checkpoint=tmp_path / "gone.pt"), official)


def test_the_setting_names_the_checkpoint(whole: Little, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("MUSICEVAL_CLAP_CHECKPOINT", str(whole.write(tmp_path)))
    assert load_official(official=whole.official).dim == 32


@pytest.mark.parametrize("record", [None, "{}", "[]", "no json", '{"source_sha256": "another"}'])
def test_prepared_weights_need_their_record(whole: Little, tmp_path: Path, record: str | None) -> None:
    whole.write(tmp_path)
    (tmp_path / PREPARED_WEIGHTS).write_bytes(b"anything")
    if record is not None:
        (tmp_path / PREPARED_RECORD).write_text(record)
    with pytest.raises(CheckpointError, match=r"has no tower\.json beside it that fits.*fetch-clap"):
        load_official(tmp_path / PREPARED_WEIGHTS, whole.official)
