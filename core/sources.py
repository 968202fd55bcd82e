"""Rated clips from wherever they are: a release of MusicEval, a study of our own, a table."""

from pathlib import Path

from core.errors import DataError, shown_name
from core.musiceval import is_release, read_release
from core.ratings import RatedClips

EXPORTED = "rated_clips.csv"


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
