"""What the command lines of the rooms share: one line on stderr for a mistake, exit codes, broken pipes."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from core.errors import MusicEvalError

EXIT_OK = 0
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that says what is wrong in one line, and of unknown options which are known.

    argparse alone prints the usage too, and has the program complain of a command's options, not the command.
    """

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Parse all arguments; what is left over ends the process."""
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            options = [name for action in self._actions for name in action.option_strings if name[:2] == "--"]
            self.error(f"unknown: {' '.join(unknown)}. The options are {', '.join(options)}")
        return namespace, unknown

    def error(self, message: str) -> NoReturn:
        """End the process with exit code 2."""
        self.exit(EXIT_MISTAKE, f"{self.prog}: {message}. Try {self.prog} --help.\n")


def run_command(build_parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str] | None) -> int:
    """Parse the arguments and run the command that they name.

    Parameters
    ----------
    build_parser : callable
        Gives a parser whose commands set ``run``, a function of the parsed arguments.
    argv : sequence of str or None
        Arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        The exit code: 0, or 2 for a mistake of the user.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without our signs shows ? and goes on
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except MusicEvalError as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has no reader
        return EXIT_BROKEN_PIPE
    return EXIT_OK


@contextlib.contextmanager
def quiet_decoders() -> Iterator[TextIO]:
    """Keep stderr ours while files are decoded: libmpg123 writes notes on odd headers straight to it.

    Yields
    ------
    file
        What stderr was.
    """
    with os.fdopen(os.dup(2), "w") as ours, Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield ours
        finally:
            os.dup2(ours.fileno(), 2)
