"""The composed release: in the official layout, divided as MusicEval is, the same bytes by seed."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import DataError
from core.musiceval import is_published, is_simulated, read_release
from tools.demo_judge.__main__ import main
from tools.demo_judge.release import DEMO_CLIPS, SYSTEMS, divide, write_release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "release"
    write_release(folder, clips=80, duration_s=0.5, systems=12, seed=4)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_divided_as_the_release() -> None:
    counts = divide(2748, 31)
    assert list(counts) == list(SYSTEMS)
    assert {system: counts[system] for system in DEMO_CLIPS} == dict(DEMO_CLIPS)
    assert [n for system, n in counts.items() if system not in DEMO_CLIPS] == [100] * 25


@pytest.mark.parametrize(("clips", "systems"), [(31, 31), (40, 31), (275, 31), (500, 7), (9, 2), (3, 1)])
def test_divided_in_proportion(clips: int, systems: int) -> None:
    counts = divide(clips, systems)
    assert (len(counts), sum(counts.values())) == (systems, clips)
    assert min(counts.values()) >= 1
    shared = [n for system, n in counts.items() if system not in DEMO_CLIPS]
    assert not shared or max(shared) - min(shared) <= 1


def test_the_official_layout(release: Path) -> None:
    assert is_simulated(release)
    names = {path.relative_to(release).as_posix() for path in release.rglob("*") if path.suffix != ".wav"}
    assert {name for name in names if (release / name).is_file()} == {
        "README.md",
        "SIMULATED",
        "demo_prompt_info.txt",
        "person_mos/dev_person_mos.txt",
        "person_mos/total_person_mos.txt",
        "person_mos/train_person_mos.txt",
        "prompt_info.txt",
        "sets/dev_mos_list.txt",
        "sets/total_mos_list.txt",
        "sets/train_mos_list.txt",
        "system_mos/total_system_mos.csv",
    }
    assert "Composed music, not MusicEval" in (release / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_as_many_clips_as_the_release(tmp_path: Path) -> None:
    write_release(tmp_path / "release", clips=2748, duration_s=0.5)
    table = read_release(tmp_path / "release").table
    assert table["split"].value_counts().to_dict() == {"train": 1923, "dev": 412, "test": 413}
    assert table["system_id"].value_counts().to_dict() == divide(2748, 31)
    assert table.loc[~table["system_id"].isin(DEMO_CLIPS), "prompt_id"].nunique() == 100


def test_it_reads_as_rated_clips(release: Path) -> None:
    rated = read_release(release)
    table = rated.table
    assert not is_published(rated)
    assert table["split"].value_counts().to_dict() == {"train": 56, "dev": 12, "test": 12}
    assert table["system_id"].value_counts().to_dict() == divide(80, 12)
    assert (table["n_ratings"] == 5).all()
    assert ((table["musical_impression"] * 5).round(9) % 1 == 0).all()
    assert table["musical_impression"].nunique() > 5
    shared = table[~table["system_id"].isin(DEMO_CLIPS)]
    assert (shared.groupby("prompt_id")["prompt"].nunique() == 1).all()
    demo = table[table["system_id"].isin(DEMO_CLIPS)]
    assert (demo["prompt_id"] == demo["system_id"] + "_" + demo["clip_id"].str[-4:]).all()
    assert len((release / "demo_prompt_info.txt").read_text().splitlines()) > len(demo) + 1


def test_the_systems_scores_are_the_means_of_their_clips(release: Path) -> None:
    means = read_release(release).table.groupby("system_id")["textual_alignment"].mean()
    for line in (release / "system_mos" / "total_system_mos.csv").read_text().splitlines():
        system, _, alignment = line.split(",")
        assert float(alignment) == pytest.approx(means[system], abs=1e-4)


def test_clips_sound(release: Path) -> None:
    for path in (release / "wav").iterdir():
        sound, rate_hz = soundfile.read(path)
        assert (len(sound), rate_hz) == (8000, 16_000)
        assert np.abs(sound).max() > 0.05


def test_the_seed_decides_every_byte(release: Path, tmp_path: Path) -> None:
    write_release(tmp_path / "again", clips=80, duration_s=0.5, systems=12, seed=4)
    assert hashes(tmp_path / "again") == hashes(release)
    write_release(tmp_path / "other", clips=12, duration_s=0.5, systems=12, seed=5)
    ours = hashes(release)
    assert not set(hashes(tmp_path / "other").values()) & {ours[name] for name in ours if name.endswith("wav")}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"clips": 10}, "10 clips are too few for 31 systems"),
        ({"clips": 40, "systems": 32}, "32 systems cannot be: from 1 to 31"),
        ({"clips": 40, "systems": 0}, "0 systems cannot be"),
        ({"clips": 40, "duration_s": 0.1}, "Clips of 0.1 s cannot be"),
        ({"clips": 40, "seed": -1}, "The seed is -1"),
    ],
)
def test_what_cannot_be(arguments, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=sentence):
        write_release(tmp_path / "new", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "release"
    options = ["--clips", "20", "--duration-s", "0.5", "--systems", "5", "--seed", "2", "-o", str(folder)]
    assert main(["release", *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder}: 20 clips of 5 systems (train 14, dev 3, test 3)"
    assert lines[1].startswith("Composed music and simulated ratings")
    assert main(["release", *options]) == 2


def test_a_folder_with_something_in_it_stays(release: Path) -> None:
    before = hashes(release)
    with pytest.raises(DataError, match=r'"release" has something in it\. Give a new folder'):
        write_release(release, clips=12, duration_s=0.5, systems=12)
    assert hashes(release) == before
