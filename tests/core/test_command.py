"""What is unknown on a command line is answered by the command itself, with what it knows."""

import pytest

from core.command import Parser


def parser() -> Parser:
    whole = Parser(prog="program")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    play = commands.add_parser("play")
    play.add_argument("clip")
    play.add_argument("--speed", "-s", type=float)
    return whole


@pytest.mark.parametrize("unknown", ["--pitch=2", "another.wav"])
def test_the_options_are_listed(unknown: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parser().parse_args(["play", "clip.wav", unknown])
    assert raised.value.code == 2
    assert capsys.readouterr().err == (
        f"program play: unknown: {unknown}. The options are --help, --speed. Try program play --help.\n"
    )


def test_what_is_known_is_parsed() -> None:
    arguments = parser().parse_args(["play", "clip.wav", "-s", "2"])
    assert (arguments.clip, arguments.speed) == ("clip.wav", 2.0)
