"""The command that makes a study from ratings that exist already."""

import os
from pathlib import Path

import click

from annotation.cli_options import of_study, opened, progress, say_next, text_of, wall_time
from core.settings import Settings


@click.command("import")
@of_study
@click.argument("path", metavar="PATH", type=Path)
@click.option("--column", "columns", metavar="PART=NAME", multiple=True, help="a table's column: clip=sample_id")
@click.option("--scales", metavar="FILE", type=Path, help="JSON: what a table rates (default: by its columns)")
@click.option("--without-audio", is_flag=True, help="the sound files that a table names are not read")
def import_ratings(study: str, path: Path, columns: tuple[str, ...], scales: Path | None, without_audio: bool) -> None:
    """Make a study that has ended from ratings that exist already.

    PATH is a table of single ratings, a MusicEval release with person_mos, or the folder of a study's export.
    """
    from annotation.imports.reading import parse_columns
    from annotation.imports.store import import_ratings
    from annotation.studies import parse_scales

    asked = parse_scales(text_of(scales)) if scales else None
    limits = Settings.from_environment(os.environ).limits
    with opened(new=True) as (database, data), progress("clip") as show:
        given = (database, data, study, path, wall_time(), parse_columns(columns), asked, limits, show)
        report = import_ratings(*given, with_audio=not without_audio)
    print(report)
    say_next(f"report {study} --output FILE")
