"""A study as its administrator sees it: all figures of one moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import select

from annotation.database import Database
from annotation.results.changes import Change, change_log, possible_changes
from annotation.results.ratings import Results, mos_table, ratings_table, system_table
from annotation.results.reliability import report
from annotation.results.status import status
from annotation.schema import Study
from annotation.studies import find_study


@dataclass(frozen=True)
class Overview:
    """How a study stands, and what it has found out; all of one state of the database.

    Attributes
    ----------
    demo : bool
        Whether the study is one of composed clips or simulated raters.
    status : dict
        As of `annotation.results.status.status`.
    results : Results
        As of `annotation.results.ratings`.
    reliability : dict
        As of `annotation.results.reliability.report`.
    log : DataFrame
        As of `annotation.results.changes.change_log`.
    changes : list of Change
        What can be excluded or restored.
    """

    demo: bool
    status: dict[str, Any]
    results: Results
    reliability: dict[str, Any]
    log: pd.DataFrame
    changes: list[Change]


def study_names(database: Database) -> list[str]:
    """Name all studies, the newest first."""
    with database.read() as session:
        return list(session.scalars(select(Study.name).order_by(Study.created_at.desc(), Study.id.desc())))


def overview(database: Database, study_name: str, at: datetime) -> Overview:
    """Gather all figures of a study.

    Parameters
    ----------
    database : Database
    study_name : str
    at : datetime
        Now: decides which leases run.

    Raises
    ------
    StudyError
        If there is no such study.
    """
    with database.read() as session:
        study = find_study(session, study_name)
        ratings = ratings_table(session, study)
        stands, log, changes = (
            status(session, study, at),
            change_log(session, study),
            possible_changes(session, study),
        )
    results = Results(mos_table(ratings), system_table(ratings))
    return Overview(study.demo, stands, results, report(ratings), log, changes)
