"""The README against the code: every setting, command, option, warning, target and endpoint, both ways."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.__main__ import build_parser
from core.scorer import Scorer
from core.settings import SETTINGS, Settings
from webapp import build_app
from webapp.score_tab import snippet

ROOT = Path(__file__).parent.parent
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


def test_commands() -> None:
    known = {parser.prog for parser in commands(build_parser())}
    assert [command for command in known if command not in README] == []
    calls = re.findall(r"python -m core .*", README)
    assert [call for call in calls if not call.startswith(tuple(known))] == []


def test_options() -> None:
    parsers = commands(build_parser())
    options = {option for parser in parsers for action in parser._actions for option in action.option_strings}
    known = {option for option in options if option.startswith("--")} - {"--help"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)) == known


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
