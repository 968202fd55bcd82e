"""What is locked against what is known to be vulnerable: pip-audit, and what its answer means for a build.

Where its data cannot be had, pip-audit passes over every package and ends as if all were well; that is told apart here.
Source: https://github.com/pypa/pip-audit.
"""

import json
import subprocess
import sys

OK, VULNERABLE, UNKNOWN = 0, 1, 3
_COMMAND = (
    "-m",
    "pip_audit",
    "-r",
    "requirements.lock",
    "--disable-pip",
    "--format",
    "json",
    "--progress-spinner",
    "off",
)


def verdict(answer: str) -> tuple[int, str]:
    """Return the exit code and a sentence for what pip-audit printed."""
    try:
        found = json.loads(answer)["dependencies"]
    except (ValueError, KeyError, TypeError):
        found = []
    audited = [one for one in found if "vulns" in one]
    if not audited:
        return UNKNOWN, "Nothing was audited: the data of known vulnerabilities cannot be had here."
    lines = [
        f"{one['name']} {one['version']}: {bad['id']}, mended in {', '.join(bad['fix_versions']) or 'no version yet'}"
        for one in audited
        for bad in one["vulns"]
    ]
    passed_over = len(found) - len(audited)
    total = f"{len(audited)} packages were audited, {passed_over} passed over; known vulnerabilities: {len(lines)}."
    return VULNERABLE if lines else OK, "\n".join([*lines, total])


def main() -> int:
    """Audit the lock; return the exit code."""
    done = subprocess.run([sys.executable, *_COMMAND], capture_output=True, text=True, check=False)
    code, sentence = verdict(done.stdout)
    print(sentence)
    if done.returncode and code == UNKNOWN and done.stderr:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
