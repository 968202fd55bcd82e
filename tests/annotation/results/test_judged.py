"""The judge beside the panel: what it says is what scoring says, and what cannot be told is said."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annotation.cli import main
from annotation.imports.store import import_ratings
from annotation.report.document import report
from annotation.results.judged import JudgedPanel, LoadedJudge, judge_beside_panel
from annotation.results.scores import mos_table
from annotation.results.status import overview
from annotation.studies import find_study
from core.errors import StudyError
from core.metrics import mse, srcc
from core.model_files import SPLIT_FILE
from core.scales import MUSICEVAL, keys
from core.scorer import Scorer
from tests.annotation.output.test_export import Done, done
from tests.annotation.rooms import NOW

__all__ = ["done"]
SCALES = keys(MUSICEVAL)


@pytest.fixture(scope="module")
def judge(scorer: Scorer, random_checkpoint: Path) -> LoadedJudge:
    return LoadedJudge(scorer, random_checkpoint)


@pytest.fixture(scope="module")
def judged(done: Done, judge: LoadedJudge) -> JudgedPanel:
    return judge_beside_panel(done.database, done.data, "one", judge)


def test_it_sets_the_scores_of_scoring_beside_the_ratings(done: Done, judged: JudgedPanel, scorer: Scorer) -> None:
    mos = mos_table(overview(done.database, "one", done.ended).ratings, SCALES).set_index("clip")
    table = judged.predictions.table.set_index("clip_id")
    assert sorted(table.index) == sorted(mos.index) == sorted(clip.name for clip in done.clips)
    for clip, row in table.iterrows():
        values = scorer.score(done.original(str(clip)), str(mos["prompt"][clip])).values
        for key in SCALES:
            assert row[key] == pytest.approx(mos[key][clip])
            assert row[f"predicted_{key}"] == pytest.approx(values[key], abs=1e-5, nan_ok=True)


def test_figures_are_of_these_scores(judged: JudgedPanel) -> None:
    table, key = judged.predictions.table, "musical_impression"
    truth, said = (table[of].to_numpy() for of in (key, f"predicted_{key}"))
    shown = judged.agreement_table.rows[0]
    assert shown[:2] == ("Musical impression", "7 clips")
    assert shown[2:] == (f"{srcc(truth, said):z.2f}", f"{mse(truth, said):.2f}")


def test_clips_of_most_disagreement_come_first(judged: JudgedPanel) -> None:
    shown = judged.clips
    most = shown[["MI difference", "TA difference"]].abs().max(axis=1)
    assert most.is_monotonic_decreasing
    assert (shown["MI difference"] - (shown["MI predicted"] - shown["MI rated"])).abs().max() <= 0.011
    assert sorted(shown["File"])[0] == "0.wav"
    assert [row[-1] for row in judged.disagreement_table.rows] == list(shown["Clip"])


def test_it_says_what_the_judge_is(judged: JudgedPanel) -> None:
    assert any("simulated raters" in note for note in judged.notes)
    assert any(note.startswith("Whether the judge learned") for note in judged.notes)


@pytest.mark.parametrize("hashed", ["source_sha256", "wav_sha256"])  # as they came, and as an export has them
@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_it_says_whether_the_judge_learned_from_the_study(
    hashed: str, part: str, done: Done, scorer: Scorer, tmp_path: Path
) -> None:
    known = [getattr(clip, hashed) for clip in done.clips[:2]]
    alike = sum(getattr(clip, hashed) in known for clip in done.clips)
    split = pd.DataFrame({"clip_id": ["a", "b"], "split": part, "audio_sha256": known})
    split.to_csv(tmp_path / SPLIT_FILE, index=False, encoding="utf-8-sig")
    notes = judge_beside_panel(done.database, done.data, "one", LoadedJudge(scorer, tmp_path)).notes
    said = "from none of these files" if part == "test" else f"from {alike} of these 7 clips"
    assert alike >= 2
    assert any(said in note for note in notes), notes


def test_a_clip_without_its_audio_is_left_out_and_named(done: Done, judge: LoadedJudge, tmp_path: Path) -> None:
    shutil.copytree(done.data / "studies", tmp_path / "studies")
    gone = done.clips[0]
    (tmp_path / done.original(gone.name).relative_to(done.data)).unlink()
    progress = list[tuple[int, int]]()
    found = judge_beside_panel(done.database, tmp_path, "one", judge, lambda *step: progress.append(step))
    assert gone.name not in set(found.clips["Clip"])
    assert f"1 clip, {gone.source_file}." in " ".join(found.notes)
    assert progress[-1] == (6, 6)


def test_without_ratings_or_audio_there_is_a_sentence(done: Done, judge: LoadedJudge, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has a valid rating yet"):
        judge_beside_panel(done.database, done.data, "none-yet", judge)
    source = tmp_path / "ratings.csv"
    source.write_text("clip,rater,prompt,musical_impression\na,r,p,4\nb,r,p,2\n")
    import_ratings(done.database, done.data, "silent", source, NOW)
    with pytest.raises(StudyError, match="came without audio"):
        judge_beside_panel(done.database, done.data, "silent", judge)


def test_other_scales_are_not_compared(done: Done, judge: LoadedJudge) -> None:
    with done.database.write() as session:
        study = find_study(session, "none-yet")
        before, study.scales = (
            study.scales,
            (MUSICEVAL[0].__class__("x", "Clarity", "How?", ("a", "b", "c", "d", "e")),),
        )
    with pytest.raises(StudyError, match=r"rated on clarity: there is nothing to compare\. Train"):
        judge_beside_panel(done.database, done.data, "none-yet", judge)
    with done.database.write() as session:
        find_study(session, "none-yet").scales = before


def test_the_report_has_it_when_asked(done: Done, judged: JudgedPanel) -> None:
    without = report(done.database, "one", done.ended).html()
    html = report(done.database, "one", done.ended, judged).html()
    assert "Judge beside panel" in html
    assert "Judge beside panel" not in without
    assert html.count("<svg") == without.count("<svg") + 1


def test_the_command_prints_the_same(
    done: Done,
    judged: JudgedPanel,
    random_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(done.data))
    assert main(("panel", "one", "--model", str(random_checkpoint))) == 0
    printed = capsys.readouterr().out
    assert re.sub(r"\d\.\d+", "", printed.strip()) == re.sub(r"\d\.\d+", "", judged.text())
    assert (done.data / "embeddings").is_dir()


def test_as_json_it_has_every_figure_and_clip(
    done: Done,
    judged: JudgedPanel,
    random_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(done.data))
    assert main(("panel", "one", "--json", "--model", str(random_checkpoint))) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["study"], told["judge"], told["doubts"]) == ("one", judged.judge, list(judged.notes))
    assert {scale: found["n"] for scale, found in told["agreement"]["utterance"].items()}[SCALES[0]] == 7
    for level, of_level in told["agreement"].items():
        for scale, found in of_level.items():
            known = judged.measured.agreement[level, scale]
            assert found["srcc"] == pytest.approx(known.figures.get("srcc"), abs=1e-4)
            assert found["srcc_ci95"] is None  # too few systems
    assert told["no_intervals"].keys() == judged.measured.no_intervals.keys() != set()
    table = judged.predictions.table.set_index("clip_id")
    assert {clip["clip"] for clip in told["clips"]} == {*table.index}
    for clip in told["clips"]:
        for scale, scores in clip["scores"].items():
            assert scores["rated"] == table[scale][clip["clip"]]
            said = np.nan if scores["predicted"] is None else scores["predicted"]
            assert said == pytest.approx(table[f"predicted_{scale}"][clip["clip"]], abs=1e-4, nan_ok=True)
