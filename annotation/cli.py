"""The command line of the listening test: ``python -m annotation COMMAND STUDY``.

A result goes to stdout, a hint beside it to stderr. What holds for every command line, and why it is made
with Click, stands in `core.command`.
"""

import copy
import dataclasses
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from annotation.cli_backups import backup, copy_database, restore_backup, verify_backup
from annotation.cli_options import (
    hint,
    may_be_lost,
    now,
    of_study,
    one_line,
    opened,
    print_found,
    progress,
    refuse_loss,
    say_next,
    text_of,
    wall_time,
    with_reason,
)
from annotation.cli_people import enrol, erase, give_personal_data, joined
from annotation.cli_results import panel, report
from annotation.plans import SimulationPlan, StressPlan
from annotation.protocol import SCREENING, Protocol
from core.command import Group, as_json, at_most_one, fields_as_one, run_command
from core.errors import StudyError
from core.files import first_of
from core.scales import MUSICEVAL
from core.settings import Settings

# A simulated study has no sound; its rules are options of their own.
_NOT_SIMULATED = {
    "sample_rate_hz",
    "loudness_lufs",
    "peak_dbtp",
    "excerpt_start_s",
    "excerpt_length_s",
    "fade_ms",
    "headphones",
    "protocol",
}


def _simulated(plan: type) -> "list[dataclasses.Field[Any]]":
    return [field for field in dataclasses.fields(plan) if field.name not in _NOT_SIMULATED]


def _as_in_the_study(rule: "dataclasses.Field[Any]") -> "dataclasses.Field[Any]":
    """Return the rule as an option that need not be given."""
    option = copy.copy(rule)
    option.default = dataclasses.MISSING
    return option


app = Group(help="Set up and run expert listening tests.")


@app.command()
@of_study
@click.option("--seed", type=int, metavar="N", help="from which all orders are drawn (default: any)")
@click.option("--draft", is_flag=True, help="no rater can work in it before it is opened")
@may_be_lost
@click.option("--scales", metavar="FILE", type=Path, help="JSON: what is asked of each clip (default: MusicEval's)")
@fields_as_one("rules", dataclasses.fields(Protocol))
def create(
    study: str, seed: int | None, draft: bool, scales: Path | None, ratings_may_be_lost: bool, rules: dict[str, Any]
) -> None:
    """Create a study; its rules are fixed from then on."""
    from annotation.rules import consequences
    from annotation.sequential import pausing
    from annotation.studies import create, parse_scales

    asked = parse_scales(text_of(scales)) if scales else MUSICEVAL
    protocol = Protocol(**rules)
    seed = secrets.randbelow(2**31) if seed is None else seed
    if not draft:
        refuse_loss(ratings_may_be_lost)
    with opened(new=True) as (database, data):
        with database.write() as session:
            made = create(
                session, study, protocol, seed, now(session), scales=asked, state="draft" if draft else "open"
            )
        print(f"The study {study} is created in the folder {data}.")
    print(f"{pausing(protocol, made.scales)}.")
    for sentence in consequences(protocol, made.scales):
        print(f"! {sentence}")
    say_next(f"ingest {study} MANIFEST")


@app.command()
@of_study
@click.option("--title", metavar="TEXT", callback=one_line, help="above the test")
@click.option("--contact", metavar="TEXT", callback=one_line, help="whom raters ask")
@click.option("--instructions", metavar="FILE", type=Path, help="a text file: shown before the clips")
@click.option("--consent", metavar="FILE", type=Path, help="a text file: what raters agree to")
@click.option("--questions", metavar="FILE", type=Path, help="JSON: what raters are asked about themselves")
@click.option("--translations", metavar="FILE", type=Path, help="JSON: all of these in other languages")
def describe(study: str, title: str | None, contact: str | None, **files: Path | None) -> None:
    """Set the texts that raters see; those that are not given stay."""
    from annotation import life
    from annotation.studies import find_study

    lines = {"title": title, "contact": contact}
    texts = {name: text for name, text in lines.items() if text is not None}
    texts |= {name: text_of(file) for name, file in files.items() if file is not None}
    with opened() as (database, _), database.write() as session:
        life.describe(session, find_study(session, study), texts, now(session))
    print(f"Texts set: {', '.join(texts) or 'none'}.")


