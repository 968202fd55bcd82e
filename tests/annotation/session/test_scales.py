"""A study may ask for scales of its own: one more reaches rater, database, screening and results."""

from typing import Any

import pytest

from annotation import rules
from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.ratings import ratings_table
from annotation.results.scores import mos_table, system_table
from annotation.schema import Clip, Prompt, Rater, Study, System
from annotation.session import listening
from annotation.session.answers import Reply
from annotation.studies import create, find_study, invite
from core.errors import RatingError, StudyError
from core.scales import MUSICEVAL, Scale, keys
from tests.annotation.rooms import NOW, SMALL, Room

BEAUTY = Scale("beauty", "Beauty", "How beautiful is it?", ("ugly", "plain", "fair", "fine", "sublime"))
SCALES = (*MUSICEVAL, BEAUTY)


def build(database: Database) -> Room:
    """Make a study with a third scale, by which anchors are judged; one practice clip tells its answer."""
    protocol = Protocol(**{**SMALL, "training": 1, "anchor_scale": "beauty"})
    with database.write() as session:
        study = create(session, "three", protocol, 7, NOW, scales=SCALES)
        system, prompt = System(study_id=study.id, name="S1"), Prompt(study_id=study.id, text="A tune.")
        for number, kind in enumerate(["stimulus"] * 4 + ["anchor"] * 2 + ["practice"]):
            session.add(
                Clip(
                    study_id=study.id, kind=kind, system=system, prompt=prompt, name=f"clip{number}",
                    source_file="a.wav", source_sha256=f"{number}", duration_s=10.0, gain_db=0.0,
                    gain_lowered=False, expected={"beauty": 4.5} if kind == "practice" else {}, added_at=NOW,
                )
            )  # fmt: skip
        invite(session, study, 2, NOW)
        raters = list(session.query(Rater).order_by(Rater.id))
        for rater in raters:
            listening.about(session, rater, {}, NOW)
        return Room(database, study.id, [rater.id for rater in raters], protocol)


def rate_batch(room: Room, number: int, **scores: int) -> listening.Submitted:
    here, done = room.start(number), None
    while here.task is not None:
        room.call(number, listening.serve, here.task.token)
        room.wait(seconds=12)
        reply = Reply(scores, "", [[0.0, 10.0]])
        done = room.call(number, listening.submit, here.task.token, reply)
        here = done.place
    assert done is not None
    return done


def test_a_third_scale(database: Database) -> None:
    room = build(database)
    said: dict[str, Any] = {"musical_impression": 2, "textual_alignment": 3, "beauty": 5}
    with pytest.raises(RatingError, match="Beauty must be a whole number from 1 to 5"):
        rate_batch(room, 0, musical_impression=2, textual_alignment=3)
    practised = rate_batch(room, 0, **said)
    assert practised.feedback is not None
    assert practised.feedback.expected == dict.fromkeys(keys(MUSICEVAL)) | {"beauty": 4.5}
    rate_batch(room, 0, **said)
    for _ in range(2):
        rate_batch(room, 1, **{**said, "beauty": 1})  # anchors fail by the scale of the study's own
    with database.read() as session:
        study: Study = find_study(session, "three")
        assert study.scales == SCALES
        ratings = ratings_table(session, study)
        counted = ratings["status"].value_counts().to_dict()
        assert counted == {"valid": 4, "check": 6, "excluded": 4, "practice": 2}
        assert set(ratings.loc[ratings["rater"] == "R01", "beauty"]) == {5}
        clips, systems = (table(ratings, keys(SCALES)) for table in (mos_table, system_table))
        assert clips[keys(SCALES)].to_numpy().tolist() == [[2.0, 3.0, 5.0]] * 4
        assert systems[["beauty", "no_interval"]].to_numpy().tolist() == [[5.0, "needs 1 more clip"]]
        two, three = (rules.false_alarms(study.protocol, scales) for scales in (MUSICEVAL, SCALES))
    assert three["duplicate"] == pytest.approx(1 - (1 - two["duplicate"]) ** 1.5)


def test_anchors_are_judged_on_a_scale_of_the_study(database: Database) -> None:
    with database.write() as session:
        with pytest.raises(StudyError, match="anchor_scale is 'beauty'; it can be musical_impression or"):
            create(session, "one", Protocol(anchor_scale="beauty"), 7, NOW)
        with pytest.raises(StudyError, match="anchor_scale is 'musical_impression'; it can be beauty"):
            create(session, "one", Protocol(), 7, NOW, scales=(BEAUTY,))
        assert create(session, "one", Protocol(anchors=0), 7, NOW, scales=(BEAUTY,)).scales == (BEAUTY,)
