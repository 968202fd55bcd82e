"""What is minimised: errors of scores that are known, bins as wide as raters are unsure, the order of clips."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional

from core.heads import EmbeddedClips, SequenceHeads
from core.metrics import srcc
from core.scales import MUSICEVAL
from core.training.examples import EmbeddedExamples, HeadsAlone
from core.training.loop import Fit, fit_heads
from core.training.objective import Objective, Pairs, Target, new_heads
from core.training.recipe import RECIPES, Recipe, changed_recipe
from tests.rated import rated_table

NAN = float("nan")
OFF = {"attention": False, "product": False, "tokens": False, "bound": 0.0, "dropout": 0.0}
PLAIN = changed_recipe("ordinal", {**OFF, "loss": "squared", "ranking": 0.0, "stop_on": "l1"})
IMPRESSION = MUSICEVAL[:1]


def objective(recipe: Recipe, mos: list[list[float]], error: list[list[float]] | None = None) -> Objective:
    scores = torch.tensor(mos)
    return Objective(
        Target(MUSICEVAL, scores, range(len(mos)), [], None if error is None else torch.tensor(error)), recipe
    )


@torch.no_grad()
def by_difference(
    of: Objective, outputs: Tensor, rows: list[int], n_batch: int | None = None, pairs: Pairs | None = None
) -> Tensor:
    """The loss's gradient by finite differences, along each output."""
    given = outputs.clone()
    return by_own_difference(of, given, lambda: of.loss(given, rows, n_batch or len(rows), pairs))


@torch.no_grad()
def by_own_difference(of: Objective, changed: Tensor, loss: Callable[[], Tensor]) -> Tensor:
    step, found = 1e-3, torch.zeros_like(changed)
    for place in np.ndindex(*changed.shape):
        was = float(changed[place])
        changed[place] = was + step
        up = float(loss())
        changed[place] = was - step
        found[place] = (up - float(loss())) / (2 * step)
        changed[place] = was
    return found


@pytest.mark.parametrize("changes", [{"loss": "l1"}, {"loss": "squared", "ranking": 1.0}, {"loss": "bins"}])
def test_the_gradient_is_that_of_the_loss(changes: dict[str, object]) -> None:
    of = objective(changed_recipe("ordinal", changes), [[1.5, 2.0], [3.0, NAN], [4.0, 4.5]])
    width = 21 if changes["loss"] == "bins" else 1
    outputs = 3 + torch.randn(3, 2, 2, width, generator=torch.Generator().manual_seed(0))
    given = of.add_gradients(outputs, [2, 0, 1], 3)
    torch.testing.assert_close(given, by_difference(of, outputs, [2, 0, 1]), rtol=0, atol=3e-3)
    assert float(given[2, :, 1].abs().max()) == 0.0  # of a score that is not known nothing is learned


def test_errors_are_summed_over_scales_and_averaged_over_clips() -> None:
    of = objective(dataclasses.replace(PLAIN, loss="l1"), [[1.0, 2.0], [3.0, NAN]])
    outputs = torch.tensor([[1.5, 3.0], [5.0, 9.0]])[:, None, :, None]
    assert float(of.loss(outputs, [0, 1], 2)) == pytest.approx((0.5 + 1.0 + 2.0) / 2)


@pytest.mark.parametrize(("error", "width"), [(0.0, 0.25), (0.6, 0.65)])
def test_bins_are_softened_by_how_unsure_the_raters_are(error: float, width: float) -> None:
    of = objective(changed_recipe("ordinal", {"ranking": 0.0}), [[3.0, NAN]], [[error, 0.0]])
    centres = torch.linspace(1, 5, 20)
    wanted = (-((centres - 3.0) / width).square() / 2).softmax(dim=0)
    logits = torch.zeros(1, 1, 2, 21)
    assert float(of.loss(logits, [0], 1)) == pytest.approx(math.log(20), abs=1e-5)
    torch.testing.assert_close(of.add_gradients(logits, [0], 1)[0, 0, 0, 1:], 1 / 20 - wanted)


