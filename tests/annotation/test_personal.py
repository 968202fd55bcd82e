"""What is held on one rater, given out to them: all of it, and nothing that would tell which clips are checks."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from annotation import studies
from annotation.cli import main
from annotation.database import Database
from annotation.personal import as_text, personal_data
from annotation.schema import Answer, Base, Trial, Visit
from annotation.session import holds
from core.errors import StudyError
from tests.annotation.rooms import NOW, Room, only_sqlite
from tests.webapp.studies import rows


def test_personal_data_is_all_that_is_theirs_and_tells_no_checks(database: Database) -> None:
    room = Room.build(database)
    room.rate_batch(0)
    room.rate_batch(1, 2)
    with database.write() as session:
        rater = studies.find_rater(session, room.study(session), "R01")
        rater.note, rater.external, rater.code_sha256 = "Ann", {"parameters": {"PID": "P1"}}, "of the code"
        session.add(Answer(rater_id=rater.id, question="instrument", answer="harp", given_at=NOW))
        session.add(Visit(rater_id=rater.id, token_sha256="of the token", began_at=NOW))
        holds.pause(session, rater, "They asked.", "administrator", NOW)
    before = rows(database)
    with database.read() as session:
        found = json.loads(as_text(personal_data(session, room.study(session), "R01", NOW)))
        trials = session.scalars(select(Trial).where(Trial.rater_id == room.rater_ids[0]).order_by(Trial.id)).all()
        answered = [trial.response for trial in trials if trial.response]
        assert len(found["held"]["responses"]) == len(answered) > 2
        assert len(found["held"]["ratings"]) == 2 * len(answered)
        assert [row["clip"] for row in found["held"]["trials"]] == [trial.clip.name for trial in trials]
        secrets = {"of the code", "of the token", "S0", "anchor", *(str(trial.token) for trial in trials)}
        with pytest.raises(StudyError):
            personal_data(session, room.study(session), "R99", NOW)
    (held,) = found["held"]["raters"]
    assert (held["pseudonym"], held["note"], held["external"]) == ("R01", "Ann", {"parameters": {"PID": "P1"}})
    assert found["held"]["consents"][0]["given_at"] == NOW.isoformat()
    assert [row["reason"] for row in found["held"]["events"]] == ["They asked."]
    tables = Base.metadata.tables.items()
    about = {name for name, table in tables if {"rater_id", "trial_id"} & {*table.columns.keys()}}
    assert found["held"].keys() == about | {"raters", "events"}
    for row in found["held"]["trials"]:
        del row["clip"]  # opaque but in this room
    said = json.dumps(found["held"])
    assert [secret for secret in secrets if secret in said] == []
    assert rows(database) == before


@only_sqlite
def test_the_command_writes_a_new_file(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    room = Room.build(database)
    room.rate_batch(0, 2)
    monkeypatch.setenv("MUSICEVAL_DATABASE_URL", database._engine.url.render_as_string(hide_password=False))
    call = ["personal-data", "room", "--rater", "R01", "-o", str(tmp_path / "R01.json")]
    assert main(call) == 0
    found = json.loads((tmp_path / "R01.json").read_text())
    assert (found["study"], found["rater"], len(found["held"]["responses"])) == ("room", "R01", 2)
    assert f"rows: {sum(map(len, found['held'].values()))}" in capsys.readouterr().out
    assert main(call) == 2
