"""Networks on a GPU, as far as they can be tried without one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from core.audio import InputPolicy
from core.embeddings import EmbeddingCache
from core.prepared import prepare
from core.towers import Tower
from core.towers.graphed import GraphedAudio, compiled, computing, filled, rounding
from core.windows import Heard
from tests.clips import pluck, write_clip
from tests.towers import random_tower

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tower() -> Tower:
    return random_tower().tower


def test_a_batch_is_filled_up() -> None:
    features = torch.arange(6.0).reshape(3, 2)
    assert filled(features, 3) is features
    assert filled(features, 4).tolist() == [[0, 1], [2, 3], [4, 5], [0, 0]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_what_cannot_be_recorded_is_computed_in_parts(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []

    def compute(features: Tensor) -> Tensor:
        seen.append(len(features))
        return 2 * features

    network = GraphedAudio(compute)
    for n in (3, 1):
        assert network(torch.ones(n, 2)).tolist() == [[2.0, 2.0]] * n
    assert seen[-2:] == [3, 1]
    assert caplog.text.count("launched in parts") == 1


def test_compiled_code_is_of_one_size(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []

    def compile_(function: Callable[[Tensor], Tensor], dynamic: bool) -> Callable[[Tensor], Tensor]:
        assert not dynamic
        return lambda features: seen.append(len(features)) or function(features)  # type: ignore[func-returns-value]

    monkeypatch.setattr(torch, "compile", compile_)
    network = compiled(lambda features: 2 * features, 4)
    assert [len(network(torch.ones(n, 2))) for n in (4, 1)] == [4, 1]
    assert seen == [4, 4]
    assert "takes up to a minute" in caplog.text


def test_precisions() -> None:
    matrix = torch.full((2, 2), 1.001)
    before = torch.backends.cuda.matmul.allow_tf32
    for precision, kind in (("float32", torch.float32), ("tf32", torch.float32), ("bfloat16", torch.bfloat16)):
        with computing(CPU, precision):
            assert (matrix @ matrix).dtype == kind
            assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    with pytest.raises(ZeroDivisionError), rounding("tf32"):
        raise ZeroDivisionError
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_a_batch_that_the_memory_does_not_hold_is_halved(
    tower: Tower, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_clip(tmp_path / "clip.wav", pluck(41.0))  # of five windows
    clip = [Heard.of(None, prepare(path, InputPolicy()), InputPolicy())]
    [(_, expected)] = EmbeddingCache(None, tower, InputPolicy()).stream(clip)
    cache, sizes, whole = EmbeddingCache(None, tower, InputPolicy()), [], EmbeddingCache.embed

    def embed(self: EmbeddingCache, features: Tensor) -> Tensor:
        if len(features) > 2:
            raise torch.OutOfMemoryError
        sizes.append(len(features))
        return whole(self, features)

    monkeypatch.setattr(EmbeddingCache, "embed", embed)
    [(_, rows)] = cache.stream(clip)
    assert torch.allclose(rows, expected, atol=1e-6)  # type: ignore[arg-type]
    assert sizes == [2, 2, 1]
    assert cache.batch == 2
    assert "does not hold 5 windows: 2 go through at once" in caplog.text
