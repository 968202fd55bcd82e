"""How far a score moves when a clip begins elsewhere."""

import numpy as np

from tools.same_score import _figures


def test_clips_without_a_score_on_a_scale_are_left_out() -> None:
    changes = [np.array([0.1, np.nan]), np.array([0.3, 0.2]), np.array([0.2, np.nan])]
    assert _figures(changes, ["impression", "alignment"]) == {
        "impression": {"median": 0.2, "95 %": 0.29, "most": 0.3, "n": 3},
        "alignment": {"median": 0.2, "95 %": 0.2, "most": 0.2, "n": 1},
    }
    assert _figures([np.array([np.nan])], ["alignment"]) == {}
