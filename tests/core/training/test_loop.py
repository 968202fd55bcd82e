"""The loop: every clip once an epoch, the same step in any portions, going on after a stop, two processes."""

import dataclasses
import gc
import math
import multiprocessing
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import PartialState
from torch import Tensor

from core.audio import InputPolicy
from core.embeddings import EmbeddingCache, embed_clips
from core.errors import TrainingError
from core.heads import EmbeddedClips
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL
from core.training.examples import Chunk, EmbeddedExamples, HeadsAlone, SoundExamples, WholeJudge
from core.training.loop import Fit, fit_heads
from core.training.objective import Target, new_heads
from core.training.recipe import RECIPES, Recipe
from tests.clips import pluck, write_clip
from tests.rated import write_rated
from tests.towers import random_tower

DIM, CLIPS = 8, 20
RECIPE = dataclasses.replace(RECIPES["frozen"], batch_size=6, epochs=3)
TRAIN, DEV = range(2, 17), range(17, 20)
CPU = torch.device("cpu")


def embedded() -> tuple[EmbeddedClips, Tensor]:
    """Clips of one to three windows, whose scores follow from their sound."""
    random = torch.Generator().manual_seed(0)
    counts = torch.arange(CLIPS) % 3 + 1
    audio = torch.nn.functional.normalize(torch.randn(int(counts.sum()), DIM, generator=random), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(CLIPS, DIM, generator=random), dim=-1)
    owner = torch.repeat_interleave(counts)
    first = audio[counts.cumsum(0) - counts]
    mos = 3 + torch.stack([first[:, 0], (first * text).sum(dim=1)], dim=1)
    return EmbeddedClips(audio, owner, text), mos


class WindowByWindow:
    """Passes clips on one at a time, in pieces of a window."""

    def __init__(self) -> None:
        self.clips = embedded()[0]
        self.most = 0

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        for row in rows:
            windows = self.clips.audio[self.clips.owner == row]
            text = self.clips.text[[row]]
            owner = torch.zeros(1, dtype=torch.int64)
            pieces = [((EmbeddedClips(one[None], owner, text),), 1 / len(windows)) for one in windows]
            self.most = max(self.most, len(pieces))
            yield Chunk([row], pieces)


class InPortions:
    """Passes clips on a few at a time, and keeps a record."""

    def __init__(self, size: int) -> None:
        self.examples, self.size = EmbeddedExamples(embedded()[0], CPU), size
        self.seen: list[int] = []

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        self.seen += rows
        for start in range(0, len(rows), self.size):
            yield from self.examples.chunks(rows[start : start + self.size])


def new_fit(recipe: Recipe = RECIPE, dev: Sequence[int] = DEV, examples: Any = None, mos: Tensor | None = None) -> Fit:
    clips, scores = embedded()
    scores = scores if mos is None else mos
    examples = examples or EmbeddedExamples(clips, CPU)
    target = Target(MUSICEVAL, scores, TRAIN, dev)
    judge = HeadsAlone(new_heads(DIM, target, 5, recipe))
    return Fit(Accelerator(cpu=True), judge, examples, target, recipe, seed=5)


def fitted(**options: Any) -> Fit:
    fit = new_fit(**options)
    fit.run()
    return fit


def weights(fit: Fit) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in fit.judge.named_parameters()}


def log(fit: Fit) -> list[dict[str, float]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in fit.state.log]


def only_inputs(chunks: Iterator[Chunk]) -> tuple[Any, ...]:
    """What the judge is called with, where that is once."""
    (chunk,) = chunks
    ((inputs, share),) = chunk.pieces
    assert share == 1
    return inputs


