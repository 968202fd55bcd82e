"""What every command line of the project shares: options, messages, exit codes, progress.

A result goes to stdout. A user's mistake is one line on stderr (with a line more for each problem of a data
set) and exit code 2, never a traceback. What a command needs is imported when it runs, so that ``--help`` is
there at once.
"""

# Click and not Typer: options are made from the fields of dataclasses, ``--zero-shot`` goes with and without
# a value, and messages stay on one line. Typer has none of these, and takes twice as long to import.

import atexit
import contextlib
import dataclasses
import functools
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from core.errors import MusicEvalError
from core.settings import check_platform

EXIT_OK = 0
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}

_METAVARS: Mapping[Any, str] = {int: "N", float: "X", bool: "on|off"}

Function = Callable[..., Any]


class Command(click.Command):
    """A command that answers an unknown option with those it knows; the beginning of one is not taken for it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [name for option in self.get_params(ctx) for name in option.opts if name.startswith("--")]
            given = error.option_name
            raise click.UsageError(f"unknown: {given}. The options are {', '.join(known)}", ctx) from error


class Group(click.Group):
    """Commands; an unknown one is answered with those that there are."""

    command_class = Command

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes, no_args_is_help=False, context_settings=CONTEXT)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands, in the order in which they were added."""
        return [*self.commands]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; there must be some."""
        if not args:
            raise click.UsageError(f"give a command: {', '.join(self.commands)}", ctx)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command that the first argument names."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            raise click.UsageError(f"unknown: {args[0]}. The commands are {', '.join(self.commands)}", ctx)
        return super().resolve_command(ctx, args)


def run_command(program: str, command: click.Command, argv: Sequence[str] | None) -> int:
    """Run what the arguments (None: those of the process) say, and return the exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without our signs shows ? and goes on
    try:
        check_platform()
        with command.make_context(program, list(sys.argv[1:] if argv is None else argv)) as context:
            command.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else program
        message = " ".join(error.format_message().split()).rstrip(".")
        sys.stderr.write(f"{path}: {message}. Try {path} --help.\n")
        return EXIT_MISTAKE
    except MusicEvalError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return EXIT_MISTAKE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered has no reader
        return EXIT_BROKEN_PIPE
    return EXIT_OK


def run_process(main: Callable[[], int]) -> NoReturn:
    """Run a program, and end this process with its exit code without unloading libraries.

    That would take torch a third of the time of its import, and 130 MB of memory.
    """
    ended: list[int] = []
    atexit.register(_end_at_once, ended)  # runs after whatever is registered later
    ended.append(main())
    sys.exit(ended[0])


def _end_at_once(ended: Sequence[int]) -> None:
    for code in ended:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it is closed
                stream.flush()
        os._exit(code)


def as_one(name: str, make: Function, options: Mapping[str, Function]) -> Callable[[Function], Function]:
    """Have a command take options, given by parameter, as one argument: what `make` makes of their values."""

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            made = make(**{option: given.pop(option) for option in options})
            return function(**{name: made}, **given)

        for option in reversed([*options.values()]):
            command = option(command)
        return command

    return decorate


def fields_as_one(name: str, fields: Iterable["Field[Any]"]) -> Callable[[Function], Function]:
    """Have a command take an option for each field of a dataclass; the argument is a dict by field.

    The fields have a ``meaning`` in their metadata, and perhaps ``choices``.
    """
    options = {}
    for field in fields:
        choices, kind = field.metadata.get("choices"), field.type
        metavar = _METAVARS.get(kind, "TEXT")
        options[field.name] = click.option(
            f"--{field.name.replace('_', '-')}",
            field.name,
            type=click.Choice(choices) if choices else kind,
            default=None if field.default is dataclasses.MISSING else field.default,
            metavar=None if choices else metavar,
            help=field.metadata["meaning"],
        )
    return as_one(name, dict, options)


def path_option(name: str, metavar: str, help: str, required: bool = False) -> Callable[[Function], Function]:  # noqa: A002
    """Return an option that names a file or a folder."""
    return click.option(name, metavar=metavar, type=Path, required=required, help=help)


def at_most_one(required: bool = False, **given: object) -> None:
    """Refuse options that cannot go together, or where one is required, none of them."""
    names = [f"--{name}" for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise misuse(f"argument {names[1]}: not allowed with argument {names[0]}")
    if required and not names:
        raise misuse(f"one of the arguments {' '.join(f'--{name}' for name in given)} is required")


def misuse(message: str) -> click.UsageError:
    """Return the error of arguments that do not go together, for the command that runs."""
    return click.UsageError(message, click.get_current_context())


def print_json(found: object, ascii_only: bool = True) -> None:
    """Print one JSON object."""
    print(json.dumps(found, indent=2, ensure_ascii=ascii_only, allow_nan=False))


as_json = click.option("--json", "as_json", is_flag=True, help="print one JSON object instead of a summary")


@contextlib.contextmanager
def quiet_decoders() -> Iterator[TextIO]:
    """Keep stderr ours while files are decoded: libmpg123 writes notes on odd headers straight to it.

    Yields what stderr was.
    """
    with os.fdopen(os.dup(2), "w") as ours, Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield ours
        finally:
            os.dup2(ours.fileno(), 2)


@contextlib.contextmanager
def progress_bar(**look: Any) -> Iterator[Callable[..., None]]:
    """Yield a function that shows how far something is; there is no bar on stderr before its first call."""
    bar: Any = None

    def show(done: float, doing: str = "", note: str = "", total: float = 1.0) -> None:
        nonlocal bar
        if bar is None:
            from tqdm import tqdm

            bar = tqdm(desc=doing, initial=done, total=total, **look)
        bar.set_description_str(doing, refresh=False)
        bar.set_postfix_str(note, refresh=False)
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()
