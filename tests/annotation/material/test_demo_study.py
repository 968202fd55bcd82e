"""The demo study: composed, marked as such, ready at once."""

import io
import time
from collections.abc import Iterator
from pathlib import Path

import pyloudnorm
import pytest
import soundfile

from annotation.database import Database
from annotation.material.demo_study import PROTOCOL, new_visitor, open_demo, sound_check
from annotation.protocol import Protocol
from annotation.results.status import progress
from annotation.schema import Clip, Rater
from annotation.session import listening
from annotation.studies import clip_path, find_study
from tests.annotation.rooms import NOW
from tests.annotation.scripted import rate_all


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, Path]]:
    began = time.perf_counter()
    database, data = open_demo(tmp_path_factory.mktemp("demo"))
    assert time.perf_counter() - began < 10
    yield database, data
    database.close()


def test_what_is_in_it(demo: tuple[Database, Path]) -> None:
    database, data = demo
    with database.read() as session:
        study = find_study(session, "demo")
        assert study.demo
        found = session.query(Clip).all()
        kinds = [clip.kind for clip in found]
        assert [kinds.count(kind) for kind in ("stimulus", "anchor", "practice")] == [8, 3, 2]
        assert len({clip.system_id for clip in found if clip.kind == "stimulus"}) == 4
        assert all("stand-in" in clip.source_file for clip in found if clip.kind == "anchor")
        assert all(clip.source_file.startswith("composed") for clip in found)
        assert {clip.duration_s for clip in found} == {8.0}
        for clip in found:
            assert clip_path(data, study, clip.name).is_file()
            if clip.kind == "practice":
                assert clip.explanation
                assert [1 <= clip.expected[scale.key] <= 5 for scale in study.scales] == [True, True]
        assert progress(session, study, NOW).anchors >= PROTOCOL.anchors


def test_visitors_rate_it_all_and_do_not_disturb_each_other(demo: tuple[Database, Path]) -> None:
    database, _ = demo
    with database.write() as session:
        first, second = new_visitor(session, NOW), new_visitor(session, NOW)
        assert first.pseudonym != second.pseudonym
        assert first.code_sha256 is None
    for visitor in (first, second):
        at = rate_all(database, visitor.id, lambda clip, _role: (5, 4) if clip.kind == "anchor" else (3, 3), NOW)
        with database.write() as session:
            place = listening.current_step(session, session.get_one(Rater, visitor.id), at)
        assert (place.step, place.message, place.batches_done) == ("done", "complete", 2)


def test_the_sound_check_is_as_loud_as_the_clips() -> None:
    for protocol in (Protocol(), Protocol(sample_rate_hz=44_100, loudness_lufs=-30)):
        samples, rate_hz = soundfile.read(io.BytesIO(sound_check(protocol)))
        assert rate_hz == protocol.sample_rate_hz
        assert pyloudnorm.Meter(rate_hz).integrated_loudness(samples) == pytest.approx(protocol.loudness_lufs, abs=0.1)
    assert sound_check() == sound_check(PROTOCOL)
