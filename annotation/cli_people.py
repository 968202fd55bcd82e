"""The commands by which raters join a study by themselves, and by which their personal data is given out and erased."""

from pathlib import Path

import click

from annotation.cli_options import hint, now, of_study, one_line, opened, with_reason
from core.errors import StudyError, shown_name
from core.files import write_atomically


@click.command()
@of_study
@click.option("--raters", type=int, default=100, metavar="N", help="how many may join in all (default: 100)")
@click.option("--off", is_flag=True, help="nobody joins until it is set again without this")
@click.option("--new-link", is_flag=True, help="make another link; the old one ends")
@click.option("--completion-code", metavar="TEXT", callback=one_line, default="", help="what raters see who are done")
@click.option("--return-address", metavar="URL", callback=one_line, default="", help="https, where a button leads then")
@click.option(
    "--parameter", "parameters", metavar="NAME", multiple=True, help="of the link, that is kept: PROLIFIC_PID"
)
@click.option("--after-batches", type=int, default=0, metavar="N", help="how many batches are enough (default: all)")
def enrol(
    study: str,
    raters: int,
    off: bool,
    new_link: bool,
    completion_code: str,
    return_address: str,
    parameters: tuple[str, ...],
    after_batches: int,
) -> None:
    """Let raters join by themselves, by a link; what is not given is as it is by default."""
    from annotation.enrolment import Enrolment, set_enrolment
    from annotation.studies import find_study

    wanted = Enrolment(raters, not off, completion_code, return_address, parameters, after_batches)
    with opened() as (database, _), database.write() as session:
        made = set_enrolment(session, find_study(session, study), wanted, now(session), new_link)
    more = "".join(f"&{name}=VALUE" for name in made.parameters)
    print(f"/listening/#join-{made.key}{more}")
    taken = f"takes {made.limit} raters in all" if made.on else "takes nobody now"
    hint(f"The link {taken}. Put the address of the server before it.")


@click.command()
@of_study
@click.option("-o", "--output", metavar="FILE", type=Path, required=True, help="a new file (.csv)")
def joined(study: str, output: Path) -> None:
    """Write who joined by the link, with what it carried; for whoever runs the study alone."""
    from annotation.enrolment import joined_table
    from annotation.studies import find_study
    from core.rated_clips import write_csv

    if output.exists():
        raise StudyError(f"{shown_name(output.name)} is there already. Give a new file.")
    with opened() as (database, _), database.read() as session:
        table = joined_table(session, find_study(session, study))
    try:
        write_csv(table, output)
    except OSError as error:
        raise StudyError(f"{shown_name(output.name)} cannot be written: {error.strerror}.") from error
    print(f"{output}: raters who joined by the link: {len(table)}")


_rater = click.option("--rater", metavar="RATER", callback=one_line, required=True, help="as status shows them (R03)")


@click.command("personal-data")
@of_study
@_rater
@click.option("-o", "--output", metavar="FILE", type=Path, required=True, help="a new file (.json)")
def give_personal_data(study: str, rater: str, output: Path) -> None:
    """Write all that is held on a rater, for them, as JSON."""
    from annotation.personal import as_text, personal_data
    from annotation.studies import find_study

    if output.exists():
        raise StudyError(f"{shown_name(output.name)} is there already. Give a new file.")
    with opened() as (database, _), database.read() as session:
        found = personal_data(session, find_study(session, study), rater, now(session))
    try:
        write_atomically(output, as_text(found).encode())
    except OSError as error:
        raise StudyError(f"{shown_name(output.name)} cannot be written: {error.strerror}.") from error
    print(f"{output}: what is held on {rater}, rows: {sum(map(len, found['held'].values()))}")
    hint("It has no clips. Exports and backups have what they had when they were made.")


@click.command()
@of_study
@_rater
@click.option("--comments", is_flag=True, help="their comments too")
@with_reason
def erase(study: str, rater: str, comments: bool, reason: str) -> None:
    """Erase what a rater said of themselves; their ratings stay, and count as before."""
    from annotation import life
    from annotation.studies import find_study

    with opened() as (database, _), database.write() as session:
        done = life.erase(session, find_study(session, study), rater, now(session), comments, reason)
    print(f"Erased of {rater}: {', '.join(f'{count} {what}' for what, count in done.items())}. Their ratings stay.")
    hint("Exports and backups that were made before have it still.")
