"""The official tower's audio network on a CPU in bfloat16, run by OpenVINO: faster than torch's autocast.

Measured on an AMD EPYC with avx512_bf16, seconds of one core for a window: float32 0.37, autocast 0.12,
OpenVINO 0.085, of which the matrix products alone take 0.07. Quantised to 8 bits it was 0.07, with embeddings
far from those in float32; a small tower is as fast with autocast.

The network is traced and compiled for one size of batch, in some seconds; a shorter batch is filled up. So a
window's embedding has the same bits whatever is beside it. A processor without bfloat16 computes in float32.
"""

import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio import WINDOW_SAMPLES
from core.clap import ClapTower, embed_log_mel
from core.errors import CheckpointError

_WORTH_IT = 20_000_000  # weights of an audio network; compiling a small one saves nothing
_LEAST_COSINE = 0.9995  # to the tower in float32; 0.99997 was measured


class CompiledAudio:
    """A tower's ``embed_log_mel``, compiled; several threads may call it.

    Parameters
    ----------
    tower : ClapTower
        On the CPU, in eval mode. Its weights are copied.
    batch : int
        Windows that go through the network at once.

    Raises
    ------
    CheckpointError
        What was compiled gives other embeddings than the tower.
    """

    def __init__(self, tower: ClapTower, batch: int) -> None:
        noise = np.random.default_rng(0).normal(0.0, 0.1, (1, WINDOW_SAMPLES)).astype(np.float32)
        example = tower.log_mel(noise).expand(batch, -1, -1, -1).contiguous()
        self._batch = batch
        self._network = _compile(tower, example)
        with torch.no_grad():
            cosine = float(functional.cosine_similarity(self(example[:1]), tower.embed_log_mel(example[:1])))
        if not cosine >= _LEAST_COSINE:  # also where it is not a number
            raise CheckpointError(
                f"OpenVINO computes other embeddings than this tower (cosine {cosine:.4f}): use float32, "
                "or install requirements.txt again."
            )

    def __call__(self, log_mel: Tensor) -> Tensor:
        """Embed spectrograms, (n, 1, 1001, 64) of at most `batch` windows, to (n, dim) of unit length."""
        filled = functional.pad(log_mel, (0, 0, 0, 0, 0, 0, 0, self._batch - len(log_mel)))
        request = self._network.create_infer_request()  # one cannot serve two threads
        return torch.from_numpy(request.infer([filled.numpy()])[0].copy())[: len(log_mel)]


def is_worth_compiling(tower: ClapTower) -> bool:
    """Whether a tower is on the CPU, and large enough to gain."""
    n_weights = sum(weight.numel() for weight in tower.clap.audio_branch.parameters())
    return tower.device.type == "cpu" and n_weights > _WORTH_IT


def _compile(tower: ClapTower, example: Tensor) -> Any:
    openvino = _import_openvino()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that laion-clap's shapes become constants is what is wanted
        network = _AudioNetwork(tower.clap).eval()
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        shape = openvino.PartialShape(list(example.shape))
        model = openvino.convert_model(traced, example_input=example, input=[shape])
    core = openvino.Core()
    has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    return core.compile_model(model, "CPU", hints)


def _import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports each import to its makers unless told not to."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # counts as not installed
    import openvino

    return openvino


class _AudioNetwork(nn.Module):
    """The part of a CLAP that hears."""

    def __init__(self, clap: Any) -> None:
        super().__init__()
        self.audio_branch, self.audio_projection = clap.audio_branch, clap.audio_projection

    def forward(self, log_mel: Tensor) -> Tensor:
        return embed_log_mel(self, log_mel)