def test_the_raters_number_and_spread_say_how_unsure_they_are() -> None:
    table = rated_table(3).table.assign(
        split="train", n_ratings=[4, 16, None], musical_impression_sd=[0.8, None, 0.5], textual_alignment_sd=None
    )
    target = Target.of(dataclasses.replace(rated_table(3), table=table))
    assert target.error is not None
    expected = torch.tensor([[0.4, 0.5], [0.25, 0.25], [0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(target.error, expected)


def test_ranking_asks_for_the_order_and_not_for_the_scores() -> None:
    of = objective(dataclasses.replace(PLAIN, ranking=1.0), [[1.0, 3.0], [2.0, 3.0], [NAN, 3.0]])
    values = torch.tensor([[2.5, 1.0], [2.0, 2.0], [4.0, 5.0]])[:, None, :, None]
    squared = objective(PLAIN, [[1.0, 3.0], [2.0, 3.0], [NAN, 3.0]]).loss(values, [0, 1, 2], 3)
    ranking = float(of.loss(values, [0, 1, 2], 3) - squared)
    assert ranking == pytest.approx(math.log1p(math.exp(0.5 / 0.5)))  # one pair; equal scores have no order


# Whole fits


def sequences(n: int, dim: int, frames: int, seed: int = 0) -> EmbeddedClips:
    random = torch.Generator().manual_seed(seed)
    joint = functional.normalize(torch.randn(n, 8, generator=random), dim=-1)
    text = functional.normalize(torch.randn(n, 8, generator=random), dim=-1)
    heard = torch.randn(n, frames, dim, generator=random)
    return EmbeddedClips(joint, torch.arange(n), text, None, heard, torch.randn(n, 3, 8, generator=random))


def test_with_everything_off_it_is_ridge_regression() -> None:
    """In closed form: mean squared error and half the weight decay times the squares of the weights."""
    n, dim, decay = 40, 12, 0.2
    clips = sequences(n, dim, 4)
    assert clips.frames is not None
    random = torch.Generator().manual_seed(5)
    mos = 3 + clips.frames.mean(dim=1) @ torch.randn(dim, 1, generator=random) + torch.randn(n, 1, generator=random) / 2
    recipe = dataclasses.replace(PLAIN, weight_decay=decay, epochs=300, learning_rate=0.05)
    heads = fit_heads(clips, Target(IMPRESSION, mos, range(n), []), recipe, 0)
    assert isinstance(heads, SequenceHeads)
    frames = (clips.frames - heads.get_buffer("frame_centre")) / heads.get_buffer("frame_spread")
    heard = frames.mean(dim=1).double()
    centred, wanted = heard - heard.mean(dim=0), mos.double() - mos.double().mean()
    squares = centred.T @ centred + n * decay / 2 * torch.eye(dim)
    ridge = torch.linalg.solve(squares, centred.T @ wanted)
    expected = mos.double().mean() + centred @ ridge
    torch.testing.assert_close(heads.judge(clips), expected, rtol=0, atol=1e-3)
    assert float(expected.std()) > 0.3


def marked(n: int, seed: int) -> tuple[EmbeddedClips, Tensor]:
    """Clips whose score is told by one frame of eight, which a mark shows; the others say anything."""
    clips = sequences(n, 6, 8, seed)
    assert clips.frames is not None
    random = torch.Generator().manual_seed(seed + 100)
    told = torch.randint(8, (n,), generator=random)
    clips.frames[:, :, 0] = -1.0
    clips.frames[torch.arange(n), told, 0] = 3.0
    return clips, 3 + 0.5 * clips.frames[torch.arange(n), told, 1:2]


@pytest.mark.parametrize(("is_on", "least", "most"), [(True, 0.9, 1.0), (False, 0.0, 0.6)])
def test_attention_hears_what_a_mean_cannot(is_on: bool, least: float, most: float) -> None:
    clips, mos = marked(300, 0)
    others, truth = marked(200, 1)
    recipe = dataclasses.replace(
        PLAIN, attention=is_on, weight_decay=0.0, learning_rate=0.05, epochs=60, batch_size=300
    )
    heads = fit_heads(clips, Target(IMPRESSION, mos, range(300), []), recipe, 0)
    with torch.no_grad():
        reached = srcc(truth[:, 0].double().numpy(), heads.judge(others)[:, 0].numpy())
    assert least < reached < most


def test_words_hear_what_the_cosine_cannot() -> None:
    """Whether a clip has what a word of its prompt names is in its frames, not in the joint space."""
    random = torch.Generator().manual_seed(0)
    n, clips = 400, sequences(400, 8, 4)
    assert clips.frames is not None
    assert clips.tokens is not None
    named, fits = torch.randint(3, (n,), generator=random), torch.rand(n, generator=random) < 0.5
    there = torch.where(fits, named, (named + 1) % 3)
    tokens = torch.eye(8)[named][:, None].expand(-1, 2, -1)
    frames = 0.3 * clips.frames
    frames[torch.arange(n), torch.randint(4, (n,), generator=random), there] += 3.0
    mos = torch.stack([torch.full((n,), 3.0), 2 + 2 * fits.float()], dim=1)
    told = dataclasses.replace(clips, frames=frames, tokens=tokens)
    reached = {}
    for is_on in (True, False):
        recipe = dataclasses.replace(
            PLAIN, tokens=is_on, product=True, weight_decay=0.01, epochs=60, learning_rate=0.01
        )
        heads = fit_heads(told, Target(MUSICEVAL, mos, range(300), []), recipe, 0)
        with torch.no_grad():
            values = heads.judge(told)[300:, 1].numpy()
        reached[is_on] = srcc(mos[300:, 1].double().numpy(), values)
    assert reached[False] < 0.3 < 0.8 < reached[True]


def test_it_stops_where_the_order_of_the_dev_part_is_best() -> None:
    clips = sequences(60, 6, 4)
    assert clips.frames is not None
    mos = 3 + clips.frames.mean(dim=1)[:, :1] + 0.3 * torch.randn(60, 1, generator=torch.Generator().manual_seed(1))
    recipe = dataclasses.replace(PLAIN, stop_on="srcc", epochs=15, batch_size=16)
    target = Target(IMPRESSION, mos, range(40), range(40, 60))
    judge = HeadsAlone(new_heads(8, target, 0, recipe, clips))
    fit = Fit(Accelerator(cpu=True), judge, EmbeddedExamples(clips, torch.device("cpu")), target, recipe, 0)
    fit.run()
    orders = [row["dev_srcc"] for row in fit.state.log]
    assert fit.state.best_epoch == orders.index(max(orders)) + 1
    assert len(set(orders)) > 2
    reached = srcc(mos[40:, 0].double().numpy(), fit.values(range(40, 60))[:, 0].double().numpy())
    assert reached == pytest.approx(max(orders), abs=1e-6)


def test_what_is_dropped_follows_from_the_seed_and_a_stop_makes_no_difference() -> None:
    clips = sequences(30, 6, 4)
    mos = 3 + 0.5 * torch.randn(30, 2, generator=torch.Generator().manual_seed(1))
    recipe = dataclasses.replace(RECIPES["ordinal"], epochs=4, batch_size=8, hidden=8, dropout=0.5)
    target = Target(MUSICEVAL, mos, range(24), range(24, 30))

    def new_fit(recipe: Recipe = recipe) -> Fit:
        judge = HeadsAlone(new_heads(8, target, 0, recipe, clips))
        examples = EmbeddedExamples(clips, torch.device("cpu"))
        return Fit(Accelerator(cpu=True), judge, examples, target, recipe, 0)

    before = torch.get_rng_state()
    whole, stopped, resumed, without = new_fit(), new_fit(), new_fit(), new_fit(dataclasses.replace(recipe, dropout=0))
    whole.run()
    stopped.run(lambda _: stopped.step == 5)
    resumed.load_state_dict(stopped.state_dict())
    resumed.run()
    without.run()
    assert torch.equal(torch.get_rng_state(), before)
    values, again, other = (fit.values(range(30)) for fit in (whole, resumed, without))
    assert torch.equal(values, again)
    assert float((values - other).abs().max()) > 1e-3


# Several sources, and pairs


@pytest.mark.parametrize("loss", ["l1", "squared", "bins"])
def test_the_gradient_of_sources_and_pairs(loss: str) -> None:
    mos = torch.tensor([[1.5, 2.0], [3.0, NAN], [2.0, 4.5], [4.5, 3.0], [NAN, NAN]])
    of_scale, weight, margin = torch.tensor([0, 1]), torch.tensor([1.0, 3.0]), torch.tensor([NAN, 2.0])
    pairs = Pairs(torch.tensor([4, 0]), torch.tensor([2, 4]), of_scale, weight, margin)
    source = torch.tensor([0, 0, 1, 1, 0])
    target = Target(MUSICEVAL, mos, range(4), [], None, source, (1.0, 0.5), pairs)
    of = Objective(target, changed_recipe("ordinal", {"loss": loss}))
    outputs = 3 + torch.randn(5, 1, 2, 21 if loss == "bins" else 1, generator=torch.Generator().manual_seed(0))
    rows = [3, 0, 1, 2, 4]
    given = of.add_gradients(outputs, rows, 4, pairs)
    torch.testing.assert_close(given, by_difference(of, outputs, rows, 4, pairs), rtol=0, atol=5e-3)
    assert of.elsewhere is not None
    for weight in of.parameters():
        assert weight.grad is not None
        assert float(weight.grad[0].abs().max()) == 0.0 < float(weight.grad[1].abs().max())
        expected = by_own_difference(of, weight, lambda: of.loss(outputs, rows, 4, pairs))
        torch.testing.assert_close(weight.grad, expected, rtol=1e-2, atol=5e-3)


def test_pairs_ask_for_a_lead_and_for_no_more() -> None:
    pairs = Pairs(torch.tensor([1]), torch.tensor([2]), torch.tensor([0]), torch.tensor([1.0]), torch.tensor([NAN]))
    target = Target(MUSICEVAL, torch.tensor([[3.0, 3.0], [NAN, NAN], [NAN, NAN]]), [0], [], pairs=pairs)
    of = Objective(target, dataclasses.replace(PLAIN, margin=0.5, pair_weight=2.0))
    for lead, expected in ((0.7, 0.0), (0.5, 0.0), (0.2, 2 * 0.09), (-1.0, 2 * 2.25)):
        values = torch.tensor([[3.0, 3.0], [2.0 + lead, 1.0], [2.0, 5.0]])[:, None, :, None]
        assert float(of.loss(values, [0, 1, 2], 1, pairs)) == pytest.approx(expected, abs=1e-5)
        own = dataclasses.replace(pairs, margin=torch.tensor([lead + 0.5]))
        assert float(of.loss(values, [0, 1, 2], 1, own)) == pytest.approx(2 * 0.25, abs=1e-5)


def test_offsets_and_scales_of_sources_are_learned() -> None:
    """The second panel gives 0 to 100, the third is harsh; both heard clips that the first did not."""
    clips = sequences(240, 6, 4)
    assert clips.frames is not None
    random = torch.Generator().manual_seed(3)
    true = 3 + 0.9 * clips.frames.mean(dim=1)[:, :1] + 0.05 * torch.randn(240, 1, generator=random)
    source = torch.arange(240) // 80
    mos = true.clone()
    mos[source == 1] = 25 * (true[source == 1] - 1)
    mos[source == 2] = true[source == 2] - 0.7
    target = Target(IMPRESSION, mos, range(240), [], None, source)
    recipe = dataclasses.replace(PLAIN, weight_decay=1e-3, epochs=450, learning_rate=0.04, batch_size=240)
    judge = HeadsAlone(new_heads(8, target, 0, recipe, clips))
    fit = Fit(Accelerator(cpu=True), judge, EmbeddedExamples(clips, torch.device("cpu")), target, recipe, 0)
    fit.run()
    percent, harsh = (of["musical_impression"] for of in fit.objective.sources_to_json())
    assert percent == {"offset": pytest.approx(-25, abs=4), "scale": pytest.approx(25, abs=1.5)}
    assert harsh == {"offset": pytest.approx(-0.7, abs=0.2), "scale": pytest.approx(1, abs=0.06)}
    errors = (fit.values(range(240)) - true).abs().mean()
    assert float(errors) < 0.1


def test_a_scale_is_learned_from_pairs_alone() -> None:
    clips = sequences(120, 6, 4)
    assert clips.frames is not None
    truth = clips.frames.mean(dim=1)[:, 1]
    mos = torch.full((120, 2), NAN)
    mos[:, 0] = 3.0 + 0.5 * clips.frames.mean(dim=1)[:, 0]
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    one, other = order[:50], order[50:]
    is_first = truth[one] > truth[other]
    better, worse = torch.where(is_first, one, other), torch.where(is_first, other, one)
    pairs = Pairs(better, worse, torch.ones(50, dtype=torch.int64), torch.ones(50), torch.full((50,), NAN))
    energy = dataclasses.replace(MUSICEVAL[0], key="energy")
    target = Target((MUSICEVAL[0], energy), mos, range(100), range(100, 120), pairs=pairs)
    recipe = dataclasses.replace(PLAIN, weight_decay=1e-3, epochs=60, learning_rate=0.02, batch_size=50)
    judge = HeadsAlone(new_heads(8, target, 0, recipe, clips))
    fit = Fit(Accelerator(cpu=True), judge, EmbeddedExamples(clips, torch.device("cpu")), target, recipe, 0)
    fit.run()
    values = fit.values(range(100, 120)).double().numpy()
    assert srcc(truth[100:].double().numpy(), values[:, 1]) > 0.8
    assert set(fit.state.log[0]) >= {"dev_l1", "dev_l1_musical_impression", "dev_srcc"}
    assert "dev_l1_energy" not in fit.state.log[0]


def test_frozen_heads_learn_from_pairs_and_sources_too() -> None:
    clips = sequences(60, 6, 4)
    mos = 3 + clips.audio[:, :2]
    each, impression = torch.arange(60), torch.zeros(30, dtype=torch.int64)
    pairs = Pairs(each[:30], each[30:], impression, torch.ones(30), torch.full((30,), NAN))
    target = Target(MUSICEVAL, mos, range(60), [], None, torch.arange(60) // 30, (), pairs)
    recipe = changed_recipe("frozen", {"epochs": 100, "weight_decay": 0.0, "pair_weight": 5.0})
    judge = HeadsAlone(new_heads(8, target, 0, recipe))
    fit = Fit(Accelerator(cpu=True), judge, EmbeddedExamples(clips, torch.device("cpu")), target, recipe, 0)
    before = fit.values(range(60))
    fit.run()
    after = fit.values(range(60))
    leads = [(of[:30, 0] - of[30:, 0]).mean() for of in (before, after)]
    assert float(leads[1]) > float(leads[0]) + 0.5
