"""Waiting for what threads do."""

import time
from collections.abc import Callable
from typing import Any


def until(true: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
