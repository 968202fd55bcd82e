"""The commands that show what a study has come to beside what a judge says, and all of it as a report."""

from pathlib import Path

import click

from annotation.cli_options import of_study, opened, print_found, progress
from core.command import as_json
from core.errors import StudyError, shown_name
from core.settings import Settings


@click.command()
@of_study
@click.option("--model", metavar="DIR", type=Path, help="folder of a model (default: the judge of the settings)")
@as_json
def panel(study: str, model: Path | None, as_json: bool) -> None:
    """Let a judge score the rated clips, and show where it agrees with the panel and where it does not."""
    from annotation.results.judged import LoadedJudge, judge_beside_panel

    with opened() as (database, data), progress("clip") as show:
        judge = LoadedJudge.load(model, Settings.from_environment())
        found = judge_beside_panel(database, data, study, judge, show)
    print_found(found, as_json)


@click.command()
@of_study
@click.option("-o", "--output", metavar="FILE", type=Path, required=True, help="a new file (.html)")
@click.option("--judge", metavar="DIR", type=Path, help="folder of a model that is set beside the panel")
@click.option("--attributes", metavar="FILE", type=Path, help="table with the columns system and attribute")
def report(study: str, output: Path, judge: Path | None, attributes: Path | None) -> None:
    """Write method, panel, screening, figures and tables as one HTML file that needs no network."""
    from annotation.report.document import report
    from annotation.results.attributes import read_attributes
    from annotation.results.judged import LoadedJudge, judge_beside_panel
    from core.files import sha256_of, write_atomically

    if output.exists():
        raise StudyError(f"{shown_name(output.name)} is there already. Give a new file.")
    of_systems = read_attributes(attributes) if attributes else None
    with opened() as (database, data), progress("clip") as show:
        loaded = LoadedJudge.load(judge, Settings.from_environment()) if judge else None
        judged = judge_beside_panel(database, data, study, loaded, show) if loaded else None
        written = report(database, study, judged=judged, attributes=of_systems)
    try:
        write_atomically(output, written.html())
    except OSError as error:
        raise StudyError(f"{shown_name(output.name)} cannot be written: {error.strerror}.") from error
    print(f"{output}: report of {study}, SHA-256 {sha256_of(output)}")
    print(f"ratings {written.ratings_sha256}")
