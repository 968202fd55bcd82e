"""Whole or said: what people give is taken whole, or the result says what was left out, whichever way it came.

The files are those of `tests.cases`; each is given to every command that reads its kind.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annotation.database import Database
from annotation.material.ingest import ingest
from annotation.protocol import Protocol
from annotation.studies import create
from core.cli import main
from core.errors import MusicEvalError
from core.scorer import Item, Scorer
from core.scores import Unscored
from core.training.registry import ModelRegistry
from tests.annotation.rooms import NOW
from tests.cases import (
    HAS_FFMPEG,
    INCOMPLETE,
    SILENT,
    SOUNDS,
    TABLES,
    TWO,
    Sound,
    Table,
    encoded,
    made,
    packed,
    without_count,
)
from tests.cases import write_table as written
from tests.clips import pluck
from tests.rated import rated_table, write_rated
from tests.towers import random_tower
from webapp.judge import Judge
from webapp.list_runs import Given, ListRuns

PROMPT = "A calm piano"
RATED = "clip_id,audio_path,prompt,system_id,musical_impression,textual_alignment"
OPTIONS: tuple[object, ...] = ()  # of every command that listens
Verdicts = dict[str, str]  # by clip: the codes of warnings, or why it was not taken


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one way has embedded the others need not."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def judge(scorer: Scorer, cache: Path) -> Scorer:
    return Scorer(scorer.checkpoint, cache=cache)


@pytest.fixture(scope="module", autouse=True)
def _fast(scorer: Scorer, cache: Path) -> Iterator[None]:
    """Every command has the one judge and the one cache, and trains on its tower; nothing is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.scorer.load_checkpoint", lambda _: scorer.checkpoint)
        patch.setattr("core.checkpoint.load_checkpoint", lambda _: scorer.checkpoint)
        for place in ("core.training.material.load_tower", "core.towers.load_tower"):
            patch.setattr(place, lambda _: random_tower())
        for draw in ("draw_curves", "draw_scatter"):
            patch.setattr(f"core.training.material.{draw}", lambda *_: "")
        patch.setattr("core.evaluation.RESAMPLES", 20)
        patch.setattr("tests.test_whole_or_said.OPTIONS", ("--device", "cpu", "--cache", cache))
        yield


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path_factory.mktemp('studies') / 'studies.sqlite'}", durable=False)
    yield opened
    opened.close()


