"""Measures the house: lines, files, docstrings, comments, README, tests. `python -m tools.house`.

The figures stand in CONTRIBUTING.md. A whole sentence in an assertion is a text of six words and more that
ends with a full stop.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PRODUCT = ("core", "annotation", "webapp", "app.py")
SENTENCE = re.compile(r"(\S+\s+){5,}\S+\.\s*$")


def main() -> None:
    """Print the table."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in tracked.stdout.split() if (ROOT / name).is_file()]
    python = {path: path.read_text(encoding="utf-8") for path in files if path.suffix == ".py"}
    product = {path: text for path, text in python.items() if _room(path) in PRODUCT}
    tests = {path: text for path, text in python.items() if _room(path) == "tests"}
    tools = {path: text for path, text in python.items() if _room(path) == "tools"}
    n_product = _lines(product)
    users = Counter(module for path, text in product.items() for module in _imported(text, path))
    once = sum(users[_module(path)] == 1 for path in product)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows: dict[str, object] = {
        "product: lines of Python": n_product,
        "product: files (used by one other)": f"{len(product)} ({once})",
        "product: docstrings, share of lines": f"{_docstring_lines(product) / n_product:.0%}",
        "product: comments": sum(map(_comments, product.values())),
        "product: longest file, lines": max(text.count("\n") for text in product.values()),
        "tools: lines, files": f"{_lines(tools)}, {len(tools)}",
        "tests: lines, files": f"{_lines(tests)}, {len(tests)}",
        "tests: assertions on whole sentences": sum(map(_sentences, tests.values())),
        "README: lines, words, table rows, pictures": ", ".join(
            map(
                str,
                (
                    readme.count("\n"),
                    len(readme.split()),
                    len(re.findall(r"^\|", readme, re.MULTILINE)),
                    readme.count("!["),
                ),
            )
        ),
    }
    for name, value in rows.items():
        print(f"{name:<44} {value}")


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def _module(path: Path) -> str:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


def _lines(files: dict[Path, str]) -> int:
    return sum(text.count("\n") for text in files.values())


def _imported(text: str, path: Path) -> set[str]:
    """Return the modules that a file imports, itself left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found - {_module(path)}


def _docstring_lines(files: dict[Path, str]) -> int:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    total = 0
    for text in files.values():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
                first = node.body[0]
                total += (first.end_lineno or first.lineno) - first.lineno + 1
    return total


def _comments(text: str) -> int:
    return sum(
        token.type == tokenize.COMMENT and not re.match(r"#\s*(type:|noqa|fmt:)", token.string)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
    )


def _sentences(text: str) -> int:
    def texts(tree: ast.AST) -> Iterator[str]:
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value

    tree = ast.parse(text)
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    return sum(bool(SENTENCE.search(said)) for node in asserts for said in texts(node))


if __name__ == "__main__":
    main()
