"""What an audit of the lock means, by answers as pip-audit writes them."""

import json
from typing import Any

import pytest

from tools.audit import OK, UNKNOWN, VULNERABLE, verdict

SOUND: dict[str, Any] = {"name": "a", "version": "1.0", "vulns": []}
BAD: dict[str, Any] = {"name": "b", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": [], "aliases": []}]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (3.0)"}


@pytest.mark.parametrize(
    ("found", "code"),
    [([SOUND], OK), ([SOUND, SKIPPED], OK), ([SOUND, BAD], VULNERABLE), ([SKIPPED, SKIPPED], UNKNOWN), ([], UNKNOWN)],
)
def test_an_audit_that_saw_nothing_is_no_good_one(found: list[dict[str, Any]], code: int) -> None:
    assert verdict(json.dumps({"dependencies": found, "fixes": []}))[0] == code


@pytest.mark.parametrize("answer", ["", "no network", "[]", "{}"])
def test_an_audit_that_did_not_end_saw_nothing(answer: str) -> None:
    assert verdict(answer)[0] == UNKNOWN


def test_what_is_vulnerable_is_named() -> None:
    said = verdict(json.dumps({"dependencies": [SOUND, BAD, SKIPPED]}))[1].splitlines()
    assert said == [
        "b 2.0: PYSEC-1, mended in no version yet",
        "2 packages were audited, 1 passed over; known vulnerabilities: 1.",
    ]
