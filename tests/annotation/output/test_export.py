"""What a study gives out: exports that are whole and safe, and what a judge learns from."""

import contextlib
import csv
import hashlib
import io
import json
import shutil
import sqlite3
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from annotation.database import Database
from annotation.export import export, export_as_zip, rated_clips, write_training_data
from annotation.imports.store import import_ratings
from annotation.material.ingest import Entry, add_clip
from annotation.material.sound import normalise
from annotation.protocol import Protocol
from annotation.schema import Clip
from annotation.session import holds
from annotation.session.answers import CONSENT
from annotation.session.exclusions import Change
from annotation.studies import clip_path, create, find_rater, find_study, invite
from core.audio import read_clip
from core.errors import DataError, StudyError
from core.files import sha256_of
from core.musiceval import read_source, wav_names
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL, Scale, keys
from tests.annotation.rooms import NOW
from tests.annotation.scripted import rate_all
from tests.clips import pluck
from tests.webapp.studies import rows as database_rows

HOSTILE = '=HYPERLINK("http://x")\ttab\r\nline <b>'
PROMPTS = (HOSTILE, "A calm piano", '-loud, "fast"')
RULES = Protocol(raters_per_clip=2, batch_size=3, anchors=1, duplicate_distance=1, training=0)
GIVEN = {("R01", 0): (5, 1), ("R01", 1): (4, 2), ("R02", 0): (4, 4), ("R02", 1): (4, 1)}  # rater, clip % 2
SCALES = keys(MUSICEVAL)
CLARITY = Scale("clarity", "Clarity", "How clear is it?", ("a", "b", "c", "d", "e"))


@dataclass
class Done:
    """A study that two raters have finished, and what they said."""

    database: Database
    data: Path
    ended: datetime
    clips: list[Clip]  # stimuli
    says: dict[tuple[str, str], tuple[int, int]]  # (rater, clip) -> scores

    def original(self, name: str) -> Path:
        with self.database.read() as session:
            return clip_path(self.data, find_study(session, "one"), name)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    data = tmp_path_factory.mktemp("data")
    database = Database(f"sqlite:///{data / 'musiceval.sqlite'}")
    with database.write() as session:
        study = create(session, "one", RULES, 3, NOW)
        create(session, "none-yet", RULES, 3, NOW, demo=True)
    entries = [Entry(f"{number}.wav", PROMPTS[number % 3], f"=sys{number // 3}") for number in range(6)]
    entries += [Entry("take.wav", PROMPTS[1], "=sys0")]
    entries += [Entry(f"anchor{number}.wav", "Played by people", "human", "anchor") for number in range(2)]
    for number, entry in enumerate(entries):
        clip = read_clip((pluck(1.0) * np.float32(0.5 + number / 20), 16_000))
        add_clip(database, data, study, entry, clip.sha256, normalise(clip, RULES), NOW)
    with database.write() as session:
        invite(session, study, 2, NOW)
        raters = [find_rater(session, study, name) for name in ("R01", "R02")]
        clips = session.query(Clip).filter_by(kind="stimulus").order_by(Clip.id).all()
    at, says = NOW, {}
    for rater in raters:
        said = {clip.name: GIVEN[rater.pseudonym, clip.id % 2] for clip in clips}
        says |= {(rater.pseudonym, name): scores for name, scores in said.items()}
        at = rate_all(database, rater.id, lambda clip, _role, said=said: said.get(clip.name, (5, 5)), at)
    yield Done(database, data, at, clips, says)
    database.close()


@pytest.fixture
def copy(done: Done, tmp_path: Path) -> Iterator[Database]:
    """A copy of the study's database, to change."""
    with (
        contextlib.closing(sqlite3.connect(done.data / "musiceval.sqlite")) as source,
        contextlib.closing(sqlite3.connect(tmp_path / "copy.sqlite")) as target,
    ):
        source.backup(target)
    copy = Database(f"sqlite:///{tmp_path / 'copy.sqlite'}")
    yield copy
    copy.close()


