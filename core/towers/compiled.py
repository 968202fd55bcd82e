"""A tower's audio network on a CPU, run by OpenVINO where that is faster than torch (`Tower.compiled`).

Measured with the official CLAP on an AMD EPYC with avx512_bf16, seconds of one core for a window: float32
0.37, autocast 0.12, OpenVINO 0.085, of which the matrix products alone take 0.07. Quantised to 8 bits it
was 0.07, with embeddings far from those in float32. The ears take six tenths of the time of torch.

The network is traced and compiled for one window, in some seconds, so a window's embedding does not depend on
what is beside it; on a busy machine OpenVINO may round it another way from call to call, by 1e-4 of its unit
length. All threads compute one window, which is soonest there, or each its own: then none waits for another,
and many windows take 0.93 of the time, beside a busy process 0.6. A processor without bfloat16 computes in
float32.
"""

import contextlib
import ctypes
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

_LEAST_COSINE = 0.9995  # to the tower in float32; 0.99997 was measured


class CompiledAudio:
    """A tower's audio network on the CPU, compiled for so many windows at once; threads may share it.

    It computes what `heard` does. CheckpointError where what was compiled gives other numbers than the tower.
    """

    def __init__(self, tower: Tower, with_frames: bool = False, precision: str = "bfloat16", at_once: int = 1) -> None:
        noise = np.random.default_rng(0).normal(0.0, 0.1, (1, WINDOW_SAMPLES)).astype(np.float32)
        features = tower.features(noise)
        network = _AudioNetwork(tower, with_frames).eval()
        self._at_once, self._network = at_once, _compile(network, features.contiguous(), precision, at_once)
        cosine = float(functional.cosine_similarity(self(features), network.computed))
        if not cosine >= _LEAST_COSINE:  # also where it is not a number
            raise CheckpointError(
                f"OpenVINO computes other embeddings than this tower (cosine {cosine:.4f}): use float32, "
                "or install requirements.txt again."
            )

    def __call__(self, features: Tensor) -> Tensor:
        """Embed features."""
        # Without a callback: its thread would wait for the interpreter, held by whoever lets go of the network.
        windows = [window.numpy() for window in torch.split(features, 1)]
        requests = [self._network.create_infer_request() for _ in windows[: self._at_once]]
        rows = []
        for place, window in enumerate(windows):
            request = requests[place % len(requests)]
            if place >= len(requests):
                rows.append(_waited(request))
            request.start_async([window])
        rows += [_waited(requests[place % len(requests)]) for place in range(len(rows), len(windows))]
        return torch.cat(rows)


def _waited(request: Any) -> Tensor:
    """What a request computed, once it has."""
    request.wait()
    return torch.from_numpy(request.get_output_tensor().data.copy())


def heard(tower: Tower, features: Tensor, with_frames: bool) -> Tensor:
    """Return windows' embeddings, (n, dim), followed by all that is in their frames where asked for."""
    if not with_frames:
        return tower.embed_features(features)
    embedding, frames = tower.hear(features)
    return torch.cat([embedding, frames.flatten(start_dim=1)], dim=1)


class _AudioNetwork(nn.Module):
    """`heard` in the place where tracing looks for it; keeps what it computed."""

    computed: Tensor

    def __init__(self, tower: Tower, with_frames: bool) -> None:
        super().__init__()
        self.tower, self.with_frames = tower, with_frames

    def forward(self, features: Tensor) -> Tensor:
        self.computed = heard(self.tower, features, self.with_frames)
        return self.computed


def _compile(network: nn.Module, example: Tensor, precision: str, at_once: int) -> Any:
    # OpenVINO's telemetry reports each import to its makers; None counts as not installed.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    model, core = _traced(network, example), openvino.Core()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it, and keeps 60 MB of what tracing freed
        ctypes.CDLL(None).malloc_trim(0)
    has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if has_bfloat16 and precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": at_once,
    }
    return core.compile_model(model, "CPU", hints)


def _traced(network: nn.Module, example: Tensor) -> Any:
    """The network as OpenVINO has it; openvino.convert_model does the same in a second more."""
    from openvino import PartialShape
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that laion-clap's shapes become constants is what is wanted
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        frontend = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=(example,))  # has to outlive the conversion
        model = frontend.convert(frontend.load(decoder))
        model.reshape(PartialShape(list(example.shape)))
    return model
