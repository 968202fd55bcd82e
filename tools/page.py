"""How long a visitor waits: from the start of ``app.py`` to its page, and from the call to the scores of a clip.

    python -m tools.page --than OTHER

Servers of this project, and of another version of it in a folder, run one after another, in turns, each with data and
uploads of its own. Each clip is 29 s of sound that no server has heard. What a browser takes to draw is not in it.
"""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import click
import httpx
import numpy as np
import soundfile

from tools.serving import ROOT, served, wait_for

DURATION_S, RATE_HZ = 29, 44_100
VISITORS = 8
PATIENCE_S = 120.0
SETTLES_S = 25.0  # what a server does after its start, as scoring the examples, is not what a visitor waits for
FIGURES = ("start to page", "one clip", f"{VISITORS} clips at once")


@click.command(help=__doc__)
@click.option("--than", type=click.Path(path_type=Path, exists=True), help="another version of the project")
@click.option("--runs", default=5, help="servers of each version")
def page(than: Path | None, runs: int) -> None:
    """Measure and print."""
    folders = [ROOT] if than is None else [than.resolve(), ROOT]
    found: dict[Path, list[list[float]]] = {folder: [] for folder in folders}
    for number in range(runs):
        for folder in folders:
            found[folder].append(_measure(folder, number))
    for place, name in enumerate(FIGURES):
        taken = [median(figures[place] for figures in found[folder]) for folder in folders]
        ratio = "" if than is None else f" {taken[1] / taken[0]:5.2f} times the other's {taken[0]:.2f} s"
        print(f"{name:<16} {taken[-1]:6.2f} s{ratio}")


def _measure(folder: Path, number: int) -> list[float]:
    begun_s = time.monotonic()
    with _served(folder) as server:
        started_s = time.monotonic() - begun_s
        time.sleep(SETTLES_S)
        clips = [_upload(server, number * 100 + place) for place in range(VISITORS + 2)]
        _score(server, clips[0])  # the model is there, and has heard one
        one_s = _score(server, clips[1])
        together_s = time.monotonic()
        with ThreadPoolExecutor(VISITORS) as visitors:
            [*visitors.map(lambda clip: _score(server, clip), clips[2:])]
        return [started_s, one_s, time.monotonic() - together_s]


@contextmanager
def _served(folder: Path) -> Iterator[httpx.Client]:
    """Run the server of a folder; give what asks it, once its page is there."""
    with TemporaryDirectory() as data:
        own = {"MUSICEVAL_DATA": data, "GRADIO_TEMP_DIR": data}
        with served(own, folder) as (address, app), httpx.Client(base_url=address, timeout=PATIENCE_S) as server:
            wait_for(address, app)
            yield server


def _upload(server: httpx.Client, seed: int) -> str:
    random, time_s = np.random.default_rng(seed), np.arange(DURATION_S * RATE_HZ) / RATE_HZ
    notes = sum(np.sin(2 * np.pi * hz * time_s) for hz in 110 * 2 ** (random.integers(0, 36, 5) / 12))
    file = io.BytesIO()
    soundfile.write(file, 0.1 * notes + 0.01 * random.standard_normal(time_s.size), RATE_HZ, format="WAV")
    answer = server.post("/gradio_api/upload", files={"files": ("clip.wav", file.getvalue())})
    return str(answer.raise_for_status().json()[0])


def _score(server: httpx.Client, clip: str) -> float:
    """Score an upload; return how many seconds it took."""
    begun_s = time.monotonic()
    data = [{"path": clip, "meta": {"_type": "gradio.FileData"}}, "Calm piano music"]
    called = server.post("/gradio_api/call/score", json={"data": data}).raise_for_status().json()["event_id"]
    said = server.get(f"/gradio_api/call/score/{called}").text
    if "musical_impression" not in said:
        raise click.ClickException(f"There is no score: {said[-200:]}")
    return time.monotonic() - begun_s


if __name__ == "__main__":
    page()
