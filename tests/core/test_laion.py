"""laion-clap's networks built with stand-ins, against those built with everything that it imports."""

import importlib
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from core.towers import clap, laion
from core.towers.clap import SPECS, build_clap

REAL = ("h5py", "librosa", "torchlibrosa", "torchvision", "transformers")


def built() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_clap(SPECS["small"]).eval()


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """``clap_module`` as laion-clap imports it."""
    for name in ("core.audio", "core.spectrum", "filters", "util.utils"):
        importlib.import_module(f"librosa.{name}")  # compiled where it is kept, for 13 s
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # put back at the end: laion-clap sets it
    spec = find_spec("laion_clap")
    assert spec
    assert spec.submodule_search_locations
    monkeypatch.syspath_prepend(spec.submodule_search_locations[0])
    yield importlib.import_module("clap_module")
    for name in [name for name in sys.modules if name.partition(".")[0] == "clap_module"]:
        del sys.modules[name]


def test_the_environment_is_left_as_it_was() -> None:
    built()
    assert "NUMBA_CACHE_DIR" not in os.environ


@pytest.mark.filterwarnings("ignore")  # of what is imported
def test_the_network_is_the_same(real: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = built()
    monkeypatch.setattr(clap, "clap_module", lambda name: importlib.import_module(f"clap_module.{name}"))
    theirs = built()
    assert type(theirs).__module__ == "clap_module.model" != type(ours).__module__
    weights, expected = ours.state_dict(), theirs.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[key], expected[key]) for key in weights)  # the fixed kernels among them
    features: Any = torch.randn(2, 1, 1001, 64, generator=torch.Generator().manual_seed(1))
    tokens = torch.randint(0, 1000, (2, 77), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        for network in (
            lambda of: of.audio_branch.bn0(features.transpose(1, 3)),
            lambda of: of.encode_text(tokens, "cpu"),
        ):
            assert torch.equal(network(ours), network(theirs))
        image = [of.audio_branch.reshape_wav2img(features) for of in (ours, theirs)]
        heard = [of.audio_branch.forward_features(x)["embedding"] for of, x in zip((ours, theirs), image, strict=True)]
    assert torch.equal(*heard)


@pytest.mark.filterwarnings("ignore")
def test_nobody_else_finds_a_stand_in(real: ModuleType) -> None:
    built()
    stand_ins = [*map(id, laion._STAND_INS.values())]
    assert not [name for name, module in sys.modules.items() if id(module) in stand_ins]
    for name in REAL:
        assert Path(str(importlib.import_module(name).__file__)).is_file()
    assert real.model.RobertaModel is importlib.import_module("transformers").RobertaModel
    assert importlib.import_module("torchlibrosa.stft").librosa is importlib.import_module("librosa")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("rate_hz", "n_mels", "lowest_hz"), [(48_000, 64, 50), (22_050, 128, 0)])
def test_mel_filters_are_librosas(rate_hz: int, n_mels: int, lowest_hz: int) -> None:
    import librosa

    asked = {"sr": rate_hz, "n_fft": 1024, "n_mels": n_mels, "fmin": lowest_hz, "fmax": rate_hz // 2 - 1000}
    np.testing.assert_allclose(laion.mel_filters(**asked), librosa.filters.mel(**asked), rtol=0, atol=1e-8)
