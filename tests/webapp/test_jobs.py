"""Lists as jobs: they go on without their page, at addresses that nobody can guess, for a day."""

import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from core.errors import BatchError
from core.scorer import Scorer
from core.training.registry import ModelRegistry
from tests.clips import pluck, write_clip
from tests.manifests import manifest_rows, write_manifest
from tests.waiting import until
from tests.webapp.test_guard import call, handlers
from webapp import jobs as jobs_module
from webapp.batch import JobsPage
from webapp.jobs import Job, Jobs
from webapp.judge import Judge, ModelMenu
from webapp.list_runs import Given, ListRuns
from webapp.retention import DAY_S as KEPT_S

ADDRESS = "192.0.2.1"
HOSTILE_NAMES = ["", "A" * 22, "../../etc/passwd", "é" * 22, "\0", "A" * 10_000, None, 7, {"a": 1}, ["x"]]


@pytest.fixture
def judge(scorer: Scorer, tmp_path: Path) -> Judge:
    return Judge(scorer, ModelRegistry(tmp_path / "models"))


@pytest.fixture
def jobs(judge: Judge, tmp_path: Path) -> Jobs:
    (tmp_path / "jobs").mkdir()
    return Jobs(ListRuns(judge), tmp_path / "jobs")


@pytest.fixture
def page(judge: Judge, jobs: Jobs, tmp_path: Path) -> JobsPage:
    files: Any = SimpleNamespace(GRADIO_CACHE=str(tmp_path / "uploads"))
    return JobsPage(judge, ModelMenu(judge), jobs, files)


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """A list of six rows, one of which names a clip that did not come."""
    path = write_manifest(tmp_path / "mine.csv", manifest_rows(tmp_path, 6))
    return Given(tuple(str(tmp_path / f"clip{number}.wav") for number in range(3)), str(path))


