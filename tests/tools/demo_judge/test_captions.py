import numpy as np
import pytest

from tools.demo_judge.captions import WEIGHTS, labels, match, mismatch, write
from tools.demo_judge.composer import Attributes, draw_attributes

JAZZ = Attributes("jazz", 132, "major", "happy", "piano", "vibraphone", "double bass", "swing", "dense")


def test_a_piece_fits_its_own_captions():
    for seed in range(50):
        random = np.random.default_rng(seed)
        attributes = draw_attributes(random)
        caption = write(attributes, random)
        assert match(caption.named, attributes) == 1.0
        assert caption.named.items() <= labels(attributes).items()


def test_captions_of_one_piece_vary_in_words():
    random = np.random.default_rng(0)
    texts = {write(JAZZ, random).text for _ in range(100)}
    assert len(texts) > 90
    assert all(len(text) >= 4 and "  " not in text for text in texts)


def test_the_match_is_the_weighted_share_that_holds():
    named = {"genre": "jazz", "lead": "trumpet", "tempo": "fast"}
    wanted = (WEIGHTS["genre"] + WEIGHTS["tempo"]) / (WEIGHTS["genre"] + WEIGHTS["lead"] + WEIGHTS["tempo"])
    assert match(named, JAZZ) == pytest.approx(wanted)
    assert match({"genre": "rock"}, JAZZ) == 0.25  # of the same form
    assert match({"genre": "waltz"}, JAZZ) == 0.0


def test_prompts_fit_less_and_less():
    fits = []
    for level in (0.0, 0.3, 0.6, 1.0):
        random = np.random.default_rng(1)
        pieces = [draw_attributes(random) for _ in range(200)]
        fits.append(np.mean([match(labels(mismatch(piece, level, random)), piece) for piece in pieces]))
    assert fits[0] == 1.0
    assert fits[0] > fits[1] > fits[2] > fits[3]
    assert fits[3] < 0.35


def test_percussion_has_no_key():
    drums = Attributes("drum solo", 100, "minor", "dark", "none", "none", "none", "funk", "dense")
    assert set(labels(drums)) == {"genre", "kit", "tempo", "mood", "density"}
