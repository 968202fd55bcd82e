"""The command line of the listening test: ``python -m annotation COMMAND STUDY``.

A result goes to stdout, a hint beside it to stderr. A user's mistake is one line on stderr and exit code 2,
never a traceback. What a command needs is imported when it runs, so that ``--help`` is there at once.
"""

import argparse
import contextlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annotation.options import add_fields, add_json, fields, one_line
from annotation.protocol import Protocol
from annotation.simulated.plans import SimulationPlan, StressPlan
from core.command import Parser, run_command
from core.errors import StudyError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from annotation.database import Database

_NOT_ASKED = ("protocol",)  # of a simulation: its rules are options of their own
# Rules of the clips' form: a simulated study has no sound.
_SOUND = (
    "sample_rate_hz",
    "loudness_lufs",
    "peak_dbtp",
    "excerpt_start_s",
    "excerpt_length_s",
    "fade_ms",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m annotation`` and give its exit code; see `core.command.run_command`."""
    return run_command(build_parser, argv)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; each sets ``run``, a function of the parsed arguments."""
    parser = Parser(prog="python -m annotation", description="Set up and run expert listening tests.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    create = _add(commands, "create", _create, "create a study; its rules are fixed from then on")
    create.add_argument(
        "--seed", type=int, metavar="N", help="from which all orders are drawn (default: any)"
    )
    add_fields(create, Protocol)
    ingest = _add(commands, "ingest", _ingest, "add clips, anchors and practice clips from a CSV file")
    ingest.add_argument(
        "manifest", metavar="MANIFEST", type=Path, help="CSV file: file,prompt,system and more"
    )
    _add_invite(commands)
    status = _add(commands, "status", _status, "show progress, what is missing, who is where")
    add_json(status)
    export = _add(commands, "export", _export, "write all results into a new folder")
    export.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="a new folder")
    for name, meaning in (
        ("exclude", "leave a batch, or all of a rater, out of the count"),
        ("restore", "count again what was excluded"),
    ):
        _add_exclusion(_add(commands, name, _exclude_or_restore, meaning), name)
    add_json(_add(commands, "reliability", _reliability, "show how far the ratings can be trusted"))
    _add_trials(commands)
    return parser


def _add(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None], meaning: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=meaning, description=f"{meaning[0].upper()}{meaning[1:]}."
    )
    parser.add_argument("study", metavar="STUDY", type=one_line, help="name of the study")
    parser.set_defaults(run=run)
    return parser


def _add_invite(commands: Any) -> None:
    invite = _add(commands, "invite", _invite, "make access codes for raters; each is shown once")
    what = invite.add_mutually_exclusive_group(required=True)
    what.add_argument("--raters", type=int, metavar="N", help="how many raters to add")
    what.add_argument(
        "--renew", metavar="RATER", type=one_line, help="a new code for a rater (R03); the old one ends"
    )


def _add_exclusion(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "--rater", metavar="RATER", type=one_line, required=True, help="as status shows them (R03)"
    )
    parser.add_argument("--batch", type=int, metavar="N", help="one batch (default: the rater as a whole)")
    parser.add_argument("--reason", metavar="TEXT", type=one_line, required=True, help="why, for the log")
    parser.add_argument(
        "--author",
        metavar="NAME",
        type=one_line,
        default="administrator",
        help="who, for the log (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show MOS and ranks before and after, and change nothing"
    )
    parser.set_defaults(action=name)


def _add_trials(commands: Any) -> None:
    simulate = commands.add_parser(
        "simulate",
        help="run a whole study with simulated raters, to plan a real one",
        description="Run a whole study with simulated raters, under the rules that are given.",
    )
    add_fields(simulate, SimulationPlan, _NOT_ASKED)
    add_fields(simulate, Protocol, _SOUND)
    stress = commands.add_parser(
        "stress",
        help="let many raters loose on one database at once, as a proof",
        description="Let many simulated raters loose on one database at once, from several processes.",
    )
    add_fields(stress, StressPlan)
    for parser, run in ((simulate, _simulate), (stress, _stress)):
        add_json(parser)
        parser.set_defaults(run=run)


def _create(arguments: argparse.Namespace) -> None:
    from annotation.studies import create

    protocol = Protocol(**fields(arguments, Protocol))
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    with _opened(new=True) as (database, data):
        with database.write() as session:
            create(session, arguments.study, protocol, seed, _now())
        print(f"The study {arguments.study} is created in the folder {data}.")
    _say(f"Next: python -m annotation ingest {arguments.study} MANIFEST")


