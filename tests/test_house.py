"""The rules of the house: who may import whom, what stands at the top, what no file mentions."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("app", "webapp", "annotation", "core")
TOP_LEVEL = (
    ".ci/run",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "annotation",
    "app.py",
    "core",
    "pyproject.toml",
    "requirements-cluster.txt",
    "requirements.txt",
    "tests",
    "webapp",
)
# What each room may import of the others; annotation only the data contract, the audio reader, demo material,
# and what every front door needs: settings, and how a command line behaves.
MAY_IMPORT = {
    "app": ("webapp", "core"),
    "webapp": ("annotation", "core"),
    "annotation": (
        "core.__version__",
        "core.audio",
        "core.command",
        "core.demo",
        "core.errors",
        "core.ratings",
        "core.scales",
        "core.settings",
    ),
    "core": (),
}
UNMENTIONED = {
    "a path of one machine": re.compile(r"/(?:home|root|Users|work)/"),
    "a package registry": re.compile(r"pypi\.|pythonhosted\."),
}


def files_of(name: str) -> Iterator[Path]:
    top = ROOT / name
    found = [top] if top.is_file() else sorted(path for path in top.rglob("*") if path.is_file())
    return (path for path in found if "__pycache__" not in path.parts)


def python_files(room: str) -> list[Path]:
    return [path for path in files_of("app.py" if room == "app" else room) if path.suffix == ".py"]


def imported_modules(path: Path) -> set[str]:
    """Every absolute module that a file imports; ``from core import audio`` counts as ``core.audio``."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def requirements() -> dict[str, str]:
    """Distribution to version range, as requirements.txt and requirements-cluster.txt have them."""
    lines = (
        line.split("#")[0].strip()
        for file in ("requirements.txt", "requirements-cluster.txt")
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
    )
    return {
        plain(name): version
        for name, version in (re.match(r"([\w-]+)(?:\[\w+\])?(.*)", line).groups() for line in lines if line)
    }


def plain(distribution: str) -> str:
    return distribution.lower().replace("_", "-")


@pytest.mark.parametrize("name", TOP_LEVEL)
def test_top_level_is_complete(name: str) -> None:
    assert (ROOT / name).exists()


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way(room: str) -> None:
    assert python_files(room)
    allowed = (room, *MAY_IMPORT[room])
    against = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in python_files(room)
        for module in sorted(imported_modules(path))
        if module.split(".")[0] in (*ROOMS, "tests")
        and not f"{module}.".startswith(tuple(f"{name}." for name in allowed))
    ]
    assert against == []


def test_an_import_against_the_direction_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def late():\n    from webapp import pages\n    import annotation.schema as schema\n")
    assert imported_modules(module) == {"webapp.pages", "annotation.schema"}


@pytest.mark.parametrize("what", UNMENTIONED)
def test_no_file_mentions(what: str) -> None:
    mentions = []
    for path in (path for name in TOP_LEVEL for path in files_of(name)):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights and audio
        mentions += [
            f"{path.relative_to(ROOT)}: {found.group()}" for found in UNMENTIONED[what].finditer(text)
        ]
    assert mentions == []


def test_what_is_imported_is_required() -> None:
    paths = [path for room in (*ROOMS, "tests") for path in python_files(room)]
    modules = {module.split(".")[0] for path in paths for module in imported_modules(path)}
    distributions = packages_distributions()
    imported = {
        plain(distributions.get(module, [module])[0])  # what is optional may not be installed
        for module in modules - {*ROOMS, "tests"} - sys.stdlib_module_names
    }
    assert imported - requirements().keys() == set()


def test_every_requirement_has_a_closed_range() -> None:
    ranges = requirements()
    assert {
        "gradio",
        "laion-clap",
        "librosa",
        "pandas",
        "pytest",
        "scipy",
        "sqlalchemy",
        "torch",
    } <= ranges.keys()
    assert [
        name for name, version in ranges.items() if not re.fullmatch(r"==[\d.]+\*|>=[\d.]+,<[\d.]+", version)
    ] == []