@app.command()
@of_study
@click.option("--rater", metavar="RATER", callback=one_line, required=True, help="as status shows them (R03)")
@click.option("--drop-ratings", is_flag=True, help="leave their ratings out of the count")
@with_reason
def withdraw(study: str, rater: str, drop_ratings: bool, reason: str) -> None:
    """Take a rater out: their code, devices and open batch end."""
    from annotation import life
    from annotation.studies import find_study

    with opened() as (database, _), database.write() as session:
        life.withdraw(session, find_study(session, study), rater, now(session), drop_ratings, reason)
    print(f"{rater} has withdrawn. Their ratings {'are left out of the count' if drop_ratings else 'stay'}.")


@app.command("list")
def list_studies() -> None:
    """List the studies, the newest first."""
    from annotation.results.status import studies_table

    with opened() as (database, data), database.read() as session:
        print(studies_table(session).text())
    hint(f"They lie in the folder {data}.")


@app.command()
@of_study
def show(study: str) -> None:
    """Show the rules and the scales of a study."""
    from annotation.results import Table
    from annotation.studies import find_study, imported_from

    with opened() as (database, _), database.read() as session:
        found = find_study(session, study)
    rules = [(f"--{name.replace('_', '-')}", *of) for name, *of in found.protocol.described()]
    print(f"Study {found.name}, created {found.created_at:%Y-%m-%d %H:%M} UTC, seed {found.seed}")
    print(f"Scales: {', '.join(scale.title for scale in found.scales)}\n")
    if found.imported is not None:
        print(f"{imported_from(found)}\n")
    if not found.has_batches:
        return
    print(Table("Rules", ("Rule", "Value", "Meaning"), rules).text())


@app.command()
@of_study
@click.argument("name", metavar="NAME", callback=one_line)
def rename(study: str, name: str) -> None:
    """Give a study another name."""
    from annotation import studies

    with opened() as (database, data), database.write() as session:
        studies.rename(session, data, studies.find_study(session, study), name)
    print(f"The study {study} is now called {name}.")


@app.command()
@of_study
@click.option("--with-answers", is_flag=True, help="of an archived study, what raters said too; export it first")
def delete(study: str, with_answers: bool) -> None:
    """Delete a study; one in which raters have answered only if it is archived, and that is meant."""
    from annotation import life, studies

    with opened() as (database, data):
        with database.write() as session:
            found = studies.find_study(session, study)
            folder = studies.study_folder(data, found)
            life.delete(session, found, with_answers)
        print(f"The study {study} is deleted.")
    if folder.exists():
        hint(f"Its clips stay in {folder}; delete the folder if nobody needs them.")


def _move(name: str, meaning: str) -> None:
    """Add ``archive`` or ``unarchive``."""

    @app.command(name, help=meaning)
    @of_study
    @with_reason
    def move(study: str, reason: str) -> None:
        _brought(study, name, reason)


def _hold(name: str, meaning: str) -> None:
    """Add ``open`` or ``pause``, of a study or of one rater."""
    opening: Callable[..., Any] = may_be_lost if name == "open" else lambda function: function

    @app.command(name, help=meaning)
    @of_study
    @click.option("--rater", metavar="RATER", callback=one_line, help="only this rater (R03); give a reason")
    @opening
    @with_reason
    def move(study: str, rater: str | None, reason: str, ratings_may_be_lost: bool = False) -> None:
        if rater is None:
            if name == "open":
                refuse_loss(ratings_may_be_lost)
            _brought(study, name, reason)
            return
        from annotation.session import holds
        from annotation.studies import find_rater, find_study

        act, done = (holds.pause, "gets no batch") if name == "pause" else (holds.resume, "goes on")
        with opened() as (database, _), database.write() as session:
            act(session, find_rater(session, find_study(session, study), rater), reason, "command line", now(session))
        print(f"{rater} {done}.")


def _brought(study: str, name: str, reason: str) -> None:
    from annotation import life
    from annotation.studies import find_study

    with opened() as (database, _), database.write() as session:
        ended = life.move(session, find_study(session, study), name, now(session), reason)
    move = life.MOVES[name]
    print(f"The study {study} is {move.done}. {move.follows}{f' Batches ended: {ended}.' if ended else ''}")


