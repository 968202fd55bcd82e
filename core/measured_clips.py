"""Which clips a trained model is measured on, and which of them it knows.

A model is best measured on the part that its own split held out; the folder of its training run says which
that is, and of what data. With other data, or with another split, some of the clips may be ones that it was
trained on: then that is said.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from core.checkpoint import damaged
from core.embedded_clips import data_sha256
from core.errors import DataError
from core.ratings import SPLITS, RatedClips, unescape_cell
from core.splits import Split, split_clips
from core.tables import read_csv
from core.training.run_folder import RUN_FILE, SPLIT_FILE

ALL = "all"
PARTS = (*SPLITS, ALL)


@dataclass(frozen=True)
class MeasuredClips:
    """Clips to measure a model on.

    Attributes
    ----------
    clips : RatedClips
    part : str
        One of `PARTS`.
    notes : tuple of str
        Sentences that belong to the figures: which clips these are, and which of them the model knows.
    """

    clips: RatedClips
    part: str
    notes: tuple[str, ...]


def choose_clips(
    clips: RatedClips, model: Path, split: Split | None = None, part: str | None = None
) -> MeasuredClips:
    """Choose the clips to measure a model on.

    Parameters
    ----------
    clips : RatedClips
        All of the data.
    model : Path
        Folder of the model.
    split : Split, optional
        Without it the model's own, where it was trained on this data; else all clips are measured.
    part : str, optional
        One of `PARTS`. Without it the test part, or the dev part where there is none, or all clips where
        there is no split.

    Raises
    ------
    DataError
        The part has no clips, or the data cannot be split so.
    CheckpointError
        A file of the model's folder is damaged.
    """
    own = own_parts(model)
    is_same = bool(own) and _own_data(model) == data_sha256(clips)
    if split is not None:
        parted, how = split_clips(clips, split), f"of the split: {describe(split)}"
    elif is_same:
        parted, how = _own_split(clips, model, own), "of the model's own split"
    else:
        parted, how = RatedClips(clips.table.assign(split="")), "without a split"
    part = part or _usual_part(parted)
    chosen = parted if part == ALL else RatedClips(parted.table[parted.table["split"] == part])
    if not len(chosen):
        raise DataError(f"There are no clips in the {part} part {how}. Give a split, or another part.")
    what = f"the {part} part, {len(chosen)} of {len(clips)} clips, {how}"
    what = f"all {len(clips)} clips" if part == ALL else what
    return MeasuredClips(chosen, part, (f"Measured on {what}.", _known(chosen, own, is_same)))


def own_parts(model: Path) -> dict[str, str]:
    """Part by clip of the split that a model was trained with; empty where its folder does not say.

    Raises
    ------
    CheckpointError
        The file is damaged.
    """
    if not (model / SPLIT_FILE).is_file():
        return {}
    _, rows, problems = read_csv(model / SPLIT_FILE)
    parts = {unescape_cell(cells.get("clip_id", "")): cells.get("split", "") for _, cells in rows}
    if problems.found or "" in parts or not set(parts.values()) <= set(SPLITS):
        raise damaged(model / SPLIT_FILE)
    return parts


def describe(split: Split) -> str:
    """Say how clips are split, in a few words."""
    if split.kind == "official":
        return "official"
    what = "clips at random" if split.kind == "random" else f"{split.kind} held out"
    fold = f", fold {split.fold} of {split.folds}" if split.folds else ""
    return f"{what}{fold}, seed {split.seed}"


def _own_data(model: Path) -> str | None:
    """Hash of the data that a model was trained on, where its folder says."""
    if not (model / RUN_FILE).is_file():
        return None
    try:
        return str(json.loads((model / RUN_FILE).read_bytes())["data"]["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(model / RUN_FILE) from error


def _own_split(clips: RatedClips, model: Path, own: Mapping[str, str]) -> RatedClips:
    if not own.keys() >= set(clips.table["clip_id"]):
        raise damaged(model / SPLIT_FILE)
    return RatedClips(clips.table.assign(split=[own[clip_id] for clip_id in clips.table["clip_id"]]))


def _usual_part(clips: RatedClips) -> str:
    there = set(clips.table["split"])
    return next((part for part in ("test", "dev") if part in there), ALL)


def _known(chosen: RatedClips, own: Mapping[str, str], is_same: bool) -> str:
    """Say how many of the clips the model was trained on, or stopped on."""
    if not own:
        return "The model does not say which clips it was trained on."
    parts = [own.get(clip_id) for clip_id in chosen.table["clip_id"]]
    train, dev = parts.count("train"), parts.count("dev")
    if not is_same:
        return (
            "The model was trained on other data; "
            f"{train + dev} of these {len(parts)} clips have names of clips that it was trained with."
        )
    if train + dev == 0:
        return "The model was trained on none of them."
    return (
        f"The model was trained on {train} of these {len(parts)} clips, and its training was stopped by "
        f"{dev} of them: this is not how well it judges clips that it does not know."
    )
