"""What people prefer to hear, by TuneJury's head A1 on the official CLAP (Kim et al. 2026, arXiv 2606.17006).

The head is licensed Apache-2.0 and was trained on 17,500 pairs of clips that people compared. It makes one
number of CLAP's embedding of a clip, without unit and without zero: only which of two is higher means
something. So a clip is shown as a *rank*: higher than so many per cent of reference clips, which the user
chooses (`core.zero_shot.measure_references`); nothing comes with MusicEval, and the values that TuneJury
publishes for its collections are another head's. Without reference clips there is no number.

Architecture: ``tunejury/model.py`` of github.com/yonghyunk1m/TuneJury. Two ways in which it hears otherwise
there: at its own loudness, not at the judge's; and 10 s of a clip at random, where here the clip's value is
the mean of all its windows.

The files lie beside the official CLAP, in ``preference/``: the head; its description; ``record.json`` with
their SHA-256, written at the first fetch (from the hub's newest revision) and verified from then on; and
``references.json``. Only tensors are read.
"""

import bisect
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import CheckpointError, shown_name
from core.files import json_text, sha256_of, write_atomically
from core.heads import EmbeddedClips, pool
from core.pinned import Official, PinnedFile, download, hub_errors, prepared_folder, verify
from core.scores import PreferenceRank
from core.towers import StartingTower
from core.towers.clap import SPECS
from core.towers.official import alone

REPOSITORY = "TuneJury/tunejury"
HEAD, DESCRIPTION = "A1_clap_audio_only.pt", "A1_clap_audio_only.json"
FOLDERS = ("input_ablation/", "")  # as its authors' repository has it, and as the hub's card does
HIDDEN = (1_024, 512, 256, 128)
OTHER_INPUTS = {"mert", "text"}  # that this head does without
MAX_BYTES = 20_000_000  # the head has 5 MB
LEAST_REFERENCES = 20  # with fewer, a clip more or less moves a rank by more than five points
RECORD, REFERENCES = "record.json", "references.json"

_AGAIN = "Give `python -m core fetch-clap --preference`."
_BY_HAND = f"Or lay {HEAD} and {DESCRIPTION} beside the copy of CLAP that --from names."
_NO_REFERENCES = (
    "The head knows which of two clips people prefer, and there are no reference clips to compare with, so there is "
    "no musical impression. Name a folder of clips: `python -m core fetch-clap --preference --reference FOLDER`."
)
_OTHER_REFERENCES = (
    "The reference clips were measured with another head, tower or input policy, so there is no musical impression. "
    "Measure them again: `python -m core fetch-clap --preference --reference FOLDER`."
)


class PreferenceHead(nn.Module):
    """TuneJury's network: embeddings (n, dim) to values (n,), of which only the order means something."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((dim, *HIDDEN), HIDDEN, strict=False):
            layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Dropout(0.5)]
        self.net = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], 1))

    def forward(self, audio: Tensor) -> Tensor:
        """Return the value of each embedding."""
        values: Tensor = self.net(audio)
        return values.squeeze(-1)


@dataclass(frozen=True)
class Preference:
    """The head, and the values of the reference clips, ascending; `why_none` says why there are none."""

    head: PreferenceHead
    head_sha256: str
    references: tuple[float, ...]
    why_none: str

    @property
    def sha256(self) -> str:
        """Of everything that a rank depends on."""
        return hashlib.sha256(json.dumps([self.head_sha256, self.references]).encode()).hexdigest()

    def rank(self, clips: EmbeddedClips) -> list[PreferenceRank]:
        """Rank each clip by the mean of its windows' values."""
        with torch.inference_mode():
            of_windows = self.head(clips.audio).double()[:, None]
            values = pool(of_windows, clips.owner, len(clips), clips.weight)[:, 0].tolist()
        return [self._rank(value) for value in values]

    def _rank(self, value: float) -> PreferenceRank:
        if self.why_none:
            return PreferenceRank(value, None, 0, self.why_none)
        lower = bisect.bisect_left(self.references, value)
        return PreferenceRank(value, 100.0 * lower / len(self.references), len(self.references), "")


def preference_folder(official: Official) -> Path:
    """Return where the head of an official tower is kept."""
    return prepared_folder(official) / "preference"


def fetch_preference(official: Official, beside: Path | None, report: Callable[[str], None]) -> Path:
    """Fetch the head and its description, or take them from a folder; record or verify their SHA-256.

    Returns the head's path; CheckpointError for whatever stands against it, and then nothing is recorded.
    """
    folder = preference_folder(official)
    with alone(folder, report):
        known = _recorded(folder)
        if known and all(_fits(folder, file) for file in known):
            report(f"The preference head is there and whole: {folder / HEAD}")
            return folder / HEAD
        if beside and (beside / HEAD).is_file():
            files = known or [_at_hand(beside / name) for name in (HEAD, DESCRIPTION)]
            for file in files:
                verify(beside / file.local_name, file)
                shutil.copyfile(beside / file.local_name, folder / file.local_name)
        else:
            files = known or _offered()
            report(f"Fetching {HEAD} of {REPOSITORY}, {files[0].shown_size}.")
            for file in files:
                download(file, folder, otherwise=_BY_HAND)
        try:
            _read_head(folder, official)
        except CheckpointError:
            for file in files:
                (folder / file.local_name).unlink()  # or the next call would take it for a download that is whole
            raise
        if not known:
            _record(folder, files)
        report(f"The preference head is ready: {folder / HEAD}")
    return folder / HEAD