_hold("open", "Let raters work in a study that is a draft, paused or closed; or a paused rater go on.")
_hold("pause", "Let no rater work, or not one of them, until that is taken back; each goes on where they were.")


@app.command()
@of_study
@click.option("--rater", metavar="RATER", callback=one_line, help="only the open batch of this rater (R03)")
@with_reason
def close(study: str, rater: str | None, reason: str) -> None:
    """Close a study: it takes no further rating, and batches that are open end.

    With --rater, end the open batch of one rater alone, so that its ratings count.
    """
    from annotation.session import exclusions
    from annotation.studies import find_rater, find_study

    if rater is None:
        _brought(study, "close", reason)
        return
    with opened() as (database, _), database.write() as session:
        batch = exclusions.close_in_hand(session, find_rater(session, find_study(session, study), rater), now(session))
    print(f"Batch {batch.number} of {rater} is closed: {batch.state}.")


_move("archive", "Put a study that is closed or a draft aside; it stays as it is.")
_move("unarchive", "Take a study out of the archive; it is closed then.")


@app.command()
@of_study
@click.argument("manifest", metavar="MANIFEST", type=Path)
def ingest(study: str, manifest: Path) -> None:
    """Add clips, anchors and practice clips from a CSV file.

    MANIFEST has the columns file, prompt, system and more.
    """
    from annotation.material.ingest import ingest
    from annotation.results.progress import progress as how_far
    from annotation.studies import find_study

    limits = Settings.from_environment().limits
    with opened() as (database, data), progress("row") as show:
        report = ingest(database, data, study, manifest, wall_time(), limits, show)
        with database.read() as session:
            lacking = how_far(session, find_study(session, study), now(session)).shortage
    print(report)
    for sentence in lacking:
        if "practice" in sentence:
            print(f"! {sentence}")
    if report.failed:
        raise StudyError(
            f"Rows that were not added: {len(report.failed)}. Correct them and run the same command again; "
            "it adds only what is new."
        )
    say_next(f"invite {study} --raters N")


@app.command()
@of_study
@click.option("--raters", type=int, metavar="N", help="how many raters to add")
@click.option("--renew", metavar="RATER", callback=one_line, help="a new code for a rater (R03); the old one ends")
@click.option("--without-practice", is_flag=True, help="though the rules ask for practice, and there is none")
def invite(study: str, raters: int | None, renew: str | None, without_practice: bool) -> None:
    """Make access codes for raters; each is shown once."""
    from annotation import studies

    at_most_one(required=True, raters=raters, renew=renew)
    with opened() as (database, _), database.write() as session:
        found = studies.find_study(session, study)
        if renew is None:
            invited = studies.invite(session, found, raters or 0, now(session), without_practice)
        else:
            invited = [(renew, studies.renew(session, found, renew, now(session)))]
    for pseudonym, code in invited:
        print(f"{pseudonym}  {code}")
    hint("Give each rater their code, for the page's tab Listening test. It is shown only now.")


@app.command()
@of_study
@as_json
def status(study: str, as_json: bool) -> None:
    """Show progress, what is missing, who is where."""
    from annotation.results.status import status
    from annotation.session.exclusions import close_abandoned
    from annotation.studies import find_study

    with opened() as (database, data):
        close_abandoned(database, study)
        with database.read() as session:
            found = status(session, find_study(session, study), now(session), data)
    print_found(found, as_json)


@app.command()
@of_study
@click.option("-o", "--output", metavar="DIR", type=Path, required=True, help="a new folder")
@click.option("--audio", is_flag=True, help="copy the clips too, in the layout of the MusicEval release")
def export(study: str, output: Path, audio: bool) -> None:
    """Write all results into a new folder."""
    from annotation.export import export

    with opened() as (database, data):
        manifest = export(database, data, study, output, wall_time(), audio)
    counts = manifest.counts
    valid = counts.ratings.get("valid", 0)
    print(f"{output}: {counts.clips_done} of {counts.clips} clips done, {valid} valid ratings")
    print(f"content {manifest.content_sha256}")
    if manifest.missing_audio:
        print(
            f"! Clips whose audio is missing, or is not what raters heard: {first_of(manifest.missing_audio)}. They "
            "are in the tables, and not in rated_clips.csv and musiceval/."
        )


