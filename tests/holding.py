"""Another process that holds the database."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDS = """
import fcntl, sqlite3, sys
if sys.argv[2] == "the queue":
    held = open(sys.argv[1] + "-queue", "wb")
    fcntl.flock(held, fcntl.LOCK_EX)
else:
    held = sqlite3.connect(sys.argv[1])
    held.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def held_by_another(file: Path, how: str) -> Iterator[None]:
    """Have another process hold the lock, as a suspended command does, or a program that does not queue."""
    call = [sys.executable, "-c", HOLDS, str(file), how]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield
        process.communicate()
