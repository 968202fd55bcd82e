"""A study of real clips, from the manifest to the exported scores, by commands and two scripted raters."""

import csv
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import soundfile

from annotation import studies as access
from annotation.cli import main
from annotation.database import Database
from annotation.schema import Clip
from core.audio import read_clip
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL, keys
from tests.annotation.scripted import rate_all

CAPTIONS = {
    "hungarian_dance_5": "A lively Hungarian dance for string orchestra",
    "lets_go_fishin": "A folk song",
    "solo_trumpet": "A trumpet melody without accompaniment",
    "sugar_plum_fairy": "A delicate dance with celesta",
    "vibe_ace": "Jazz with vibraphone",
}


def write_manifest(audio: Path, folder: Path) -> Path:
    """Copies of the clips beside a manifest of 12 clips and 5 anchors."""
    with (audio / "ttm" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        clips = [(f"ttm/{row['file']}", row["prompt"], row["system"], "") for row in csv.DictReader(file)]
    anchors = [(f"anchors/{name}.ogg", text, "human", "anchor") for name, text in CAPTIONS.items()]
    for name in ("ttm", "anchors"):
        shutil.copytree(audio / name, folder / name)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "prompt", "system", "kind"), *clips, *anchors])
    return folder / "manifest.csv"


@pytest.mark.reference
def test_the_exported_scores_are_those_given(
    reference_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*arguments: str) -> str:
        capsys.readouterr()
        assert main(arguments) == 0
        return capsys.readouterr().out

    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))
    manifest = write_manifest(reference_data / "audio", tmp_path)
    rules = ("--raters-per-clip", "2", "--batch-size", "5", "--anchors", "2", "--training", "0", "--seed", "1")
    run("create", "real", *rules)
    report = run("ingest", "real", str(manifest))
    assert report.splitlines() == [
        "Rows read: 17. Added: 12 clips, 5 anchors.",
        "! Clipped: ttm/specgen_0.flac, ttm/wavegen_0.flac, ttm/wavegen_12.flac, ttm/wavegen_32.flac.",
        "! 1 of 5 anchors may be known by their length: solo_trumpet.ogg (5.3 s). The clips have 29.0 s.",
    ]
    assert run("ingest", "real", str(manifest)).startswith("Rows read: 17. Added: nothing. There already: 17.")
    invited = [line.split() for line in run("invite", "real", "--raters", "2").splitlines()]

    given = _rate(tmp_path / "data", dict(invited))
    status = json.loads(run("status", "real", "--json"))
    assert (status["progress"]["clips_done"], status["progress"]["ratings_valid"]) == (12, 24)
    assert [rater["batches_valid"] for rater in status["raters"]] == [3, 3]

    run("export", "real", "--output", str(tmp_path / "out"))
    rated = RatedClips.from_csv(tmp_path / "out" / "rated_clips.csv").table.set_index("clip_id")
    assert len(rated) == 12
    assert {len(scores) for scores in given.values()} == {2}
    for name, scores in given.items():
        assert rated.loc[name, keys(MUSICEVAL)].tolist() == np.mean(scores, axis=0).tolist()
    for path in rated["audio_path"]:
        assert soundfile.info(path).frames == 29 * 16_000
        assert read_clip(path).sample_rate_hz == 16_000
    systems = rated.groupby("system_id")["musical_impression"].mean()
    with (tmp_path / "out" / "systems.csv").open(newline="", encoding="utf-8-sig") as file:
        exported = {row["system"]: float(row["musical_impression"]) for row in csv.DictReader(file)}
    assert exported == pytest.approx(systems.to_dict())


def _rate(data: Path, codes: dict[str, str]) -> dict[str, list[tuple[int, int]]]:
    """Let each rater sign in and rate everything; give what was said of each clip that is no anchor."""
    database, at = Database(f"sqlite:///{data / 'musiceval.sqlite'}"), datetime(2026, 3, 1, tzinfo=UTC)
    given: dict[str, list[tuple[int, int]]] = {}
    for number, code in enumerate(codes.values()):
        with database.write() as session:
            rater = access.authorise(session, access.enter(session, code, at), at)

        def answer(clip: Clip, role: str, number: int = number) -> tuple[int, int]:
            scores = (5, 4) if role == "anchor" else (1 + (clip.id + number) % 5, 1 + (3 * clip.id) % 5)
            if role == "stimulus":
                given.setdefault(clip.name, []).append(scores)
            return scores

        at = rate_all(database, rater.id, answer, at)
    database.close()
    return given