def farthest(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_heads_are_fitted_alone_inside_a_run_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    Accelerator(cpu=True)
    monkeypatch.setitem(PartialState._shared_state, "device", torch.device("cuda"))  # what all accelerators share
    clips, mos = embedded()
    heads = fit_heads(clips, Target(MUSICEVAL, mos, TRAIN, DEV), RECIPE, seed=0)
    assert {weight.device.type for weight in heads.parameters()} == {"cpu"}


def test_each_epoch_takes_every_clip_once_in_another_order() -> None:
    examples = InPortions(100)
    fit = fitted(recipe=dataclasses.replace(RECIPE, epochs=2), dev=[], examples=examples)
    first, second = examples.seen[: len(TRAIN)], examples.seen[len(TRAIN) :]
    assert sorted(first) == sorted(second) == list(TRAIN)
    assert first != second
    assert [row["epoch"] for row in fit.state.log] == [1, 2]


def synthetic(n: int, dim: int) -> tuple[EmbeddedClips, Tensor]:
    """Clips on a cone, as CLAP's are, whose scores follow from a few of their directions, and noise."""
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    centre, traits, wishes = 2 * draw(dim), draw(n, 8), draw(n, 8)
    audio, text = (centre + of @ draw(8, dim) / 2 + draw(n, dim) / 3 for of in (traits, wishes))
    heard = torch.stack([traits[:, 0] + traits[:, 1], traits[:, 2] + wishes[:, 0]], dim=1)
    mos = (3 + 0.57 * heard + 0.3 * draw(n, 2)).clamp(1, 5)
    audio, text = (torch.nn.functional.normalize(of, dim=-1) for of in (audio, text))
    return EmbeddedClips(audio, torch.arange(n), text), mos


@pytest.mark.parametrize("name", ["paper", "released"])
def test_the_papers_recipe_learns_at_its_own_figures(name: str) -> None:
    """The heads alone, on 400 clips: patience does not end it before it beats every constant."""
    clips, mos = synthetic(400, 128)
    train, dev = range(340), range(340, 400)
    recipe, target = RECIPES[name], Target(MUSICEVAL, mos, train, dev)
    judge = HeadsAlone(new_heads(128, target, 1, recipe))
    fit = Fit(Accelerator(cpu=True), judge, EmbeddedExamples(clips, CPU), target, recipe, 1)
    constant = float((mos[340:] - mos[:340].median(dim=0).values).abs().mean())
    fit.run(lambda _: fit.state.best_dev < 0.9 * constant)
    assert fit.state.best_dev < 0.9 * constant
    assert not fit.state.is_over


def test_errors_fall_and_the_log_says_so() -> None:
    fit = fitted(recipe=dataclasses.replace(RECIPE, epochs=40, weight_decay=0.0))
    first, last = fit.state.log[0], fit.state.log[-1]
    assert last["train_l1"] < 0.5 * first["train_l1"]
    by_scale = (last["dev_l1_musical_impression"], last["dev_l1_textual_alignment"])
    assert last["dev_l1"] == pytest.approx(sum(by_scale) / 2)
    assert first["learning_rate"] == pytest.approx(1e-3, rel=0.01)
    assert last["learning_rate"] < 1e-5  # a cosine down to nothing


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_portions_make_no_difference(optimizer: str) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, momentum=0.9, weight_decay=0.01)
    whole, parts = fitted(recipe=recipe), fitted(recipe=recipe, examples=InPortions(1))
    assert farthest(weights(whole), weights(parts)) < 5e-5
    assert farthest(weights(whole), weights(new_fit())) > 1e-4


