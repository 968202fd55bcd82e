"""Devices by name."""

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
    assert pick_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("mps") == torch.device("mps")
    assert not torch.backends.cudnn.allow_tf32
