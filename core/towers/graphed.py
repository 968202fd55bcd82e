"""A tower's network on a GPU.

Launching its parts one by one takes 11 ms for any number of windows, longer than the GPU computes a few. So they are
recorded once for each size of batch, in half a second, and launched together (CUDA graphs). A shorter batch is filled
up to the next power of two. Compiled code (`torch.compile`) takes half a minute to make, once on a machine, and only
long runs make up for it.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

_WARM_UPS = 2  # in which libraries choose how to compute

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Compute at a precision of `core.settings.PRECISIONS`; where there is no GPU, tf32 is float32."""
    with rounding(precision), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


@contextlib.contextmanager
def rounding(precision: str) -> Iterator[None]:
    """Have a GPU round what it multiplies where the precision is tf32, in gradients too."""
    backends: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = precision == "tf32"
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


@dataclass(frozen=True)
class _Graph:
    given: Tensor
    result: Tensor
    graph: torch.cuda.CUDAGraph


class GraphedAudio:
    """What is computed of features, recorded for batches; threads may share it."""

    def __init__(self, compute: Callable[[Tensor], Tensor]) -> None:
        self._compute = compute
        self._graphs: dict[int, _Graph] = {}
        self._is_recorded = True
        self._lock = threading.Lock()

    def __call__(self, features: Tensor) -> Tensor:
        """Compute."""
        size = 1 << (len(features) - 1).bit_length()
        with self._lock:
            if self._is_recorded and size not in self._graphs:
                self._graphs |= self._record(filled(features, size))
            if not self._is_recorded:
                return self._compute(features)
            graph = self._graphs[size]
            graph.given[: len(features)].copy_(features)
            graph.graph.replay()
            return graph.result[: len(features)].clone()

    def _record(self, given: Tensor) -> dict[int, _Graph]:
        """Record; where something cannot be recorded nothing is."""
        given = given.clone()
        try:
            graph, beside = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(_WARM_UPS):
                    self._compute(given)
            torch.cuda.current_stream().wait_stream(beside)
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                result = self._compute(given)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            logger.warning("The network is launched in parts, which is slower: %s", str(error).splitlines()[0])
            self._is_recorded = False
            return {}
        return {len(given): _Graph(given, result, graph)}


def filled(features: Tensor, size: int) -> Tensor:
    """Return features, batch first, filled up to a size of batch."""
    missing = size - len(features)
    return functional.pad(features, [0, 0] * (features.ndim - 1) + [0, missing]) if missing > 0 else features


def compiled(compute: Callable[[Tensor], Tensor], batch: int) -> Callable[[Tensor], Tensor]:
    """Compile what is computed of features, for batches of one size."""
    logger.warning("The network is compiled for this GPU, which takes up to a minute the first time.")
    network = torch.compile(compute, dynamic=False)
    return lambda features: network(filled(features, batch))[: len(features)]