def _exclusion(action: str, meaning: str) -> None:
    """Add ``exclude`` or ``restore``."""

    @app.command(action, help=meaning)
    @of_study
    @click.option("--rater", metavar="RATER", callback=one_line, required=True, help="as status shows them (R03)")
    @click.option("--batch", type=int, metavar="N", help="one batch (default: the rater as a whole)")
    @click.option("--reason", metavar="TEXT", callback=one_line, required=True, help="why, for the log")
    @click.option("--author", metavar="NAME", callback=one_line, default="administrator", help="who, for the log")
    @click.option("--dry-run", is_flag=True, help="show MOS and ranks before and after, and change nothing")
    def change(study: str, rater: str, batch: int | None, reason: str, author: str, dry_run: bool) -> None:
        from annotation.results.changes import what_if
        from annotation.session.exclusions import Change

        change = Change(study, action, rater, batch)

        with opened() as (database, _):
            if dry_run:
                print(what_if(database, change).text())
                hint("Nothing was changed.")
                return
            with database.write() as session:
                change.make(session, reason, author, now(session))
        print(
            f"{change.action.capitalize()}d: {change.what}. The reason is in the log; {change.undo.action} undoes it."
        )


_exclusion("exclude", "Leave a batch, or all of a rater, out of the count.")
_exclusion("restore", "Count again what was excluded.")


@app.command()
@of_study
@fields_as_one("rules", [_as_in_the_study(rule) for rule in SCREENING])
def rescreen(study: str, rules: dict[str, Any]) -> None:
    """Show what other screening rules would make of the ratings, and change nothing."""
    from annotation.results.rescreening import rescreen

    given = {name: value for name, value in rules.items() if value is not None}
    with opened() as (database, _):
        print(rescreen(database, study, given).text())
    hint("Nothing was changed: a study keeps its rules.")


@app.command()
@of_study
@as_json
def reliability(study: str, as_json: bool) -> None:
    """Show how far the ratings can be trusted."""
    from annotation.results.ratings import ratings_table
    from annotation.results.reliability import reliability
    from annotation.results.screening import screening
    from annotation.session.exclusions import close_abandoned
    from annotation.studies import find_study

    with opened() as (database, _):
        close_abandoned(database, study)
        with database.read() as session:
            found = find_study(session, study)
            ratings = ratings_table(session, found)
        report = reliability(ratings, found.scales)
    print_found(report, as_json)
    if not as_json and found.has_batches:
        checks = screening(ratings, found.protocol, found.scales)
        for said in (checks.raters_table.captioned(), checks.anchors_table.captioned(), checks.falls_on_strict):
            print(f"\n{said}")


@app.command()
@fields_as_one("plan", _simulated(SimulationPlan))
@fields_as_one("rules", _simulated(Protocol))
@as_json
def simulate(plan: dict[str, Any], rules: dict[str, Any], as_json: bool) -> None:
    """Run a study with simulated raters, to plan a real one."""
    from annotation.simulate import simulate

    order = SimulationPlan(**plan, protocol=Protocol(**rules))
    with progress("rating") as show:
        found = simulate(order, show)
    print_found(found, as_json)


@app.command()
@fields_as_one("plan", dataclasses.fields(StressPlan))
@as_json
def stress(plan: dict[str, Any], as_json: bool) -> None:
    """Let many raters loose on one database at once, as a proof."""
    from annotation import stress

    print_found(stress.stress(StressPlan(**plan)), as_json)


@app.command("import")
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
    limits = Settings.from_environment().limits
    with opened(new=True) as (database, data), progress("clip") as show:
        given = (database, data, study, path, wall_time(), parse_columns(columns), asked, limits, show)
        report = import_ratings(*given, with_audio=not without_audio)
    print(report)
    say_next(f"report {study} --output FILE")


for _command in (
    enrol,
    joined,
    give_personal_data,
    erase,
    report,
    panel,
    backup,
    verify_backup,
    restore_backup,
    copy_database,
):
    app.add_command(_command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m annotation`` and return its exit code."""
    return run_command("python -m annotation", app, argv)
