"""The loop closed: a study is rated, a judge is trained from it, and the score page uses it.

Through the functions that the pages and the command line call: clips are ingested from a manifest, simulated
raters take batch after batch, the Study tab's button starts the run in a process of its own, and the Training
tab's makes its result the judge. Clips are composed and ratings simulated, and the new judge has to say so.
"""

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from annotation.database import Database
from annotation.material.ingest import ingest
from annotation.protocol import Protocol
from annotation.schema import Clip
from annotation.studies import create, find_rater, find_study, invite
from core.audio import AudioLimits
from core.demo import panel
from core.demo.timbres import SAMPLE_RATE_HZ
from core.scorer import Scorer
from core.settings import Settings
from core.training.run_status import DONE, RUNNING
from core.training.runs import Runs
from core.training.shelf import ModelShelf
from tests.annotation.scripted import rate_all
from tests.clips import pluck, write_clip
from webapp.details import details
from webapp.header import banner
from webapp.judge import Judge
from webapp.study_desk import StudyDesk
from webapp.study_export import Exports
from webapp.training_desk import Desk, train_from_study
from webapp.venues import Venue

SYSTEMS, CLIPS_EACH, RATERS, SEED = 4, 8, 2, 5
CLIP_S = 0.5
RULES = Protocol(raters_per_clip=2, batch_size=8, anchors=1, duplicates=0, training=0)
BEGINS = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOST_S = 240.0  # that a run of so few clips may take, on a busy machine


@dataclass
class House:
    """The rooms as `webapp.build_app` puts them together."""

    settings: Settings
    venue: Venue
    runs: Runs
    judge: Judge

    @property
    def study_tab(self) -> StudyDesk:
        def train(study: str) -> str:
            return train_from_study(self.runs, self.venue, study)

        return StudyDesk(self.venue, Exports(self.venue), train)

    @property
    def training_tab(self) -> Desk:
        return Desk(self.judge, self.runs, self.venue)


@pytest.fixture
def house(tmp_path: Path, scorer: Scorer) -> Iterator[House]:
    settings = Settings(data=tmp_path / "data")
    database = Database(settings.database_url)
    runs = Runs(settings.models, settings.cache)
    judge = Judge(scorer, ModelShelf(settings.models))
    yield House(settings, Venue(database, settings.data), runs, judge)
    if runs.running():
        runs.stop(str(runs.running()))
    database.close()


def rated_study(database: Database, data: Path, folder: Path) -> None:
    """Create a study of composed clips and let simulated raters finish it."""
    with database.write() as session:
        create(session, "loop", RULES, SEED, BEGINS, demo=True)
    opinions = compose(folder)
    report = ingest(database, data, "loop", folder / "manifest.csv", BEGINS, AudioLimits(min_duration_s=0.1))
    assert (report.failed, report.added["stimulus"]) == ([], SYSTEMS * CLIPS_EACH)
    with database.write() as session:
        codes = invite(session, find_study(session, "loop"), RATERS, BEGINS)
        raters = [find_rater(session, find_study(session, "loop"), name).id for name, _ in codes]
    at, random = BEGINS, np.random.default_rng(SEED)
    for rater_id, temper in zip(raters, panel.draw_raters(RATERS, random), strict=True):

        def answer(clip: Clip, role: str, temper: panel.Rater = temper) -> tuple[int, int]:
            return (5, 5) if role == "anchor" else temper.rate(opinions[clip.source_file], random)

        at = rate_all(database, rater_id, answer, at + timedelta(hours=1))


def compose(folder: Path) -> dict[str, tuple[float, float]]:
    """Write clips and their manifest; give what the panel at large would say of each file."""
    folder.mkdir()
    opinions = {}
    rows = [("file", "prompt", "system", "kind")]
    for clip in panel.simulate(SYSTEMS, CLIPS_EACH, SEED, CLIP_S):
        path = write_clip(folder / f"{clip.clip_id}.wav", clip.sound(), SAMPLE_RATE_HZ)
        opinions[path.name] = clip.opinion
        rows.append((path.name, clip.prompt, clip.system_id, "stimulus"))
    for number in range(RATERS):
        path = write_clip(folder / f"anchor{number}.wav", pluck(1.0 + number))
        rows.append((path.name, "Played by people", "human", "anchor"))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return opinions


def finished(runs: Runs) -> str:
    """Wait for the run that is going; give its name."""
    (run,) = runs.all()
    deadline_s = time.monotonic() + MOST_S
    while run.state == RUNNING and time.monotonic() < deadline_s:
        time.sleep(0.1)
        run = runs.run(run.name)
    assert run.state == DONE, (run.state, run.message)
    return run.name


def test_what_raters_said_becomes_the_judge(house: House, tmp_path: Path) -> None:
    first, clip = house.judge.scorer, write_clip(tmp_path / "clip.wav")
    rated_study(house.venue.database, house.venue.data, tmp_path / "sources")
    assert f"<span>{SYSTEMS * CLIPS_EACH} of {SYSTEMS * CLIPS_EACH}</span>" in house.study_tab.open("loop")[3]

    note = house.study_tab.train("loop")
    name = finished(house.runs)
    assert f"The run {name} has begun" in note
    assert house.judge.scorer is first  # nothing judges by having been trained

    house.training_tab.act("use", name)
    score = house.judge.scorer.score(clip, "A calm piano")
    checkpoint = house.judge.scorer.checkpoint
    assert (house.judge.name, score.provenance["checkpoint"]["id"]) == (name, checkpoint.id)
    assert score.provenance["checkpoint"]["sha256"] == checkpoint.sha256 != first.checkpoint.sha256
    assert checkpoint.id in details(score)
    assert checkpoint.demo
    assert "simulated ratings" in checkpoint.caveat
    assert "Demo judge" in banner(checkpoint)
    assert "demo_model" in {warning.code for warning in score.warnings}

    again = Judge.open(Settings(data=house.settings.data))
    assert again.scorer.checkpoint.sha256 == checkpoint.sha256  # a restart keeps it

    house.training_tab.act("back", "")
    assert (house.judge.name, house.judge.scorer) == (None, first)
    assert house.judge.scorer.score(clip, "A calm piano").to_json() != score.to_json()
    assert [model.name for model in house.training_tab.judge.shelf.models()] == [name]
