"""``musiceval``: the commands of the judge, ``study`` with those of the listening test, and ``app``."""

import sys
from collections.abc import Sequence
from typing import NoReturn

import annotation.cli
import core.cli
from core.command import Group, run_command, run_process
from core.settings import Settings

app = Group(
    help="Score generated music as experts would, and run the listening tests that scores are learned from.",
    commands={**core.cli.app.commands, "study": annotation.cli.app},
)


@app.command("app")
def serve_app() -> None:
    """Serve the pages until interrupted; settings come from the environment."""
    from webapp import start

    sys.exit(start.run(Settings.from_environment()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``musiceval`` and return its exit code."""
    return run_command("musiceval", app, argv)


def run() -> NoReturn:
    """Be the command ``musiceval``."""
    run_process(main)
