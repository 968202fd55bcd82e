"""The clips of a simulated study: no sound, but a hidden truth about each.

The truth is what the panel of `core.demo.panel` at large would say of a clip; anchors stand for human-made
music that nearly everyone likes.
"""

import numpy as np
from sqlalchemy.orm import Session

from annotation.schema import Clip, Prompt, Study, System
from annotation.simulated.listener import Opinion
from core.demo import panel

_ANCHOR_MEAN = 4.3
_ANCHOR_SD = 0.59  # with a rater's bias and inconsistency, answers to anchors have one of 0.8
_DURATIONS_S = (10.0, 40.0)  # the clips of MusicEval have a median of 25 s


def fill(
    session: Session, study: Study, clips: int, systems: int, anchors: int, training: int, seed: int
) -> dict[str, Opinion]:
    """Write a study's systems, prompts and clips.

    Parameters
    ----------
    session : Session
        In a write transaction.
    study : Study
    clips, systems, anchors, training : int
        How many; the clips are shared evenly by the systems, which all have the same prompts.
    seed : int

    Returns
    -------
    dict of str to (float, float)
        The truth, musical impression and textual alignment, by the clip's opaque name.
    """
    random = np.random.default_rng((seed, 1))
    each = -(-clips // systems)
    made = list(panel.simulate(systems, each, seed))
    in_turn = [made[system * each + number] for number in range(each) for system in range(systems)]
    anchor_opinions = random.normal(_ANCHOR_MEAN, _ANCHOR_SD, (anchors, 2))
    training_opinions = random.uniform(1.0, 5.0, (training, 2))
    listed = [
        *(
            ("stimulus", one.system_id, place // systems, one.opinion)
            for place, one in enumerate(in_turn[:clips])
        ),
        *(("anchor", "human", place, opinion) for place, opinion in enumerate(anchor_opinions)),
        *(("training", "human", place, opinion) for place, opinion in enumerate(training_opinions)),
    ]
    makers = {name: System(study_id=study.id, name=name) for name in sorted({row[1] for row in listed})}
    prompts = {
        (kind, number): Prompt(study_id=study.id, text=f"A prompt for the {kind} {number + 1}")
        for kind, number in sorted({(row[0], row[2]) for row in listed})
    }
    session.add_all([*makers.values(), *prompts.values()])
    session.flush()
    opinions = {}
    for index, (kind, system, number, opinion) in enumerate(listed):
        name = f"{kind}-{index}"  # opaque to nobody, but nobody looks at it
        opinions[name] = (float(opinion[0]), float(opinion[1]))
        session.add(_clip(study, kind, makers[system], prompts[kind, number], name, random))
    return opinions


def _clip(
    study: Study, kind: str, system: System, prompt: Prompt, name: str, random: np.random.Generator
) -> Clip:
    return Clip(
        study_id=study.id,
        kind=kind,
        system_id=system.id,
        prompt_id=prompt.id,
        name=name,
        source_file=name,
        source_sha256=name,
        duration_s=round(float(random.uniform(*_DURATIONS_S)), 2),
        gain_db=0.0,
        gain_lowered=False,
        added_at=study.created_at,
    )
