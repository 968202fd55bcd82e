import random
from pathlib import Path

import pytest

import core.many.rows
from core.audio import AudioLimits
from core.many.manifest import Row
from core.many.rows import Judging, RowScorer
from core.scales import SCALES
from core.scorer import Scorer
from tests.bad_inputs import BAD_INPUTS
from tests.clips import pluck, write_clip
from tests.manifests import nearly

JUDGING = Judging(None, None, "float32", AudioLimits())
PROMPTS = ("A calm piano", "", "Loud drums " * 80)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Clips of 1, 2 and 4 windows with several prompts, in among them one that is not there."""
    folder = tmp_path_factory.mktemp("clips")
    clips = [write_clip(folder / f"{s}.wav", pluck(s, 8_000), 8_000) for s in (0.7, 15.0, 31.0)]
    paths = [clips[0], clips[1], folder / "missing.wav", clips[0], clips[2], clips[0]]
    return [
        Row(str(number), path.name, PROMPTS[number % 3], "S", path, {"note": number})
        for number, path in enumerate(paths)
    ]


@pytest.fixture(scope="module")
def records(scorer: Scorer, rows: list[Row]) -> list[dict]:
    """Of the rows, scored together."""
    return RowScorer(scorer, JUDGING, "cpu").score(rows)


def test_a_row_says_what_the_scorer_says(scorer: Scorer, rows: list[Row], records: list[dict]) -> None:
    for row, record in zip(rows, records, strict=True):
        assert (record["id"], record["file"], record["prompt"], record["system"], record["note"]) == (
            row.id,
            row.file,
            row.prompt,
            "S",
            row.others["note"],
        )
        assert (record["model"], record["model_sha256"]) == ("random", scorer.checkpoint.sha256)
        if record["status"] == "failed":
            continue
        score = scorer.score(row.path, row.prompt)
        assert (record["status"], record["reason"]) == ("ok", "")
        for scale in SCALES:
            assert record[scale] == pytest.approx(getattr(score, scale), abs=1e-5)
            bounds = (record[f"{scale}_low"], record[f"{scale}_high"])
            assert bounds == pytest.approx(getattr(score.intervals, scale), abs=1e-5)
        assert record["interval_level"] == score.intervals.level
        assert record["duration_s"] == score.provenance["audio"]["duration_s"]
        assert record["sha256"] == score.provenance["audio"]["sha256"]
        assert record["warnings"] == ";".join(warning.code for warning in score.warnings)


def test_a_failed_row_says_why(records: list[dict]) -> None:
    failed = records[2]
    assert (failed["status"], failed["reason"]) == ("failed", '"missing.wav" was not found. Check the path.')
    assert [failed[column] for column in (*SCALES, "duration_s", "sha256", "warnings")] == [None] * 5


@pytest.mark.parametrize("size", [1, 4])
def test_company_and_order_do_not_matter(
    scorer: Scorer, rows: list[Row], records: list[dict], size: int
) -> None:
    shuffled = random.Random(size).sample(rows, len(rows))
    row_scorer = RowScorer(scorer, JUDGING, "cpu")
    again = [
        record for first in range(0, 6, size) for record in row_scorer.score(shuffled[first : first + size])
    ]
    assert sorted(again, key=lambda record: record["id"]) == nearly(records)


def test_the_cache_gives_the_same(
    scorer: Scorer, rows: list[Row], records: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = Judging(None, tmp_path, "float32", AudioLimits())
    assert RowScorer(scorer, cached, "cpu").score(rows) == nearly(records)
    monkeypatch.setattr(core.many.rows, "condition", None)  # nothing is prepared for the model again
    monkeypatch.setattr(scorer.checkpoint.tower, "embed_log_mel", None)
    monkeypatch.setattr(scorer.checkpoint.tower, "embed_text", None)
    assert RowScorer(scorer, cached, "cpu").score(rows) == nearly(records)


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_bad_input_gives_a_row(scorer: Scorer, bad, tmp_path: Path) -> None:
    path, prompt = bad.build(tmp_path)
    (record,) = RowScorer(scorer, JUDGING, "cpu").score([Row("1", path.name, prompt, "", path)])
    if bad.error:
        assert record["status"] == "failed"
        assert bad.error in record["reason"]
    else:
        assert record["status"] == "ok"
        assert not bad.warning or bad.warning in record["warnings"].split(";")


def test_a_row_that_names_no_file(scorer: Scorer) -> None:
    (record,) = RowScorer(scorer, JUDGING, "cpu").score([Row("1", "", "x", "", None)])
    assert record["reason"] == "The row names no file. Fill in the column file."


def test_a_fault_of_ours_costs_one_row(
    scorer: Scorer, rows: list[Row], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def find_faults(clip):
        if clip.duration_s < 1:
            raise ZeroDivisionError
        return []

    monkeypatch.setattr(core.many.rows, "find_faults", find_faults)
    records = RowScorer(scorer, JUDGING, "cpu").score(rows[:2])
    assert [record["status"] for record in records] == ["failed", "ok"]
    assert records[0]["reason"] == '"0.7.wav" cannot be scored: ZeroDivisionError, a fault of this program.'
    assert "ZeroDivisionError" in caplog.text


def test_no_rows(scorer: Scorer) -> None:
    assert RowScorer(scorer, JUDGING, "cpu").score([]) == []
