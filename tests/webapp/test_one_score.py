"""One clip, one score: by page, API, MCP, command line, clip list and Ray; alone or among others."""

import base64
import contextlib
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file

from core.audio import AudioLimits
from core.batch.manifest import read_records, write_records
from core.batch.run import Judging
from core.cli import main
from core.files import Problems
from core.scales import MUSICEVAL, keys
from core.scorer import Scorer
from tests.clips import pluck, write_clip
from tests.webapp.test_guard import FILE, call, handlers
from tests.webapp.test_mcp_tool import call as call_tool

TOLERANCE = 1e-5  # float32

Asked = Sequence[tuple[Path, str]]
Scores = list[list[float]]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """Clips of one, two and three windows at three rates, each with a prompt."""
    folder = tmp_path_factory.mktemp("clips")
    clips = ((0.7, 16_000, "A calm guitar line"), (12.5, 44_100, ""), (23.0, 48_000, "Loud drums, and a choir"))
    return [
        (write_clip(folder / f"clip{number}.wav", pluck(length_s, rate_hz), rate_hz), prompt)
        for number, (length_s, rate_hz, prompt) in enumerate(clips)
    ]


@pytest.fixture(scope="module")
def expected(scorer: Scorer, asked: Asked) -> np.ndarray[Any, Any]:
    """What the scorer says of each clip alone, (clips, scales)."""
    return np.array([_values(scorer.score(path, prompt).to_json()) for path, prompt in asked])


@pytest.fixture(autouse=True)
def _model(random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line scores with the same model as the server."""
    monkeypatch.setenv("MUSICEVAL_MODEL", str(random_checkpoint))
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))


def _values(said: Any) -> list[float]:
    return [math.nan if said[scale] in (None, "") else float(said[scale]) for scale in keys(MUSICEVAL)]


def _clip_list(folder: Path, asked: Asked) -> Path:
    rows = [{"id": n, "file": str(clip), "prompt": prompt} for n, (clip, prompt) in enumerate(asked)]
    write_records(folder / "clips.csv", {"id": str, "file": str, "prompt": str}, rows)
    return folder / "clips.csv"


def by_page(address: str, asked: Asked, _: Path) -> Scores:
    (handler,) = (one for one in handlers(address, "score") if one["api_name"] == "show")
    scores = []
    for clip, prompt in asked:
        files = {"files": (clip.name, clip.read_bytes())}
        (path,) = httpx.post(f"{address}gradio_api/upload", files=files).json()
        said = call(address, handler["id"], [{**FILE, "path": path}, prompt, "judge"])
        (result,) = re.findall(r"data:application/json;base64,([\w+/=]+)", said)
        scores.append(_values(json.loads(base64.b64decode(result))))
    return scores


def by_endpoint(address: str, asked: Asked, _: Path) -> Scores:
    predict = Client(address, verbose=False).predict
    return [_values(predict(clip=handle_file(clip), prompt=prompt, api_name="/score")) for clip, prompt in asked]


def by_tool(address: str, asked: Asked, _: Path) -> Scores:
    data = [(base64.b64encode(clip.read_bytes()).decode(), prompt) for clip, prompt in asked]
    return [_values(call_tool(address, clip=clip, prompt=prompt).structuredContent) for clip, prompt in data]


def by_command(_: str, asked: Asked, __: Path) -> Scores:
    scores = []
    for clip, prompt in asked:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main(["score", str(clip), "--prompt", prompt, "--json"]) == 0
        scores.append(_values(json.loads(printed.getvalue())))
    return scores


def by_several_clips(address: str, asked: Asked, folder: Path) -> Scores:
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        for clip in {clip for clip, _ in asked}:
            archive.write(clip, clip.name)
    given = [handle_file(_clip_list(folder, asked)), [handle_file(folder / "clips.zip")]]
    result = Client(address, verbose=False).predict(*given, api_name="/score_batch")
    return [_values(row) for row in result["rows"]]


def by_manifest(_: str, asked: Asked, folder: Path) -> Scores:
    output = folder / "scores.csv"
    assert main(["score", "--manifest", str(_clip_list(folder, asked)), "-o", str(output)]) == 0
    return [_values(cells) for _, cells in read_records(output, Problems(""))]


WAYS = (by_page, by_endpoint, by_tool, by_command, by_several_clips, by_manifest)
Way = Callable[[str, Asked, Path], Scores]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_way_gives_the_same_score(
    way: Way, address: str, asked: Asked, expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    np.testing.assert_allclose(np.array(way(address, asked, tmp_path)), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("way", [by_several_clips, by_manifest], ids=lambda way: way.__name__)
def test_the_company_does_not_matter(
    way: Way, address: str, asked: Asked, expected: np.ndarray[Any, Any], tmp_path: Path
) -> None:
    """All orders of the clips in one run, and a clip alone."""
    order = [number for numbers in permutations(range(len(asked))) for number in numbers]
    for numbers in (order, [0], [2]):
        folder = tmp_path / f"{len(numbers)} {numbers[0]}"
        folder.mkdir()
        scores = np.array(way(address, [asked[number] for number in numbers], folder))
        np.testing.assert_allclose(scores, expected[numbers], rtol=0, atol=TOLERANCE)


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what Ray itself warns of is not ours
def test_ray_gives_the_same_score(
    asked: Asked, expected: np.ndarray[Any, Any], random_checkpoint: Path, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed (requirements-cluster.txt)")
    from core.batch.ray import Table, score_on_ray

    judging = Judging(random_checkpoint, None, "float32", AudioLimits())
    output = str(tmp_path / "scores.csv")
    score_on_ray(str(_clip_list(tmp_path, asked)), output, judging, "local", use_gpus=False)
    ray.shutdown()
    scores = np.array([_values(cells) for cells in Table.of(output).rows()])
    np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)