def load_preference(start: StartingTower, official: Official) -> Preference | None:
    """Load the head that was fetched for an official tower; None where none was.

    CheckpointError where a file is not what it was when it was fetched.
    """
    folder = preference_folder(official)
    files = _recorded(folder)
    if not files:
        return None
    for file in files:
        verify(folder / file.local_name, file)
    head, sha256 = _read_head(folder, official), files[0].sha256
    if not (folder / REFERENCES).is_file():
        return Preference(head, sha256, (), _NO_REFERENCES)
    try:
        stored = json.loads((folder / REFERENCES).read_text(encoding="utf-8"))
        values = tuple(sorted(float(value) for value in stored["values"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{REFERENCES} of the preference head is damaged. Measure it again.") from error
    if stored.get("measured_with") != measured_with(start, sha256) or len(values) < LEAST_REFERENCES:
        return Preference(head, sha256, (), _OTHER_REFERENCES)
    return Preference(head, sha256, values, "")


def keep_references(official: Official, start: StartingTower, head_sha256: str, values: Mapping[str, float]) -> None:
    """Keep the head's values of reference clips, by the clips' SHA-256; CheckpointError where they are too few."""
    if len(values) < LEAST_REFERENCES:
        raise CheckpointError(
            f"There are {len(values)} different clips to compare with; a rank needs {LEAST_REFERENCES}. "
            "Nothing was kept."
        )
    content = {"measured_with": measured_with(start, head_sha256), "values": dict(values)}
    write_atomically(preference_folder(official) / REFERENCES, json_text(content))


def measured_with(start: StartingTower, head_sha256: str) -> dict[str, Any]:
    """Return what the values of clips depend on beside the clips."""
    return {"head": head_sha256, "tower": start.sha256, "policy": json.loads(json.dumps(asdict(start.policy)))}


def _offered() -> list[PinnedFile]:
    """Ask the hub for both files; the hash is known where the hub stores them by it."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    def ask(name: str) -> PinnedFile:
        offered = get_hf_file_metadata(hf_hub_url(REPOSITORY, name), token=False)
        size_bytes, etag = offered.size or 0, offered.etag or ""
        _check_size(name, size_bytes)
        sha256 = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else ""
        return PinnedFile(REPOSITORY, offered.commit_hash or "main", name, size_bytes, sha256)

    with hub_errors(f"{HEAD} of {REPOSITORY}", _BY_HAND):
        for folder in FOLDERS:
            try:
                return [ask(f"{folder}{HEAD}"), ask(f"{folder}{DESCRIPTION}")]
            except HfHubHTTPError as error:
                if error.response.status_code != 404 or folder == FOLDERS[-1]:
                    raise
    raise AssertionError("the last folder returns or raises")


def _at_hand(path: Path) -> PinnedFile:
    if not path.is_file():
        raise CheckpointError(f"{path.name} is missing beside {HEAD}. Copy it too.")
    _check_size(path.name, path.stat().st_size)
    return PinnedFile(REPOSITORY, "main", path.name, path.stat().st_size, "")


def _check_size(name: str, size_bytes: int) -> None:
    if not 0 < size_bytes <= MAX_BYTES:
        raise CheckpointError(
            f"{shown_name(Path(name).name)} has {size_bytes:,} bytes; the head has 5 MB, and no more than "
            f"{MAX_BYTES:,} are taken. It was not opened."
        )


def _record(folder: Path, files: Sequence[PinnedFile]) -> None:
    entries = [asdict(file) | {"sha256": sha256_of(folder / file.local_name)} for file in files]
    write_atomically(folder / RECORD, json_text(entries))


def _recorded(folder: Path) -> list[PinnedFile]:
    """The files that were fetched, the head first; none where there is no record."""
    if not (folder / RECORD).is_file():
        return []
    try:
        files = [PinnedFile(**entry) for entry in json.loads((folder / RECORD).read_text(encoding="utf-8"))]
        if [file.local_name for file in files] != [HEAD, DESCRIPTION] or not all(file.sha256 for file in files):
            raise ValueError("it is of other files")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{RECORD} of the preference head is damaged. Delete it. {_AGAIN}") from error
    return files


def _fits(folder: Path, file: PinnedFile) -> bool:
    try:
        verify(folder / file.local_name, file)
    except CheckpointError:
        return False
    return True


def _read_head(folder: Path, official: Official) -> PreferenceHead:
    """Build the head and fill it, strictly; CheckpointError for a file of anything else."""
    dim = SPECS[official.tower].joint_dim
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        fits = description["input_dim"] == dim and set(description["exclude"]) == OTHER_INPUTS
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{DESCRIPTION} does not describe a head of TuneJury. It was not used.") from error
    if not fits:
        raise CheckpointError(f"{DESCRIPTION} describes a head for other inputs than CLAP's {dim} numbers for audio.")
    head = PreferenceHead(dim)
    try:
        weights = torch.load(folder / HEAD, map_location="cpu", weights_only=True)
        head.load_state_dict(weights)
        if not all(bool(value.isfinite().all()) for value in weights.values()):
            raise ValueError("some weights are not finite")
    except Exception as error:  # of a pickle, anything may be wrong
        raise CheckpointError(
            f"{HEAD} holds more than tensors, or not those of TuneJury's network ({type(error).__name__}). "
            "It was not used."
        ) from error
    return head.eval().requires_grad_(False)
