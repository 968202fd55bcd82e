"""Judges by name: titles and notes, taken away and brought back, sent and received; nothing that could hold code."""

import gzip
import io
import json
import shutil
import zipfile
from pathlib import Path

import pytest

from core.errors import CheckpointError, DataError, TrainingError
from core.training.about import MOST_NOTE, About
from core.training.judges import delete, deleted, describe, offer, pack, receive, restore
from core.training.registry import ModelRegistry


@pytest.fixture
def registry(tmp_path: Path, random_checkpoint: Path) -> ModelRegistry:
    """With two judges."""
    for name in ("one", "two"):
        shutil.copytree(random_checkpoint, tmp_path / "models" / name)
    return ModelRegistry(tmp_path / "models")


def packed(registry: ModelRegistry, tmp_path: Path, name: str = "one") -> Path:
    file = tmp_path / "judge.zip"
    file.write_bytes(b"".join(pack(registry.model(name).folder)))
    return file


def repacked(file: Path, **changed: bytes | None) -> Path:
    """The archive with other files in it, None for none; ``_`` stands for a dot in a name."""
    other = file.with_name("other.zip")
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(other, "w") as new:
        given = {name.replace("_", "."): content for name, content in changed.items()}
        content = {entry.filename: old.read(entry) for entry in old.infolist()}
        content |= {f"one/{name}": of for name, of in given.items()}  # type: ignore[dict-item]
        for name, of in content.items():
            if of is not None:
                new.writestr(name, of)
    return other


def test_a_judge_is_called_by_its_title(registry: ModelRegistry) -> None:
    before = {path.name: path.read_bytes() for path in registry.model("one").folder.iterdir()}
    describe(registry, "one", "  Autumn \n panel ", "For the\npaper. ")
    model = registry.model("one")
    assert (model.called, model.about.note) == ("Autumn panel", "For the\npaper.")
    assert all((model.folder / name).read_bytes() == content for name, content in before.items())
    for taken in ("autumn PANEL", "ONE"):
        with pytest.raises(TrainingError, match="Another judge is called"):
            describe(registry, "two", taken, "")
    describe(registry, "one", "one", "")
    assert registry.model("one").about == About()


@pytest.mark.parametrize(("title", "note"), [("x" * 65, ""), ("a\x00b", ""), ("one", "x" * (MOST_NOTE + 1))])
def test_a_title_is_a_line_and_a_note_has_an_end(registry: ModelRegistry, title: str, note: str) -> None:
    with pytest.raises(TrainingError):
        describe(registry, "one", title, note)
    assert registry.model("one").about == About()


@pytest.mark.parametrize("content", ["", "[]", '{"title": 3, "note": null, "offered": "no"}', "\0"])
def test_what_cannot_be_read_says_nothing_wrong(registry: ModelRegistry, content: str) -> None:
    (registry.model("one").folder / "about.json").write_text(content)
    assert not registry.model("one").is_offered  # what a judge is called is for visitors only where somebody said so


def test_a_deleted_judge_comes_back_until_another_goes(registry: ModelRegistry) -> None:
    registry.activate("one")
    with pytest.raises(TrainingError, match="judges now"):
        delete(registry, "one")
    delete(registry, "two")
    assert ([model.name for model in registry.models()], deleted(registry)) == (["one"], "two")
    assert restore(registry) == "two"
    assert deleted(registry) is None
    with pytest.raises(TrainingError, match="no deleted judge"):
        restore(registry)
    registry.activate(None)
    delete(registry, "one")
    delete(registry, "two")
    assert (registry.models(), deleted(registry)) == ([], "two")


def test_what_is_sent_is_received_with_its_title_and_offered_to_nobody_yet(
    registry: ModelRegistry, tmp_path: Path
) -> None:
    describe(registry, "one", "Autumn", "A note")
    (registry.model("one").folder / "order.json").write_text("{}")
    file = packed(registry, tmp_path)
    assert "one/order.json" not in zipfile.ZipFile(file).namelist()
    assert receive(registry, file) == "one-2"
    taken = registry.model("one-2")
    assert (taken.called, taken.about) == ("one-2", About("", "A note", offered=False, uploaded=True))
    assert not taken.is_offered
    offer(registry, "one-2", True)
    assert registry.model("one-2").is_offered
    elsewhere = ModelRegistry(tmp_path / "elsewhere")
    assert receive(elsewhere, file) == "one"
    assert elsewhere.model("one").called == "Autumn"
    assert (elsewhere.folder / "one" / "config.json").read_bytes() == (registry.folder / "one/config.json").read_bytes()


@pytest.mark.parametrize(
    "changed",
    [
        {"metrics_json": b"{}"},  # another hash
        {"SHARD": b"damaged"},
        {"SHARD": None},
        {"config_json": b"{"},
        {"config_json": b"[1]"},
        {"config_json": None},
        {"state_pt": b"pickle"},
        {"model_pkl": b"pickle"},
        {"setup_py": b"import os"},
        {".._escape_json": b"{}"},
        {"deeper/config_json": b"{}"},
        {"words_txt_gz": b"no gzip"},
    ],
    ids=str,
)
def test_what_is_not_a_whole_judge_is_refused_and_leaves_nothing(
    registry: ModelRegistry, tmp_path: Path, changed: dict[str, bytes | None]
) -> None:
    shard = min(path.name for path in registry.model("one").folder.glob("model*.safetensors"))
    changed = {name.replace("SHARD", shard): content for name, content in changed.items()}
    file = repacked(packed(registry, tmp_path), **changed)
    before = sorted(path.name for path in registry.folder.iterdir())
    with pytest.raises((CheckpointError, DataError)):
        receive(registry, file)
    assert sorted(path.name for path in registry.folder.iterdir()) == before


def test_a_list_that_unpacks_to_too_much_is_refused(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.training.judges.MOST_FILE_BYTES", 50_000_000)
    with io.BytesIO() as content:
        with gzip.open(content, "w") as file:
            file.write(bytes(50_000_001))
        bomb = content.getvalue()
    with pytest.raises(CheckpointError, match="unpacks to too much"):
        receive(registry, repacked(packed(registry, tmp_path), words_txt_gz=bomb))


def test_whatever_loading_raises_is_a_sentence(
    registry: ModelRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise RuntimeError("secret")

    archive = packed(registry, tmp_path)
    monkeypatch.setattr("core.checkpoint.load_checkpoint", fail)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        receive(registry, archive)


def test_its_data_is_said_in_words(registry: ModelRegistry) -> None:
    folder = registry.model("one").folder
    assert registry.model("one").learned_from() == "nothing: random weights"
    for name, said in (
        ("pilot-20260301T120000123456", "study pilot, 12 clips"),
        ("uploaded.mine-20260301T120000123456", "uploaded mine, 12 clips"),
        ("MusicEval-full", "MusicEval-full, 12 clips"),
    ):
        run = {"data": {"name": name, "sha256": "0", "parts": {"train": 9, "test": 3}}}
        (folder / "run.json").write_text(json.dumps(run))
        assert registry.model("one").learned_from() == said


def test_agreement_is_by_clips_and_systems_or_of_people(registry: ModelRegistry, tmp_path: Path) -> None:
    from core.model_files import EMBEDDED_JUDGE

    assert registry.model("one").agreement() == {}
    shutil.copytree(EMBEDDED_JUDGE, registry.folder / "embedded")
    people = json.loads((EMBEDDED_JUDGE / "metrics.json").read_text(encoding="utf-8"))["people"]
    srcc = people["musical_impression"]["srcc"]
    assert registry.model("embedded").agreement() == {"Musical impression": f"{srcc:.2f}"}
