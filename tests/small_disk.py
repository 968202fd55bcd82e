"""Disks of 8 MB, for tests of full and read-only ones; only some users may mount them."""

import functools
import subprocess
import tempfile
from pathlib import Path

import pytest


def mount_small_disk(folder: Path) -> bool:
    """Mount one over a folder; False where this user may not."""
    mounting = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    return not subprocess.run(mounting, capture_output=True, check=False).returncode


def unmount(folder: Path) -> None:
    """Take it away."""
    subprocess.run(["umount", "-l", str(folder)], check=True)


@functools.cache
def _may_mount() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        may = mount_small_disk(Path(folder))
        if may:
            unmount(Path(folder))
    return may


def leave_out_small_disks(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that need one where none can be had."""
    needing = [item for item in items if "small_disk" in getattr(item, "fixturenames", ())]
    if needing and not _may_mount():
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]
