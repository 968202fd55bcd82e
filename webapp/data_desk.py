"""What a judge is to learn from and how, on the page *Training*: looked through before the start, and uploaded.

Of an uploaded table every path must lead to a file that came with it: it is looked up by name, as in a clip list, and
written below the table. No other path is opened.
"""

import dataclasses
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from markupsafe import Markup

from annotation.export import write_training_data
from core.audio import AudioLimits
from core.batch.uploads import ClipFiles
from core.errors import AudioError, DataError, TrainingError, shown_name
from core.files import Problems, line_place, new_folder
from core.musiceval import read_source
from core.rated_clips import RatedClips
from core.splits import SPLITS
from core.tables import open_table
from core.training.check import DataCheck, look
from core.training.reasons import REASONS
from core.training.recipe import RECIPES, Recipe, TrainingPlan, changeable_fields, changed_recipe
from webapp.html import html_table, render
from webapp.imports import MOST_BYTES
from webapp.listening_api import StudyStore

_FILE_COLUMNS = ("audio_path", "file")
_MOST_ROWS = 10_000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,47}")


def on_server(given: str) -> Path:
    """Return the path of rated clips on the server."""
    path = Path(given.strip()).expanduser().absolute()
    if not given.strip() or not path.exists():
        raise TrainingError(
            f"There is nothing on the server at {shown_name(given)}. Give the path of a folder or a CSV file."
        )
    return path


def study_data(store: StudyStore, study: str | None) -> Path:
    """Write what a judge learns from a study into a new folder."""
    if not study:
        raise TrainingError("There is no study yet to train on. Choose a folder on the server.")
    at = datetime.now(UTC)
    folder = store.data.absolute() / "training" / f"{study}-{at:%Y%m%dT%H%M%S%f}"
    return write_training_data(store.database, store.data, study, folder, at)


def data_shown(plan: TrainingPlan) -> Markup:
    """Show what the data of a plan is, and what stands against training on it."""
    clips, check = look(plan)
    return render("training_data.html", check=check, table=_counts(clips, check), scales=_scales(clips))


def _counts(clips: RatedClips, check: DataCheck) -> Markup:
    ratings = clips.table["n_ratings"].dropna()
    per_clip = f"{int(ratings.sum()):,}, {ratings.min():.0f} to {ratings.max():.0f} a clip" if len(ratings) else "–"
    parts = ", ".join(f"{len(clips.rows(part)):,} {part}" for part in SPLITS)
    prompts = clips.table.loc[clips.table["prompt"] != "", "prompt"].nunique()
    rows = [("Clips", f"{len(clips):,}"), ("Parts", parts), ("Systems", f"{clips.n_systems or '–'}")]
    rows += [("Prompts", f"{prompts or '–'}"), ("Ratings", per_clip)]
    rows += [("Can be trained on", "no" if check.refusals else "yes")]
    return html_table("The data", ("What", "How many"), rows)


def _scales(clips: RatedClips) -> Markup:
    rows = []
    for scale in clips.scales:
        scores = clips.table[scale.key].dropna()
        known = (f"{scores.mean():.2f}", f"{scores.std():.2f}", f"{scores.min():.2f} to {scores.max():.2f}")
        rows.append((scale.title, len(scores), *(known if len(scores) > 1 else ("–",) * 3)))
    return html_table("Mean scores of its clips", ("Scale", "Clips", "Mean", "Deviation", "From and to"), rows)


def fields_table(name: str) -> Markup:
    """Show the fields of a recipe, what each means, and why it is so."""
    recipe = RECIPES.get(name)
    if recipe is None:
        return Markup()
    rows = [
        (field.name, _shown(getattr(recipe, field.name)), field.metadata["meaning"], REASONS[field.name])
        for field in changeable_fields()
    ]
    return html_table(f"Fields of {name}", ("Field", "Value", "Meaning", "Why"), rows)


def _shown(value: Any) -> str:
    return ("off", "on")[value] if isinstance(value, bool) else str(value) if isinstance(value, str) else f"{value:g}"


def recipe_of(name: str, changes: str) -> Recipe:
    """Return a recipe with other values of some fields, such as ``epochs=20, learning_rate=0.0003``."""
    known: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(Recipe)}
    given: dict[str, Any] = {}
    for part in re.split(r"[,\n;]", changes):
        if not part.strip():
            continue
        field, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign:
            raise TrainingError(f"{shown_name(part.strip())} is no field with a value. Write field=value.")
        given[field] = _value(known.get(field, str), field, value)
    return changed_recipe(name, given)


def _value(kind: Any, field: str, text: str) -> Any:
    try:
        return {"on": True, "off": False}[text] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        what = {bool: "on or off", int: "a whole number", float: "a number"}.get(kind, "a word")
        raise TrainingError(f"{field} is {shown_name(text)}; it must be {what}.") from error


def receive_data(data: Path, name: str, table: str | None, audio: Sequence[str], limits: AudioLimits) -> Path:
    """Write an uploaded table and its clips into a new folder of the data folder; return the table's path.

    All that is wrong with it is told at once, as of a table on the server.
    """
    if not table or not audio:
        raise TrainingError("Give a table of rated clips, and its audio files or a ZIP of them.")
    name, given = name.strip() or "data", Path(table)
    if not _NAME.fullmatch(name):
        raise TrainingError(f"{shown_name(name)} cannot be a name. Use up to 48 letters, digits and hyphens.")
    if given.stat().st_size > MOST_BYTES:
        raise TrainingError(f"The table has more than {MOST_BYTES / 1e6:g} MB. Split it.")
    folder = data.absolute() / "training" / f"uploaded.{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    with new_folder(folder) as unfinished:
        _write_clips(given, [Path(one) for one in audio], unfinished, limits)
        (unfinished / "ratings.csv").write_bytes(given.read_bytes())
        read_source(unfinished / "ratings.csv")  # what is wrong is told, and nothing stays
    return folder / "ratings.csv"


def _write_clips(table: Path, audio: Sequence[Path], folder: Path, limits: AudioLimits) -> None:
    problems, files = Problems(table.name), dict[str, str]()
    read = open_table(table, (), ())
    column = next((name for name in _FILE_COLUMNS if name in read.columns), None)
    if column is None:
        raise DataError(f"{shown_name(table.name)} has no column {' or '.join(_FILE_COLUMNS)}, so no clip is named.")
    for n_rows, line in enumerate(read.rows(problems), 1):
        if n_rows > _MOST_ROWS:
            raise DataError(f"{shown_name(table.name)} has more than {_MOST_ROWS:,} rows. Split it.")
        if cell := str(line.cells[column] or ""):
            files.setdefault(cell, line_place(table.name, line.number))
    with ClipFiles(audio, files, limits) as clips:
        for cell, place in files.items():
            path = PurePosixPath(cell.replace("\\", "/"))
            if path.is_absolute() or ":" in cell or ".." in path.parts:
                problems.add(place, f"{shown_name(cell)} leads out of the table's folder")
                continue
            try:
                source = clips.find(cell)
            except AudioError as error:
                problems.add(place, str(error).rstrip("."))
                continue
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(source.read_bytes() if isinstance(source, Path) else bytes(source))  # type: ignore[arg-type]
    problems.stop_if_any()
