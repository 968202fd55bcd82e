"""A large tower's audio network on a CPU in bfloat16, run by OpenVINO: faster than torch's autocast.

Measured with the official CLAP on an AMD EPYC with avx512_bf16, seconds of one core for a window: float32
0.37, autocast 0.12, OpenVINO 0.085, of which the matrix products alone take 0.07. Quantised to 8 bits it
was 0.07, with embeddings far from those in float32; a small tower is as fast with autocast.

The network is traced and compiled for one size of batch, in some seconds; a shorter batch is filled up. So
a window's embedding does not depend on what is beside it; on a busy machine OpenVINO may round it another
way from call to call, by 1e-4 of its unit length. A processor without bfloat16 computes in float32.
"""

import sys
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio import WINDOW_SAMPLES
from core.errors import CheckpointError
from core.towers import Tower

_WORTH_IT = 50_000_000  # weights of a tower; compiling a small one saves nothing
_LEAST_COSINE = 0.9995  # to the tower in float32; 0.99997 was measured


class CompiledAudio:
    """``embed_features`` of a tower on the CPU, compiled for batches of one size; threads may share it.

    CheckpointError where what was compiled gives other embeddings than the tower.
    """

    def __init__(self, tower: Tower, batch: int) -> None:
        noise = np.random.default_rng(0).normal(0.0, 0.1, (1, WINDOW_SAMPLES)).astype(np.float32)
        features = tower.features(noise)
        self._batch = batch
        self._network = _compile(tower, features.expand(batch, *features.shape[1:]).contiguous())
        with torch.no_grad():
            cosine = float(functional.cosine_similarity(self(features), tower.embed_features(features)))
        if not cosine >= _LEAST_COSINE:  # also where it is not a number
            raise CheckpointError(
                f"OpenVINO computes other embeddings than this tower (cosine {cosine:.4f}): use float32, "
                "or install requirements.txt again."
            )

    def __call__(self, features: Tensor) -> Tensor:
        """Embed features of at most `batch` windows, to (n, dim)."""
        filled = functional.pad(features, [0, 0] * (features.ndim - 1) + [0, self._batch - len(features)])
        request = self._network.create_infer_request()  # one cannot serve two threads
        return torch.from_numpy(request.infer([filled.numpy()])[0].copy())[: len(features)]


def is_worth_compiling(tower: Tower) -> bool:
    """Whether a tower is on the CPU, and large enough to gain."""
    n_weights = sum(weight.numel() for weight in tower.weights().values())
    return tower.device.type == "cpu" and n_weights > _WORTH_IT


class _AudioNetwork(nn.Module):
    """A tower's ``embed_features`` in the place where tracing looks for it."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, features: Tensor) -> Tensor:
        return self.tower.embed_features(features)


def _compile(tower: Tower, example: Tensor) -> Any:
    # OpenVINO's telemetry reports each import to its makers; None counts as not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that laion-clap's shapes become constants is what is wanted
        network = _AudioNetwork(tower).eval()
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
