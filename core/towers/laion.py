"""laion-clap's modules, without what they import and never use here.

As they stand they import torchvision, transformers, h5py and librosa, and with these numba, scikit-learn and
``torch._dynamo``: seven seconds of a core, to build a network. Here each module is executed under a name of our own,
with an import statement that gives it a stand-in for these four. Of librosa the two functions stand here that
torchlibrosa, which is executed alike, calls when a network is built; all else that is asked of a stand-in is an
error. Nothing of this can be found by others: whoever imports one of the four, or laion-clap, gets the real one.
"""

import builtins
import functools
import importlib.util
import math
import os
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import CheckpointError

_OURS = "musiceval_"  # before the names of the packages
_FOLDERS = {"clap_module": ("laion_clap", "clap_module"), "torchlibrosa": ("torchlibrosa", "")}
_CACHE = "NUMBA_CACHE_DIR"  # of compiled code; laion-clap sets it to /tmp/, where others may write
_MISSING = ("timm",)  # which laion-clap can do without
_LEAST_LOG_HZ, _LINEAR_HZ = 1000.0, 200.0 / 3  # of Slaney's mel scale, which is linear up to there
_LOG_STEP = math.log(6.4) / 27


@functools.cache
def clap_module(name: str) -> ModuleType:
    """Return ``laion_clap.clap_module.<name>``; CheckpointError where laion-clap is not installed."""
    return _module("clap_module", name)


@functools.cache
def _module(package: str, name: str) -> ModuleType:
    distribution, folder = _FOLDERS[package]
    found = importlib.util.find_spec(distribution)  # imports nothing: laion_clap itself would download
    if found is None or not found.submodule_search_locations:
        raise CheckpointError("laion-clap is not installed: install requirements.txt.")
    path = Path(next(iter(found.submodule_search_locations))) / folder / f"{name}.py"
    loader = _Loader(f"{_OURS}{package}.{name}", str(path))
    module = importlib.util.module_from_spec(ModuleSpec(loader.name, loader, origin=loader.path))
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


class _Loader(SourceFileLoader):
    """Executes a module whose import statements are ours."""

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        module.__file__ = self.path
        own = os.environ.get(_CACHE)
        super().exec_module(module)
        if own is None:
            os.environ.pop(_CACHE, None)
        else:
            os.environ[_CACHE] = own


def _import(name: str, within: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
    """Import as `builtins.__import__` does, but for the stand-ins and the two packages."""
    package, _, inner = name.partition(".")
    if level:
        return _module("clap_module", name)
    if package in _FOLDERS and inner:
        return _module(package, inner)
    if package in _MISSING:
        raise ImportError(f"{package} is not needed")
    return _STAND_INS[name] if name in _STAND_INS else builtins.__import__(name, within, local, names, level)


def mel_filters(sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float) -> NDArray[np.float32]:
    """Return triangular filters of equal area on Slaney's mel scale, (n_mels, n_fft // 2 + 1), as librosa's are."""
    low, high = (_to_mels(hertz) for hertz in (fmin, fmax))
    edges = np.array([_to_hertz(mels) for mels in np.linspace(low, high, n_mels + 2)])
    ramps = np.subtract.outer(edges, np.fft.rfftfreq(n_fft, 1 / sr))
    widths = np.diff(edges)[:, None]
    filters = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1], ramps[2:] / widths[1:])).astype(np.float32)
    return (filters * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)  # type: ignore[no-any-return]


def _to_mels(hertz: float) -> float:
    if hertz < _LEAST_LOG_HZ:
        return hertz / _LINEAR_HZ
    return _LEAST_LOG_HZ / _LINEAR_HZ + math.log(hertz / _LEAST_LOG_HZ) / _LOG_STEP


def _to_hertz(mels: float) -> float:
    beyond = mels - _LEAST_LOG_HZ / _LINEAR_HZ
    return mels * _LINEAR_HZ if beyond < 0 else _LEAST_LOG_HZ * math.exp(_LOG_STEP * beyond)


def _hann(_: str, n: int, **__: bool) -> NDArray[np.float64]:
    return 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n + 1)[:-1])  # type: ignore[no-any-return]


_STAND_INS = {
    "h5py": SimpleNamespace(),
    "librosa": SimpleNamespace(
        filters=SimpleNamespace(get_window=_hann, mel=mel_filters),
        util=SimpleNamespace(pad_center=lambda window, **_: window),  # windows are as long as a transform
    ),
    "torchvision.ops.misc": SimpleNamespace(FrozenBatchNorm2d=None),
    "transformers": SimpleNamespace(BertModel=None, BartModel=None, RobertaModel=None),
    "transformers.tokenization_utils_base": SimpleNamespace(BatchEncoding=None),
}
