"""The commands that make backups, verify them and bring them back."""

from pathlib import Path

import click

from annotation.cli_options import hint, opened
from core.command import at_most_one
from core.settings import Settings

_url = click.argument("url", metavar="URL")


@click.command()
@click.option("-o", "--output", metavar="FILE", type=Path, help="a new file, for the database alone")
@click.option("--to", metavar="URL", help="a folder or fsspec's URL of one, for database and clips")
@click.option("--keep", type=click.IntRange(min=1), default=10, metavar="N", help="so many of the newest stay there")
def backup(output: Path | None, to: str | None, keep: int) -> None:
    """Back up all studies while raters work: the database, and with --to the clips too.

    A copy of the file that the system makes may lack the latest ratings.
    """
    at_most_one(required=True, output=output, to=to)
    with opened() as (database, data):
        if output is not None:
            database.backup(output)
            print(f"{output}: a copy of the database; the clips are not in it.")
            return
        from annotation.backups.snapshots import back_up
        from annotation.backups.storage import Storage

        print(back_up(database, data, Storage(to or ""), keep).text())


@click.command()
@_url
def verify_backup(url: str) -> None:
    """Read the newest whole backup, check every hash in it, and count its ratings."""
    from annotation.backups.snapshots import verify
    from annotation.backups.storage import Storage

    found = verify(Storage(url), hint)
    found.refuse_amiss()
    print(f"{found.text()}\nEvery hash in it is right.")


@click.command()
@_url
def restore_backup(url: str) -> None:
    """Bring the newest whole backup back, where there is no study yet."""
    from annotation.backups.snapshots import restore
    from annotation.backups.storage import Storage
    from annotation.database import file_of

    settings = Settings.from_environment()
    found = restore(Storage(url), file_of(settings.database_url), settings.data, hint)
    print(f"{found.text()}\nThey are in the folder {settings.data}.")


@click.command("copy")
@click.argument("source", metavar="SRC_URL")
@click.argument("target", metavar="DST_URL")
def copy_database(source: str, target: str) -> None:
    """Copy everything of one database into another, empty one: SQLite or PostgreSQL, either way.

    The clips' files stay where they are; who is signed in to administrate signs in anew.
    """
    from annotation.copying import copy

    found = copy(source, target)
    print(f"{found.caption}:\n{found.text()}")