@pytest.fixture
def held(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Until it is set, a list waits after its first clip, which has two rows."""
    go_on, score = threading.Event(), jobs_module.ListRuns._score

    def wait(*given: Any) -> Any:
        for finished in score(*given):
            yield finished
            go_on.wait(20)

    monkeypatch.setattr("webapp.list_runs.CLIPS_AT_ONCE", 1)
    monkeypatch.setattr(ListRuns, "_score", wait)
    return go_on


def ended(jobs: Jobs, job: Job) -> Job:
    until(lambda: jobs.get(job.name).ended)
    return jobs.get(job.name)


def chosen(**data: Any) -> Any:
    return SimpleNamespace(**data)


def test_a_job_goes_on_by_itself_and_is_kept(jobs: Jobs, judge: Judge, given: Given, tmp_path: Path) -> None:
    job = jobs.start(ADDRESS, given)
    assert len(job.name) == 22
    end = ended(jobs, job)
    assert (end.title, end.run.n_rows, end.run.n_failed, end.error) == ("mine.csv", 6, 1, "")
    until(lambda: Jobs(ListRuns(judge), tmp_path / "jobs").find(job.name))
    assert Jobs(ListRuns(judge), tmp_path / "jobs").find(job.name) == end


def test_rows_are_there_as_they_come(jobs: Jobs, given: Given, held: threading.Event) -> None:
    job = jobs.start(ADDRESS, given)
    until(lambda: jobs.get(job.name).run.done)
    assert not jobs.get(job.name).ended
    held.set()
    assert len(ended(jobs, job).run.done) == 6


def test_a_stopped_job_goes_on_where_it_was(jobs: Jobs, given: Given, held: threading.Event) -> None:
    job = jobs.start(ADDRESS, given)
    until(lambda: jobs.get(job.name).run.done)
    jobs.stop(job.name)
    held.set()
    first = ended(jobs, job).run
    assert 0 < len(first.done) < 6
    whole = ended(jobs, jobs.again(job.name, ADDRESS)).run
    assert len(whole.done) == 6
    assert all(whole.done[number] is first.done[number] or whole.done[number] == first.done[number]
               for number in first.done)  # fmt: skip


def test_failed_rows_are_tried_again_with_what_was_missing(
    jobs: Jobs, given: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ended(jobs, jobs.start(ADDRESS, given))
    [(place, failed)] = [(place, row) for place, row in job.run.done.items() if row["status"] != "ok"]
    assert "is not among the files" in failed["reason"]
    scored = list[str]()
    score_rows = jobs_module.ListRuns._score
    monkeypatch.setattr(
        ListRuns, "_score", lambda runs, scorer, rows, *more: (scored.extend(row.file for row in rows.values()),
                                                               score_rows(runs, scorer, rows, *more))[1]
    )  # fmt: skip
    again = ended(jobs, jobs.again(job.name, ADDRESS, (str(tmp_path / "clip3.wav"),)))
    assert (again.name, again.run.n_failed, again.run.done[place]["status"]) == (job.name, 0, "ok")
    assert scored == ["clip3.wav"]


def test_a_deleted_job_is_gone_even_while_it_runs(jobs: Jobs, given: Given, held: threading.Event) -> None:
    job, other = jobs.start(ADDRESS, given), jobs.start(ADDRESS, given)
    jobs.forget(job.name)
    held.set()
    ended(jobs, other)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name == "job"])
    assert jobs.find(job.name) is None
    assert jobs.find(other.name)


def test_a_day_later_it_is_gone(jobs: Jobs, judge: Judge, given: Given, tmp_path: Path) -> None:
    job = ended(jobs, jobs.start(ADDRESS, given))
    now = time.time()

    def at(later_s: float) -> Callable[[], float]:
        return lambda: now + later_s

    until(lambda: any((tmp_path / "jobs").iterdir()))
    assert Jobs(ListRuns(judge), tmp_path / "jobs", at(KEPT_S - 60)).find(job.name)
    assert Jobs(ListRuns(judge), tmp_path / "jobs", at(KEPT_S + 60)).find(job.name) is None


def test_a_server_has_so_many_jobs_at_once(
    jobs: Jobs, given: Given, held: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "_MOST_RUNNING", 2)
    for number in range(2):
        jobs.start(f"192.0.2.{number}", given)
    with pytest.raises(BatchError, match="the most at a time"):
        jobs.start("192.0.2.9", given)
    held.set()


def test_what_goes_wrong_unexpectedly_ends_the_job_in_a_sentence(
    jobs: Jobs, page: JobsPage, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("secret path")

    monkeypatch.setattr("core.batch.run.score_rows", broken)
    job = ended(jobs, jobs.start(ADDRESS, given))
    shown = page.show(job)[0]
    assert "Something went wrong on the server" in shown
    assert "secret" not in shown


def test_prompts_lie_beside_clips_or_are_one_for_all(jobs: Jobs, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        write_clip(tmp_path / name, pluck(0.6))
    (tmp_path / "a.txt").write_text(" A calm piano \n", encoding="utf-8")
    (tmp_path / "notes.pdf").touch()
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(tmp_path / "a.wav", "x/c.wav")
        archive.writestr("x/c.txt", "Loud drums")
        archive.writestr("x/d.txt", "of no clip")
    files = tuple(str(tmp_path / name) for name in ("a.wav", "a.txt", "b.wav", "notes.pdf", "more.zip"))
    job = ended(jobs, jobs.start(ADDRESS, Given(files, prompt="A waltz")))
    said = {record["file"]: (record["prompt"], record["status"]) for record in job.run.records}
    assert said == {"a.wav": ("A calm piano", "ok"), "b.wav": ("A waltz", "ok"), "x/c.wav": ("Loud drums", "ok")}
    assert job.title == "3 clips for “A waltz”"
    [note] = job.run.notes
    assert "notes.pdf" in note
    assert "x/d.txt" in note


@pytest.mark.parametrize(
    ("content", "part"), [(b"\xff\xfe\x00", "is not UTF-8"), (b"a" * 100_001, "more than 100,000")]
)
def test_a_prompt_that_cannot_be_read_costs_its_clip_alone(
    jobs: Jobs, tmp_path: Path, content: bytes, part: str
) -> None:
    for name in ("a.wav", "b.wav"):
        write_clip(tmp_path / name, pluck(0.6))
    (tmp_path / "a.txt").write_bytes(content)
    files = tuple(str(tmp_path / name) for name in ("a.wav", "a.txt", "b.wav"))
    first, second = ended(jobs, jobs.start(ADDRESS, Given(files, prompt=""))).run.records
    assert part in first["reason"]
    assert second["status"] == "ok"


def opened(scorer: Scorer, path: str, prompt: str, model: str) -> str:
    return f"{Path(path).name} {prompt} {model} {scorer.score(path, prompt)['musical_impression']:.4f}"


def test_a_row_opens_as_a_whole_result(page: JobsPage, jobs: Jobs, given: Given, tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        archive.write(tmp_path / "clip1.wav", "deep/clip1.wav")
    files = (given.files[0], str(tmp_path / "clips.zip"))
    job = ended(jobs, jobs.start(ADDRESS, Given(files, given.clip_list)))
    for place in (0, 1):  # the second lies in the ZIP
        record = job.run.done[place]
        score = f"{record['musical_impression']:.4f}"
        assert page.open_row(job.name, place, opened) == f"{record['file']} {record['prompt']} judge {score}"
    for wrong in (99, -1, "0", True, None, [0]):
        with pytest.raises(BatchError, match="no such row"):
            page.open_row(job.name, wrong, opened)
    Path(files[0]).unlink()
    with pytest.raises(BatchError, match="not here any more"):
        page.open_row(job.name, 0, opened)


def test_a_row_of_another_model_is_not_opened_as_if_it_were_this_ones(
    page: JobsPage, jobs: Jobs, given: Given, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ended(jobs, jobs.start(ADDRESS, given))
    job.run.done[0]["model_sha256"] = "0" * 64
    monkeypatch.setattr(jobs, "get", lambda name: job)
    with pytest.raises(BatchError, match="Another model judges now"):
        page.open_row(job.name, 0, opened)


def test_a_judge_that_is_not_offered_scores_nothing(jobs: Jobs, given: Given) -> None:
    with pytest.raises(Exception, match="not offered any more"):
        jobs.start(ADDRESS, Given(given.files, given.clip_list, judge="model:withheld"))


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=repr)
def test_another_name_shows_and_does_nothing(page: JobsPage, jobs: Jobs, given: Given, name: Any) -> None:
    job = ended(jobs, jobs.start(ADDRESS, given))
    request: Any = SimpleNamespace(client=None)
    for answer in (
        page.recall_job(chosen(job=name)),
        page.follow(chosen(job=name, seen="")),
        page.act(None, chosen(job=name, action="again", shown=True), request),
    ):
        assert "mine.csv" not in str(answer)
        assert "not kept here any more" in answer[0] or "Drop audio files" in answer[0]
    for action in ("stop", "forget", "show", None, 7):
        page.act(None, chosen(job=name, action=action, shown=False), request)
    with pytest.raises(BatchError, match="not kept here any more"):
        page.open_row(str(name), 0, opened)
    assert jobs.find(job.name)


def test_the_page_follows_what_has_changed(page: JobsPage, jobs: Jobs, given: Given, held: threading.Event) -> None:
    job = jobs.start(ADDRESS, given)
    until(lambda: jobs.get(job.name).run.done)
    shown = page.recall_job(chosen(job=job.name))
    assert "2 of 6 rows" in shown[0]
    seen = str(shown[0]).split('data-seen="')[1].split('"')[0]
    assert page.follow(chosen(job=job.name, seen=seen)) == [gr.skip()] * 7
    held.set()
    ended(jobs, job)
    shown = page.follow(chosen(job=job.name, seen=seen))
    assert "5 of 6" in shown[0]
    assert "Try failed clips again" in shown[0]
    assert all(Path(file["value"]).is_file() for file in shown[4:])


def test_calls_from_outside_are_told_no_more(address: str) -> None:
    for handler in handlers(address, "batch-state"):
        if handler["targets"][0][1] not in ("recall", "follow", "act", "reveal"):
            continue
        for name in ("A" * 22, "../x", {"a": [1]}, None):
            data = {"job": name, "row": 0, "action": "again", "seen": "", "shown": True}
            said = call(address, handler["id"], [None] * len(handler["inputs"]), event_data=data)
            assert "Traceback" not in said
            assert "Something went wrong" not in said