@pytest.fixture(scope="module")
def out(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study exported with its clips; tests only read it."""
    folder = tmp_path_factory.mktemp("export") / "out"
    export(done.database, done.data, "one", folder, done.ended, audio=True)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_every_rating_is_there(done: Done, out: Path) -> None:
    ratings = rows(out / "ratings.csv")
    stimuli = {(row["rater"], row["clip"]): row for row in ratings if row["role"] == "stimulus"}
    assert {key: tuple(int(row[scale]) for scale in SCALES) for key, row in stimuli.items()} == done.says
    assert {row["status"] for row in stimuli.values()} == {"valid"}
    assert {row["status"] for row in ratings if row["role"] in ("anchor", "duplicate")} == {"check"}
    first = ratings[0]
    assert first["given_at"] == "2026-03-01T12:00:06.000000Z"
    assert (first["heard_s"], first["batch"], first["position"]) == ("1.0", "1", "1")


def test_an_export_can_be_imported(done: Done, out: Path, copy: Database, tmp_path: Path) -> None:
    with copy.write() as session:
        Change("one", "exclude", "R02", 1).make(session, "too strict", "me", done.ended)
        for name, act in (("R01", holds.pause), ("R01", holds.resume), ("R02", holds.pause)):
            act(session, find_rater(session, find_study(session, "one"), name), "=ill", "me", done.ended)
    export(copy, done.data, "one", tmp_path / "before", done.ended)
    import_ratings(copy, tmp_path, "again", tmp_path / "before", done.ended)
    export(copy, tmp_path, "again", tmp_path / "after", done.ended)
    names = {row["clip"]: row["source_file"] for row in rows(tmp_path / "after" / "clips.csv")}
    for table in ("ratings", "batches", "exclusions", "pauses"):
        before, after = (rows(tmp_path / folder / f"{table}.csv") for folder in ("before", "after"))
        assert [row | ({"clip": names[row["clip"]]} if "clip" in row else {}) for row in after] == before
    assert "excluded" in {row["status"] for row in rows(tmp_path / "after" / "ratings.csv")}
    with copy.read() as session:
        raters = [find_rater(session, find_study(session, "again"), name) for name in ("R01", "R02")]
        assert [(one.paused_at, one.resumed_at) for one in raters] == [(None, done.ended), (done.ended, None)]
    assert import_ratings(copy, tmp_path, "heard", out, done.ended).with_audio == len(done.clips)


@pytest.mark.parametrize(
    ("file", "column", "text", "says"),
    [
        ("ratings.csv", "batch", "9", "batch 9 of"),
        ("ratings.csv", "role", "spy", "role is"),
        ("ratings.csv", "given_at", "yesterday", "is no time"),
        ("batches.csv", "state", "lost", "state is"),
        ("exclusions.csv", "rater", "R77", "R77"),
        ("manifest.json", "", "", "manifest.json"),
    ],
)
def test_an_export_that_was_changed(
    done: Done, copy: Database, tmp_path: Path, file: str, column: str, text: str, says: str
) -> None:
    with copy.write() as session:
        Change("one", "exclude", "R02", 1).make(session, "too strict", "me", done.ended)
    export(copy, done.data, "one", tmp_path / "out", done.ended)
    path = tmp_path / "out" / file
    if column:
        table = rows(path)
        table[0][column] = text
        with path.open("w", newline="") as written:
            writer = csv.DictWriter(written, table[0].keys())
            writer.writeheader()
            writer.writerows(table)
    else:
        path.write_text('{"study": "one", "scales": [], "protocol": {"raters_per_clip": "many"}, "seed": 1}')
    before = database_rows(copy)
    with pytest.raises(DataError, match=says):
        import_ratings(copy, tmp_path, "again", tmp_path / "out", done.ended)
    assert database_rows(copy) == before


def test_raters(out: Path) -> None:
    for rater in rows(out / "raters.csv"):
        assert rater["agreed_at"] >= "2026-03-01T12:00:00.000000Z"
        assert (rater["training"], rater["instrument"]) == ("student of music", "'=cello()")


def test_mos(done: Done, out: Path) -> None:
    mos = {row["clip"]: row for row in rows(out / "mos.csv")}
    assert mos.keys() == {clip.name for clip in done.clips}
    for clip in done.clips:
        for index, scale in enumerate(SCALES):
            said = [done.says[rater, clip.name][index] for rater in ("R01", "R02")]
            assert float(mos[clip.name][scale]) == np.mean(said)
            assert float(mos[clip.name][f"{scale}_sd"]) == pytest.approx(np.std(said, ddof=1), abs=1e-12)
        assert mos[clip.name]["n_ratings"] == "2"
    systems = [(row["system"], row["n_clips"], row["n_ratings"]) for row in rows(out / "systems.csv")]
    assert systems == [("'=sys0", "4", "8"), ("'=sys1", "3", "6")]


def test_clips_lead_back_to_their_sources(done: Done, out: Path) -> None:
    clips = {row["clip"]: row for row in rows(out / "clips.csv")}
    assert len(clips) == 9
    sources = [clips[clip.name]["source_file"] for clip in done.clips]
    assert sources == [*(f"{number}.wav" for number in range(6)), "take.wav"]
    assert [clips[clip.name]["musiceval"] for clip in done.clips] == [
        "S002_P001.wav", "S002_P002.wav", "S002_P003.wav", "S003_P001.wav", "S003_P002.wav", "S003_P003.wav",
        "S002_P004.wav",
    ]  # fmt: skip
    assert {row["musiceval"] for row in clips.values() if row["kind"] == "anchor"} == {""}


def test_what_happened_is_there(done: Done, out: Path) -> None:
    batches = rows(out / "batches.csv")
    states = {(row["rater"], row["batch"], row["state"], row["short"]) for row in batches}
    whole = {(rater, number, "valid", "False") for rater in ("R01", "R02") for number in ("1", "2")}
    assert states == whole | {("R01", "3", "valid", "True"), ("R02", "3", "valid", "True")}
    assert all(row["opened_at"] < row["closed_at"] == row["screened_at"] for row in batches)
    trials = rows(out / "trials.csv")
    assert len(trials) == len(rows(out / "ratings.csv"))
    assert {(row["state"], row["played"]) for row in trials} == {("rated", "[[0.0, 1.0]]")}
    (text,) = {row["text"] for row in rows(out / "consents.csv")}
    assert text == CONSENT
    assert rows(out / "problems.csv") == []
    assert json.loads((out / "reliability.json").read_text())["ratings"]["valid"] == 14


def test_without_audio_the_table_leads_to_the_clips_of_the_study(done: Done, tmp_path: Path) -> None:
    manifest = export(done.database, done.data, "one", tmp_path / "deep" / "out", done.ended)
    assert (manifest.audio, manifest.missing_audio) == (False, [])
    assert not (tmp_path / "deep" / "out" / "musiceval").exists()
    table = RatedClips.from_csv(tmp_path / "deep" / "out" / "rated_clips.csv").table
    assert all(Path(row.audio_path).samefile(done.original(row.clip_id)) for row in table.itertuples())


def test_a_zip_is_the_export_with_its_clips(done: Done, out: Path, tmp_path: Path) -> None:
    """It copies no clip, and leaves nothing."""
    work = tmp_path / "work"
    work.mkdir()
    archive = export_as_zip(done.database, done.data, "one", work, done.ended)
    assert list(work.rglob("*")) == []
    whole = b"".join(archive.read())
    assert len(whole) == archive.size
    with zipfile.ZipFile(io.BytesIO(whole)) as packed:
        assert packed.testzip() is None
        packed.extractall(tmp_path)
    folder = tmp_path / archive.name.removesuffix(".zip")
    ours, theirs = (json.loads((one / "manifest.json").read_text()) for one in (folder, out))
    assert ours == theirs
    assert {place: sha256_of(folder / place) for place in ours["files"]} == ours["files"]
    assert len(read_source(folder)) == len(read_source(folder / "musiceval")) == 7
    with pytest.raises(StudyError):
        export_as_zip(done.database, done.data, "nowhere", work, done.ended)


def test_a_zip_is_the_same_until_the_study_changes(done: Done, copy: Database, tmp_path: Path) -> None:
    one, again = (export_as_zip(done.database, done.data, "one", tmp_path, done.ended) for _ in range(2))
    assert one.tag == again.tag
    assert b"".join(one.read()) == b"".join(again.read())
    later = export_as_zip(done.database, done.data, "one", tmp_path, done.ended + timedelta(seconds=1))
    change = Change("one", "exclude", "R01", None)
    with copy.write() as session:
        change.make(session, "why", "who", NOW)
    changed = export_as_zip(copy, done.data, "one", tmp_path, done.ended)
    assert len({one.tag, later.tag, changed.tag}) == 3


def test_a_clip_that_changes_while_it_is_sent_breaks_the_zip_off(done: Done, copy: Database, tmp_path: Path) -> None:
    shutil.copytree(done.data / "studies", tmp_path / "data" / "studies")
    archive = export_as_zip(copy, tmp_path / "data", "one", tmp_path, done.ended)
    content = archive.read()
    next(content)
    path = clip_path(tmp_path / "data", SimpleNamespace(name="one"), done.clips[0].name)
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(StudyError, match="not the one that was ingested"):
        list(content)


@pytest.mark.parametrize("damage", ["deleted", "emptied", "exchanged"])
def test_damaged_audio_stops_no_table(done: Done, copy: Database, tmp_path: Path, damage: str) -> None:
    """The clip is in all tables but those that lead to audio, and it is named."""
    shutil.copytree(done.data / "studies", tmp_path / "data" / "studies")
    gone, other = (done.original(clip.name) for clip in done.clips[:2])
    path = clip_path(tmp_path / "data", SimpleNamespace(name="one"), gone.stem)
    path.unlink()
    if damage != "deleted":
        path.write_bytes(other.read_bytes() if damage == "exchanged" else b"")
    manifest = export(copy, tmp_path / "data", "one", tmp_path / "out", NOW, audio=True)
    assert manifest.missing_audio == [gone.stem]
    assert gone.stem in {row["clip"] for row in rows(tmp_path / "out" / "mos.csv")}
    assert len(read_source(tmp_path / "out")) == len(read_source(tmp_path / "out" / "musiceval")) == 6
    clips, missing = rated_clips(copy, tmp_path / "data", "one")
    assert (len(clips), missing) == (6, [gone.stem])


def test_no_cell_is_a_formula(out: Path) -> None:
    cells = [cell for path in out.glob("*.csv") for row in rows(path) for cell in row.values()]
    assert any(cell == f"'{HOSTILE}" for cell in cells)
    dangerous = [cell for cell in cells if cell and cell[0] in "=+-@\t\r"]
    assert all(float(cell) < 0 for cell in dangerous)  # numbers are none


def test_rated_clips(done: Done, out: Path) -> None:
    rated = RatedClips.from_csv(out / "rated_clips.csv").table.set_index("clip_id")
    assert rated.index.tolist() == sorted(clip.name for clip in done.clips)
    for clip in done.clips:
        row = rated.loc[clip.name]
        assert row["musical_impression"] == np.mean([done.says[r, clip.name][0] for r in ("R01", "R02")])
        assert (row["n_ratings"], row["split"]) == (2, "")
        assert Path(row["audio_path"]).read_bytes() == done.original(clip.name).read_bytes()
    numbers = rated["prompt"].map(PROMPTS.index).groupby(rated["prompt_id"]).nunique()
    assert numbers.to_dict() == {"P001": 1, "P002": 1, "P003": 1}
    assert set(rated["system_id"]) == {"=sys0", "=sys1"}


def test_both_forms_are_read_as_the_same_clips(out: Path) -> None:
    names = {row["clip"]: row["musiceval"] for row in rows(out / "clips.csv")}
    exported, layout = read_source(out).table, read_source(out / "musiceval").table
    ours = exported.set_index(exported["clip_id"].map(names).str.removesuffix(".wav")).sort_index()
    theirs = layout.set_index("clip_id").sort_index()
    assert ours.index.tolist() == theirs.index.tolist()
    for column in (*SCALES, "n_ratings", *(f"{scale}_sd" for scale in SCALES)):
        assert ours[column].tolist() == pytest.approx(theirs[column].tolist())
    assert theirs["prompt"].tolist() == [" ".join(prompt.split()) for prompt in ours["prompt"]]


def test_the_musiceval_layout(done: Done, out: Path) -> None:
    layout = out / "musiceval"
    names = {row["clip"]: row["musiceval"] for row in rows(out / "clips.csv")}
    total = dict(line.split(",", 1) for line in (layout / "sets/total_mos_list.txt").read_text().splitlines())
    assert list(total) == sorted(names[clip.name] for clip in done.clips)
    for clip in done.clips:
        said = np.array([done.says[rater, clip.name] for rater in ("R01", "R02")])
        assert total[names[clip.name]] == ",".join(str(float(mean)) for mean in said.mean(axis=0))
    person = (layout / "person_mos/total_person_mos.txt").read_text().splitlines()
    assert person == sorted(
        f"{names[clip]},{rater},{scores[0]},{scores[1]}" for (rater, clip), scores in done.says.items()
    )
    systems = (layout / "system_mos/total_system_mos.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in systems] == ["S002", "S003"]
    assert (layout / "prompt_info.txt").read_text().splitlines() == [
        "id\ttext",
        'P001\t=HYPERLINK("http://x") tab line <b>',
        "P002\tA calm piano",
        'P003\t-loud, "fast"',
        "P004\tA calm piano",
    ]
    assert (layout / "demo_prompt_info.txt").read_text() == "id\ttext\n"
    assert {path.name for path in (layout / "wav").iterdir()} == set(total)


def test_tables_for_people_open_in_a_spreadsheet_in_any_language(out: Path) -> None:
    assert {path.name for path in out.glob("*.csv") if not path.read_bytes().startswith(b"\xef\xbb\xbf")} == set()


def test_names_in_the_layout_keep_their_numbers() -> None:
    assert wav_names([(7, 3), (7, 9), (2, 9), (2, 3)]) == [
        "S002_P001.wav", "S002_P002.wav", "S003_P002.wav", "S003_P001.wav",
    ]  # fmt: skip
    second_takes = wav_names([(1, 1), (1, 1), (2, 1), (2, 1), (1, 2)])
    assert second_takes == [
        "S002_P001.wav", "S002_P002.wav", "S003_P001.wav", "S003_P002.wav", "S002_P003.wav",
    ]  # fmt: skip
    clips = [(number % 31, number % 5) for number in range(40)]
    whole = wav_names(clips)
    assert len(set(whole)) == 40
    assert wav_names(clips[:17]) == whole[:17]  # what comes later changes no number
    numbers = {int(name[1:4]) for name in whole}
    assert (len(numbers), numbers & {1, 6, 13, 17, 18, 33}) == (31, set())  # the release's demo pages


def test_the_manifest(done: Done, out: Path) -> None:
    manifest = json.loads((out / "manifest.json").read_text())
    listing = ""
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == sha256
        listing += f"{sha256}  {name}\n"
    assert manifest["content_sha256"] == hashlib.sha256(listing.encode()).hexdigest()
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert manifest["files"].keys() == files - {"manifest.json"}
    assert manifest["protocol"] == RULES.to_json()
    assert [Scale.from_json(stored) for stored in manifest["scales"]] == list(MUSICEVAL)
    assert (manifest["study"], manifest["demo"], manifest["seed"]) == ("one", False, 3)
    assert manifest["exported_at"] == manifest["last_rating_at"] == done.ended.isoformat()
    counts = manifest["counts"]
    assert (counts["clips"], counts["clips_done"], counts["raters"]) == (7, 7, 2)
    assert counts["ratings"]["valid"] == 14


def test_the_same_state_has_the_same_hash(done: Done, out: Path, tmp_path: Path) -> None:
    first = json.loads((out / "manifest.json").read_text())
    second = export(done.database, done.data, "one", tmp_path / "again", NOW, audio=True)
    assert second.content_sha256 == first["content_sha256"]
    assert second.exported_at != first["exported_at"]


def test_an_exclusion_shows(done: Done, copy: Database, tmp_path: Path) -> None:
    with copy.write() as session:
        Change("one", "exclude", "R02", 1).make(session, "=He was asleep", "@boss", NOW)
    export(copy, done.data, "one", tmp_path / "out", NOW)
    (entry,) = rows(tmp_path / "out" / "exclusions.csv")
    assert [entry[name] for name in ("rater", "batch", "action", "rule", "reason", "author")] == [
        "R02", "1", "exclude", "by hand", "'=He was asleep", "'@boss",
    ]  # fmt: skip
    of_batch = [row for row in rows(tmp_path / "out" / "ratings.csv") if row["reason"] == "'=He was asleep"]
    assert {(row["status"], row["rater"], row["batch"]) for row in of_batch} == {("excluded", "R02", "1")}
    gone = [row for row in of_batch if row["role"] == "stimulus"]
    counts = [row["n_ratings"] for row in rows(tmp_path / "out" / "mos.csv")]
    assert sorted(counts) == ["1"] * len(gone) + ["2"] * (7 - len(gone))
    table = rated_clips(copy, done.data, "one")[0].table
    assert sorted(map(str, table["n_ratings"])) == sorted(counts)
    assert table["musical_impression_sd"].isna().sum() == len(gone)


def test_a_study_without_ratings(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        invite(session, create(session, "new", Protocol(), 1, NOW), 1, NOW, without_practice=True)
    manifest = export(database, tmp_path, "new", tmp_path / "out", NOW)
    assert (manifest.first_rating_at, manifest.counts.ratings) == (None, {})
    assert len(RatedClips.from_csv(tmp_path / "out" / "rated_clips.csv")) == 0
    (rater,) = rows(tmp_path / "out" / "raters.csv")
    unknown = dict.fromkeys(("agreed_at", "training", "instrument", "headphones"), "")
    assert rater == {"rater": "R01", "invited_at": "2026-03-01T12:00:00.000000Z", **unknown}


def test_only_into_a_new_folder_and_whole_or_not_at_all(done: Done, out: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (out, tmp_path / "file", tmp_path / "file" / "deep"):
        with pytest.raises(StudyError):
            export(done.database, done.data, "one", folder, NOW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    (tmp_path / "empty").mkdir()
    export(done.database, done.data, "one", tmp_path / "empty", NOW)


def test_training_data_reads_like_an_export(done: Done, out: Path, tmp_path: Path) -> None:
    folder = write_training_data(done.database, done.data, "one", tmp_path / "deep" / "training", NOW)
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "rated_clips.csv"]
    ours, theirs = read_source(folder).table, read_source(out).table
    assert ours.drop(columns="audio_path").equals(theirs.drop(columns="audio_path"))
    for audio, clip in zip(ours["audio_path"], ours["clip_id"], strict=True):
        assert Path(audio).samefile(done.original(clip))
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["study"], manifest["counts"]) == ("one", {"clips": 7, "ratings": 14})
    assert manifest["protocol"]["raters_per_clip"] == 2


@pytest.mark.parametrize("demo", [False, True])
def test_manifests_tell_simulated_ratings(done: Done, copy: Database, tmp_path: Path, demo: bool) -> None:
    with copy.write() as session:
        find_study(session, "one").demo = demo
    folder = write_training_data(copy, done.data, "one", tmp_path / "training", NOW)
    assert json.loads((folder / "manifest.json").read_text())["demo"] is demo
    assert export(copy, done.data, "one", tmp_path / "export", NOW).demo is demo


def test_a_judge_learns_from_a_study_with_other_scales(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        study = create(session, "one", RULES, 3, NOW, scales=(*MUSICEVAL, CLARITY))
    clip = read_clip((pluck(1.0), 16_000))
    for name, kind in (("a", "stimulus"), ("b", "anchor")):
        add_clip(database, tmp_path, study, Entry(name, name, "s", kind), name, normalise(clip, RULES), NOW)
    with database.write() as session:
        invite(session, study, 1, NOW)
        rater = find_rater(session, study, "R01")
    rate_all(database, rater.id, lambda _clip, _role: (4, 3, 5), NOW)
    manifest = export(database, tmp_path, "one", tmp_path / "out", NOW)
    assert keys(manifest.scales) == [*SCALES, "clarity"]
    clips = read_source(tmp_path / "out")
    assert keys(clips.scales) == [*SCALES, "clarity"]
    assert clips.table["clarity"].tolist() == [5.0]


def test_what_cannot_be_learned_from_is_said(done: Done, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has a valid rating yet"):
        rated_clips(done.database, done.data, "none-yet")
    with pytest.raises(StudyError):
        write_training_data(done.database, done.data, "two", tmp_path / "training", NOW)
