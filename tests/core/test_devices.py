"""Devices by name."""

import subprocess
import sys

import pytest
import torch

from core.devices import pick_device
from core.errors import TrainingError


def test_the_best_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(
        TrainingError, match=r"^There is no device 'cuda' here\. There is cpu; or give auto\.$"
    ):
        pick_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("mps") == torch.device("mps")


def test_a_tower_convolves_in_float32_everywhere() -> None:
    """Whatever torch's default is; a process of its own, since another test may have imported it."""
    code = "import torch, core.clap; print(torch.backends.cudnn.allow_tf32)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
