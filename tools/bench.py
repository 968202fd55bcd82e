"""Times laion-clap as it is used today beside our embeddings: ``python -m tools.bench``.

Both have the same networks at the official size with the same random weights, which take as long as trained
ones, on the same device. What counts is how much audio is covered in a second: laion-clap hears 10 s of a
clip, picked at random, whatever its length; ours the whole clip. The floor is the time that the network's
matrix products alone would take.
"""

import contextlib
import importlib
import itertools
import math
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import click
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from core.audio import MODEL_SAMPLE_RATE_HZ, WINDOW_S, InputPolicy, read_clip, split_windows, window_starts
from core.command import CONTEXT, Command, as_json, path_option, print_json, run_command
from core.embeddings import EmbeddingCache
from core.errors import AudioError, DataError, shown_name
from core.prepared import prepare
from core.readers import cores
from core.settings import DEVICES, pick_device
from core.towers.clap import MAX_TOKENS, ROBERTA_VOCABULARY, SPECS, ClapTower, RobertaTokens, build_clap
from tools.bench_training import Steps, time_steps

CLIP_S = 29.0  # what text-to-music models that published clips mostly made; MusicEval's median is 25 s
EXAMPLES = Path(__file__).parents[1] / "webapp" / "examples"
_SOUNDS = (".flac", ".ogg", ".wav", ".mp3")
_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")
_CPU_INFO = Path("/proc/cpuinfo")
_BUSY = 0.5
_WINDOWS = len(window_starts(round(CLIP_S * MODEL_SAMPLE_RATE_HZ)))  # of a clip, by ours
_REPEATS = 7
SEARCH_S = 2.0  # for the fastest product
_MATRIX = 2_048  # about the size of the network's own products
GFLOP_PER_WINDOW = 31.0  # of HTSAT-base's matrix products for 10 s


def write_bench_clips(source: Path | None, folder: Path, count: int) -> list[Path]:
    """Write clips of `CLIP_S` as FLAC, no two alike."""
    sounds = list(_found(source or EXAMPLES, "**/*" if source else "*"))
    paths = []
    for number, (samples, sample_rate_hz) in enumerate(itertools.islice(itertools.cycle(sounds), count)):
        start = number // len(sounds) * samples.size // 7  # elsewhere on each round
        excerpt = np.resize(np.roll(samples, -start), round(CLIP_S * sample_rate_hz))
        paths.append(folder / f"{number:03d}.flac")
        soundfile.write(paths[-1], np.clip(excerpt, -1.0, 1.0), sample_rate_hz)
    return paths


def _found(source: Path, which: str) -> Iterator[tuple[NDArray[np.float32], int]]:
    paths = sorted(path for path in source.glob(which) if path.suffix.lower() in _SOUNDS)
    if not paths:
        raise DataError(f"{shown_name(source.name)} holds no clips. Give a folder with {', '.join(_SOUNDS)}.")
    for path in paths:
        try:
            clip = read_clip(path)
        except AudioError as error:
            raise DataError(str(error)) from error
        yield clip.samples, clip.sample_rate_hz


@dataclass(frozen=True)
class Pair:
    """Seconds that laion-clap and ours took for the same clips, one after the other."""

    theirs_s: float
    ours_s: float


@dataclass(frozen=True)
class Parts:
    """Where our time goes, each part alone: seconds for a clip, and for its windows."""

    decoding_s: float  # of a core
    conditioning_s: float  # of a core
    spectrograms_s: float  # of the device
    network_s: float  # of the device

    @property
    def reading_s(self) -> float:
        """Seconds of a core."""
        return self.decoding_s + self.conditioning_s

    @property
    def device_s(self) -> float:
        """Seconds of the device."""
        return self.spectrograms_s + self.network_s

    def binds(self, n_cores: int, on_cores: bool) -> str:
        """Say what takes longest, where `n_cores` read: beside the device, or `on_cores` before it."""
        reading_s = self.reading_s / n_cores
        covered = [CLIP_S / reading_s, CLIP_S / self.device_s]
        by = f"{n_cores} process{'es' * (n_cores > 1)}"
        said = f"Reading by {by} alone covers {covered[0]:,.0f} s a second, the device {covered[1]:,.0f}"
        if on_cores:
            what = "reading" if reading_s > self.device_s else "the network"
            return f"{said}; both on the same cores {CLIP_S / (reading_s + self.device_s):,.0f}. Most is {what}."
        return f"{said}. What binds is {'reading' if reading_s > self.device_s else 'the device'}."


