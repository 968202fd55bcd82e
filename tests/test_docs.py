"""The README against the code: every setting, command, option, warning, target and endpoint, both ways."""

import argparse
import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from starlette.routing import Route

import annotation.__main__
import core.__main__
from annotation.protocol import Protocol
from core.scorer import Scorer
from core.settings import SETTINGS, Settings
from webapp import build_app
from webapp.batch_tab import batch_snippet
from webapp.listening_api import PREFIX, listening_app
from webapp.score_tab import snippet
from webapp.venues import Venues

ROOT = Path(__file__).parent.parent
TORCHRUN = {"--nproc-per-node"}  # an option of another program
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[list[str]]:
    """Cells of the README's table whose first heading is the given one, without the heading."""
    _, _, below = README.partition(f"\n| {heading} |")
    assert below, f"no table with the heading {heading!r}"
    rows = below.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def words(cells: list[str]) -> set[str]:
    """Everything between backquotes."""
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that can be given, without those that only group others."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for inner in group.choices.values():
            yield from commands(inner)


def test_settings() -> None:
    documented = [(name.strip("`"), default, meaning) for name, default, meaning in table("name")]
    assert documented == [(setting.name, setting.default, setting.meaning) for setting in SETTINGS]


def all_commands() -> list[argparse.ArgumentParser]:
    return [*commands(core.__main__.build_parser()), *commands(annotation.__main__.build_parser())]


def test_commands() -> None:
    known = {parser.prog for parser in all_commands()}
    assert [command for command in known if command not in README] == []
    calls = re.findall(r"python -m (?:core|annotation) .*", README)
    assert [call for call in calls if not call.startswith(tuple(known))] == []


def test_options() -> None:
    actions = [action for parser in all_commands() for action in parser._actions]
    options = {option for action in actions for option in action.option_strings}
    known = {option for option in options if option.startswith("--")} - {"--help"} | TORCHRUN
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)) == known


def test_rules_of_a_study() -> None:
    documented = [(name, default, meaning.split(" (`")[0]) for name, default, meaning in table("rule")]
    expected = []
    for rule in dataclasses.fields(Protocol):
        default = rule.default if isinstance(rule.default, str) else f"{rule.default:g}"
        expected.append((f"`--{rule.name.replace('_', '-')}`", default, rule.metadata["meaning"]))
    assert documented == expected
    choices = {rule.name: set(rule.metadata["choices"]) for rule in dataclasses.fields(Protocol)}
    assert [words([row[2]]) for row in table("rule")] == list(choices.values())


def test_routes_of_the_listening_test() -> None:
    documented = {tuple(route.strip("`").split(" ")) for route, *_ in table("route")}
    served = {
        (method, f"{PREFIX}{route.path}".replace("{token}", "TOKEN"))
        for route in listening_app(cast(Venues, None)).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert documented == served


def test_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", README))
    assert named == known - {"help"}


def test_warnings() -> None:
    codes = set()
    for path in (ROOT / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "ScoreWarning"
            ):
                codes.add(ast.literal_eval(node.args[0]))
    assert words([row[0] for row in table("warning")]) == codes


def test_json_keys(scorer: Scorer, clip_path: Path) -> None:
    score = scorer.score(clip_path, "A calm guitar line").to_json()
    assert words([row[0] for row in table("key")]) == score.keys()
    assert words([row[0] for row in table("in `provenance`")]) == score["provenance"].keys()


def test_endpoints(scorer: Scorer, tmp_path: Path) -> None:
    endpoints = build_app(scorer, Settings(data=tmp_path)).get_api_info()["named_endpoints"]
    assert set(re.findall(r"`(/[a-z_]+)`", README)) == endpoints.keys()
    assert snippet("http://127.0.0.1:7860/") in README
    assert batch_snippet("http://127.0.0.1:7860/") in README


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?://|#)([^)]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("anchor", re.findall(r"\]\(#([^)]+)\)", README))
def test_anchors_lead_somewhere(anchor: str) -> None:
    assert anchor in [
        title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)", README, re.MULTILINE)
    ]


def test_front_matter_is_what_a_space_reads() -> None:
    front = dict(re.findall(r'^(\w+): "?([^"\n]+)"?$', README.split("---\n")[1], re.MULTILINE))
    assert (front["sdk"], front["app_file"], front["license"]) == ("gradio", "app.py", "mit")
    assert front["python_version"] in ("3.11", "3.12")
    assert len(front["short_description"]) <= 60
    required = re.search(
        r"^gradio>=([\d.]+),<([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE
    )
    assert required
    lowest, above = (release(version) for version in required.groups())
    assert lowest <= release(front["sdk_version"]) < above


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