def test_a_clip_in_pieces_makes_no_difference() -> None:
    """The gradient is that of the clip's mean, though no two of its windows are in memory together."""
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", momentum=0.9, weight_decay=0.01)
    examples = WindowByWindow()
    whole, pieces = fitted(recipe=recipe), fitted(recipe=recipe, examples=examples)
    assert examples.most == 3
    assert farthest(weights(whole), weights(pieces)) < 1e-5
    assert farthest(weights(whole), weights(new_fit())) > 1e-4
    for one, other in zip(log(whole), log(pieces), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_one_step_is_a_step_of_the_scales_summed_error() -> None:
    """As in the released code; averaged over scales it would be half as steep."""
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", batch_size=100, epochs=1, schedule="constant")
    fit = fitted(recipe=recipe, dev=[], examples=InPortions(4))
    clips, mos = embedded()
    heads = new_heads(DIM, Target(MUSICEVAL, mos, TRAIN, []), 5, recipe)
    rows = list(TRAIN)
    inputs = only_inputs(EmbeddedExamples(clips, CPU).chunks(rows))
    (HeadsAlone(heads)(*inputs)[:, 0, :, 0] - mos[rows]).abs().mean(dim=0).sum().backward()  # type: ignore[no-untyped-call]
    for name, weight in heads.named_parameters():
        gradient = weight.grad
        assert gradient is not None
        expected = weight - recipe.learning_rate * (gradient + recipe.weight_decay * weight)
        torch.testing.assert_close(weights(fit)[f"heads.{name}"], expected)


@pytest.mark.parametrize("stop_at", [1, 3, 4, 8])
def test_a_fit_that_is_stopped_goes_on_to_the_same_bits(stop_at: int) -> None:
    whole, stopped, resumed = fitted(), new_fit(), new_fit()
    stopped.run(lambda _: stopped.step == stop_at)
    assert stopped.step == stop_at
    assert not stopped.state.is_over
    resumed.load_state_dict(stopped.state_dict())
    resumed.run()
    assert farthest(weights(whole), weights(resumed)) == 0.0
    assert log(whole) == log(resumed)


def test_the_best_epochs_weights_are_kept() -> None:
    _, mos = embedded()
    far = mos.clone()
    far[list(DEV)] = 5 - 4 * (mos[list(DEV)] > 3).float()  # dev scores against all that training says
    recipe = dataclasses.replace(RECIPE, epochs=30, patience=3, weight_decay=0.0)
    fit = fitted(recipe=recipe, mos=far)
    dev = [row["dev_l1"] for row in fit.state.log]
    assert fit.state.best_epoch == dev.index(min(dev)) + 1
    assert fit.state.epoch == min(30, fit.state.best_epoch + 3)
    kept = (fit.values(list(DEV)) - far[list(DEV)]).abs().mean()
    assert float(kept) == pytest.approx(min(dev))


def test_without_a_dev_part_the_last_weights_are_kept() -> None:
    fit = fitted(dev=[], recipe=dataclasses.replace(RECIPE, patience=1))
    assert (fit.state.epoch, fit.state.best_epoch) == (3, 3)
    assert math.isinf(fit.state.best_dev)
    assert set(fit.state.log[0]) == {"epoch", "train_l1", "learning_rate", "seconds"}


def test_an_error_that_grows_without_bounds_ends_the_fit() -> None:
    recipe = dataclasses.replace(RECIPE, optimizer="sgd", learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"no longer finite\. Give a lower --learning-rate"):
        fitted(recipe=recipe)


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    one = fitted()
    torch.manual_seed(99)
    other = fitted()
    assert farthest(weights(one), weights(other)) == 0.0
    torch.set_rng_state(before)
    fitted()
    assert torch.equal(torch.get_rng_state(), before)


def fit_as_one_of_two(rank: int, port: int, file: Path) -> None:
    """What a process that torchrun starts does; the first writes what became of it."""
    named = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in named.items()}
    fit = fitted()
    values, accelerator = fit.values(range(CLIPS)), fit.accelerator
    if accelerator.is_main_process:
        saved = {"weights": fit.state_dict()["weights"], "log": fit.state.log, "values": values}
        torch.save({**saved, "processes": accelerator.num_processes}, file)
    accelerator.wait_for_everyone()
    fit.release()
    gc.collect()
    accelerator.end_training()


