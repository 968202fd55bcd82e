"""Table I as text, and what it says of the published rows."""

import pytest

from core import table_one as module
from core.musiceval import read_release
from core.ratings import RatedClips
from core.table_one import comparison, table_one
from tests.releases import DEV, write_release

CELL = {"n": 40, "mse": 0.5, "lcc": 0.25, "srcc": -0.125, "ktau": 1.0}
INTERVALS = {f"{name}_ci95": [CELL[name] - 0.1, CELL[name] + 0.1] for name in ("mse", "lcc", "srcc", "ktau")}


def test_the_layout() -> None:
    one = {"musical_impression": CELL | INTERVALS, "textual_alignment": CELL | INTERVALS}
    assert table_one({"utterance": one, "system": one}).splitlines()[:8] == [
        "                                 Musical impression            Textual alignment",
        "                                MSE    LCC   SRCC   KTAU      MSE    LCC   SRCC   KTAU",
        "",
        "Utterance level",
        "  this result (n = 40)        0.500  0.250 -0.125  1.000    0.500  0.250 -0.125  1.000",
        "  95 % interval from          0.400  0.150 -0.225  0.900    0.400  0.150 -0.225  0.900",
        "  to                          0.600  0.350 -0.025  1.100    0.600  0.350 -0.025  1.100",
        "  paper, its test part        0.647  0.606  0.633  0.461    0.616  0.438  0.443  0.314",
    ]


def test_one_scale_without_intervals() -> None:
    text = table_one({level: {"textual_alignment": CELL} for level in ("utterance", "system")})
    assert "Musical impression" not in text
    assert "interval" not in text
    assert text.splitlines()[-2:] == [
        "  paper, its test part        0.354  0.757  0.784  0.617",
        "  released baseline, dev          -      -  0.720      -",
    ]


def test_what_can_be_compared(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_release(write_release(tmp_path))
    dev = [DEV[0].split(".wav")[0]]
    no = "the published rows are no comparison."
    assert comparison(["a", *dev], None) == f"These are not clips of MusicEval: {no}"
    unknown = "It cannot be told whether these are MusicEval's held-out clips"
    assert comparison(dev, None).startswith(unknown)
    assert comparison(dev, RatedClips(data.table.assign(split=""))).startswith(unknown)
    assert comparison(dev, data) == f"These ratings are not those that MusicEval published: {no}"
    monkeypatch.setattr(module, "is_published", lambda _: True)
    assert "official dev part, the baseline's" in comparison(dev, data)
    assert comparison(list(data.table["clip_id"]), data).startswith("These clips of MusicEval are neither")
    test = data.table.loc[data.table["split"] == "test", "clip_id"]
    assert "official test part" in comparison(list(test), data)
