"""A clip list into a study: one file and one row a clip, once; a mistake stops nothing else."""

import csv
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from annotation.database import Database
from annotation.material.ingest import Failure, IngestReport, ingest
from annotation.material.sound import FINDINGS
from annotation.protocol import Protocol
from annotation.schema import Clip, Prompt, Study, System
from annotation.studies import create
from core.audio import AudioLimits
from core.errors import MusicEvalError, StudyError
from tests.annotation.rooms import NOW
from tests.clips import pluck, write_clip

CLIP_S = 2.0
ONE = {"file": "a.wav", "prompt": "p", "system": "S1"}


@pytest.fixture
def study(database: Database) -> Study:
    with database.write() as session:
        return create(session, "one", Protocol(), 3, NOW)


def write(path: Path, duration_s: float = CLIP_S, gain: float = 1.0) -> Path:
    return write_clip(path, pluck(duration_s) * np.float32(gain))


def run(database: Database, folder: Path, rows: list[dict[str, Any]], **options: Any) -> IngestReport:
    """Ingest rows from a clip list in the folder, into the folder's data."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return ingest(database, folder / "data", "one", folder / "clips.csv", NOW, **options)


def stored(database: Database) -> list[Clip]:
    with database.read() as session:
        found = session.query(Clip).order_by(Clip.id).all()
        for clip in found:
            assert clip.system.name  # loaded, to be looked at afterwards
            assert clip.prompt.text
        return found


def wav_files(folder: Path, study: str = "one") -> set[str]:
    return {path.name for path in (folder / "data" / "studies" / study / "clips").iterdir()}


def test_a_clip_becomes_a_file_and_a_row(database: Database, study: Study, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    source = write(tmp_path / "deep" / "canary.flac")
    report = run(database, tmp_path, [{"file": "deep/canary.flac", "prompt": " a tune ", "system": "S1"}])
    assert report == IngestReport(rows=1, added={"stimulus": 1, "anchor": 0, "practice": 0})
    (clip,) = stored(database)
    assert (clip.kind, clip.system.name, clip.prompt.text) == ("stimulus", "S1", "a tune")
    assert (clip.source_file, clip.duration_s, clip.added_at) == ("deep/canary.flac", CLIP_S, NOW)
    assert clip.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert clip.loudness_lufs == pytest.approx(-23.0)
    assert wav_files(tmp_path) == {f"{clip.name}.wav"}
    info = soundfile.info(tmp_path / "data" / "studies" / "one" / "clips" / f"{clip.name}.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (16_000, 1, 32_000, "PCM_16")
    # The name says nothing.
    assert (len(clip.name), int(clip.name, 16) > 0, clip.name in clip.source_sha256) == (32, True, False)


def test_again_adds_only_what_is_new(database: Database, study: Study, tmp_path: Path) -> None:
    rows = [ONE, ONE | {"system": "S2"}]
    write(tmp_path / "a.wav")
    first = run(database, tmp_path, rows)
    assert (first.added["stimulus"], first.already_there) == (2, 0)
    write(tmp_path / "b.wav", gain=0.5)
    again = run(database, tmp_path, [*rows, rows[0], ONE | {"file": "b.wav"}])
    assert (again.added["stimulus"], again.already_there) == (1, 3)
    assert len(stored(database)) == len(wav_files(tmp_path)) == 3
    with database.read() as session:
        assert (session.query(System).count(), session.query(Prompt).count()) == (2, 1)


def test_a_row_that_fails_stops_nothing_else(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "short.wav", 0.3)
    (tmp_path / "text.wav").write_text("not audio")
    (tmp_path / "folder.wav").mkdir()
    good = {**ONE, "kind": "", "expected_musical_impression": ""}
    faults = {
        ("file", "none.wav"): '"none.wav" was not found. Check the path.',
        ("file", "text.wav"): '"text.wav" cannot be read as audio',
        ("file", "short.wav"): "0.30 s long; at least 0.5 s are needed",
        ("file", "folder.wav"): '"folder.wav" is a folder. Give one audio file.',
        ("prompt", " "): "The cell prompt is empty. Fill it in.",
        ("system", ""): "The cell system is empty. Fill it in.",
        ("kind", "ancor"): 'The kind is "ancor". It can be stimulus, anchor, practice.',
        (
            "expected_musical_impression",
            "6",
        ): 'expected_musical_impression is "6". It must be a number from 1 to 5, or empty.',
        ("expected_musical_impression", "nan"): 'is "nan"',
        ("file", "a\0b"): "",
    }
    report = run(database, tmp_path, [*(good | {column: cell} for column, cell in faults), good])
    assert report.added["stimulus"] == 1
    assert [failure.line for failure in report.failed] == list(range(2, 12))
    assert report.failed[0].file == "none.wav"
    for failure, reason in zip(report.failed, faults.values(), strict=True):
        assert reason in failure.reason


def test_a_row_is_where_it_begins(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    text = '\ufefffile,prompt,system\na.wav,"two\nlines",S1\n\n,,\nb.wav,p,S1\nc.wav,nan,S1\n'
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    report = ingest(database, tmp_path / "data", "one", tmp_path / "m.csv", NOW)
    assert (report.rows, report.added["stimulus"]) == (3, 1)
    assert stored(database)[0].prompt.text == "two\nlines"
    assert [(failure.line, failure.reason) for failure in report.failed] == [
        (6, '"b.wav" was not found. Check the path.'),
        (7, 'The cell prompt says "nan", so there is none. Fill it in.'),
    ]


def test_a_list_as_spreadsheets_and_windows_write_it(database: Database, study: Study, tmp_path: Path) -> None:
    (tmp_path / "S1").mkdir()
    write(tmp_path / "S1" / "Cafe\u0301.wav")
    text = (
        "file;prompt;system;kind;expected_musical_impression;expected_textual_alignment\r\n"
        "S1\\Caf\u00e9.wav;calm, slow;S1;practice;4,5;2\r\n;;;;;\r\n"
    )
    (tmp_path / "m.csv").write_text(text, encoding="utf-16", newline="")
    report = ingest(database, tmp_path / "data", "one", tmp_path / "m.csv", NOW)
    assert report.failed == []
    (clip,) = stored(database)
    assert (clip.prompt.text, clip.expected) == ("calm, slow", {"musical_impression": 4.5, "textual_alignment": 2.0})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, '"m.csv" cannot be read: No such file'),
        (b"", '"m.csv" cannot be read: it is empty'),
        (b"file|prompt|system\n", "has no column file, prompt, system"),
        (b"file,prompt\n", "has no column system. It needs file, prompt, system and may have kind, expected_"),
        (b"file,prompt,system,system\n", "has two columns 'system'"),
        (b"file,prompt,system\na.wav,\xff\xfe,S1\n", "it is not UTF-8 text"),
        (b'file,prompt,system\na.wav,"open,S1\n', r'm.csv, line 2: a quote \("\) is opened here and never closed'),
        (
            b"file,prompt,system\na.wav,calm, slow,S1\na.wav\n",
            "it has 2 problems:\n  m.csv, line 2: 4 instead of 3 cells",
        ),
        (b'file,prompt,system\na.wav,"x,S1\na.wav,y",S1\n', "m.csv, line 2: a quoted text goes on over line 3"),
    ],
)
def test_clip_lists_that_are_none(
    database: Database, study: Study, tmp_path: Path, content: bytes | None, message: str
) -> None:
    write(tmp_path / "a.wav")
    if content is not None:
        (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(MusicEvalError, match=message):
        ingest(database, tmp_path / "data", "one", tmp_path / "m.csv", NOW)
    assert stored(database) == []
    with pytest.raises(StudyError, match='There is no study "two"'):
        ingest(database, tmp_path, "two", tmp_path / "m.csv", NOW)


@pytest.mark.parametrize("kind", ["practice", "training"])  # the second in older lists
def test_practice_keeps_its_answers(database: Database, study: Study, tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", gain=0.5)
    lesson = {"prompt": "p", "system": "human", "kind": kind, "explanation": "In tune."}
    expected = {"expected_musical_impression": "4.5", "expected_textual_alignment": "2"}
    rows = [{"file": "a.wav", **lesson, **expected}, {"file": "b.wav", **lesson}]
    report = run(database, tmp_path, rows)
    first, second = stored(database)
    assert (first.kind, first.expected) == ("practice", {"musical_impression": 4.5, "textual_alignment": 2.0})
    assert (first.explanation, second.expected) == ("In tune.", {})
    assert report.unexplained == ["b.wav"]


def anchored(folder: Path, lengths_s: list[float], anchors: int = 1) -> list[dict[str, Any]]:
    """Write anchors of 9 s and more, and clips of some lengths; anchors come first in the list."""
    rows = []
    for number in range(anchors):
        write(folder / f"anchor{number}.wav", 9.0 + number / 10)
        rows.append({"file": f"anchor{number}.wav", "prompt": "p", "system": "human", "kind": "anchor"})
    for length_s in lengths_s:
        write(folder / f"clip{length_s}.wav", length_s)
        rows.append({**ONE, "file": f"clip{length_s}.wav", "kind": "stimulus"})
    return rows


def test_long_anchors_get_lengths_of_clips(database: Database, study: Study, tmp_path: Path) -> None:
    rows = anchored(tmp_path, [1.0, 1.5, 2.5], anchors=10)
    with database.write() as session:
        create(session, "twin", Protocol(), study.seed, NOW)
    report = run(database, tmp_path, rows)
    assert (report.parity, report.added) == ([], {"stimulus": 3, "anchor": 10, "practice": 0})
    anchors = [clip for clip in stored(database) if clip.kind == "anchor"]
    assert {clip.duration_s for clip in anchors} == {1.0, 1.5, 2.5}
    # The cut is the same again.
    ingest(database, tmp_path / "data", "twin", tmp_path / "clips.csv", NOW)
    twins = [clip for clip in stored(database) if clip.kind == "anchor" and clip.study_id != study.id]
    folder = tmp_path / "data/studies"
    for one, other in zip(anchors, twins, strict=True):
        first, second = folder / f"one/clips/{one.name}.wav", folder / f"twin/clips/{other.name}.wav"
        assert first.read_bytes() == second.read_bytes()


def test_an_anchor_needs_clips_to_be_like(database: Database, study: Study, tmp_path: Path) -> None:
    report = run(database, tmp_path, anchored(tmp_path, []))
    assert report.added["anchor"] == 0
    assert "the study has no clips yet. Add clips first, or in the same clip list." in report.failed[0].reason


def test_the_protocols_form_is_used(database: Database, tmp_path: Path) -> None:
    rules = Protocol(sample_rate_hz=24_000, loudness_lufs=-30, excerpt_start_s=0.5, excerpt_length_s=1)
    with database.write() as session:
        create(session, "one", rules, 3, NOW)
    write(tmp_path / "a.wav")
    run(database, tmp_path, [ONE])
    (clip,) = stored(database)
    assert (clip.duration_s, clip.loudness_lufs) == (1.0, pytest.approx(-30.0))
    assert soundfile.info(next((tmp_path / "data").rglob("*.wav"))).samplerate == 24_000


def test_limits_and_progress(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "b.wav", 5.0)
    seen: list[tuple[int, int]] = []
    report = run(
        database,
        tmp_path,
        [ONE, ONE | {"file": "b.wav"}],
        limits=AudioLimits(max_duration_s=3),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [failure.line for failure in report.failed] == [3]
    assert seen == [(1, 2), (2, 2)]


def test_quiet_and_silent_clips_are_reported(database: Database, study: Study, tmp_path: Path) -> None:
    clicks = np.zeros(32_000, dtype=np.float32)
    clicks[4000::8000] = 0.5
    write_clip(tmp_path / "clicks.wav", clicks)
    write(tmp_path / "silence.wav", gain=0)
    report = run(database, tmp_path, [{**ONE, "file": name, "note": ""} for name in ("clicks.wav", "silence.wav")])
    assert (report.found["lowered"], report.found["silent"]) == (["clicks.wav"], ["silence.wav"])
    assert report.unused_columns == ["note"]
    first, second = stored(database)
    assert (first.gain_lowered, second.gain_lowered, second.loudness_lufs) == (True, False, None)


def test_what_raters_would_hardly_hear_is_reported(database: Database, study: Study, tmp_path: Path) -> None:
    late = np.concatenate([np.zeros(48_000, np.float32), pluck(1.0)])
    inverted = np.stack([pluck(), -pluck()], axis=1)
    write_clip(tmp_path / "late.wav", late)
    write(tmp_path / "faint.wav", gain=0.01)
    write_clip(tmp_path / "offset.wav", np.full(32_000, 0.4, np.float32))
    soundfile.write(tmp_path / "inverted.wav", inverted, 16_000)
    names = ("late.wav", "faint.wav", "offset.wav", "inverted.wav")
    report = run(database, tmp_path, [{**ONE, "file": name} for name in names])
    assert (report.found["half_silent"], report.found["silent"]) == (["late.wav"], ["offset.wav", "inverted.wav"])
    assert [name.split(" (")[0] for name in report.found["louder"]] == ["faint.wav"]


def test_a_recording_has_one_role(database: Database, study: Study, tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    (tmp_path / "copy.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    report = run(database, tmp_path, [ONE, ONE | {"file": "copy.wav", "kind": "anchor"}])
    assert (report.added["stimulus"], report.added["anchor"]) == (1, 0)
    reason = '"copy.wav" is a clip to rate of this study already, and cannot be an anchor as well. '
    assert report.failed == [Failure(3, "copy.wav", reason + "Give another recording.")]
    assert run(database, tmp_path, [ONE | {"kind": "practice"}]).failed[0].reason.startswith('"a.wav" is a clip to')


def test_no_row_without_its_file(
    database: Database, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.wav")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        report = run(database, tmp_path, [ONE])
    reason = "The clip cannot be written to the data folder: No space left on device."
    assert report.failed == [Failure(2, "a.wav", reason)]
    assert (wav_files(tmp_path), stored(database)) == (set(), [])
    assert run(database, tmp_path, [ONE]).added["stimulus"] == 1
    assert len(wav_files(tmp_path)) == 1


def test_two_at_once_add_a_clip_once(
    database: Database, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a.wav")
    sync = os.fsync
    inner: list[IngestReport] = []

    def meanwhile(descriptor: int) -> None:
        """Ingest the same again while the first waits for the disk."""
        monkeypatch.setattr(os, "fsync", sync)
        inner.append(run(database, tmp_path, [ONE]))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", meanwhile)
    outer = run(database, tmp_path, [ONE])
    assert (inner[0].added["stimulus"], outer.added["stimulus"], outer.already_there) == (1, 0, 1)
    (clip,) = stored(database)
    assert wav_files(tmp_path) == {f"{clip.name}.wav"}


def test_the_report_in_words() -> None:
    report = IngestReport(
        rows=17,
        added={"stimulus": 12, "anchor": 1, "practice": 0},
        already_there=3,
        failed=[Failure(4, "x.wav", "It is broken.")],
        found={code: [] for code in FINDINGS}
        | {
            "lowered": [f"{number}.wav" for number in range(12)],
            "silent": ["s.wav"],
            "half_silent": ["h.wav"],
            "louder": ["q.wav (31 dB)"],
        },
        unexplained=["t.wav"],
        unused_columns=["note"],
        parity=["1 of 5 anchors may be known by their length."],
    )
    assert str(report).splitlines() == [
        "Rows read: 17. Added: 12 clips, 1 anchor. There already: 3.",
        "! Line 4: It is broken.",
        "! Quieter than the rest, because more gain would pass the peak limit: 0.wav, 1.wav, 2.wav, 3.wav, "
        "4.wav, 5.wav, 6.wav, 7.wav, 8.wav, 9.wav and 2 more.",
        "! Silent: s.wav.",
        "! Silent for more than half of what raters hear: h.wav.",
        "! Much louder than they came, and their noise with them: q.wav (31 dB).",
        "! Practice clips without scores or explanation, so practice explains nothing: t.wav.",
        "! Columns that were not used: note.",
        "! 1 of 5 anchors may be known by their length.",
    ]
    assert str(IngestReport()) == "Rows read: 0. Added: nothing."


def test_what_raters_should_not_hear_is_found_and_stays_with_the_clip(
    database: Database, study: Study, tmp_path: Path
) -> None:
    sound = pluck(CLIP_S)
    stereo = {"inverted": np.stack([sound, -sound], 1), "wide": np.stack([sound, np.roll(sound, 4000)], 1)}
    for name, samples in {**stereo, "clipped": np.clip(sound * 6, -0.5, 0.5), "good": sound}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, 32_000)
    rows = [{**ONE, "file": f"{name}.wav"} for name in ("inverted", "wide", "clipped", "good")]
    report = run(database, tmp_path, [*rows, {**ONE, "file": "good.wav", "system": "S2"}])
    assert {code: files for code, files in report.found.items() if files} == {
        "silent": ["inverted.wav"],
        "inverted": ["inverted.wav"],
        "clipped": ["clipped.wav"],
    }
    assert report.same_audio == ["The same recording stands under 2 systems: good.wav (S1), good.wav (S2)."]
    assert {clip.source_file: clip.findings for clip in stored(database)} == {
        "inverted.wav": ["silent", "inverted"], "wide.wav": [], "clipped.wav": ["clipped"], "good.wav": [],
    }  # fmt: skip
    assert all(sentence in str(report) for sentence in ("! Clipped: clipped.wav.", "inverted in phase", "! The same"))


def test_sources_may_come_from_elsewhere(database: Database, study: Study, tmp_path: Path) -> None:
    content = write(tmp_path / "elsewhere.wav").read_bytes()
    assert run(database, tmp_path, [ONE], find={"a.wav": content}.__getitem__).added["stimulus"] == 1
    (clip,) = stored(database)
    assert clip.source_sha256 == hashlib.sha256(content).hexdigest()
