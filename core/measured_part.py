"""Which clips a model is measured on, and how many of them it knows.

A trained model is best measured on the part that its own split held out; the folder of its training run says
which that is, and of what data. With other data, another split, or the same audio under other names, some of
the clips may be ones that it was trained on: then that is said. Audio is known by the SHA-256 of its file.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import DataError
from core.files import Problems
from core.model_files import RUN_FILE, SPLIT_FILE, damaged
from core.rated_clips import RatedClips, audio_sha256, data_sha256
from core.splits import SPLITS, Split, split_clips
from core.tables import open_table

ALL = "all"


@dataclass(frozen=True)
class MeasuredClips:
    """Clips to measure a model on, one of `SPLITS` or `ALL`, and what belongs to their figures in sentences.

    `parted` are all the clips with their parts: those of the split asked for, or of the model's own.
    """

    clips: RatedClips
    part: str
    notes: tuple[str, ...]
    parted: RatedClips


@dataclass(frozen=True)
class OwnSplit:
    """The parts of a model's own split, by clip and by the SHA-256 of the audio; empty where it is not known."""

    clips: Mapping[str, str] = field(default_factory=dict)
    audio: Mapping[str, str] = field(default_factory=dict)  # older folders do not have it


def choose_clips(clips: RatedClips, model: Path, split: Split | None = None, part: str | None = None) -> MeasuredClips:
    """Choose the clips to measure a model on."""
    own = own_split(model)
    is_same = bool(own.clips) and _own_data(model) == data_sha256(clips)
    if split is not None:
        parted, how = split_clips(clips, split), f"of the split: {split.in_words()}"
    elif is_same:
        if not own.clips.keys() >= set(clips.table["clip_id"]):
            raise damaged(model / SPLIT_FILE)
        parted, how = clips.with_parts([own.clips[of] for of in clips.table["clip_id"]]), "of the model's own split"
    else:
        parted, how = clips.with_parts([""] * len(clips)), "without a split"
    part = part or next((part for part in ("test", "dev") if parted.rows(part)), ALL)
    rows = [*range(len(parted))] if part == ALL else parted.rows(part)
    if not rows:
        raise DataError(f"There are no clips in the {part} part {how}. Give a split, or another part.")
    what = f"the {part} part, {len(rows)} of {len(clips)} clips, {how}"
    what = f"all {len(clips)} clips" if part == ALL else what
    audio = audio_sha256(clips)
    if is_same and not own.audio:
        own = OwnSplit(own.clips, parts_of_audio(audio, [own.clips[of] for of in clips.table["clip_id"]]))
    chosen, heard = parted.take(rows), [audio[row] for row in rows]
    notes = (f"Measured on {what}.", _known(chosen, heard, own))
    return MeasuredClips(chosen, part, notes, parted)


def own_split(model: Path) -> OwnSplit:
    """Read a model's own split, as ``split.csv`` of its folder has it."""
    if not (model / SPLIT_FILE).is_file():
        return OwnSplit()
    problems = Problems(SPLIT_FILE)
    rows = [line.cells for line in open_table(model / SPLIT_FILE, ["clip_id", "split"]).rows(problems)]
    parts = {cells.get("clip_id", ""): cells.get("split", "") for cells in rows}
    if problems.found or "" in parts or not set(parts.values()) <= set(SPLITS):
        raise damaged(model / SPLIT_FILE)
    if not all(cells.get("audio_sha256") for cells in rows):
        return OwnSplit(parts)
    return OwnSplit(parts, parts_of_audio([cells["audio_sha256"] for cells in rows], list(parts.values())))


def parts_of_audio(audio: Sequence[str], parts: Sequence[str]) -> dict[str, str]:
    """Return the part by audio; of audio in several parts the one that the model learned most from."""
    pairs = list(zip(audio, parts, strict=True))
    return {sound: part for wanted in reversed(SPLITS) for sound, part in pairs if part == wanted}


def _own_data(model: Path) -> str | None:
    """Hash of the data that a model was trained on, where its folder says."""
    if not (model / RUN_FILE).is_file():
        return None
    try:
        return str(json.loads((model / RUN_FILE).read_bytes())["data"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(model / RUN_FILE) from error


def _known(chosen: RatedClips, heard: Sequence[str], own: OwnSplit) -> str:
    """Say how many of the clips the model was trained on, or stopped on."""
    if not own.clips:
        return "The model does not say which clips it was trained on."
    if not own.audio:
        names = [own.clips.get(clip_id) for clip_id in chosen.table["clip_id"]]
        known = names.count("train") + names.count("dev")
        return (
            "The model was trained on other data; "
            f"{known} of these {len(names)} clips have names of clips that it was trained with."
        )
    parts = [own.audio.get(sound) for sound in heard]
    train, dev = parts.count("train"), parts.count("dev")
    if train + dev == 0:
        return "The model was trained on the audio of none of them."
    return (
        f"The model was trained on the audio of {train} of these {len(parts)} clips, and its training was stopped "
        f"by {dev} of them: this is not how well it judges clips that it does not know."
    )
