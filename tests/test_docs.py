"""README and docs against the code: settings, commands, options, rules, warnings, routes, both ways."""

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import click
import pytest
from starlette.routing import Route

import core
import webapp.cli
from annotation.preview import LIFE_S
from annotation.protocol import Protocol
from annotation.schema import Base
from annotation.studies import VISIT_DAYS
from annotation.wording import QUESTIONS
from core.scorer import Scorer
from core.settings import SETTINGS, Settings
from core.training.recipe import RECIPES, changeable_fields
from tests.webapp.conftest import in_process, make_app
from webapp import batch, score
from webapp.auth import SESSION_S
from webapp.deadlines import OfProcess
from webapp.listening_api import PREFIX, StudyStores, listening_app
from webapp.retention import DAY_S as KEPT_S

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
ALL = "\n".join(TEXTS.values())
OTHERS = {"--nproc-per-node"}  # an option of another program


def table(heading: str) -> list[list[str]]:
    """Cells of the table whose first heading is the given one, without the heading."""
    _, _, below = ALL.partition(f"\n| {heading} |")
    assert below, f"no table with the heading {heading!r}"
    rows = below.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def words(cells: list[str]) -> set[str]:
    """Everything between backquotes."""
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def commands(group: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """All commands that can be given, with their names."""
    if not isinstance(group, click.Group):
        yield name, group
        return
    for inner, command in group.commands.items():
        yield from commands(command, f"{name} {inner}")


def all_commands() -> dict[str, click.Command]:
    import annotation.cli
    import core.cli
    import tools.bench
    import tools.judge.__main__ as judge
    import tools.load
    import tools.page
    import tools.same_score
    import tools.start

    entries = {
        "python -m core": core.cli.app,
        "python -m annotation": annotation.cli.app,
        "python -m tools.judge": judge.app,
        "python -m tools.bench": tools.bench.bench,
        "python -m tools.load": tools.load.load,
        "python -m tools.same_score": tools.same_score.same_score,
        "python -m tools.page": tools.page.page,
        "python -m tools.start": tools.start.start,
    }
    return dict(found for name, group in entries.items() for found in commands(group, name))


def test_settings() -> None:
    documented = [(name.strip("`"), default, meaning) for name, default, meaning in table("name")]
    assert documented == [(setting.name, setting.default, setting.meaning) for setting in SETTINGS]


def test_commands() -> None:
    known = set(all_commands())
    assert [command for command in known if command not in ALL] == []
    calls = re.findall(r"python -m (?:core|annotation|tools\.\w+)(?: .*)?", ALL)
    assert [call for call in calls if not call.startswith((*known, "python -m tools.house"))] == []


def test_the_installed_command_has_them_all() -> None:
    installed = {name for name, _ in commands(webapp.cli.app, "musiceval")}
    expected = {
        name.replace("python -m core", "musiceval").replace("python -m annotation", "musiceval study")
        for name in all_commands()
        if "tools" not in name
    }
    assert installed == expected | {"musiceval app"}


def test_options() -> None:
    options = {option for command in all_commands().values() for known in command.params for option in known.opts}
    known = {option for option in options if option.startswith("--")} - {"--help"} | OTHERS
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", ALL)) == known


def test_rules_of_a_study() -> None:
    documented = [(name, default, meaning.split(" (`")[0]) for name, default, meaning in table("rule")]
    expected = []
    for rule in dataclasses.fields(Protocol):
        default = rule.default if isinstance(rule.default, str) else f"{rule.default:g}"
        expected.append((f"`--{rule.name.replace('_', '-')}`", default, rule.metadata["meaning"]))
    assert documented == expected


def test_fields_of_recipes() -> None:
    documented = {name.strip("`"): figures for name, *figures, _ in table("field")}
    assert list(documented) == [f"--{field.name.replace('_', '-')}" for field in changeable_fields()]
    for field in changeable_fields():
        shown = documented[f"--{field.name.replace('_', '-')}"]
        for cell, name in zip(shown, ("paper", "frozen", "ordinal"), strict=True):
            value = getattr(RECIPES[name], field.name)
            as_text = ("off", "on")[value] if isinstance(value, bool) else value
            assert cell.split(" ")[0] == (as_text if isinstance(as_text, str) else f"{value:g}")


def test_routes_of_the_listening_test() -> None:
    documented = {tuple(route.strip("`").split(" ")) for route, *_ in table("route")}
    served = {
        (method, f"{PREFIX}{route.path}".replace("{token}", "TOKEN"))
        for route in listening_app(cast(StudyStores, SimpleNamespace(deadlines=OfProcess()))).routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert documented == served


# Of tables about people: a new column is to be thought of in docs/privacy.md before it is added here.
PERSONAL = {
    "raters": "pseudonym code_sha256 invited_at note withdrawn_at paused_at resumed_at external",
    "visits": "token_sha256 began_at ended_at",
    "consents": "text read given_at",
    "answers": "question asked answer given_at",
    "headphone_checks": "correct trials passed at",
    "responses": "trial_id comment played heard_s given_at",
    "problems": "trial_id comment reported_at",
}


def test_privacy_names_every_table_and_every_export_about_raters() -> None:
    assert words([row[0] for row in table("table of the database")]) == Base.metadata.tables.keys()
    for name, columns in PERSONAL.items():
        assert {*Base.metadata.tables[name].columns.keys()} - {"id", "study_id", "rater_id"} == {*columns.split()}
    tables = set(re.findall(r"`(\w+\.csv)`", TEXTS["docs/privacy.md"]))
    assert tables <= words([row[0] for row in table("file")])


def test_privacy_says_how_long() -> None:
    text = TEXTS["docs/privacy.md"]
    assert (KEPT_S, LIFE_S, SESSION_S) == (86_400, 86_400, 12 * 3_600)
    assert f"a visit ends after {VISIT_DAYS} days" in text
    assert len(QUESTIONS) == 3


def test_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ )make ([a-z]+)", ALL))
    assert named == known - {"help"}


def test_warnings() -> None:
    calls = (
        node
        for path in (ROOT / "core").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ScoreWarning"
    )
    codes = {ast.literal_eval(call.args[0]) for call in calls}
    assert words([row[0] for row in table("warning")]) == codes


def test_json_keys(scorer: Scorer, clip_path: Path) -> None:
    score = scorer.score(clip_path, "A calm guitar line").to_json()
    assert words([row[0] for row in table("key")]) == score.keys()
    assert words([row[0] for row in table("in `provenance`")]) == score["provenance"].keys()


def test_names_for_python() -> None:
    documented = words([row[0] for row in table("name in `core`")])
    assert documented == core.PUBLIC.keys()
    assert all(hasattr(core, name) for name in documented)


def test_endpoints(scorer: Scorer, tmp_path: Path) -> None:
    with in_process(make_app(scorer, Settings(data=tmp_path))) as asking:
        named = asking.get("/gradio_api/info").json()["named_endpoints"].keys()
    assert set(re.findall(r"`(/[a-z_]+)`", TEXTS["docs/api.md"])) == named
    assert score.SNIPPET.format(address="http://127.0.0.1:7860/") in TEXTS["docs/api.md"]
    assert batch.SNIPPET.format(address="http://127.0.0.1:7860/") in TEXTS["docs/api.md"]


LINKS = [(page, target) for page, text in TEXTS.items() for target in re.findall(r"\]\((?!https?://)([^)]+)\)", text)]


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_links_lead_somewhere(page: str, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = (ROOT / page).parent / name if name else ROOT / page
    assert path.exists()
    if anchor:
        titles = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in [title.lower().replace(" ", "-") for title in titles]


@pytest.mark.parametrize("picture", ["score", "trial"])
def test_pictures_are_there_and_small(picture: str) -> None:
    assert 0 < (ROOT / "docs" / "images" / f"{picture}.png").stat().st_size < 150_000


def test_the_readme_is_a_shop_window() -> None:
    assert TEXTS["README.md"].count("\n") < 250


def test_front_matter_is_what_a_space_reads() -> None:
    front = dict(re.findall(r'^(\w+): "?([^"\n]+)"?$', TEXTS["README.md"].split("---\n")[1], re.MULTILINE))
    assert (front["sdk"], front["app_file"], front["license"]) == ("gradio", "app.py", "mit")
    assert front["python_version"] in ("3.11", "3.12")
    assert len(front["short_description"]) <= 60
    required = re.search(r"^gradio>=([\d.]+),<([\d.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert required
    lowest, above = (release(version) for version in required.groups())
    assert lowest <= release(front["sdk_version"]) < above


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
