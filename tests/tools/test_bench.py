import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from core.audio import InputPolicy
from core.embeddings import EmbeddingCache
from core.errors import DataError
from core.scorer import Scorer
from tests.clips import write_clip
from tools.bench import (
    CLIP_S,
    Pair,
    Parts,
    Report,
    laion_clap,
    main,
    matrix_gflops,
    name_device,
    official_tower,
    time_pairs,
    write_bench_clips,
)

PAIRS = [Pair(40.0, 30.0), Pair(50.0, 25.0), Pair(45.0, 29.0)]
REPORT = Report("a machine", "bfloat16", 40, 0.1, PAIRS, Parts(0.02, 0.03, 0.05, 0.3), matrix_gflops=310.0)


class Recorder:
    """Stands in for laion-clap and for ours."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def get_audio_embedding_from_filelist(self, paths: Sequence[str]) -> None:
        self.calls.append(f"{self.name} {Path(paths[0]).name}")

    def audio(self, paths: Sequence[Path]) -> None:
        self.calls.append(f"{self.name} {' '.join(path.name for path in paths)}")


def test_what_counts_is_audio_covered() -> None:
    assert REPORT.theirs == 40 * 10 / 45
    assert REPORT.ours == 40 * 29 / 29
    assert REPORT.ratios == pytest.approx([2.9 * 4 / 3, 2.9 * 2, 2.9 * 45 / 29])
    assert REPORT.window_s == pytest.approx(29 / 120)  # three windows cover a clip
    assert REPORT.floor_s == 0.1


def test_the_table() -> None:
    lines = list(REPORT.lines())
    assert "| MusicEval, bfloat16 | all 29 s | 40.0 s | 4.50 |" in lines
    assert lines[-1] == "ratio: 4.50"
    assert "  network          300.0 ms,        97 s a second, 75%" in lines
    assert (
        "Reading by 1 process alone covers 580 s a second, the device 83; both on the same cores 72. "
        "Most is the network."
    ) in lines
    assert lines[-2] == (
        "Floor: 31 GFLOP a window at 310 GFLOP a second is 0.1000 s; a window took 0.2417 s, 2.4 times that."
    )
    assert json.loads(json.dumps(REPORT.to_json()))["ratio"] == pytest.approx(4.5)


def test_what_binds_beside_a_gpu() -> None:
    assert REPORT.parts.binds(4, on_cores=False).endswith("What binds is the device.")
    assert Parts(0.02, 0.03, 0.001, 0.001).binds(16, on_cores=False).endswith("What binds is reading.")


@pytest.mark.parametrize("load", [0.1, 3.0])
def test_a_busy_machine_is_told(load: float) -> None:
    report = Report("a machine", "bfloat16", 40, load, PAIRS, REPORT.parts, 310.0)
    assert any("threads busy" in line for line in report.lines()) == (load > 1)


def test_they_take_turns_after_they_are_warm() -> None:
    calls: list[str] = []
    paths = [Path("a"), Path("b"), Path("c")]
    theirs, ours = Recorder("theirs", calls), Recorder("ours", calls)
    pairs = time_pairs(theirs, ours, paths, runs=2)  # type: ignore[arg-type]
    assert calls[:2] == ["theirs a", "ours a b"]  # ours begins with more than one, as a list does
    each = ["theirs a", "theirs b", "theirs c"]
    assert calls[2:] == [*each, "ours a b c", "ours a b c", *each]
    assert all(pair.theirs_s > 0 and pair.ours_s > 0 for pair in pairs)


def test_clips_are_cut_from_those_in_a_folder(tmp_path: Path) -> None:
    for folder in ("from/one", "to"):
        (tmp_path / folder).mkdir(parents=True)
    write_clip(tmp_path / "from" / "b.flac", sample_rate_hz=48_000)
    write_clip(tmp_path / "from" / "one" / "a.wav")
    paths = write_bench_clips(tmp_path / "from", tmp_path / "to", 5)
    clips = [soundfile.read(path) for path in paths]
    assert [rate for _, rate in clips] == [48_000, 16_000, 48_000, 16_000, 48_000]
    assert all(samples.size == CLIP_S * rate for samples, rate in clips)
    assert len({samples.tobytes() for samples, _ in clips}) == 5


def test_clips_are_composed_where_there_are_none(tmp_path: Path) -> None:
    (path,) = write_bench_clips(None, tmp_path, 1)
    samples, rate = soundfile.read(path)
    assert samples.size == CLIP_S * rate
    assert np.abs(samples).max() > 0.1


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no clips"):
        write_bench_clips(tmp_path, tmp_path, 1)
    (tmp_path / "a.wav").write_bytes(b"text")
    with pytest.raises(DataError, match=r"a\.wav"):
        write_bench_clips(tmp_path, tmp_path, 1)


@pytest.fixture
def _quick_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """One product is enough where the fastest is not what is asked."""
    monkeypatch.setattr("tools.bench.SEARCH_S", 0.01)


@pytest.mark.usefixtures("_quick_search")
def test_the_processor_is_named() -> None:
    assert name_device(torch.device("cpu")).endswith(f"{torch.get_num_threads()} threads")
    assert matrix_gflops(torch.device("cpu"), "float32") > 1.0


@pytest.mark.usefixtures("_quick_search")
def test_the_command(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("tools.bench.official_tower", lambda _: scorer.checkpoint.tower)
    monkeypatch.setattr("tools.bench.laion_clap", lambda _: Recorder("theirs", calls))
    write_clip(tmp_path / "a.wav")
    options = ["--clips", str(tmp_path), "--count", "2", "--runs", "1", "--device", "cpu", "--precision", "float32"]
    assert main([*options, "--json"]) == 0
    told: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert told["n_clips"] == 2
    assert told["ratio"] == told["ratios"][0] > 0
    assert told["parts"]["network_s"] > 0
    assert len(calls) == 3
    assert main(["--runs", "0"]) == 2
    assert "Invalid value for '--runs': 0 is not in the range x>=1" in capfd.readouterr().err


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_steps_of_fine_tuning(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], precision: str
) -> None:
    tower = copy.deepcopy(scorer.checkpoint.tower)
    before = {name: weight.clone() for name, weight in tower.weights().items()}
    monkeypatch.setattr("tools.bench.official_tower", lambda _: tower)
    monkeypatch.setattr("tools.bench.CLIP_S", 2)
    options = ["--train", "--count", "3", "--runs", "2", "--device", "cpu", "--precision", precision, "--compile"]
    assert main([*options, "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert (told["n_clips"], told["precision"], told["compiled"]) == (3, precision, False)
    assert len(told["later_s"]) == 2
    assert told["first_s"] > 0
    assert told["clips_per_s"] == pytest.approx(3 / told["step_s"])
    assert any(not torch.equal(weight, before[name]) for name, weight in tower.weights().items())
    assert main([*options, "--runs", "1"]) == 0
    assert "A step after it" in capfd.readouterr().out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # laion-clap's own
def test_laion_clap_is_itself_and_has_our_weights(tmp_path: Path) -> None:
    tower, before = official_tower(torch.device("cpu")), list(sys.path)
    theirs = laion_clap(tower)
    assert sys.path == before
    state = theirs.model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in tower.clap.state_dict().items())
    assert tower.embed_text(["a", "b"]).isfinite().all()
    path = write_clip(tmp_path / "a.wav", sample_rate_hz=48_000)  # repeated to 10 s by both
    heard = torch.from_numpy(theirs.get_audio_embedding_from_filelist([str(path)]))
    policy = InputPolicy(sample_rate_hz=48_000, bandwidth_hz=24_000.0)
    ours = EmbeddingCache(None, tower, policy).audio([path])[0][:, :-1]
    assert heard.shape == ours.shape == (1, 512)
    assert float(torch.cosine_similarity(heard, ours)) > 0.9