class MadeUpTokens(RobertaTokens):
    """In place of those that a hub has: as many tokens, which mean nothing."""

    def __init__(self) -> None:
        self.files = ()

    def __call__(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """``input_ids`` and ``attention_mask``, each (n, 77)."""
        ids = torch.arange(2, 2 + MAX_TOKENS).repeat(len(prompts), 1)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def official_tower(device: torch.device) -> ClapTower:
    """Build a tower of the official size with seeded random weights."""
    spec = SPECS["music-audioset"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = ClapTower(spec, build_clap(spec), MadeUpTokens())
    return tower.eval().requires_grad_(False).to(device)


def laion_clap(tower: ClapTower) -> Any:
    """Build ``laion_clap.CLAP_Module`` with a tower's weights; nothing that it would fetch is fetched."""
    from transformers import BartTokenizer, BertTokenizer, RobertaConfig, RobertaModel, RobertaTokenizer

    config = RobertaConfig(vocab_size=ROBERTA_VOCABULARY, max_position_embeddings=514, type_vocab_size=1)
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(mock.patch.object(sys, "path", [*sys.path]))  # it adds its own folder
        stack.enter_context(mock.patch.dict(os.environ))  # and sets a folder for compiled code
        for tokenizer in (BartTokenizer, BertTokenizer, RobertaTokenizer):
            stack.enter_context(mock.patch.object(tokenizer, "from_pretrained"))
        text = RobertaModel(config)
        stack.enter_context(mock.patch.object(RobertaModel, "from_pretrained", return_value=text))
        module = importlib.import_module("laion_clap")
        built = module.CLAP_Module(enable_fusion=False, device=str(tower.device), amodel="HTSAT-base")
    built.model.load_state_dict(tower.clap.state_dict())
    return built


def time_pairs(theirs: Any, ours: EmbeddingCache, paths: Sequence[Path], runs: int) -> list[Pair]:
    """Time both on the same clips, `runs` times, taking turns in who begins; the first clips warm both up."""

    def run_theirs(some: Sequence[Path]) -> None:
        with torch.no_grad():  # kinder to laion-clap than its own example, which keeps the gradient's graph
            for path in some:
                theirs.get_audio_embedding_from_filelist([str(path)])

    run_theirs(paths[:1])
    ours.audio(paths[:2])  # as a list, or the network is compiled for one clip
    pairs = []
    for number in range(runs):
        if number % 2:
            ours_s, theirs_s = _seconds(ours.audio, paths), _seconds(run_theirs, paths)
        else:
            theirs_s, ours_s = _seconds(run_theirs, paths), _seconds(ours.audio, paths)
        pairs.append(Pair(theirs_s, ours_s))
    return pairs


def time_parts(tower: ClapTower, ours: EmbeddingCache, path: Path) -> Parts:
    """Time the parts of our way for one clip, the median of a few times."""

    clip = read_clip(path)
    windows = split_windows(prepare(clip, InputPolicy()).samples)
    batch = np.resize(windows, (ours.batch, windows.shape[1]))  # as full as it runs
    features = tower.features(batch)
    a_clip = len(windows) / len(batch)
    return Parts(
        decoding_s=_median_s(lambda: read_clip(path)),
        conditioning_s=_median_s(lambda: prepare(clip, InputPolicy())),
        spectrograms_s=a_clip * _median_s(lambda: tower.features(batch).cpu()),
        network_s=a_clip * _median_s(lambda: ours.embed(features).cpu()),
    )


def matrix_gflops(device: torch.device, precision: str) -> float:
    """Measure how many GFLOP of matrix products a second the device does at its best.

    What others do on a machine, or a clock that still rises, makes single products slower by half: for two seconds
    the fastest is looked for.
    """
    left = torch.ones(_MATRIX, _MATRIX, device=device, dtype=getattr(torch, precision))

    def multiply() -> None:
        (left @ left)[0, 0].item()  # waits for the device

    until_s, best_s = time.perf_counter() + SEARCH_S, math.inf
    while time.perf_counter() < until_s:
        best_s = min(best_s, _seconds(multiply))
    return 2 * _MATRIX**3 / 1e9 / best_s


def _median_s(function: Callable[[], object]) -> float:
    function()
    return median(_seconds(function) for _ in range(_REPEATS))


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    start_s = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start_s


@dataclass(frozen=True)
class Report:
    """What was measured."""

    device: str
    precision: str
    n_clips: int
    load: float
    pairs: list[Pair]
    parts: Parts
    matrix_gflops: float
    n_cores: int = 1
    on_cores: bool = True  # the device is these cores

    @property
    def theirs(self) -> float:
        """Seconds of audio that laion-clap covers in a second, median of the runs."""
        return self.n_clips * WINDOW_S / median(pair.theirs_s for pair in self.pairs)

    @property
    def ours(self) -> float:
        """Seconds of audio that ours covers in a second, median of the runs."""
        return self.n_clips * CLIP_S / median(pair.ours_s for pair in self.pairs)

    @property
    def ratios(self) -> list[float]:
        """Ours to laion-clap's, of each pair."""
        return [CLIP_S / WINDOW_S * pair.theirs_s / pair.ours_s for pair in self.pairs]

    @property
    def window_s(self) -> float:
        """Seconds that ours takes for a window, all included, median of the runs."""
        return median(pair.ours_s for pair in self.pairs) / (self.n_clips * _WINDOWS)

    @property
    def floor_s(self) -> float:
        """Seconds that the matrix products of a window take at the least."""
        return GFLOP_PER_WINDOW / self.matrix_gflops

    def to_json(self) -> dict[str, Any]:
        """Give all figures as plain numbers and strings."""
        return {
            **asdict(self),
            "clip_s": CLIP_S,
            "covered_per_s": {"laion_clap": self.theirs, "musiceval": self.ours},
            "windows_per_s": 1 / self.window_s,
            "window_s": self.window_s,
            "floor_s": self.floor_s,
            "ratios": self.ratios,
            "ratio": median(self.ratios),
        }

    def lines(self) -> Iterator[str]:
        """Give a table in Markdown and what stands around it."""
        yield f"{self.n_clips} clips of {CLIP_S:g} s, the official tower with random weights, {self.device}."
        yield ""
        yield "| | hears of a clip | audio covered in a second | ratio |"
        yield "|---|---|---|---|"
        theirs = f"laion-clap {version('laion-clap')}, one clip at a time, float32"
        yield f"| {theirs} | {WINDOW_S:g} s at random | {self.theirs:.1f} s | 1 |"
        ratio = median(self.ratios)
        yield f"| MusicEval, {self.precision} | all {CLIP_S:g} s | {self.ours:.1f} s | {ratio:.2f} |"
        yield ""
        yield f"Paired runs: {', '.join(f'{each:.2f}' for each in self.ratios)}."
        if self.load > _BUSY:
            yield f"Others kept {self.load:.1f} threads busy before; that slows laion-clap down more."
        parts = asdict(self.parts)
        yield "Each part alone, for a clip:"
        for name, seconds in parts.items():
            share = f"{seconds / sum(parts.values()):.0%}"
            covered = f"{CLIP_S / seconds:9,.0f} s a second"
            yield f"  {name.removesuffix('_s'):<13} {1e3 * seconds:8.1f} ms, {covered}, {share}"
        yield self.parts.binds(self.n_cores, self.on_cores)
        yield (
            f"Floor: {GFLOP_PER_WINDOW:g} GFLOP a window at {self.matrix_gflops:,.0f} GFLOP a second is "
            f"{self.floor_s:.4f} s; a window took {self.window_s:.4f} s, {self.window_s / self.floor_s:.1f} "
            "times that."
        )
        yield f"ratio: {ratio:.2f}"


def name_device(device: torch.device) -> str:
    """Name a device of this machine: a GPU, or the processor with its threads and instruction sets."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return f"{device.type}, {platform.machine()}"
    name, flags = platform.processor() or platform.machine(), set[str]()
    for line in _CPU_INFO.read_text().splitlines() if _CPU_INFO.is_file() else ():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "model name":
            name = value
        if key in ("flags", "Features"):  # x86, ARM
            flags.update(value.split())
    sets = ", ".join(flag for flag in _TELLING if flag in flags) or "no list of instruction sets"
    return f"{name} ({sets}), {torch.get_num_threads()} threads"


@click.command(cls=Command, context_settings=CONTEXT)
@path_option("--clips", "DIR", "cut clips from those in this folder (default: the examples of the page)")
@click.option("--count", metavar="N", type=click.IntRange(1), default=40, help="clips in a run")
@click.option("--runs", metavar="N", type=click.IntRange(1), default=5, help="paired runs, or steps")
@click.option("--precision", default="bfloat16", help="of ours")
@click.option("--device", type=click.Choice(DEVICES), default="auto", help="where both run")
@click.option("--train", is_flag=True, help="time steps of fine-tuning instead, all clips in one")
@click.option("--compile", "compiled", is_flag=True, help="with --train: compile the tower, on a GPU")
@as_json
def bench(
    clips: Path | None, count: int, runs: int, precision: str, device: str, train: bool, compiled: bool, as_json: bool
) -> None:
    """Time the official tower with random weights, ours and laion-clap's, in turns on this machine."""
    where = pick_device(device)
    tower = official_tower(where)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_bench_clips(clips, Path(folder), count)
        report: Report | Steps
        if train:
            report = time_steps(tower, paths, CLIP_S, name_device(where), precision, compiled, runs)
        else:
            report = _beside_laion_clap(tower, paths, runs, precision)
    if as_json:
        print_json(report.to_json())
    else:
        print("\n".join(report.lines()))


def _beside_laion_clap(tower: ClapTower, paths: Sequence[Path], runs: int, precision: str) -> Report:
    ours = EmbeddingCache(None, tower, InputPolicy(), precision)
    load, *_ = os.getloadavg() if hasattr(os, "getloadavg") else (0.0,)
    pairs = time_pairs(laion_clap(tower), ours, paths, runs)
    parts = time_parts(tower, ours, paths[0])
    device, gflops = tower.device, matrix_gflops(tower.device, precision)
    on_cores = device.type == "cpu"
    return Report(name_device(device), precision, len(paths), load, pairs, parts, gflops, cores(), on_cores)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m tools.bench`` and return its exit code."""
    return run_command("python -m tools.bench", bench, argv)


if __name__ == "__main__":
    sys.exit(main())
