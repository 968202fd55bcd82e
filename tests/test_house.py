"""The rules of the house: who may import whom, what stands at the top, what no file mentions."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP_LEVEL = (
    ".ci/run",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "annotation",
    "app.py",
    "core",
    "deploy",
    "docs",
    "pyproject.toml",
    "requirements-cluster.txt",
    "requirements-cpu.txt",
    "requirements-dev.txt",
    "requirements-muq.txt",
    "requirements-postgres.txt",
    "requirements-s3.txt",
    "requirements.lock",
    "requirements.txt",
    "tests",
    "tools",
    "webapp",
)
# What each room may import of the others. annotation knows the data contract of core, how it reads audio,
# hears its faults and writes files, what every front door needs (settings, and how a command line behaves), and,
# to set a judge beside a panel, how clips are scored and scores are measured.
MAY_IMPORT = {
    "app": ("webapp", "core"),
    "webapp": ("annotation", "core"),
    "annotation": (
        "core.__version__",
        "core.audio",
        "core.checkpoint",
        "core.command",
        "core.errors",
        "core.evaluation",
        "core.files",
        "core.model_files",
        "core.filters",
        "core.levels",
        "core.metrics",
        "core.musiceval",
        "core.plots",
        "core.rated_clips",
        "core.scales",
        "core.scorer",
        "core.scores",
        "core.settings",
        "core.tables",
        "core.templates",
        "core.training.report",
        "core.warnings",
    ),
    "core": (),
    "tools": ("annotation", "core", "webapp"),
}
ROOMS = (*MAY_IMPORT,)
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


def requirements(*files: str) -> dict[str, str]:
    """Distribution to version range, as files have them."""
    lines = (
        line.split("#")[0].strip() for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()
    )
    return {
        plain(name): version
        for name, version in (
            re.match(r"([\w-]+)(?:\[\w+\])?(.*)", line).groups() for line in lines if line and line[0] != "-"
        )
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
        mentions += [f"{path.relative_to(ROOT)}: {found.group()}" for found in UNMENTIONED[what].finditer(text)]
    assert mentions == []


RUNTIME = tuple(f"requirements{of}.txt" for of in ("", "-cluster", "-muq", "-postgres", "-s3"))
DEV = ("requirements-dev.txt",)


@pytest.mark.parametrize(
    ("rooms", "files"), [(ROOMS[:-1], RUNTIME), ((*ROOMS, "tests"), (*RUNTIME, *DEV))], ids=["product", "all"]
)
def test_what_is_imported_is_required(rooms: tuple[str, ...], files: tuple[str, ...]) -> None:
    paths = [path for room in rooms for path in python_files(room)]
    modules = {module.split(".")[0] for path in paths for module in imported_modules(path)}
    distributions = packages_distributions()
    imported = {
        plain(distributions.get(module, [module])[0])  # what is optional may not be installed
        for module in modules - {*ROOMS, "tests"} - sys.stdlib_module_names
    }
    assert imported - requirements(*files).keys() == set()


def test_every_requirement_has_a_closed_range() -> None:
    ranges = requirements(*RUNTIME, *DEV)
    assert {"gradio", "laion-clap", "librosa", "pandas", "pytest", "ray", "torch"} <= ranges.keys()
    assert [name for name, version in ranges.items() if not re.fullmatch(r"==[\d.]+\*|>=[\d.]+,<[\d.]+", version)] == []


def test_a_space_installs_nothing_for_tests() -> None:
    tests_alone = {"mypy", "playwright", "pytest", "ruff", "sureal"}
    assert tests_alone <= requirements(*DEV).keys()
    assert requirements("requirements.txt").keys().isdisjoint(requirements(*DEV))


def test_the_package_has_every_file_that_is_no_code() -> None:
    """Without a declaration a file is there in a clone and missing where the project is installed."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packaged = {path for room, globs in declared.items() for glob in globs for path in (ROOT / room).glob(glob)}
    packages = {path.parent for room in declared for path in (ROOT / room).rglob("__init__.py")}
    missing = [
        str(path.relative_to(ROOT))
        for room in declared
        for path in files_of(room)
        if path not in packaged and not (path.suffix == ".py" and path.parent in packages)
    ]
    assert missing == []
