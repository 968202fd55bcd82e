"""Studies of many ratings, written into the database at once: no rater would walk through them in a test's time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Exclusion, Prompt, Rater, Rating, Response, Study, System, Trial

BEGAN = datetime(2026, 3, 1, 8, tzinfo=UTC)
_TRIAL_S = 40.0


@dataclass(frozen=True)
class Size:
    """How large a study is."""

    clips: int
    systems: int
    raters: int
    ratings: int  # of the clips, by all raters
    anchors: int  # in a batch
    scales: int


PAPER = Size(clips=2748, systems=31, raters=14, ratings=13_740, anchors=3, scales=2)
SVCC23 = Size(clips=4040, systems=27, raters=400, ratings=25_440, anchors=0, scales=1)


def write_large(database: Database, size: Size, name: str = "large", excluded: float = 0.06) -> datetime:
    """Write a study in which all batches have ended; return the time of the last rating."""
    random = np.random.default_rng(1)
    protocol = Protocol(anchors=size.anchors, duplicates=int(size.anchors > 0))
    with database.write() as session:
        study = Study(name=name, demo=False, seed=1, protocol=protocol, created_at=BEGAN)
        study.scales = study.scales if size.scales == 2 else Study.__table__.c.scales.default.arg[:1]
        session.add(study)
        session.flush()
        clips = _clips(session, study, size)
        stimuli, anchors = clips[: size.clips], clips[size.clips :]
        raters = [Rater(study_id=study.id, pseudonym=f"R{n + 1:02}", invited_at=BEGAN) for n in range(size.raters)]
        session.add_all(raters)
        session.flush()
        rows: dict[Any, list[dict[str, Any]]] = {Batch: [], Trial: [], Response: [], Rating: [], Exclusion: []}
        shares = _shares(size, random)
        for rater, mine in zip(raters, shares, strict=True):
            _rate(rows, study, rater.id, [stimuli[place] for place in mine], anchors, excluded, random)
        for table, of_table in rows.items():
            if of_table:
                session.execute(insert(table), of_table)
    return max(row["given_at"] for row in rows[Response])


def _clips(session: Any, study: Study, size: Size) -> list[int]:
    makers = [System(study_id=study.id, name=f"S{number:03}") for number in range(size.systems)]
    texts = [
        Prompt(study_id=study.id, text=f"A calm piano ballad in a minor key, number {number}")
        for number in range(-(-size.clips // size.systems))
    ]
    session.add_all([*makers, *texts])
    session.flush()
    kinds = ["stimulus"] * size.clips + ["anchor"] * (50 * size.anchors)
    rows = [
        {
            **{"study_id": study.id, "kind": kind, "name": f"{study.name}-{number}", "duration_s": 20.0},
            **{"system_id": makers[number % size.systems].id, "prompt_id": texts[number // size.systems % 50].id},
            **{"source_file": f"{number}.wav", "source_sha256": f"{number}", "gain_db": 0.0, "gain_lowered": False},
            **{"expected": {}, "added_at": BEGAN},
        }
        for number, kind in enumerate(kinds)
    ]
    session.execute(insert(Clip), rows)
    return list(session.scalars(select(Clip.id).where(Clip.study_id == study.id).order_by(Clip.id)))


def _shares(size: Size, random: np.random.Generator) -> list[list[int]]:
    """Share the clips out: nobody rates one twice, and all have nearly as many raters."""
    passes = [random.permutation(size.clips) for _ in range(size.ratings // size.clips + 1)]
    shares = np.array_split(np.concatenate(passes)[: size.ratings], size.raters)
    return [list(dict.fromkeys(int(clip) for clip in share)) for share in shares]


def _rate(
    rows: dict[Any, list[dict[str, Any]]],
    study: Study,
    rater_id: int,
    clips: list[int],
    anchors: list[int],
    excluded: float,
    random: np.random.Generator,
) -> None:
    """Add the batches of a rater."""
    at, size = BEGAN + timedelta(minutes=int(random.integers(600))), study.protocol.batch_size
    for number, start in enumerate(range(0, len(clips), size), start=1):
        mine = clips[start : start + size]
        out = bool(random.random() < excluded)
        items = [(clip, "stimulus") for clip in mine]
        hidden = random.choice(anchors, study.protocol.anchors, replace=False) if anchors else []
        items += [(int(clip), "anchor") for clip in hidden]
        items += [(clip, "duplicate") for clip in mine[: study.protocol.duplicates]]
        batch_id = len(rows[Batch]) + 1
        opened = at
        for position, (clip_id, role) in enumerate(items, start=1):
            trial_id, shown = len(rows[Trial]) + 1, at
            at += timedelta(seconds=_TRIAL_S)
            rows[Trial].append(
                {
                    **{"id": trial_id, "batch_id": batch_id, "rater_id": rater_id, "clip_id": clip_id},
                    **{"position": position, "role": role, "token": f"{study.name}-{trial_id}", "state": "rated"},
                    **{"shown_at": shown, "served_at": shown},
                }
            )
            rows[Response].append(
                {
                    **{"trial_id": trial_id, "comment": "thin bass" if trial_id % 50 == 0 else ""},
                    **{"played": [[0.0, 20.0]], "heard_s": 20.0, "given_at": at},
                }
            )
            score = 2.0 + clip_id % 3 + random.normal(0, 0.7)
            rows[Rating] += [
                {"trial_id": trial_id, "scale": scale.key, "score": int(np.clip(round(score), 1, 5))}
                for scale in study.scales
            ]
        rows[Batch].append(
            {
                **{"id": batch_id, "study_id": study.id, "rater_id": rater_id, "number": number, "short": False},
                **{"state": "excluded" if out else "valid", "opened_at": opened, "lease_until": at},
                **{"closed_at": at, "screened_at": at},
            }
        )
        if out:
            rows[Exclusion].append(
                {
                    **{"rater_id": rater_id, "batch_id": batch_id, "action": "exclude", "rule": "anchor"},
                    **{"reason": "An anchor was rated too low.", "evidence": {"batch": number}, "author": "protocol"},
                    **{"at": at},
                }
            )
        at += timedelta(hours=8 if number % 3 == 0 else 1)
