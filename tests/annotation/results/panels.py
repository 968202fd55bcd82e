"""Tables of ratings by panels of all kinds, made without a study."""

from typing import Any

import numpy as np
import pandas as pd

BEGAN = pd.Timestamp("2026-03-01T12:00Z")
KINDS = {"R1": "honest", "R2": "honest", "R3": "straight", "R4": "one scale", "R5": "fast", "R6": "unheard"}


def after(seconds: float) -> pd.Timestamp:
    return BEGAN + pd.Timedelta(seconds=seconds)


def rating(rater: str, clip: int, impression: int, alignment: int, **fields: Any) -> dict[str, Any]:
    usual = {
        "clip": f"c{clip}", "system": f"s{clip % 3}", "prompt": "p", "rater": rater, "batch": 1,
        "position": 1, "role": "stimulus", "musical_impression": impression,
        "textual_alignment": alignment, "heard_s": 10.0, "duration_s": 10.0, "shown_at": BEGAN,
        "served_at": BEGAN, "given_at": after(18), "status": "valid",
    }  # fmt: skip
    return {**usual, **fields}


def panel(kinds: dict[str, str], clips: int = 60, seed: int = 0) -> pd.DataFrame:
    """Everyone rates every clip in batches of 20; the first clip of a batch comes again at its end."""
    random = np.random.default_rng(seed)
    quality = random.normal(3, 1, (clips, 2))
    rows = []
    for rater, kind in kinds.items():
        for clip in range(clips):
            for again in (False, True) if clip % 20 == 0 else (False,):
                scores = np.clip(np.rint(quality[clip] + random.normal(0, 0.45, 2)), 1, 5).astype(int)
                scores = {"straight": (4, 4), "one scale": (scores[0], 4)}.get(kind, scores)
                fields: dict[str, Any] = {"batch": 1 + clip // 20, "position": 21 if again else 1 + clip % 20}
                if again:
                    fields |= {"role": "duplicate", "status": "check"}
                if kind == "fast":
                    fields["given_at"] = after(10.4)
                if kind == "unheard":
                    fields["heard_s"] = 4.0
                rows.append(rating(rater, clip, *map(int, scores), **fields))
    return pd.DataFrame(rows)