def _ingest(arguments: argparse.Namespace) -> None:
    from annotation.material.ingest import ingest, report_text
    from core.settings import Settings

    limits = Settings.from_environment(os.environ).limits
    with _opened() as (database, data), _progress("row") as show:
        report = ingest(database, data, arguments.study, arguments.manifest, _now(), limits, show)
    print(report_text(report))
    if report.failed:
        raise StudyError(
            f"Rows that were not added: {len(report.failed)}. Correct them and run the same command again; "
            "it adds only what is new."
        )
    _say(f"Next: python -m annotation invite {arguments.study} --raters N")


def _invite(arguments: argparse.Namespace) -> None:
    from annotation.studies import find_study, invite, renew

    with _opened() as (database, _), database.write() as session:
        study = find_study(session, arguments.study)
        if arguments.renew is None:
            invited = invite(session, study, arguments.raters, _now())
        else:
            invited = [(arguments.renew, renew(session, study, arguments.renew, _now()))]
    for pseudonym, code in invited:
        print(f"{pseudonym}  {code}")
    _say("Give each rater their code, for the page's tab Listening test. It is shown only now.")


def _status(arguments: argparse.Namespace) -> None:
    from annotation.results.status import status, status_text
    from annotation.studies import find_study

    with _opened() as (database, _), database.read() as session:
        found = status(session, find_study(session, arguments.study), _now())
    _print(found, status_text, arguments.json)


def _export(arguments: argparse.Namespace) -> None:
    from annotation.output.export import export

    with _opened() as (database, data):
        manifest = export(database, data, arguments.study, arguments.output, _now())
    counts = manifest["counts"]
    valid = counts["ratings"].get("valid", 0)
    print(
        f"{arguments.output}: {counts['clips_done']} of {counts['clips']} clips done, {valid} valid ratings"
    )
    print(f"content {manifest['content_sha256']}")


def _exclude_or_restore(arguments: argparse.Namespace) -> None:
    from annotation.results.changes import Change
    from annotation.results.ratings import comparison_text, what_if

    change = Change(arguments.study, arguments.action, arguments.rater, arguments.batch)

    def make(session: "Session") -> None:
        change.make(session, arguments.reason, arguments.author, _now())

    with _opened() as (database, _):
        if arguments.dry_run:
            print(comparison_text(*what_if(database, arguments.study, make)))
            _say("Nothing was changed.")
            return
        with database.write() as session:
            make(session)
    done = f"{change.action.capitalize()}d: {change.what}."
    print(f"{done} The reason is in the log; {change.undo.action} undoes it.")


def _reliability(arguments: argparse.Namespace) -> None:
    from annotation.results.ratings import ratings_table
    from annotation.results.reliability import report, report_text
    from annotation.studies import find_study

    with _opened() as (database, _), database.read() as session:
        ratings = ratings_table(session, find_study(session, arguments.study))
    _print(report(ratings), report_text, arguments.json)


def _simulate(arguments: argparse.Namespace) -> None:
    from annotation.simulated.simulation import simulate, simulation_text

    protocol = Protocol(**fields(arguments, Protocol, _SOUND))
    plan = SimulationPlan(**fields(arguments, SimulationPlan, _NOT_ASKED), protocol=protocol)
    with _progress("rating") as show:
        found = simulate(plan, show)
    _print(found, simulation_text, arguments.json)


def _stress(arguments: argparse.Namespace) -> None:
    from annotation.simulated.stress import stress, stress_text

    _print(stress(StressPlan(**fields(arguments, StressPlan))), stress_text, arguments.json)


@contextlib.contextmanager
def _progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows on a terminal how many of how many are done."""
    from tqdm import tqdm

    with tqdm(unit=unit, disable=None, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


@contextlib.contextmanager
def _opened(new: bool = False) -> "Iterator[tuple[Database, Path]]":
    """Open the database of the settings, and tell the data folder; only a new study makes one."""
    from annotation.database import Database
    from core.settings import Settings

    settings = Settings.from_environment(os.environ)
    if not new and not settings.database and not (settings.data / "musiceval.sqlite").exists():
        raise StudyError(
            f"There are no studies in {settings.data}. Create one, or name its folder with MUSICEVAL_DATA."
        )
    database = Database(settings.database_url)
    try:
        yield database, settings.data
    finally:
        database.close()


def _print(found: dict[str, Any], text: Callable[[dict[str, Any]], str], as_json: bool) -> None:
    print(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) if as_json else text(found))


def _say(sentence: str) -> None:
    """Beside the result, for whoever sits before it."""
    print(sentence, file=sys.stderr)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main())
