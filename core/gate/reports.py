"""What the gate found, for others: JUnit XML for a build server, one HTML page for people."""

import re
from pathlib import Path
from xml.etree import ElementTree

from core import __version__
from core.errors import DataError, shown_name
from core.files import write_atomically
from core.gate.outcome import Conditions, Outcome
from core.templates import html_templates

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TEMPLATES = html_templates(Path(__file__).parent)


def junit_xml(outcome: Outcome) -> str:
    """Return the outcome as JUnit XML: a case for each system and condition, the sentence of one that is not held."""
    n_not = str(sum(not verdict.passed for verdict in outcome.verdicts))
    counts = {"name": "musiceval gate", "tests": str(len(outcome.verdicts)), "failures": n_not, "errors": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {**counts, "skipped": "0"})
    for verdict in outcome.verdicts:
        names = {"classname": _in_xml(verdict.system), "name": _in_xml(verdict.condition)}
        case = ElementTree.SubElement(suite, "testcase", {**names, "time": "0"})
        said = _in_xml(verdict.sentence)
        if verdict.passed:
            ElementTree.SubElement(case, "system-out").text = said
            continue
        failure = ElementTree.SubElement(case, "failure", {"type": "condition", "message": said})
        reasons = [f"{clip.file}: {clip.reason}" for clip in outcome.failed if clip.system == verdict.system]
        failure.text = _in_xml("\n".join([verdict.sentence, *(reasons if verdict.is_of_clips else [])]))
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def html_report(outcome: Outcome, conditions: Conditions, name: str) -> str:
    """Return the outcome as one HTML page that loads nothing."""
    template = _TEMPLATES.get_template("report.html")
    return template.render(outcome=outcome, conditions=conditions, name=name, version=__version__)


def write_report(path: Path, text: str) -> None:
    """Write a report whole; DataError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{shown_name(path.name)} cannot be written: {error.strerror or error}.") from error


def _in_xml(text: str) -> str:
    return _NO_XML.sub("?", text)
