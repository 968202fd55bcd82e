"""A list in parts: together they are the list, and what does not belong together is not put together."""

from pathlib import Path

import pytest

import core.batch.run
from core.audio import AudioLimits
from core.batch.manifest import Cells, ClipList, read_records
from core.batch.parts import Part, merge
from core.batch.run import Judging, score_manifest
from core.errors import DataError
from core.files import Problems
from core.scorer import Scorer
from tests.clips import pluck, write_clip


def read(path: Path) -> list[Cells]:
    return [cells for _, cells in read_records(path, Problems(path.name))]


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("list")
    for number in range(4):
        write_clip(folder / f"{number}.wav", pluck(1.0 + number / 10))
    rows = [f"{number}.wav,a guitar,{number}" for number in range(5)]  # the last is missing
    (folder / "clips.csv").write_text("\n".join(["file,prompt,note", *rows]))
    return folder / "clips.csv"


@pytest.fixture
def score(scorer: Scorer, listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(core.batch.run.Judging, "scorer", lambda *_: scorer)

    def scored(part: Part | None, output: Path = tmp_path / "scores.csv") -> None:
        judging = Judging(None, None, "float32", AudioLimits())
        score_manifest(listed, output, judging, ["cpu"], lambda _: None, part=part)

    return scored


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_parts_together_are_the_whole(score, listed: Path, tmp_path: Path, suffix: str) -> None:
    output, whole = tmp_path / f"scores{suffix}", tmp_path / f"whole{suffix}"
    for number in (2, 1, 3):
        score(Part(number, 3), output)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"scores.{n}-of-3{suffix}" for n in (1, 2, 3)]
    assert merge(listed, output) == (5, 4)
    score(None, whole)
    for row, expected in zip(read(output), read(whole), strict=True):
        assert [*row] == [*expected]
        scores = {name for name in row if name.startswith(("musical", "textual")) and row["status"] == "ok"}
        assert all(float(row[name]) == pytest.approx(float(expected[name]), abs=1e-6) for name in scores)
        assert all(row[name] == expected[name] for name in row.keys() - scores)


def test_every_row_is_in_one_part(listed: Path) -> None:
    clip_list = ClipList.check(listed)
    rows = [[row.id for row in Part(number, 3).rows(clip_list).rows()] for number in (1, 2, 3)]
    assert rows == [["1", "4"], ["2", "5"], ["3"]]
    with pytest.raises(DataError, match="too few for so many parts"):
        Part(6, 6).rows(clip_list)


def test_what_is_missing_is_named(score, listed: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there are none"):
        merge(listed, tmp_path / "scores.csv")
    score(Part(2, 3))
    with pytest.raises(DataError, match=r"2 parts of .*scores\.csv.* of 3 are not finished: 1, 3"):
        merge(listed, tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_what_does_not_belong_together_is_refused(score, listed: Path, tmp_path: Path) -> None:
    score(Part(1, 2))
    score(Part(2, 2))
    second = tmp_path / "scores.2-of-2.csv"
    content = second.read_text(encoding="utf-8")
    second.write_text(content.replace('"float32"', '"bfloat16"'), encoding="utf-8")
    with pytest.raises(DataError, match="another judge or precision"):
        merge(listed, tmp_path / "scores.csv")
    second.write_text(content.replace("1.wav", "9.wav"), encoding="utf-8")
    with pytest.raises(DataError, match="of another clip list"):
        merge(listed, tmp_path / "scores.csv")


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", ""])
def test_what_is_no_part(text: str) -> None:
    assert Part.read("3/64") == Part(3, 64)
    with pytest.raises(ValueError):  # noqa: PT011  # of int, or with what was given
        Part.read(text)
