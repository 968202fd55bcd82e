"""Files read a few at a time: in order, and all that is wrong told."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.errors import AudioError, DataError
from core.file_reading import READERS, clip_sha256, in_order, read_all, stop_if_any


def test_in_order_and_not_far_ahead() -> None:
    begun: list[Path] = []
    gate = threading.Event()

    def read(path: Path) -> str:
        begun.append(path)
        gate.wait(5)
        if path.name == "3":
            raise AudioError("3 is no clip.")
        return path.name * 2

    paths = [Path(str(n)) for n in range(8)]
    unreadable: list[str] = []
    results = read_all(read, paths, unreadable)
    threading.Timer(0.05, gate.set).start()
    assert next(results) == (Path("0"), "00")
    assert len(begun) <= READERS + 2
    assert [found for _, found in results] == ["11", "22", "44", "55", "66", "77"]
    assert unreadable == ["3 is no clip."]


def test_never_more_in_flight() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        while taken < 10:
            taken += 1
            yield taken

    with ThreadPoolExecutor(4) as threads:
        for done, result in enumerate(in_order(threads, lambda n: n * n, items(), 3), 1):
            assert result == done * done
            assert taken <= done + 3
    assert taken == 10


def test_another_error_is_not_held_back() -> None:
    def read(path: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_all(read, [Path("a")], []))


def test_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert clip_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(AudioError, match=r'^"b" cannot be opened: No such file or directory\.$'):
        clip_sha256(tmp_path / "b")


def test_all_of_them_are_told() -> None:
    stop_if_any([])
    with pytest.raises(DataError, match=r"^1 clip cannot be read:\n  A$"):
        stop_if_any(["A"])
    with pytest.raises(DataError) as stopped:
        stop_if_any([f"{n} is bad." for n in range(50)])
    assert str(stopped.value).splitlines() == [
        "50 clips cannot be read:",
        *(f"  {n} is bad." for n in range(50)),
    ]
