"""A manifest into a study: one file and one row a clip, once; a mistake stops nothing else."""

import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from annotation.database import Database
from annotation.material import clips
from annotation.material.ingest import Failure, IngestReport, ingest, report_text
from annotation.protocol import Protocol
from annotation.schema import Clip, Prompt, Study, System
from annotation.studies import create
from core.audio import AudioLimits
from core.errors import StudyError
from tests.annotation.rooms import NOW
from tests.clips import pluck, write_clip

CLIP_S = 2.0


@pytest.fixture
def study(database: Database) -> Study:
    with database.write() as session:
        return create(session, "one", Protocol(), 3, NOW)


def write(path: Path, duration_s: float = CLIP_S, gain: float = 1.0) -> Path:
    return write_clip(path, pluck(duration_s) * np.float32(gain))


def run(database: Database, folder: Path, rows: list[dict[str, Any]], **options: Any) -> IngestReport:
    """Ingest rows from a manifest in the folder, into the folder's data."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return ingest(database, folder / "data", "one", folder / "manifest.csv", NOW, **options)


def stored(database: Database) -> list[Clip]:
    with database.read() as session:
        found = session.query(Clip).order_by(Clip.id).all()
        for clip in found:
            assert clip.system.name  # loaded, to be looked at afterwards
            assert clip.prompt.text
        return found


def wav_files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "data" / "studies" / "one" / "clips").iterdir()}


def test_a_clip_becomes_a_file_and_a_row(database: Database, study: Study, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    source = write(tmp_path / "deep" / "tune.flac")
    report = run(database, tmp_path, [{"file": "deep/tune.flac", "prompt": " a tune ", "system": "S1"}])
    assert report == IngestReport(added={"stimulus": 1, "anchor": 0, "training": 0})
    (clip,) = stored(database)
    assert (clip.kind, clip.system.name, clip.prompt.text) == ("stimulus", "S1", "a tune")
    assert (clip.source_file, clip.duration_s, clip.added_at) == ("deep/tune.flac", CLIP_S, NOW)
    assert clip.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert clip.loudness_lufs == pytest.approx(-23.0)
    assert wav_files(tmp_path) == {f"{clip.name}.wav"}
    info = soundfile.info(tmp_path / "data" / "studies" / "one" / "clips" / f"{clip.name}.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (16_000, 1, 32_000, "PCM_16")


def test_names_say_nothing(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "canary.wav")
    run(database, tmp_path, [{"file": "canary.wav", "prompt": "canary", "system": "canary"}])
    (clip,) = stored(database)
    assert len(clip.name) == 32
    assert int(clip.name, 16)
    digest = hashlib.sha256((tmp_path / "canary.wav").read_bytes())
    assert clip.name not in digest.hexdigest()


def test_again_adds_only_what_is_new(database: Database, study: Study, tmp_path: Path) -> None:
    rows = [
        {"file": "a.wav", "prompt": "p", "system": "S1"},
        {"file": "a.wav", "prompt": "p", "system": "S2"},
    ]
    write(tmp_path / "a.wav")
    first = run(database, tmp_path, rows)
    assert (first.added["stimulus"], first.already_there) == (2, 0)
    write(tmp_path / "b.wav", gain=0.5)
    again = run(database, tmp_path, [*rows, rows[0], {"file": "b.wav", "prompt": "p", "system": "S1"}])
    assert (again.added["stimulus"], again.already_there) == (1, 3)
    assert len(stored(database)) == len(wav_files(tmp_path)) == 3
    with database.read() as session:
        assert (session.query(System).count(), session.query(Prompt).count()) == (2, 1)


def test_a_row_that_fails_stops_nothing_else(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "good.wav")
    write(tmp_path / "short.wav", 0.3)
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "folder.wav").mkdir()
    good = {"file": "good.wav", "prompt": "p", "system": "S1", "kind": "", "expected_musical_impression": ""}
    rows = [
        good | {"file": "none.wav"},
        good | {"file": "text.wav"},
        good | {"file": "short.wav"},
        good | {"file": "folder.wav"},
        good | {"prompt": " "},
        good | {"system": ""},
        good | {"kind": "ancor"},
        good | {"expected_musical_impression": "6"},
        good | {"expected_musical_impression": "nan"},
        good | {"file": "a\0b"},
        good,
    ]
    report = run(database, tmp_path, rows)
    assert report.added["stimulus"] == 1
    assert [failure.row for failure in report.failed] == list(range(2, 12))
    reasons = [failure.reason for failure in report.failed]
    assert reasons[0] == '"none.wav" was not found. Check the path.'
    assert '"text.wav" cannot be read as audio' in reasons[1]
    assert "0.30 s long; at least 0.5 s are needed" in reasons[2]
    assert reasons[3] == '"folder.wav" is a folder. Give one audio file.'
    assert reasons[4:6] == ["The cell prompt is empty. Fill it in.", "The cell system is empty. Fill it in."]
    assert reasons[6] == 'The kind is "ancor". It can be stimulus, anchor, training.'
    assert reasons[7] == 'expected_musical_impression is "6". It must be a number from 1 to 5, or empty.'
    assert 'is "nan"' in reasons[8]
    assert report.failed[0].file == "none.wav"


def test_rows_are_counted_as_a_spreadsheet_shows_them(
    database: Database, study: Study, tmp_path: Path
) -> None:
    write(tmp_path / "a.wav")
    text = '\ufefffile,prompt,system\na.wav,"two\nlines",S1\n\n,,\na.wav,calm, slow,S1\nb.wav,p,S1\na.wav\n'
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    report = ingest(database, tmp_path / "data", "one", tmp_path / "m.csv", NOW)
    assert report.added["stimulus"] == 1
    assert stored(database)[0].prompt.text == "two\nlines"
    assert [(failure.row, failure.reason[:24]) for failure in report.failed] == [
        (5, "The row has more cells t"),
        (6, '"b.wav" was not found. C'),
        (7, "The cell prompt is empty"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column file, prompt, system"),
        (b"file;prompt;system\n", "has no column file, prompt, system"),
        (
            b"file,prompt\n",
            "has no column system. It needs file, prompt, system and may have kind, expected_",
        ),
        (b"file,prompt,system\na.wav,\xff\xfe,S1\n", "is no CSV file in UTF-8"),
        (b'file,prompt,system\na.wav,"open,S1\n', "is no CSV file in UTF-8"),
    ],
)
def test_manifests_that_are_none(
    database: Database, study: Study, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(StudyError, match=message):
        ingest(database, tmp_path / "data", "one", tmp_path / "m.csv", NOW)
    with pytest.raises(StudyError, match=r'"none.csv" cannot be opened'):
        ingest(database, tmp_path / "data", "one", tmp_path / "none.csv", NOW)


def test_an_unknown_study(database: Database, study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match='There is no study "two"'):
        ingest(database, tmp_path, "two", tmp_path / "m.csv", NOW)


def test_practice_keeps_its_answers(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", gain=0.5)
    lesson = {"prompt": "p", "system": "human", "kind": "training"}
    expected = {"expected_musical_impression": "4.5", "expected_textual_alignment": "2"}
    rows = [{"file": "a.wav", **lesson, **expected, "explanation": "In tune."}, {"file": "b.wav", **lesson}]
    report = run(database, tmp_path, rows)
    first, second = stored(database)
    assert (first.expected_musical_impression, first.expected_textual_alignment) == (4.5, 2.0)
    assert (first.explanation, second.explanation) == ("In tune.", None)
    assert second.expected_musical_impression is None
    assert report.unexplained == ["b.wav"]


def anchored(lengths_s: list[float], anchor_s: float) -> list[dict[str, Any]]:
    """Rows of an anchor, then of clips of some lengths; anchors come first in the manifest."""
    rows = [{"file": f"anchor{anchor_s}.wav", "prompt": "p", "system": "human", "kind": "anchor"}]
    return rows + [
        {"file": f"clip{length_s}.wav", "prompt": "p", "system": "S1", "kind": "stimulus"}
        for length_s in lengths_s
    ]


def test_long_anchors_get_lengths_of_clips(database: Database, study: Study, tmp_path: Path) -> None:
    lengths_s = [1.0, 1.5, 2.5]
    rows = anchored(lengths_s, 9.0)
    for row in rows:
        write(tmp_path / row["file"], float(row["file"].strip("anchorlip.wv")))
    for number in range(9):
        write(tmp_path / f"more{number}.wav", 8.0 + number / 10)
        rows.append(rows[0] | {"file": f"more{number}.wav"})
    report = run(database, tmp_path, rows)
    anchors = [clip for clip in stored(database) if clip.kind == "anchor"]
    assert {clip.duration_s for clip in anchors} == set(lengths_s)
    assert report.parity == []
    assert report.added == {"stimulus": 3, "anchor": 10, "training": 0}


def test_the_cut_of_an_anchor_is_the_same_again(database: Database, study: Study, tmp_path: Path) -> None:
    rows = anchored([1.0, 1.5, 2.5], 9.0)
    for row in rows:
        write(tmp_path / row["file"], float(row["file"].strip("anchorlip.wv")))
    with database.write() as session:
        twin = create(session, "twin", Protocol(), study.seed, NOW)
    run(database, tmp_path, rows)
    ingest(database, tmp_path / "data", "twin", tmp_path / "manifest.csv", NOW)
    first, second = (clip for clip in stored(database) if clip.kind == "anchor")
    assert first.duration_s == second.duration_s
    paths = [tmp_path / "data/studies/one/clips", tmp_path / "data/studies/twin/clips"]
    assert (paths[0] / f"{first.name}.wav").read_bytes() == (paths[1] / f"{second.name}.wav").read_bytes()
    assert second.study_id == twin.id


def test_an_anchor_needs_clips_to_be_like(database: Database, study: Study, tmp_path: Path) -> None:
    rows = anchored([], 3.0)
    write(tmp_path / rows[0]["file"], 3.0)
    report = run(database, tmp_path, rows)
    assert report.added["anchor"] == 0
    assert "the study has no clips yet. Add clips first, or in the same manifest." in report.failed[0].reason


def test_the_protocols_form_is_used(database: Database, tmp_path: Path) -> None:
    rules = Protocol(sample_rate_hz=24_000, loudness_lufs=-30, excerpt_start_s=0.5, excerpt_length_s=1)
    with database.write() as session:
        create(session, "one", rules, 3, NOW)
    write(tmp_path / "a.wav")
    run(database, tmp_path, [{"file": "a.wav", "prompt": "p", "system": "S1"}])
    (clip,) = stored(database)
    assert (clip.duration_s, clip.loudness_lufs) == (1.0, pytest.approx(-30.0))
    assert soundfile.info(next((tmp_path / "data").rglob("*.wav"))).samplerate == 24_000


def test_limits_and_progress(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", 5.0)
    seen: list[tuple[int, int]] = []
    rows = [{"file": name, "prompt": "p", "system": "S1"} for name in ("a.wav", "b.wav")]
    report = run(
        database,
        tmp_path,
        rows,
        limits=AudioLimits(max_duration_s=3),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [failure.row for failure in report.failed] == [3]
    assert seen == [(1, 2), (2, 2)]


def test_quiet_and_silent_clips_are_reported(database: Database, study: Study, tmp_path: Path) -> None:
    clicks = np.zeros(32_000, dtype=np.float32)
    clicks[4000::8000] = 0.5
    write_clip(tmp_path / "clicks.wav", clicks)
    write(tmp_path / "silence.wav", gain=0)
    rows = [
        {"file": name, "prompt": "p", "system": "S1", "note": ""} for name in ("clicks.wav", "silence.wav")
    ]
    report = run(database, tmp_path, rows)
    assert (report.lowered, report.silent) == (["clicks.wav"], ["silence.wav"])
    assert report.unused_columns == ["note"]
    first, second = stored(database)
    assert (first.gain_lowered, second.gain_lowered, second.loudness_lufs) == (True, False, None)


def test_no_row_without_its_file(
    database: Database, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.wav")
    rows = [{"file": "a.wav", "prompt": "p", "system": "S1"}]

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        report = run(database, tmp_path, rows)
    reason = "The clip cannot be written to the data folder: No space left on device."
    assert report.failed == [Failure(2, "a.wav", reason)]
    assert wav_files(tmp_path) == set()
    assert stored(database) == []
    assert run(database, tmp_path, rows).added["stimulus"] == 1
    assert len(wav_files(tmp_path)) == 1


def test_two_at_once_add_a_clip_once(
    database: Database, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.wav")
    rows = [{"file": "a.wav", "prompt": "p", "system": "S1"}]
    write_file = clips._write
    inner: list[IngestReport] = []

    def meanwhile(path: Path, content: bytes) -> None:
        monkeypatch.setattr(clips, "_write", write_file)
        inner.append(run(database, tmp_path, rows))
        write_file(path, content)

    monkeypatch.setattr(clips, "_write", meanwhile)
    outer = run(database, tmp_path, rows)
    assert (inner[0].added["stimulus"], outer.added["stimulus"], outer.already_there) == (1, 0, 1)
    (clip,) = stored(database)
    assert wav_files(tmp_path) == {f"{clip.name}.wav"}


def test_the_report_in_words() -> None:
    report = IngestReport(
        added={"stimulus": 12, "anchor": 1, "training": 0},
        already_there=3,
        failed=[Failure(4, "x.wav", "It is broken.")],
        lowered=[f"{number}.wav" for number in range(12)],
        silent=["s.wav"],
        unexplained=["t.wav"],
        unused_columns=["note"],
        parity=["1 of 5 anchors may be known by their length."],
    )
    assert report_text(report).splitlines() == [
        "Added: 12 clips, 1 anchor. There already: 3.",
        "! Row 4: It is broken.",
        "! Quieter than the rest, because more gain would pass the peak limit: 0.wav, 1.wav, 2.wav, 3.wav, "
        "4.wav, 5.wav, 6.wav, 7.wav, 8.wav, 9.wav and 2 more.",
        "! Silent: s.wav.",
        "! Practice clips without scores or explanation, so practice explains nothing: t.wav.",
        "! Columns that were not used: note.",
        "! 1 of 5 anchors may be known by their length.",
    ]
    assert report_text(IngestReport()) == "Added: nothing."
