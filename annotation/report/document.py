"""The report: method, panel, screening, figures and tables of a study, dated, with the hash of its ratings."""

import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from markupsafe import Markup
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.export import exported_ratings
from annotation.report.figures import Plot, attribute_figure, figures
from annotation.results import Table, number
from annotation.results.attributes import Groups, by_attribute
from annotation.results.judged import JudgedPanel
from annotation.results.reliability import RATER_FIGURES_MEAN
from annotation.results.scores import Results
from annotation.results.status import FIGURES, Overview, overview
from annotation.schema import Answer, Rater, Study
from annotation.session.headphones import NEEDED, PASSED, TRIALS
from annotation.session.holds import pause_log
from annotation.studies import find_study, shown_time
from annotation.wording import Question, questions_of
from core import __version__
from core.rated_clips import write_csv
from core.templates import html_templates

_TEMPLATES = html_templates(Path(__file__).parent)


@dataclass(frozen=True)
class Report:
    """What stands in a report besides the figures that the page *Studies* shows as well."""

    found: Overview
    ratings_sha256: str  # of all ratings, as ratings.csv of an export at that moment has them
    plots: list[Plot]
    panel: list[Table]  # what raters said of themselves, and their headphone checks, counted
    pauses: str  # how many of them were paused, in a sentence
    judged: JudgedPanel | None = None  # where a judge was asked
    groups: Groups | None = None  # of systems, where attributes were given

    @property
    def name(self) -> str:
        """What a file of it is called."""
        status = self.found.status
        return f"{status.study}-report-{status.at[:10]}.html"

    def html(self) -> str:
        """Lay it out as one file."""
        status = self.found.status
        return _TEMPLATES.get_template("report.html").render(
            report=self,
            found=self.found,
            when=shown_time(status.at),
            version=__version__,
            rules=_rules(self.found),
            figures=FIGURES,
            clips=_clips(self.found.results),
            rater_figures_mean=RATER_FIGURES_MEAN,
            drawing=lambda svg: Markup(svg[svg.index("<svg") :]),
        )


def report(
    database: Database,
    study_name: str,
    at: datetime | None = None,
    judged: JudgedPanel | None = None,
    attributes: Mapping[str, str] | None = None,
) -> Report:
    """End a study's abandoned batches, and gather its report.

    What a judge said stands in it where one was asked, and groups of systems where their `attributes` are given.
    """
    found = overview(database, study_name, at)
    with database.read() as session:
        study = find_study(session, study_name)
        panel = [table for table in _panel(session, study) if table.rows]
        pauses = _pauses(pause_log(session, study)) if study.has_batches else ""
    written = io.BytesIO()
    write_csv(exported_ratings(found.ratings), written)
    digest = hashlib.sha256(written.getvalue()).hexdigest()
    groups = by_attribute(found.results, attributes) if attributes else None
    plot = attribute_figure(groups) if groups else None
    plots = [*figures(found.ratings, found.results), *([plot] if plot else [])]
    return Report(found, digest, plots, panel, pauses, judged, groups)


def _rules(found: Overview) -> Table:
    if not found.status.checks.screened:
        return Table("Rules", (), (), found.status.progress.notes[0])
    rules = found.status.protocol.described()
    rows = [(name.replace("_", " "), value, meaning) for name, value, meaning in rules]
    return Table("The rules, fixed when the study was created", ("Rule", "Value", "What it means"), rows)


def _clips(results: Results) -> Table:
    rows = []
    for row in results.clips.to_dict("records"):
        scores = [_score(row, scale.key) for scale in results.scales]
        rows.append((row["clip"], row["system"], *scores, row["n_ratings"], row["prompt"]))
    heads = ("Clip", "System", *(f"{scale.title} [95 % interval]" for scale in results.scales), "Ratings", "Prompt")
    return Table("Clips", heads, rows)


def _score(row: dict[str, Any], key: str) -> str:
    low, high, lacking = row[f"{key}_low"], row[f"{key}_high"], row["no_interval"]
    return f"{number(row[key])} " + (f"– ({lacking})" if lacking else f"[{low:.2f}, {high:.2f}]")


def _pauses(log: pd.DataFrame) -> str:
    """Say how many raters were paused, and how many of them were let go on."""
    paused = log[log["action"] == "pause"]
    if paused.empty:
        return "No rater was paused."
    by_rule, by_hand = (paused.loc[paused["rule"] == rule, "rater"].nunique() for rule in ("sequential", "by hand"))
    resumed = log.loc[log["action"] == "resume", "rater"].nunique()
    total = paused["rater"].nunique()
    return f"Raters who were paused: {total} (by the rule {by_rule}, by hand {by_hand}); let go on: {resumed}."


def _panel(session: Session, study: Study) -> list[Table]:
    """Count the latest answers of the raters to each question but those in own words; who said what stands nowhere."""
    query = select(Answer.rater_id, Answer.question, Answer.answer).join(Rater).where(Rater.study_id == study.id)
    latest = {(rater, question): answer for rater, question, answer in session.execute(query.order_by(Answer.id))}
    tables = []
    for question in questions_of(study):
        answers = [answer for (_, asked), answer in latest.items() if asked == question.key]
        tables.append(_numbers(question, answers) if question.kind == "number" else _choices(question, answers))
    return [*tables, _headphones(session, study)]


def _choices(question: Question, answers: Sequence[str]) -> Table:
    counts = Counter(answers)
    rows = [(option, counts[option]) for option in question.options if counts[option]]
    return Table(question.text, ("Answer", "Raters"), rows)


def _numbers(question: Question, answers: Sequence[str]) -> Table:
    values = [float(answer) for answer in answers if question.takes(answer)]
    rows = [(len(values), *(f"{of(values):.10g}" for of in (median, min, max)))] if values else []
    return Table(question.text, ("Raters", "Median", "Smallest", "Largest"), rows)


def _headphones(session: Session, study: Study) -> Table:
    """Count who passed the headphone check, and the tries that this took; nobody, where the study has none."""
    query = select(func.count(), PASSED).join(Rater).where(Rater.study_id == study.id)
    tries: dict[str, list[int]] = {"passed": [], "not passed": []}
    for count, passed in session.execute(query.group_by(Rater.id)):
        tries["passed" if passed else "not passed"].append(count)
    rows = [(outcome, len(counts), sum(counts)) for outcome, counts in tries.items() if counts]
    return Table(f"Headphone check: {NEEDED} of {TRIALS} right answers pass", ("Outcome", "Raters", "Tries"), rows)
