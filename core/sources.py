"""Rated clips from wherever they are: a release of MusicEval, a study of our own, a table.

Ratings that nobody gave are known by what lies beside them: a file ``SIMULATED`` in a composed data set, or
``"demo": true`` in the ``manifest.json`` of an exported study.
"""

import json
from pathlib import Path

from core.errors import DataError, shown_name
from core.musiceval import is_release, read_release
from core.ratings import RatedClips

EXPORTED = "rated_clips.csv"
MANIFEST = "manifest.json"
SIMULATED = "SIMULATED"


def read_source(path: Path) -> RatedClips:
    """Read rated clips.

    Parameters
    ----------
    path : Path
        A folder in the layout of the MusicEval release (`core.musiceval`), the export of a study (a folder
        with ``rated_clips.csv``), or a CSV file (`core.ratings.RatedClips.from_csv`).

    Raises
    ------
    DataError
        It is none of these, or holds no clips, or something is wrong with it; the message says all of it.
    """
    if path.is_dir() and is_release(path):
        return read_release(path)
    file = path / EXPORTED if path.is_dir() else path
    if not file.is_file():
        raise DataError(
            f"{shown_name(path.name)} is not rated clips. Give a release folder (with sets/), the export of "
            f"a study (with {EXPORTED}), or a CSV file."
        )
    clips = RatedClips.from_csv(file)
    if not len(clips):
        raise DataError(f"{shown_name(path.name)} holds no rated clips.")
    return clips


def is_simulated(path: Path) -> bool:
    """Tell whether the ratings that `read_source` reads from a path are simulated.

    Parameters
    ----------
    path : Path
        A release folder, an export, or a CSV file: then what lies beside it counts.

    Raises
    ------
    DataError
        There is a manifest that cannot be read.
    """
    folder = path if path.is_dir() else path.parent
    if (folder / SIMULATED).is_file():
        return True
    if not (folder / MANIFEST).is_file():
        return False
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{MANIFEST} beside the rated clips is damaged. Export the study again.") from error
    return isinstance(manifest, dict) and manifest.get("demo") is True