def test_two_processes_fit_the_same(tmp_path: Path) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])  # imported once for both
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = [processes.Process(target=fit_as_one_of_two, args=(n, port, tmp_path / "fit.pt")) for n in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(100)
    assert [process.exitcode for process in both] == [0, 0]
    two = torch.load(tmp_path / "fit.pt", weights_only=True)
    one = fitted()
    assert two["processes"] == 2
    assert farthest(one.state_dict()["weights"], two["weights"]) < 5e-5
    for alone, shared in zip(log(one), two["log"], strict=True):
        assert alone == pytest.approx({key: shared[key] for key in alone}, abs=5e-5)
    torch.testing.assert_close(two["values"], one.values(range(CLIPS)), atol=5e-5, rtol=0)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> RatedClips:
    """Four clips; the third has two windows."""
    folder = tmp_path_factory.mktemp("rated")
    table = write_rated(folder, clips=4)
    write_clip(folder / "c02.wav", pluck(11.0))
    return RatedClips.from_csv(table)


def test_rows_bring_their_windows_in_their_order() -> None:
    audio = torch.arange(6.0)[:, None].expand(6, 3)
    text = torch.arange(10.0, 13.0)[:, None].expand(3, 3)
    owner = torch.tensor([0, 1, 1, 1, 2, 2])
    examples = EmbeddedExamples(EmbeddedClips(audio, owner, text, torch.arange(20.0, 26.0)), CPU)
    assert [chunk.rows for chunk in examples.chunks([2, 0, 1])] == [[2, 0, 1]]
    [clips] = only_inputs(examples.chunks([2, 0, 1]))
    assert clips.audio[:, 0].tolist() == [4, 5, 0, 1, 2, 3]
    assert clips.owner.tolist() == [0, 0, 1, 2, 2, 2]
    assert clips.text[:, 0].tolist() == [12, 10, 11]
    assert clips.weight.tolist() == [24, 25, 20, 21, 22, 23]
    assert list(examples.chunks([])) == []


@pytest.mark.parametrize(
    ("most", "rows", "windows"),
    [
        (1, [[3], [2], [0], [1]], [[1], [1, 1], [1], [1]]),
        (2, [[3], [2], [0, 1]], [[1], [2], [2]]),
        (3, [[3, 2], [0, 1]], [[3], [2]]),
    ],
)
def test_no_more_windows_are_held_than_asked_for(
    most: int, rows: list[list[int]], windows: list[list[int]], rated: RatedClips
) -> None:
    """The third clip has two windows."""
    starting = random_tower()
    sound = SoundExamples(rated, starting.tower, starting.policy, chunk_windows=most)
    chunks = list(sound.chunks([3, 2, 0, 1]))
    assert [chunk.rows for chunk in chunks] == rows
    assert [[len(inputs[0]) for inputs, _ in chunk.pieces] for chunk in chunks] == windows
    assert all(sum(share for _, share in chunk.pieces) == pytest.approx(1) for chunk in chunks)
    log_mel, owner, prompts, weight = chunks[-1].pieces[0][0]
    assert log_mel.shape[1:] == (1, 1001, 64)
    assert len(owner) == len(weight) == len(log_mel)
    assert prompts == [rated.table["prompt"][row] for row in rows[-1]]
    assert list(sound.chunks([])) == []


def test_a_piece_counts_for_the_seconds_that_it_adds(rated: RatedClips) -> None:
    starting = random_tower()
    (chunk,) = SoundExamples(rated, starting.tower, starting.policy, chunk_windows=1).chunks([2])
    assert [share for _, share in chunk.pieces] == pytest.approx([10 / 11, 1 / 11], abs=1e-3)


def test_both_judges_say_the_same(rated: RatedClips, tmp_path: Path) -> None:
    starting = random_tower()
    heads = new_heads(starting.tower.dim, Target.of(rated.with_parts(["train"] * 4)), 1, RECIPE)
    embedded = embed_clips(rated, EmbeddingCache(tmp_path, starting.tower, starting.policy))
    known = only_inputs(EmbeddedExamples(embedded, CPU).chunks(range(4)))
    sound = SoundExamples(rated, starting.tower, starting.policy, chunk_windows=100)
    heard = only_inputs(sound.chunks(range(4)))
    with torch.no_grad():
        alone, whole = HeadsAlone(heads)(*known), WholeJudge(starting.tower, heads)(*heard)
    assert alone.shape == (4, 1, 2, 1)
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=0)


def test_what_the_tower_has_learned_goes_on_learning(rated: RatedClips) -> None:
    starting = random_tower()
    target = Target.of(rated.with_parts(["train"] * 4))
    judge = WholeJudge(starting.tower, new_heads(starting.tower.dim, target, 1, RECIPE))
    asking = {name for name, weight in starting.tower.clap.named_parameters() if weight.requires_grad}
    assert asking == asking & starting.tower.weights().keys()
    assert not any("spectrogram" in name or "logmel" in name for name in asking)
    inputs = only_inputs(SoundExamples(rated, starting.tower, starting.policy, 100).chunks([0, 1]))
    judge(*inputs).sum().backward()
    tower = dict(starting.tower.clap.named_parameters())
    for name in ("audio_branch.patch_embed.proj.weight", "audio_projection.0.weight", "text_projection.0.weight"):
        gradient = tower[name].grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0


def test_all_clips_that_cannot_be_read_are_told(rated: RatedClips, tmp_path: Path) -> None:
    table = rated.table.copy()
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    table.loc[[1, 3], "audio_path"] = [str(tmp_path / "noise.wav"), str(tmp_path / "gone.wav")]
    sound = SoundExamples(RatedClips(table), random_tower().tower, InputPolicy(), 4)
    problems = sound.unreadable(range(4))
    assert len(problems) == 2
    assert problems[0].startswith('"noise.wav" ')
    assert problems[1] == '"gone.wav" was not found. Check the path.'
    assert sound.unreadable([0, 2]) == []
