"""A study as its raters see it, before it is open: a copy in a database of its own, of which nothing is kept.

The copy has the study, its clips and one rater, whose code names its file; the clips' sounds are those of the study. It
is deleted after a day.
"""

import contextlib
import re
import time
from pathlib import Path

from sqlalchemy import insert, select

from annotation.database import Database, now
from annotation.schema import Base, Rater
from annotation.studies import find_study, hash_code, new_code, refuse_imported

RATER = "preview"
LIFE_S = 86_400.0
_FOLDER = "previews"
_HASH = re.compile(r"[0-9a-f]{64}")
_STUDIES = Base.metadata.tables["studies"]
_COPIED = [Base.metadata.tables[name] for name in ("systems", "prompts", "clips")]


def make_preview(database: Database, data: Path, study_name: str) -> str:
    """Copy a study as if it were open; return the code with which it is entered."""
    folder = data / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    _drop_old(folder)
    code = new_code()
    with database.read() as session:
        study = find_study(session, study_name)
        refuse_imported(study)
        itself = dict(session.execute(select(_STUDIES).where(_STUDIES.c.id == study.id)).mappings().one())
        rows = {
            table: [dict(row) for row in session.execute(select(table).where(table.c.study_id == study.id)).mappings()]
            for table in _COPIED
        }
    copy = Database(f"sqlite:///{folder / hash_code(code)}.sqlite", durable=False)
    try:
        with copy.write() as session:
            session.execute(insert(_STUDIES), [itself | {"state": "open"}])
            for table, found in rows.items():
                if found:
                    session.execute(insert(table), found)
            rater = {"pseudonym": RATER, "code_sha256": hash_code(code), "invited_at": now(session)}
            session.add(Rater(study_id=itself["id"], **rater))
    finally:
        copy.close()
    return code


def preview_file(data: Path, code_sha256: str) -> Path | None:
    """Return the database of a preview by the hash of its code; None if there is none any more."""
    path = data / _FOLDER / f"{code_sha256}.sqlite"
    return path if _HASH.fullmatch(code_sha256) and path.is_file() else None


def _drop_old(folder: Path) -> None:
    for path in folder.glob("*.sqlite"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - LIFE_S:
                for part in folder.glob(f"{path.name}*"):
                    part.unlink()
