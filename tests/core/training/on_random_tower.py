"""`python -m core` whose training starts from the small random tower, and saves its state after each batch.

Whole processes of it train in seconds, and can be killed in the midst of training.
"""

import dataclasses
import sys
from collections.abc import Sequence
from unittest import mock

import core.training.run  # the command imports it late; a process that is forked finds it imported
from core.cli import main
from core.towers import StartingTower
from core.towers.laion import clap_module
from core.training.recipe import RECIPES
from tests.towers import random_tower

for name in ("model", "htsat", "tokenizer"):
    clap_module(name)


def start(_: str) -> StartingTower:
    return random_tower()


def run(arguments: Sequence[str] | None = None) -> None:
    with (
        mock.patch("core.training.material.load_tower", start),
        mock.patch.object(core.training.run, "SAVE_EVERY_S", 0.0),
        mock.patch("core.evaluation.RESAMPLES", 20),
        mock.patch("core.training.baselines.RECIPES", {"frozen": dataclasses.replace(RECIPES["frozen"], epochs=10)}),
    ):
        sys.exit(main(arguments))


if __name__ == "__main__":
    run()
