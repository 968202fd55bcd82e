"""Studies by name, raters by pseudonym, codes that are shown once."""

from datetime import timedelta
from pathlib import Path

import pytest

from annotation import access, studies
from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Batch, Rater, Study, Visit
from core.errors import AccessError, StudyError
from tests.annotation.rooms import NOW


@pytest.fixture
def study(database: Database) -> Study:
    with database.write() as session:
        return studies.create(session, "one", Protocol(batch_size=7), 3, NOW)


def test_create(database: Database, study: Study) -> None:
    with database.read() as session:
        found = studies.find_study(session, "one")
        assert (found.id, found.demo, found.seed, found.created_at) == (study.id, False, 3, NOW)
        assert Protocol.from_json(found.protocol) == Protocol(batch_size=7)


@pytest.mark.parametrize("name", ["", "One", "a b", "-a", "a/b", "..", "a" * 65, "é", "a\n"])
def test_names_that_are_none(database: Database, name: str) -> None:
    with pytest.raises(StudyError, match="cannot be the name of a study"), database.write() as session:
        studies.create(session, name, Protocol(), 1, NOW)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_are_none(database: Database, seed: int) -> None:
    with pytest.raises(StudyError, match="must be a whole number from 0"), database.write() as session:
        studies.create(session, "one", Protocol(), seed, NOW)


def test_a_name_is_taken_once(database: Database, study: Study) -> None:
    with pytest.raises(StudyError, match="There is a study 'one' already"), database.write() as session:
        studies.create(session, "one", Protocol(), 1, NOW)


def test_an_unknown_study_is_answered_with_the_known_ones(database: Database) -> None:
    with database.write() as session:
        with pytest.raises(StudyError, match="There is no study yet: create one"):
            studies.find_study(session, "two")
        for name in ("b", "a"):
            studies.create(session, name, Protocol(), 1, NOW)
        with pytest.raises(StudyError, match=r'There is no study "two". The studies are a, b.'):
            studies.find_study(session, "two")


def test_folders(study: Study) -> None:
    data = Path("data")
    assert studies.study_folder(data, study) == data / "studies" / "one"
    assert studies.clip_path(data, study, "ab12") == data / "studies" / "one" / "clips" / "ab12.wav"


def test_invite_numbers_on(database: Database, study: Study) -> None:
    with database.write() as session:
        invited = studies.invite(session, study, 2, NOW) + studies.invite(session, study, 1, NOW)
    assert [pseudonym for pseudonym, _ in invited] == ["R01", "R02", "R03"]
    assert len({code for _, code in invited}) == 3
    with database.write() as session:
        for pseudonym, code in invited:
            visit = access.enter(session, code, NOW)
            assert access.authorise(session, visit).pseudonym == pseudonym
        stored = {rater.code_sha256 for rater in session.query(Rater)}
    assert stored == {access.hash_code(code) for _, code in invited}


@pytest.mark.parametrize("count", [0, -1, studies.MOST_RATERS + 1])
def test_invite_refuses(database: Database, study: Study, count: int) -> None:
    with pytest.raises(StudyError, match="invite 1 to 1000 at a time"), database.write() as session:
        studies.invite(session, study, count, NOW)


def test_a_new_code_ends_the_old_one(database: Database, study: Study) -> None:
    later = NOW + timedelta(days=1)
    with database.write() as session:
        (_, old), (_, other) = studies.invite(session, study, 2, NOW)
        visits = [access.enter(session, code, NOW) for code in (old, other)]
        new = studies.renew(session, study, "R01", later)
    with database.write() as session:
        assert access.authorise(session, access.enter(session, new, later)).pseudonym == "R01"
        assert access.authorise(session, visits[1]).pseudonym == "R02"
        with pytest.raises(AccessError):
            access.authorise(session, visits[0])
        with pytest.raises(AccessError):
            access.enter(session, old, later)
        assert session.query(Visit).order_by(Visit.id).first().ended_at == later


def test_unknown_raters_and_batches_are_answered_with_the_known_ones(
    database: Database, study: Study
) -> None:
    with database.write() as session:
        with pytest.raises(StudyError, match=r'has no rater "R01". Nobody is invited yet.'):
            studies.find_rater(session, study, "R01")
        studies.invite(session, study, 2, NOW)
        with pytest.raises(StudyError, match=r'has no rater "R9". Its raters are R01, R02.'):
            studies.renew(session, study, "R9", NOW)
        rater = studies.find_rater(session, study, "R02")
        with pytest.raises(StudyError, match=r"R02 has no batch 1. There is none yet."):
            studies.find_batch(session, rater, 1)
        batch = Batch(
            study_id=study.id,
            rater=rater,
            number=1,
            state="open",
            short=False,
            opened_at=NOW,
            lease_until=NOW,
        )
        session.add(batch)
        assert studies.find_batch(session, rater, 1) is batch
        with pytest.raises(StudyError, match=r"R02 has no batch 2. The batches are 1."):
            studies.find_batch(session, rater, 2)
