"""Raters who join by themselves: a study's link with its limit, and what they are told when they have done enough.

The link carries a key, which is stored as it is, because whoever runs the study hands it out again and again; a new
link ends the old one. A link may carry parameters, as panels of raters add them: those that the study names are kept
with the rater, in no export, and can stand in the query of the address to which raters return. Nothing else of that
address depends on who asks.
"""

import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from string import Formatter
from urllib.parse import quote, urlsplit

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.life import note, refuse_archived
from annotation.schema import Batch, Rater, Study
from annotation.studies import MOST_RATERS, hash_code, new_code, refuse_imported
from core.errors import AccessError, StudyError

MOST_PARAMETERS = 10
LONGEST_VALUE = 200
LONGEST = {"code": 100, "address": 1_000}
CODE = "code"  # the completion code's place in an address
_KEY_BYTES = 18
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


@dataclass(frozen=True)
class Enrolment:
    """Who may join a study by its link, and what they get at the end.

    `parameters` are those of the link that are kept; `address` may have their names in braces in its query, and
    ``{code}``. The end is when nothing is left to rate, or after so many batches (0: only then).
    """

    limit: int = 100
    on: bool = True
    code: str = ""
    address: str = ""
    parameters: tuple[str, ...] = ()
    after_batches: int = 0
    key: str = ""

    def check(self) -> None:
        """Raise `StudyError` where a study cannot have this."""
        if not 1 <= self.limit <= MOST_RATERS:
            raise StudyError(f"The limit is {self.limit}; it must be a whole number from 1 to {MOST_RATERS:,}.")
        if not 0 <= self.after_batches <= MOST_RATERS:
            raise StudyError(f"After {self.after_batches} batches is no end; give a number from 0 on.")
        names = self.parameters
        if len(names) > MOST_PARAMETERS or not all(map(_NAME.fullmatch, names)) or len({*names}) < len(names):
            raise StudyError(
                f"The parameters are names of letters, digits and _, each once and {MOST_PARAMETERS} at most, "
                "such as PROLIFIC_PID."
            )
        for what, longest in LONGEST.items():
            text = getattr(self, what)
            if len(text) > longest or not text.isprintable():
                raise StudyError(f"The {what} must be one line of at most {longest:,} characters.")
        if self.address:
            _check_address(self.address, {*names, CODE})

    def returns_to(self, parameters: Mapping[str, str]) -> str:
        """Return the address with the parameters that a rater's link carried; empty where there is none."""
        filled = {name: quote(parameters.get(name, ""), safe="") for name in self.parameters}
        return self.address.format_map({**filled, CODE: quote(self.code, safe="")})


def _check_address(address: str, known: set[str]) -> None:
    """Refuse an address that is not https, or would lead elsewhere by what a link carries."""
    parts = urlsplit(address)
    plain = not re.search(r"""[\s<>"'\\`^|]""", address)
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or not plain:
        raise StudyError("The address to return to must begin with https:// and name a site.")
    try:
        fields = [field[1:] for field in Formatter().parse(address) if field[1] is not None]
    except ValueError as error:
        raise StudyError("A brace in the address is not closed. Write {NAME} for a parameter.") from error
    fixed = address.partition("?")[0]
    if any(sign in fixed for sign in "{}") or any(name not in known or form or to for name, form, to in fields):
        raise StudyError(
            "What stands in braces in the address can be, and only after its ?: "
            f"{', '.join(f'{{{name}}}' for name in sorted(known))}. Name other parameters first."
        )


def enrolment_of(study: Study) -> Enrolment | None:
    """Return how raters join a study by themselves; None where they never could."""
    if study.enrolment is None:
        return None
    return Enrolment(**{**study.enrolment, "parameters": tuple(study.enrolment["parameters"])})


def set_enrolment(session: Session, study: Study, wanted: Enrolment, at: datetime, new_link: bool = False) -> Enrolment:
    """Set who may join by themselves; the link stays, unless a new one is wanted, which ends the old one."""
    refuse_archived(study)
    refuse_imported(study)
    before = enrolment_of(study)
    key = before.key if before and not new_link else secrets.token_urlsafe(_KEY_BYTES)
    made = replace(wanted, key=key)
    made.check()
    study.enrolment = {**asdict(made), "parameters": list(made.parameters)}
    shown = {name: value for name, value in asdict(made).items() if name != "key"}
    note(session, study, "enrol", at, details={**shown, "new link": before is None or new_link})
    return made


def study_of(session: Session, key: str) -> Study | None:
    """Return the study whose link has a key."""
    for study in session.scalars(select(Study).where(Study.enrolment.is_not(None))):
        found = enrolment_of(study)
        if found and secrets.compare_digest(found.key.encode(), key.encode("utf-8", "replace")):
            return study
    return None


def join(session: Session, key: str, carried: Mapping[str, str], at: datetime) -> tuple[Rater, str]:
    """Add a rater who came by a study's link; return them and their code, which exists nowhere else.

    Raises `AccessError` if the link is not known or takes nobody any more, the study is not open, or who came has
    joined before, by what their link carried.
    """
    study = study_of(session, key)
    found = enrolment_of(study) if study else None
    if study is None or found is None:
        raise AccessError("This link is not known. Check that it is complete.", "join_unknown")
    if study.state != "open":
        raise AccessError("This listening test takes no raters at the moment.", "join_not_open")
    kept = {name: value[:LONGEST_VALUE] for name in found.parameters if (value := _plain(carried.get(name, "")))}
    there = session.scalars(select(Rater.external).where(Rater.study_id == study.id)).all()
    joined = [external["parameters"] for external in there if external]
    if kept and kept in joined:
        raise AccessError("You have joined already. Go on with the code that you got then.", "join_again")
    if not found.on or len(joined) >= found.limit:
        raise AccessError("This listening test has all the raters that it needs. Thank you!", "join_full")
    code = new_code()
    rater = Rater(
        study_id=study.id,
        pseudonym=f"R{len(there) + 1:02d}",
        code_sha256=hash_code(code),
        invited_at=at,
        external={"parameters": kept},
    )
    session.add(rater)
    session.flush()
    return rater, code


def _plain(value: str) -> str:
    return "".join(sign for sign in value if sign.isprintable()).strip()


def completion(study: Study, rater: Rater, batches_done: int, ended: bool) -> dict[str, str] | None:
    """Return what a rater is told who has done enough: the code and the address; None where it is not so."""
    found = enrolment_of(study)
    if found is None or not (found.code or found.address):
        return None
    enough = batches_done >= found.after_batches if found.after_batches else ended and batches_done > 0
    if not enough:
        return None
    return {"code": found.code, "address": found.returns_to(rater.external.get("parameters", {}))}


def joined_table(session: Session, study: Study) -> pd.DataFrame:
    """Return who joined by the link, with what it carried, for whoever runs the study alone."""
    found = enrolment_of(study)
    names: Sequence[str] = found.parameters if found else ()
    done = select(Batch.rater_id).where(Batch.study_id == study.id, Batch.number > 0, Batch.state != "open")
    ended = Counter(session.scalars(done))
    query = select(Rater).where(Rater.study_id == study.id).order_by(Rater.id)
    rows = [
        {"rater": one.pseudonym, "joined_at": one.invited_at, "batches": ended[one.id], **one.external["parameters"]}
        for one in session.scalars(query)
        if one.external
    ]
    more = sorted({name for row in rows for name in row} - {"rater", "joined_at", "batches", *names})
    return pd.DataFrame(rows, columns=["rater", "joined_at", "batches", *names, *more])
