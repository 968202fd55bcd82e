import dataclasses
import zipfile

import pytest

from core.errors import DataError
from tools.judge import packages
from tools.judge.packages import READERS, chosen, fetch, known, of_the_tower

MUSIC = known()[0]


def lay_wheel(folder, name, notice="no notice"):
    base = name.replace("-", "_")
    with zipfile.ZipFile(folder / f"{base}-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{base}/__init__.py", "")
        wheel.writestr(f"{base}-1.2.dist-info/licenses/LICENSE", notice)


@pytest.fixture
def folder(tmp_path):
    for name in READERS:
        lay_wheel(tmp_path, name)
    return tmp_path


def test_each_package_names_licence_authors_and_use():
    assert {package.use for package in known()} == {"music", "scores", "speech", "instruments", "tower"}
    assert all(package.licence and package.authors for package in known())
    assert [p.name for p in known() if p.use not in ("instruments", "tower") and not p.optional] == ["music21"]


def test_packages_are_left_out_if_they_can_be():
    assert MUSIC not in chosen([MUSIC.name])
    assert len(chosen([MUSIC.name])) == len(chosen()) - 1
    assert {*chosen(), *of_the_tower()} == {*known()}
    with pytest.raises(DataError, match="cannot do without music21"):
        chosen(["music21"])


def test_what_is_in_the_folder_is_not_fetched_again(folder):
    lay_wheel(folder, MUSIC.name, f"It is {MUSIC.stated} the MIT licence.")
    found = fetch([MUSIC], folder)[MUSIC.name]
    assert (found.version, found.root) == ("1.2", folder / "python")
    assert (found.root / "immich_memories_music/__init__.py").is_file()


def test_a_licence_that_changed_is_refused(folder):
    lay_wheel(folder, MUSIC.name, "All rights reserved.")
    with pytest.raises(DataError, match="read its licence again"):
        fetch([MUSIC], folder)


@pytest.mark.parametrize("optional", [True, False])
def test_what_cannot_be_fetched_is_named(folder, monkeypatch, optional):
    monkeypatch.setenv("PATH", str(folder))  # no apt-get there
    package = next(p for p in known() if p.registry == "Debian" and p.optional == optional)
    with pytest.raises(DataError) as caught:
        fetch([package], folder)
    assert f"apt-get cannot fetch the package {package.name}" in str(caught.value)
    assert (f"--without {package.name}" in str(caught.value)) == optional


def test_tracks_come_in_order(tmp_path):
    for name in ("b.ogg", "a.ogg", "c.txt"):
        (tmp_path / name).touch()
    package = dataclasses.replace(MUSIC, tracks="*.ogg")
    assert packages.Fetched(package, "1", tmp_path).files() == [tmp_path / "a.ogg", tmp_path / "b.ogg"]
