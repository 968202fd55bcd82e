"""What the commands of the listening test share: arguments, the database of the settings, hints."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.command import print_json, progress_bar
from core.errors import StudyError, shown_name
from core.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from annotation.database import Database


def one_line(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    """Take one line of text: no control characters, no bytes that are not UTF-8."""
    if given is not None and not given.isprintable():
        raise click.BadParameter("give one line of text")
    return given


of_study = click.argument("study", metavar="STUDY", callback=one_line)


with_reason = click.option("--reason", metavar="TEXT", callback=one_line, default="", help="why, for the log")


may_be_lost = click.option(
    "--ratings-may-be-lost", is_flag=True, help="open it though ratings may be lost, and you know that"
)


def refuse_loss(known: bool) -> None:
    """Raise `StudyError` where ratings may be lost, and nobody says that they know."""
    from annotation.durability import danger_of, refuse_unknown

    refuse_unknown(danger_of(Settings.from_environment()), known)


def text_of(file: Path) -> str:
    """Return what a text file says."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{shown_name(file.name)} cannot be read as a text in UTF-8.") from error


@contextlib.contextmanager
def progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows on a terminal how many of how many are done."""
    with progress_bar(unit=unit, disable=None, leave=False) as show:
        yield lambda done, total: show(done, total=total)


@contextlib.contextmanager
def opened(new: bool = False) -> "Iterator[tuple[Database, Path]]":
    """Open the database and the data folder of the settings; only a new study makes one."""
    from annotation.backups.durable import open_studies

    settings = Settings.from_environment()
    if (
        not new
        and not settings.journal_url
        and not settings.database
        and not (settings.data / "musiceval.sqlite").exists()
    ):
        raise StudyError(
            f"There are no studies in {settings.data}. Create one, or name its folder with MUSICEVAL_DATA."
        )
    database = open_studies(settings, hint)
    try:
        yield database, settings.data
    finally:
        database.close()


def print_found(found: Any, as_json: bool) -> None:
    """Print a result as one JSON object, or in words."""
    if as_json:
        print_json(found.to_json(), ascii_only=False)
    else:
        print(found.text())


def hint(sentence: str) -> None:
    """Print beside the result, for whoever sits before it."""
    print(sentence, file=sys.stderr)


def say_next(command: str) -> None:
    """Say which command comes next."""
    commands = click.get_current_context().parent
    hint(f"Next: {commands.command_path if commands else ''} {command}")


def now(session: "Session") -> datetime:
    """Return the time by the database, whose times never run backwards."""
    from annotation.database import now

    return now(session)


def wall_time() -> datetime:
    """Return the time of the machine."""
    return datetime.now(UTC)
