"""One clip, one score: by page, API, MCP, command line, manifest, batch and Ray; alone or among others."""

import base64
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file

from core.__main__ import main
from core.audio import AudioLimits
from core.many.records import read_records, write_records
from core.many.rows import Judging
from core.scales import SCALES
from core.scorer import Scorer
from core.tables import Problems
from tests.clips import pluck, write_clip
from tests.webapp.test_guard import FILE, call, handlers
from tests.webapp.test_mcp_tool import call as call_tool

TOLERANCE = 1e-5  # float32
RATES_HZ = (16_000, 44_100, 48_000)
PROMPTS = ("A calm guitar line", "", "Loud drums, and a choir")

Asked = Sequence[tuple[Path, str]]
Scores = list[tuple[float, ...]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Clips of one, two and three windows at three rates, each with a prompt."""
    folder = tmp_path_factory.mktemp("clips")
    lengths_s = (0.7, 12.5, 23.0)
    return [
        (write_clip(folder / f"clip{number}.wav", pluck(length_s, rate_hz), rate_hz), prompt)
        for number, (length_s, rate_hz, prompt) in enumerate(zip(lengths_s, RATES_HZ, PROMPTS, strict=True))
    ]


@pytest.fixture(scope="module")
def expected(scorer: Scorer, asked: Asked) -> np.ndarray[Any, Any]:
    """What the scorer says of each clip alone, (clips, scales)."""
    return np.array([_pair(scorer.score(path, prompt).to_json()) for path, prompt in asked])


@pytest.fixture(autouse=True)
def _model(random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line scores with the same model as the server."""
    monkeypatch.setenv("MUSICEVAL_MODEL", str(random_checkpoint))
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))


def _pair(said: Any) -> tuple[float, ...]:
    return tuple(said[scale] for scale in SCALES)


def _table(path: Path) -> Scores:
    return [
        _pair({scale: float(cells[scale]) for scale in SCALES})
        for _, cells in read_records(path, Problems(""))
    ]


def _manifest(folder: Path, asked: Asked) -> Path:
    path = folder / "clips.csv"
    rows = [{"id": n, "file": str(clip), "prompt": prompt} for n, (clip, prompt) in enumerate(asked)]
    write_records(path, {"id": str, "file": str, "prompt": str}, rows)
    return path


def by_page(address: str, asked: Asked, _: Path) -> Scores:
    (handler,) = (one for one in handlers(address, "score") if one["api_name"] == "show")
    scores = []
    for clip, prompt in asked:
        (path,) = httpx.post(
            f"{address}gradio_api/upload", files={"files": (clip.name, clip.read_bytes())}
        ).json()
        said = call(address, handler["id"], [{**FILE, "path": path}, prompt, "judge"])
        (result,) = re.findall(r"data:application/json;base64,([\w+/=]+)", said)
        scores.append(_pair(json.loads(base64.b64decode(result))))
    return scores


def by_endpoint(address: str, asked: Asked, _: Path) -> Scores:
    client = Client(address, verbose=False)
    return [
        _pair(client.predict(clip=handle_file(clip), prompt=prompt, api_name="/score"))
        for clip, prompt in asked
    ]


def by_tool(address: str, asked: Asked, _: Path) -> Scores:
    return [
        _pair(
            call_tool(
                address, clip=base64.b64encode(clip.read_bytes()).decode(), prompt=prompt
            ).structuredContent
        )
        for clip, prompt in asked
    ]


def by_batch(address: str, asked: Asked, folder: Path) -> Scores:
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        for clip in {clip for clip, _ in asked}:
            archive.write(clip, clip.name)
    client = Client(address, verbose=False)
    given = [handle_file(_manifest(folder, asked)), [handle_file(folder / "clips.zip")]]
    return [_pair(row) for row in client.predict(*given, api_name="/score_batch")["rows"]]


def by_manifest(_: str, asked: Asked, folder: Path) -> Scores:
    assert main(["score", "--manifest", str(_manifest(folder, asked)), "-o", str(folder / "scores.csv")]) == 0
    return _table(folder / "scores.csv")


WAYS: tuple[Callable[[str, Asked, Path], Scores], ...] = (
    by_page,
    by_endpoint,
    by_tool,
    by_batch,
    by_manifest,
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_gives_the_same_score(
    way: Callable[[str, Asked, Path], Scores],
    address: str,
    asked: Asked,
    expected: np.ndarray[Any, Any],
    tmp_path: Path,
) -> None:
    assert np.abs(np.array(way(address, asked, tmp_path)) - expected).max() < TOLERANCE


def test_the_command_line_gives_the_same_score(
    asked: Asked, expected: np.ndarray[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = []
    for clip, prompt in asked:
        assert main(["score", str(clip), "--prompt", prompt, "--json"]) == 0
        scores.append(_pair(json.loads(capsys.readouterr().out)))
    assert np.abs(np.array(scores) - expected).max() < TOLERANCE


@pytest.mark.parametrize("way", [by_batch, by_manifest], ids=lambda way: way.__name__)
def test_the_company_does_not_matter(
    way: Callable[[str, Asked, Path], Scores],
    address: str,
    asked: Asked,
    expected: np.ndarray[Any, Any],
    tmp_path: Path,
) -> None:
    """All orders of the clips in one run, and each clip alone."""
    order = [number for numbers in permutations(range(len(asked))) for number in numbers]
    scores = np.array(way(address, [asked[number] for number in order], tmp_path))
    assert np.abs(scores - expected[order]).max() < TOLERANCE
    for number, one in enumerate(asked):
        (tmp_path / f"{number}").mkdir()
        assert (
            np.abs(np.array(way(address, [one], tmp_path / f"{number}")) - expected[number]).max() < TOLERANCE
        )


@pytest.fixture
def ray() -> Iterator[Any]:
    one = pytest.importorskip("ray", reason="Ray is not installed (requirements-cluster.txt)")
    yield one
    one.shutdown()


@pytest.mark.cluster
@pytest.mark.slow  # `tests.core.many.test_on_ray` compares a cluster with one machine in every run
@pytest.mark.filterwarnings("ignore")  # what Ray itself warns of is not ours
def test_ray_gives_the_same_score(
    ray: Any, asked: Asked, expected: np.ndarray[Any, Any], random_checkpoint: Path, tmp_path: Path
) -> None:
    from core.many.on_ray import score_on_ray
    from core.many.places import Place

    judging = Judging(random_checkpoint, None, "float32", AudioLimits())
    output = str(tmp_path / "scores.csv")
    score_on_ray(str(_manifest(tmp_path, asked)), output, judging, "local", use_gpus=False)
    scores = [_pair({scale: float(cells[scale]) for scale in SCALES}) for cells in Place.of(output).rows()]
    assert np.abs(np.array(scores) - expected).max() < TOLERANCE
