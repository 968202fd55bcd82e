"""Raters who join by a study's link: who may, what is kept of them, where they return to."""

import json
from pathlib import Path

import pandas as pd
import pytest

from annotation.database import Database
from annotation.enrolment import Enrolment, completion, enrolment_of, join, joined_table, set_enrolment
from annotation.export import export
from annotation.life import log, move
from annotation.protocol import Protocol
from annotation.schema import Rater, Study
from annotation.studies import create, enter, find_study, invite
from core.errors import AccessError, StudyError
from tests.annotation.rooms import NOW

PANEL = Enrolment(2, True, "C0DE", "https://panel.example/end?who={PID}&cc={code}", ("PID", "SESSION"))


@pytest.fixture
def key(database: Database) -> str:
    with database.write() as session:
        study = create(session, "one", Protocol(training=0), 1, NOW)
        invite(session, study, 1, NOW)
        return set_enrolment(session, study, PANEL, NOW).key


def come(database: Database, key: str, **carried: str) -> tuple[str, str]:
    with database.write() as session:
        rater, code = join(session, key, carried, NOW)
        return rater.pseudonym, code


def test_raters_join_up_to_the_limit(database: Database, key: str) -> None:
    assert len(key) == 24
    names, codes = zip(*(come(database, key, PID=f"p{n}", other="x") for n in range(2)), strict=True)
    assert names == ("R02", "R03")
    with database.write() as session:
        assert enter(session, codes[0], NOW)
        table = joined_table(session, find_study(session, "one"))
    assert table.drop(columns="joined_at").fillna("").values.tolist() == [["R02", 0, "p0", ""], ["R03", 0, "p1", ""]]
    with pytest.raises(AccessError) as told:
        come(database, key, PID="p2")
    assert told.value.code == "join_full"


@pytest.mark.parametrize("state", ["off", "paused", "new link", "unknown"])
def test_nobody_joins_otherwise(database: Database, key: str, state: str) -> None:
    with database.write() as session:
        study = find_study(session, "one")
        if state == "off":
            assert set_enrolment(session, study, Enrolment(on=False), NOW).key == key
        if state == "paused":
            move(session, study, "pause", NOW)
        if state == "new link":
            assert set_enrolment(session, study, PANEL, NOW, new_link=True).key != key
    with pytest.raises(AccessError) as told:
        come(database, key if state != "unknown" else f"{key}ü\ud800")
    codes = {"off": "join_full", "paused": "join_not_open", "new link": "join_unknown", "unknown": "join_unknown"}
    assert told.value.code == codes[state]


def test_who_has_joined_keeps_their_code(database: Database, key: str) -> None:
    come(database, key, PID="p")
    with pytest.raises(AccessError) as told:
        come(database, key, PID="p")
    assert told.value.code == "join_again"


def test_what_a_link_carries_is_in_no_export_and_no_log(database: Database, key: str, tmp_path: Path) -> None:
    come(database, key, PID="secret-of-a-panel")
    export(database, tmp_path, "one", tmp_path / "out", NOW)
    assert not any("secret-of-a-panel" in file.read_text() for file in (tmp_path / "out").iterdir())
    assert pd.read_csv(tmp_path / "out" / "raters.csv")["rater"].tolist() == ["R01", "R02"]
    with database.read() as session:
        (event,) = log(session, find_study(session, "one"))
        assert event.action == "enrol"
        assert key not in json.dumps(event.details)


@pytest.mark.parametrize(("done", "ended", "after", "told"), [
    (3, True, 0, True), (3, False, 0, False), (0, True, 0, False), (2, False, 2, True), (1, True, 2, False),
])  # fmt: skip
def test_the_end(done: int, ended: bool, after: int, told: bool) -> None:
    study = Study(enrolment={**PANEL.__dict__, "after_batches": after, "key": "k"})
    rater = Rater(external={"parameters": {"PID": "a&b/../=?{code}"}})
    found = completion(study, rater, done, ended)
    address = "https://panel.example/end?who=a%26b%2F..%2F%3D%3F%7Bcode%7D&cc=C0DE"
    assert found == ({"code": "C0DE", "address": address} if told else None)
    assert completion(study, Rater(external={}), 3, True) in (
        None, {"code": "C0DE", "address": "https://panel.example/end?who=&cc=C0DE"},
    )  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "http://panel.example/",
        "javascript:alert(1)",
        "https:///end",
        "https://you@panel.example/",
        "https://{PID}.example/",
        "https://panel.example/{PID}",
        "https://panel.example/?a={OTHER}",
        "https://panel.example/?a={PID.__class__}",
        "https://panel.example/?a={PID!r}",
        "https://panel.example/?a={PID:>9}",
        "https://panel.example/?a={}",
        "https://panel.example/?a={PID",
        "https://panel.example/?a=<b>",
        "https://panel.example/\n",
        "//panel.example",
    ],
)
def test_an_address_that_leads_elsewhere_is_refused(database: Database, key: str, address: str) -> None:
    with pytest.raises(StudyError), database.write() as session:
        set_enrolment(session, find_study(session, "one"), Enrolment(address=address, parameters=("PID",)), NOW)
    with database.read() as session:
        assert enrolment_of(find_study(session, "one")).address == PANEL.address


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0},
        {"limit": 10**6},
        {"parameters": ("a b",)},
        {"parameters": ("A", "A")},
        {"code": "x\n"},
        {"after_batches": -1},
    ],
)
def test_what_cannot_be_is_refused(database: Database, key: str, wrong: dict[str, object]) -> None:
    with pytest.raises(StudyError), database.write() as session:
        set_enrolment(session, find_study(session, "one"), Enrolment(**wrong), NOW)
