"""What `core.bench.cli` measured, and how it is told.

What counts is how much audio is covered in a second: laion-clap listens to 10 s of a clip, whatever its
length; ours to the whole clip. The floor is the time that the network's matrix products alone would take.
"""

import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from core.audio import MODEL_SAMPLE_RATE_HZ, WINDOW_S, window_starts
from core.bench.clips import CLIP_S
from core.bench.runs import GFLOP_PER_WINDOW, Pair, Parts

_WINDOWS = len(window_starts(round(CLIP_S * MODEL_SAMPLE_RATE_HZ)))  # of a clip, by ours
_BUSY = 0.5
_CPU_INFO = Path("/proc/cpuinfo")
_TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes
    ----------
    device : str
        Its name, and the instruction sets that matter.
    precision : str
        Of ours.
    n_clips : int
        In each run.
    load : float
        Threads that were already at work when the runs began, a mean of a minute.
    pairs : list of Pair
    parts : Parts
    matrix_gflops : float
        GFLOP of matrix products a second, at this precision.
    """

    device: str
    precision: str
    n_clips: int
    load: float
    pairs: list[Pair]
    parts: Parts
    matrix_gflops: float

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
        shares = [
            f"{name.removesuffix('_s')} {part / sum(parts.values()):.0%}" for name, part in parts.items()
        ]
        yield f"Work for a clip, each part timed alone: {', '.join(shares)}."
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