def run(*arguments: object) -> tuple[int, str, str]:
    """Run a command in this process: exit code, stdout, stderr."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        code = main([*map(str, arguments)])
    return code, out.getvalue(), err.getvalue()


def scored(path: Path, checkpoint: Path) -> tuple[str, list[dict[str, str]]]:
    """Score a list or a folder: what is said, and a record for each row."""
    output = path.parent / f"{path.stem}-scores.jsonl"
    code, out, err = run("score", "--manifest", path, "-o", output, "--model", checkpoint, *OPTIONS)
    return out + err, [] if code else [json.loads(line) for line in output.read_text().splitlines()]


def on_the_page(scorer: Scorer, path: Path, files: list[Path]) -> list[dict[str, str]]:
    runs = ListRuns(Judge(scorer, ModelRegistry(path.parent / "models")))
    *_, end = runs.run("visitor", "192.0.2.1", Given(tuple(map(str, files)), str(path)))
    return end.records


def in_a_study(database: Database, path: Path, name: str) -> tuple[str, list[tuple[str, str]]]:
    """Ingest a list: what is said, and each clip that was not added, with the reason."""
    study = name.lower().replace(" ", "-")
    with database.write() as session:
        create(session, study, Protocol(), 3, NOW)
    report = ingest(database, path.parent / "data", study, path, NOW)
    return str(report), [(failure.file, failure.reason) for failure in report.failed]


# Sound files


def of_records(records: list[dict[str, str]]) -> Verdicts:
    return {record["file"]: record["reason"] or str(record["warnings"]) for record in records}


@pytest.fixture(scope="module")
def verdicts(
    judge: Scorer, random_checkpoint: Path, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Verdicts]:
    """What each way says of each sound file; the lengths heard stand under ``seconds``."""
    folder = tmp_path_factory.mktemp("sounds")
    there = [sound for sound in SOUNDS if HAS_FFMPEG or not sound.needs_ffmpeg]
    paths = {sound.name: folder / sound.name for sound in there}
    for sound in there:
        paths[sound.name].write_bytes(sound.make())
    (folder / "clips.csv").write_text("file,prompt,system\n" + "".join(f"{name},{PROMPT},S1\n" for name in paths))
    rated = [f"{n},{name},{PROMPT} {n % 3},S{n % 4},{1 + n % 4},{1 + n % 3}" for n, name in enumerate(paths)]
    (folder / "rated.csv").write_text("\n".join([RATED, *rated]))
    found = [*judge.score_many([Item(path, PROMPT, name) for name, path in paths.items()])]
    alone, seconds = Verdicts(), Verdicts()
    for name, of in zip(paths, found, strict=True):
        is_score = not isinstance(of, Unscored)
        alone[name] = ";".join(warning.code for warning in of.warnings) if is_score else of.reason
        seconds[name] = str(of.provenance.audio.duration_s) if is_score else ""
    said, failed = in_a_study(database, folder / "clips.csv", "sounds")
    silent = re.findall(r"^! Silent: (.*)\.$", said, re.MULTILINE)[0].split(", ")
    judged = {
        "train": run("train", "--data", folder / "rated.csv", "--output", folder / "model", *OPTIONS)[2],
        "embed": run("embed", "--data", folder / "rated.csv", *OPTIONS)[2],
        "evaluate": run("evaluate", "--data", folder / "rated.csv", "--model", random_checkpoint, *OPTIONS)[2],
    }
    return {
        "seconds": seconds,
        "score": alone,
        "manifest": of_records(scored(folder / "clips.csv", random_checkpoint)[1]),
        "page": of_records(on_the_page(judge, folder / "clips.csv", [*paths.values()])),
        "ingest": {**dict.fromkeys(paths, ""), **dict.fromkeys(silent, SILENT), **dict(failed)},
        **{
            way: {name: "".join(re.findall(rf'^.*"{re.escape(name)}".*$', text, re.MULTILINE)) for name in paths}
            for way, text in judged.items()
        },
    }


@pytest.mark.parametrize("sound", SOUNDS, ids=lambda sound: sound.name)
def test_a_sound_file_is_heard_whole_or_it_is_said(sound: Sound, verdicts: dict[str, Verdicts]) -> None:
    if sound.needs_ffmpeg and not HAS_FFMPEG:
        pytest.skip("ffmpeg is not installed")
    of = {way: found[sound.name] for way, found in verdicts.items()}
    if sound.heard_s is not None:
        assert float(of["seconds"]) == pytest.approx(sound.heard_s, abs=0.5)
    for way in ("score", "manifest", "page"):
        assert sound.said in of[way]
        assert (INCOMPLETE in of[way].split(";")) is (sound.said == INCOMPLETE)
    for way in ("ingest", "train", "embed", "evaluate"):
        expected = {INCOMPLETE: r"breaks off|goes on after"}.get(sound.said, sound.said)
        assert re.search(expected, of[way]) if expected else of[way] == ""


def test_the_same_music_gets_the_same_score_whatever_an_encoder_puts_in_front(judge: Scorer) -> None:
    late, mp3 = np.concatenate([np.zeros(400, np.float32), pluck(6.0)]), made("mp3", 6.0)
    plain, padded, counted, uncounted = (
        judge.score(clip, PROMPT).values for clip in ((pluck(6.0), 16_000), (late, 16_000), mp3, without_count(mp3))
    )
    assert plain == pytest.approx(padded, abs=1e-3)
    assert counted == pytest.approx(uncounted, abs=0.1)


# Lists of clips


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_list_is_read_whole_or_refused_by_line(
    table: Table, judge: Scorer, random_checkpoint: Path, database: Database, tmp_path: Path
) -> None:
    path = written(table, tmp_path)
    clips = [*tmp_path.glob("*.wav"), *tmp_path.glob("sub/*.wav")]
    said, records = scored(path, random_checkpoint)
    ways: list[Callable[[], object]] = [
        lambda: on_the_page(judge, path, clips),
        lambda: in_a_study(database, path, table.name),
    ]
    if isinstance(table.taken, str):
        assert table.taken in said
        for way in ways:
            with pytest.raises(MusicEvalError, match=re.escape(table.taken)):
                way()
        return
    rows = "1 row:" if table.taken == 1 else f"{table.taken} rows:"
    assert said.startswith(f"{rows} {table.taken} ok, 0 failed.")
    assert {record["system"] for record in records} <= {"S1", "S2"}
    for of in (records, on_the_page(judge, path, clips)):
        assert [record["status"] for record in of] == ["ok"] * table.taken
        assert all(table.code in record["warnings"] for record in of)
    report, failed = in_a_study(database, path, table.name)
    assert (report.startswith(f"Rows read: {table.taken}."), failed) == (True, [])


def test_prompts_that_say_nothing_are_none(random_checkpoint: Path, database: Database, tmp_path: Path) -> None:
    path = written(Table("none", "file,prompt,system\nc1.wav,nan,S1\nc2.wav,None,S1\n", 2), tmp_path)
    said, records = scored(path, random_checkpoint)
    assert "Taken as empty: 2 cells of prompt" in said
    assert all("prompt_empty" in record["warnings"] for record in records)
    assert [file for file, reason in in_a_study(database, path, "none")[1] if "so there is none" in reason] == [
        "c1.wav",
        "c2.wav",
    ]


NAMES = {
    "gb18030": "慢的歌/钢琴曲一.flac",
    "big5": "慢歌/鋼琴.flac",
    "shift_jis": "曲/ピアノ能.flac",  # with a backslash among its bytes
    "euc_kr": "노래/피아노.flac",
    "cp1252": "Müller/Œuvre.flac",
    "cp866": "Песня/Ночь.flac",
    "utf-8": "Müller/钢琴.flac",  # as macOS writes it, without the flag
}


@pytest.mark.parametrize(("encoding", "name"), NAMES.items())
def test_a_zip_with_names_in_the_encoding_of_a_country(judge: Scorer, tmp_path: Path, encoding: str, name: str) -> None:
    (tmp_path / "clips.zip").write_bytes(packed({name: made("wav", 0.6), "b.wav": made("wav", 1.6)}, encoding))
    for asked in ([name, "b.wav"], [name.split("/")[1], "b.wav", "c.wav"]):
        (tmp_path / "clips.csv").write_text("file,prompt\n" + "".join(f"{file},calm\n" for file in asked))
        *found, last = on_the_page(judge, tmp_path / "clips.csv", [tmp_path / "clips.zip"])
        seconds = [float(record["duration_s"]) for record in (*found, last) if record["status"] == "ok"]
        assert seconds == [0.6, 1.6]
    assert "is not among the files" in last["reason"]


def test_a_folder_is_taken_whole_or_says_what_it_leaves_out(random_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    kinds = ("wav", "flac", "aiff", "au", "caf", "w64", *(("webm", "mp4", "mka") if HAS_FFMPEG else ()))
    for number, kind in enumerate(kinds):
        of_ffmpeg = kind in ("webm", "mp4", "mka")
        (folder / f"{number}.{kind}").write_bytes(
            encoded(f"a.{kind}", duration_s=1.0) if of_ffmpeg else made(kind, 1.0)
        )
        (folder / f"{number}.txt").write_text(f"{PROMPT} {number}", encoding="utf-16" if number % 2 else "utf-8")
    (folder / "manifest.csv").write_text(TWO)
    (folder / "notes.xyz").touch()
    said, records = scored(folder, random_checkpoint)
    assert [record["prompt"] for record in records] == [f"{PROMPT} {number}" for number in range(len(kinds))]
    assert f"{len(kinds)} rows: {len(kinds)} ok" in said
    assert "The folder has tables, which were not read: manifest.csv." in said
    assert "left out: notes.xyz." in said


# Predictions and ratings


def rated(n_systems: int) -> pd.DataFrame:
    numbers = np.arange(24)
    rows = {"clip_id": [f"c{n}" for n in numbers], "system_id": [f"S{n % n_systems}" for n in numbers]}
    values = {"musical_impression": 1 + numbers * 7 % 5, "predicted_musical_impression": 1 + numbers * 3 % 5}
    return pd.DataFrame({**rows, **values, "comment": "ok"})


def test_a_table_of_predictions_is_measured_as_far_as_it_can_be(tmp_path: Path) -> None:
    rated(4).to_csv(tmp_path / "t.csv", index=False)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    lines[4] = lines[4].replace("ok", '"nice riff')
    lines[21] = lines[21].replace("ok", '"nice riff')
    (tmp_path / "quotes.csv").write_text("\n".join(lines))
    twice = rated(4).assign(again=1.0).rename(columns={"again": "predicted_musical_impression"})
    twice.to_csv(tmp_path / "twice.csv", index=False)
    rated(2).to_csv(tmp_path / "two.csv", index=False)
    code, _, err = run("evaluate", "--table", tmp_path / "quotes.csv")
    assert (code, "quotes.csv, line 5: a quoted text goes on" in err) == (2, True)
    code, _, err = run("evaluate", "--table", tmp_path / "twice.csv")
    assert (code, "has two columns 'predicted_musical_impression'" in err) == (2, True)
    code, out, _ = run("evaluate", "--table", tmp_path / "two.csv", "--json")
    found = json.loads(out)
    assert (code, found["utterance"]["musical_impression"]["n"], found["system"]) == (0, 24, {})
    assert "2 systems are too few" in found["not_measured"]["system"]["musical_impression"]


def trained(data: Path, output: Path, *options: object) -> tuple[int, str]:
    code, out, err = run("train", "--data", data, "--output", output, "--epochs", 1, *options, *OPTIONS)
    return code, out + err


def test_rated_clips_are_learned_and_measured_or_it_is_said(random_checkpoint: Path, tmp_path: Path) -> None:
    path = write_rated(tmp_path / "clips", 24)
    path.write_text(path.read_text("utf-8-sig").replace('"c00.wav"', '".\\c00.wav"').replace(",", ";"), "utf-16")
    judge = ("--model", random_checkpoint, *OPTIONS)
    code, out, _ = run("evaluate", "--data", path, *judge, "--json")
    found = json.loads(out)
    assert (code, found["utterance"]["textual_alignment"]["n"], found["system"]["textual_alignment"]["n"]) == (0, 24, 4)
    twice = pd.concat([rated_table(24, tmp_path / "clips").table] * 2)
    twice["clip_id"] = [f"{clip}{'ab'[row // 24]}" for row, clip in enumerate(twice["clip_id"])]
    twice.to_csv(tmp_path / "clips" / "twice.csv", index=False)
    code, said = trained(tmp_path / "clips" / "twice.csv", tmp_path / "model")
    assert (code, "48 clips have the audio of another one" in said) == (0, True)
    parts = pd.read_csv(tmp_path / "model" / "split.csv")
    assert (parts.groupby("audio_sha256")["split"].nunique() == 1).all()
    assert "48 clips have the audio" in run("evaluate", "--data", tmp_path / "clips" / "twice.csv", *judge)[1]


@pytest.mark.parametrize("n_unread", [8, 24])
def test_alignment_with_prompts_that_are_not_read_is_neither_learned_nor_measured(
    n_unread: int, tmp_path: Path
) -> None:
    write_rated(tmp_path / "clips", 24)
    clips = rated_table(24, tmp_path / "clips")
    prompts = [f"缓慢的钢琴 {n}" if n < n_unread else f"A calm piece {n}" for n in range(24)]
    table = clips.table.assign(prompt=prompts, prompt_id=[f"P{n}" for n in range(24)])
    path = tmp_path / "clips" / "unread.csv"
    replace(clips, table=table).to_csv(path)
    code, said = trained(path, tmp_path / "model", "--test-share", 0.5)
    measured = pd.read_csv(tmp_path / "model" / "predictions.csv")
    assert code == 0
    code, out, _ = run("baselines", "--data", path, "--epochs", 1, "--split", "random", *OPTIONS)
    assert code == 0
    if n_unread == 24:
        assert "predicted_textual_alignment" not in measured
        assert all(
            "Textual alignment is not learned: the model can read the prompts of 0 of" in of for of in (said, out)
        )
        return
    of_unread = [int(clip[1:]) < n_unread for clip in measured["clip_id"]]
    assert any(of_unread)
    assert measured["predicted_textual_alignment"].isna().tolist() == of_unread
    sentence = "Textual alignment leaves out 8 clips with a prompt that the model cannot read: c00, c01"
    assert all(sentence in of for of in (said, out))
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["utterance"]["textual_alignment"]["n"] == of_unread.count(False)
    for control in metrics["controls"].values():
        assert control["utterance"]["textual_alignment"]["n"] == of_unread.count(False)
