"""The loop closed: a study is rated, a judge is trained from it, and the score page uses it.

Through the functions that the pages and the command line call: clips are ingested from a manifest, simulated
raters take batch after batch, a button of the page Studies starts the run in a process of its own, and one of
the page Training makes its result the judge. Clips are composed and ratings simulated, and the new judge has
to say so.
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
from annotation.results.status import overview
from annotation.schema import Clip
from annotation.studies import create, find_rater, find_study, invite
from core.audio import AudioLimits
from core.scorer import Scorer
from core.settings import Settings
from core.training.manager import DONE, RUNNING, RunManager
from core.training.registry import ModelRegistry
from tests.annotation.scripted import rate_all
from tests.clips import pluck, write_clip
from tests.playable_release import RATE_HZ, draw_clips, rate
from webapp.judge import Judge
from webapp.listening_api import StudyStore
from webapp.score import details
from webapp.theme import banner
from webapp.training import act, train_from_study

SYSTEMS, CLIPS_EACH, RATERS, SEED = 4, 4, 2, 5
CLIP_S = 1.0
RULES = Protocol(raters_per_clip=2, batch_size=8, anchors=1, duplicates=0, training=0)
BEGINS = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOST_S = 600.0  # that a run of so few clips may take, on a busy machine


@dataclass
class House:
    """The rooms as `webapp.build_app` puts them together."""

    settings: Settings
    store: StudyStore
    runs: RunManager
    judge: Judge


@pytest.fixture
def house(tmp_path: Path, scorer: Scorer) -> Iterator[House]:
    settings = Settings(data=tmp_path / "data")
    database = Database(settings.database_url)
    runs = RunManager(settings.models, settings.cache)
    judge = Judge(scorer, ModelRegistry(settings.models))
    yield House(settings, StudyStore(database, settings.data), runs, judge)
    if runs.running():
        runs.stop(str(runs.running()))
    database.close()


def rated_study(database: Database, data: Path, folder: Path) -> None:
    """Create a study and let simulated raters finish it."""
    with database.write() as session:
        create(session, "loop", RULES, SEED, BEGINS, demo=True)
    opinions = write_clips(folder)
    report = ingest(database, data, "loop", folder / "manifest.csv", BEGINS, AudioLimits(min_duration_s=0.1))
    assert (report.failed, report.added["stimulus"]) == ([], SYSTEMS * CLIPS_EACH)
    with database.write() as session:
        codes = invite(session, find_study(session, "loop"), RATERS, BEGINS)
        raters = [find_rater(session, find_study(session, "loop"), name).id for name, _ in codes]
    at, random = BEGINS, np.random.default_rng(SEED)

    def answer(clip: Clip, role: str) -> tuple[int, int]:
        return (5, 5) if role == "anchor" else rate(opinions[clip.source_file], random)

    for rater_id in raters:
        at = rate_all(database, rater_id, answer, at + timedelta(hours=1))


def write_clips(folder: Path) -> dict[str, tuple[float, float]]:
    """Write clips and their manifest; give what raters at large would say of each file."""
    folder.mkdir()
    random = np.random.default_rng(SEED)
    opinions = {}
    rows = [("file", "prompt", "system", "kind")]
    for clip in draw_clips(SYSTEMS * CLIPS_EACH, SYSTEMS, random):
        path = write_clip(folder / clip.wav, clip.play(CLIP_S, random), RATE_HZ)
        opinions[path.name] = clip.opinion
        rows.append((path.name, clip.prompt, clip.system, "stimulus"))
    for number in range(RATERS):
        path = write_clip(folder / f"anchor{number}.wav", pluck(1.0 + number))
        rows.append((path.name, "Played by people", "human", "anchor"))
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return opinions


def finished(runs: RunManager) -> str:
    """Wait for the run that is going; give its name."""
    (run,) = runs.all()
    deadline_s = time.monotonic() + MOST_S
    while run.state == RUNNING and time.monotonic() < deadline_s:
        time.sleep(0.1)
        run = runs.run(run.name)
    assert run.state == DONE, (run.state, run.progress.message)
    return run.name


@pytest.mark.timeout(900)
def test_what_raters_said_becomes_the_judge(house: House, tmp_path: Path) -> None:
    first, clip = house.judge.scorer, write_clip(tmp_path / "clip.wav")
    rated_study(house.store.database, house.store.data, tmp_path / "sources")
    progress = overview(house.store.database, "loop", BEGINS + timedelta(days=9)).status.progress
    assert (progress.clips_done, progress.clips) == (SYSTEMS * CLIPS_EACH, SYSTEMS * CLIPS_EACH)

    note = train_from_study(house.runs, house.store, "loop")
    name = finished(house.runs)
    assert f"The run {name} has begun" in note
    assert house.judge.scorer is first  # nothing judges by having been trained

    act(house.judge, house.runs, "use", name)
    score = house.judge.scorer.score(clip, "A calm piano")
    checkpoint = house.judge.scorer.checkpoint
    assert (house.judge.name, score.provenance.checkpoint.id) == (name, checkpoint.id)
    assert score.provenance.checkpoint.sha256 == checkpoint.sha256 != first.checkpoint.sha256
    assert checkpoint.id in details(score)
    assert checkpoint.demo
    assert "simulated ratings" in checkpoint.caveat
    assert "This judge:" in banner(checkpoint)  # it is not the demo model
    assert "demo_model" in {warning.code for warning in score.warnings}

    again = Judge.open(Settings(data=house.settings.data))
    assert again.scorer.checkpoint.sha256 == checkpoint.sha256  # a restart keeps it

    act(house.judge, house.runs, "back", "")
    assert (house.judge.name, house.judge.scorer) == (None, first)
    assert house.judge.scorer.score(clip, "A calm piano").to_json() != score.to_json()
    assert [model.name for model in house.judge.registry.models()] == [name]
