"""Whether hidden anchors could be told from the clips of a study by anything but their music.

Rate, channels, container and fades are the same by construction (`annotation.material.sound`). What a source
brings along is compared here, as the files stand on disk: length, loudness (a clip with high peaks is
quieter) and bandwidth (a recording at a low rate, or from a strong codec, is duller).
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from sqlalchemy import select

from annotation.database import Database
from annotation.material.sound import bandwidth_hz
from annotation.protocol import Protocol
from annotation.schema import Clip, Study
from annotation.studies import clip_path

LENGTH_TOLERANCE_S = 0.1
LOUDNESS_TOLERANCE_LU = 0.5
BANDWIDTH_TOLERANCE = 0.1  # of the whole band, which is half the rate
_MOST_SPECTRA = 200  # clips whose bandwidth is measured; evenly spread over a larger study
_MOST_NAMES = 5


def parity(database: Database, data: Path, study: Study) -> list[str]:
    """Say where anchors differ from the clips.

    Parameters
    ----------
    database : Database
    data : Path
        Folder of the listening tests.
    study : Study

    Returns
    -------
    list of str
        A sentence for each thing that differs; empty where nothing does, or where there is nothing to
        compare.
    """
    of_study = select(Clip).where(Clip.study_id == study.id).order_by(Clip.id)
    with database.read() as session:
        clips = session.scalars(of_study.where(Clip.kind == "stimulus")).all()
        anchors = session.scalars(of_study.where(Clip.kind == "anchor")).all()
    if not clips or not anchors:
        return []
    dull = BANDWIDTH_TOLERANCE * Protocol.from_json(study.protocol).sample_rate_hz / 2000
    spectra = clips[:: math.ceil(len(clips) / _MOST_SPECTRA)]
    return [
        *_apart("length", "s", anchors, clips, lambda clip: clip.duration_s, LENGTH_TOLERANCE_S, 1.0),
        *_apart("loudness", "LUFS", anchors, clips, lambda clip: clip.loudness_lufs, LOUDNESS_TOLERANCE_LU),
        *_apart("bandwidth", "kHz", anchors, spectra, lambda clip: _bandwidth_khz(data, study, clip), dull),
    ]


def _apart(
    what: str,
    unit: str,
    anchors: Sequence[Clip],
    clips: Sequence[Clip],
    measure: Callable[[Clip], float | None],
    tolerance: float,
    middle: float = 0.9,
) -> list[str]:
    """A sentence that names the anchors outside the range of the middle share of the clips, if there are any.

    An anchor like the one dull clip in twenty is easier to know than one like all the rest. Lengths are drawn
    from all clips, so there the middle is all of them.
    """
    known = [value for clip in clips if (value := measure(clip)) is not None]
    if not known:
        return []
    low, high = np.quantile(known, ((1 - middle) / 2, (1 + middle) / 2))
    outside = [
        f"{Path(anchor.source_file).name} ({value:.1f} {unit})"
        for anchor in anchors
        if (value := measure(anchor)) is not None and not low - tolerance <= value <= high + tolerance
    ]
    if not outside:
        return []
    more = f" and {len(outside) - _MOST_NAMES} more" if len(outside) > _MOST_NAMES else ""
    named = f"{', '.join(outside[:_MOST_NAMES])}{more}"
    clips_have = f"{low:.1f} {unit}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} {unit}"
    return [
        f"{len(outside)} of {len(anchors)} anchors may be known by their {what}: {named}. "
        f"{'The' if middle == 1 else 'Most'} clips have {clips_have}."
    ]


def _bandwidth_khz(data: Path, study: Study, clip: Clip) -> float | None:
    """Of the normalised file; None for silence."""
    if clip.loudness_lufs is None:
        return None
    samples, sample_rate_hz = soundfile.read(clip_path(data, study, clip.name), dtype="float32")
    return bandwidth_hz(samples, sample_rate_hz) / 1000
