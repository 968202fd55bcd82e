"""What `core.bench.cli` times: laion-clap as it is used today, our embeddings, their parts, and the machine.

Both have the same networks at the official size with the same random weights, which take as long as trained
ones, on the same device. laion-clap hears 10 s of each clip, picked at random; ours hears all of it.
"""

import contextlib
import importlib
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import numpy as np
import torch

from core.audio import InputPolicy, condition, read_clip, split_windows
from core.clap import ClapTower
from core.embeddings import EmbeddingCache
from core.laion import ROBERTA_VOCABULARY, SPECS, build_clap
from core.tokens import BytePairTokens

GFLOP_PER_WINDOW = 31.0  # of HTSAT-base's matrix products for 10 s
_MATRIX = 2_048  # about the size of the network's own products
_REPEATS = 7


@dataclass(frozen=True)
class Pair:
    """Seconds that laion-clap and ours took for the same clips, one after the other."""

    theirs_s: float
    ours_s: float


@dataclass(frozen=True)
class Parts:
    """Where our time goes, each part alone: seconds for a clip, and for its windows.

    Attributes
    ----------
    decoding_s : float
        Reading a clip and bringing it to the input policy, in one thread.
    spectrograms_s, network_s : float
        Of a clip's windows, on the device.
    """

    decoding_s: float
    spectrograms_s: float
    network_s: float


def official_tower(device: torch.device) -> ClapTower:
    """Build a tower of the official size with seeded random weights; its tokenizer is another one's."""
    spec = SPECS["music-audioset"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = ClapTower(spec, build_clap(spec), BytePairTokens())
    return tower.eval().requires_grad_(False).to(device)


def laion_clap(tower: ClapTower) -> Any:
    """Build ``laion_clap.CLAP_Module`` with a tower's weights; nothing that it would fetch is fetched.

    Returns
    -------
    laion_clap.CLAP_Module
        On the tower's device, fit for audio only: its tokenizer is a stand-in.
    """
    from transformers import BartTokenizer, BertTokenizer, RobertaConfig, RobertaModel, RobertaTokenizer

    config = RobertaConfig(vocab_size=ROBERTA_VOCABULARY, max_position_embeddings=514, type_vocab_size=1)
    with warnings.catch_warnings(), contextlib.ExitStack() as stack:
        warnings.simplefilter("ignore")
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(mock.patch.object(sys, "path", [*sys.path]))  # it adds its own folder
        for tokenizer in (BartTokenizer, BertTokenizer, RobertaTokenizer):
            stack.enter_context(mock.patch.object(tokenizer, "from_pretrained"))
        text = RobertaModel(config)
        stack.enter_context(mock.patch.object(RobertaModel, "from_pretrained", return_value=text))
        module = importlib.import_module("laion_clap")
        built = module.CLAP_Module(enable_fusion=False, device=str(tower.device), amodel="HTSAT-base")
    built.model.load_state_dict(tower.clap.state_dict())
    return built


def time_pairs(theirs: Any, ours: EmbeddingCache, paths: Sequence[Path], runs: int) -> list[Pair]:
    """Time both on the same clips, `runs` times, taking turns in who begins; the first clip warms both up."""

    def run_theirs(some: Sequence[Path]) -> None:
        with torch.no_grad():  # kinder to laion-clap than its own example, which keeps the gradient's graph
            for path in some:
                theirs.get_audio_embedding_from_filelist([str(path)])

    run_theirs(paths[:1])
    ours.audio(paths[:1])
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

    def read() -> Any:
        clip = read_clip(path)
        return split_windows(condition(clip.samples, clip.sample_rate_hz, InputPolicy()))[1]

    windows = read()
    batch = np.resize(windows, (ours.batch, windows.shape[1]))  # as full as it runs
    log_mel = tower.log_mel(batch)
    a_clip = len(windows) / len(batch)
    return Parts(
        decoding_s=_median_s(read),
        spectrograms_s=a_clip * _median_s(lambda: tower.log_mel(batch).cpu()),
        network_s=a_clip * _median_s(lambda: ours.embed(log_mel).cpu()),
    )


def matrix_gflops(device: torch.device, precision: str) -> float:
    """Measure how many GFLOP of matrix products a second the device does at its best."""
    left = torch.ones(_MATRIX, _MATRIX, device=device, dtype=getattr(torch, precision))

    def multiply() -> None:
        (left @ left)[0, 0].item()  # waits for the device

    multiply()
    return 2 * _MATRIX**3 / 1e9 / min(_seconds(multiply) for _ in range(_REPEATS))


def _median_s(function: Callable[[], object]) -> float:
    function()
    return median(_seconds(function) for _ in range(_REPEATS))


def _seconds(function: Callable[..., object], *arguments: object) -> float:
    start_s = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start_s
