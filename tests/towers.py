"""A tower for tests: a CLAP of laion-clap's classes at a small size, with random weights."""

import copy
import functools

import torch

from core.audio import InputPolicy
from core.towers import StartingTower, tower_sha256
from core.towers.clap import ClapTower

CAVEAT = "its towers learned nothing"


def random_tower() -> StartingTower:
    """Return a tower to start from; each call gives one of its own, all alike."""
    tokenizer = _tower().tower._tokenizer  # a third of a second to copy, and never changed
    return copy.deepcopy(_tower(), {id(tokenizer): tokenizer})


@functools.cache
def _tower() -> StartingTower:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tower = ClapTower.build("small").eval().requires_grad_(False)
    return StartingTower("small", tower, InputPolicy(), tower_sha256(tower), CAVEAT)
