"""The ablation: which variants there are, that all are judged on clips they did not learn from, paired gains."""

import dataclasses
import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from core.cli import main
from core.embeddings import Asked, EmbeddingCache
from core.rated_clips import RatedClips
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL
from core.splits import Split
from core.training import ablation
from core.training.ablation import ALL_OFF, FROZEN, PAIRS, WHOLE, Gain, Taught, ablate, variants
from core.training.pairs import Answer, Pair, PairTable
from core.training.recipe import RECIPES, Recipe
from tests.rated import write_rated
from tests.towers import random_tower

QUICK = dataclasses.replace(RECIPES["ordinal"], epochs=2)


def test_a_variant_is_the_recipe_without_a_part_that_it_has() -> None:
    found = variants(dataclasses.replace(QUICK, dropout=0.0, seeds=2), MUSICEVAL)
    assert [*found] == [
        *(WHOLE, "no attention", "no product", "no words", "no bins, L1", "no bins, squared", "no ranking"),
        *("no bound", "stopped on L1", "one seed", ALL_OFF, FROZEN),
    ]
    assert found["no attention"] == dataclasses.replace(found[WHOLE], attention=False)
    off = found[ALL_OFF]
    assert (off.attention, off.product, off.tokens) == (False, False, False)
    assert (off.ranking, off.bound, off.dropout, off.hidden, off.seeds) == (0, 0, 0, 0, 1)
    assert (off.loss, off.epochs, found[FROZEN]) == ("squared", 2, RECIPES["frozen"])
    assert {"no product", "no words"}.isdisjoint(variants(QUICK, (MUSICAL_IMPRESSION,)))


def test_gains_are_paired() -> None:
    """Both are as good but for five clips; unpaired, the noise of the clips would hide it."""
    random = np.random.default_rng(0)
    truth = random.normal(size=60)
    said = np.stack([truth + random.normal(size=60) for _ in range(3)], axis=1)
    worse = said.copy()
    worse[:8] = -said[:8]
    found = ablation._compared(truth, {WHOLE: said, "other": worse}, [[str(n) for n in range(60)]], 300)
    whole, other = found[WHOLE], found["other"]
    assert (whole.gain, whole.interval) == (None, None)
    assert other.gain == pytest.approx(whole.figure - other.figure)
    assert other.interval is not None
    low, high = other.interval
    assert 0 < low < other.gain < high
    assert high - low < 0.5
    same = ablation._compared(truth, {WHOLE: said, "same": said}, [[str(n) for n in range(60)]], 100)["same"]
    assert (same.gain, same.interval) == (0.0, (0.0, 0.0))


@pytest.fixture
def taught(tmp_path: Path) -> Taught:
    clips = RatedClips.from_csv(write_rated(tmp_path / "rated", clips=16))
    files = [Path(path) for path in clips.table["audio_path"]]
    pairs = tuple(Pair(MUSICAL_IMPRESSION, Answer(files[n + 1], ""), Answer(files[n], "")) for n in range(0, 12, 2))
    return Taught(clips, tables=[PairTable("p.csv", pairs, "")])


def test_every_clip_and_pair_is_judged_by_heads_that_did_not_learn_it(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starting = random_tower()
    cache = EmbeddingCache(tmp_path / "cache", starting.tower, starting.policy, asked=Asked(True, True))
    fit, learned = ablation.fit_heads, []

    def watched(clips: object, target: object, recipe: Recipe, seed: int) -> object:
        learned.append((seed, len(target.train), target.pairs))
        return fit(clips, target, recipe, seed)

    monkeypatch.setattr(ablation, "fit_heads", watched)
    kinds = {WHOLE: QUICK, "no attention": dataclasses.replace(QUICK, attention=False)}
    monkeypatch.setattr(ablation, "variants", lambda *_: kinds)
    shares: list[float] = []
    split = Split("random", folds=4, dev_share=0.1)
    found = ablate(taught, cache, QUICK, split, 2, lambda share, _: shares.append(share), resamples=20)
    assert len(learned) == 2 * 4 * 2
    assert {seed for seed, *_ in learned} == {0, 1}
    assert {n for _, n, _ in learned} == {11}  # 16 clips without 4 to measure and 1 to stop on
    assert all(len(pairs) < 6 for _, _, pairs in learned if pairs is not None)
    assert shares[-1] == 1.0
    assert set(found.found) == {"musical_impression", "textual_alignment", PAIRS}
    for by in found.found.values():
        assert [*by] == [*kinds]
        assert all(math.isfinite(of.figure) for of in by.values())
    assert 0 <= found.found[PAIRS][WHOLE].figure <= 1
    lines = [*found.as_table()]
    assert lines[0] == "| | Musical impression, SRCC | gain | Textual alignment, SRCC | gain | Pairs in order | gain |"
    assert lines[2].startswith(f"| {WHOLE} | {found.found['musical_impression'][WHOLE].figure:.3f} |  |")


def test_figures_as_text() -> None:
    assert Gain(0.5, 0.1234, (-0.01, 0.2)).cells() == ("0.500", "+0.123 (-0.010 to +0.200)")
    assert Gain(math.nan, math.nan).cells() == ("–", "")


@pytest.mark.usefixtures("_quick_start")
def test_the_command_prints_a_table(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Path(taught.clips.table["audio_path"][0]).with_name("rated_clips.csv")
    kinds = {WHOLE: QUICK, "no bound": dataclasses.replace(QUICK, bound=0.0)}
    monkeypatch.setattr(ablation, "variants", lambda *_: kinds)
    monkeypatch.setattr(ablation, "ablate", functools.partial(ablate, resamples=20))
    options = ["--data", str(table), "--repeats", "1", "--folds", "2", "--cache", str(tmp_path / "cache")]
    assert main(["ablation", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" |")[0] for line in lines[2:4]] == [f"| {WHOLE}", "| no bound"]
    assert lines[4].startswith("Clips at random, seed 0; 2 folds, 1 times; figures are means")
    assert main(["ablation", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["musical_impression"]["no bound"]) == {"figure", "gain", "interval"}
