"""Which device the towers run on, and how precisely."""

from typing import TYPE_CHECKING

from core.errors import TrainingError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "bfloat16")


def pick_device(name: str) -> "torch.device":
    """Give a device of this machine.

    Parameters
    ----------
    name : str
        One of `DEVICES`; ``auto`` is CUDA where there is one, else the CPU; MPS (Apple) must be asked for.

    Raises
    ------
    TrainingError
        This machine has no such device; the message lists those it has.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    known = [device for device, is_there in there.items() if is_there]
    if name != "auto" and name not in known:
        raise TrainingError(f"There is no device {name!r} here. There is {', '.join(known)}; or give auto.")
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    return torch.device(name)
