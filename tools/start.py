"""How long a command takes to begin: one clip scored by a process of its own, beside ``import torch``, in turns.

    python -m tools.start webapp/examples/far-too-loud.flac

Each figure is the median of the runs: seconds, seconds of a core, and the most memory that was held. The ratio is
that of the seconds of a core, which a busy machine changes least.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import click

COMMANDS = {
    "import torch": ["-c", "import torch"],
    "core --help": ["-m", "core", "--help"],
    "core score CLIP": ["-m", "core", "score", "CLIP", "--prompt", "calm piano music"],
}


@click.command(help=__doc__)
@click.argument("clip", type=Path)
@click.option("--runs", default=5, help="of each command")
def start(clip: Path, runs: int) -> None:
    """Measure and print."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, arguments in COMMANDS.items():
            found[name].append(_measure([str(clip) if word == "CLIP" else word for word in arguments]))
    first = next(iter(found))
    for name, taken in found.items():
        wall_s, core_s, megabytes = (median(figures) for figures in zip(*taken, strict=True))
        ratio = core_s / median(of for _, of, _ in found[first])
        print(f"{name:<16} {wall_s:6.2f} s {core_s:6.2f} s of a core {megabytes:6.0f} MB {ratio:5.2f} times {first}")


def _measure(arguments: list[str]) -> tuple[float, float, float]:
    begun_s = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall_s, process.returncode = time.monotonic() - begun_s, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(arguments)} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # as getrusage(2) counts
    return wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6


if __name__ == "__main__":
    start()
