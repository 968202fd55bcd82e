import os

import pytest

from core.demo import cores


def test_results_come_in_order_from_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "TASKS_WORTH_A_PROCESS", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert list(cores.on_all_cores(str, list(range(20)), "counting")) == [str(n) for n in range(20)]


def test_a_few_tasks_are_done_here() -> None:
    assert list(cores.on_all_cores(lambda n: n * n, [1, 2, 3], "squaring")) == [1, 4, 9]
