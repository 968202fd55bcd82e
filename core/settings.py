"""What can be set from outside, all of it through environment variables that begin with ``MUSICEVAL_``.

`SETTINGS` is the one table of them; the README shows the same. An unknown name is an error, so that a slip
of the pen does not pass as a default.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.audio import AudioLimits
from core.errors import SettingsError

PREFIX = "MUSICEVAL_"
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Setting:
    """One environment variable.

    Attributes
    ----------
    name : str
        The whole name, with prefix.
    default : str
        In words, for the table.
    meaning : str
    parse : callable
        From the variable's text; raises ValueError.
    field : str or None
        The attribute of `Settings`; None for variables that only the tests read.
    """

    name: str
    default: str
    meaning: str
    parse: Callable[[str], Any]
    field: str | None


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port < 65_536:
        raise ValueError(port)
    return port


def _positive(text: str) -> float:
    number = float(text)
    if not 0.0 < number < float("inf"):
        raise ValueError(number)
    return number


def _name(text: str) -> str:
    if not text.strip():
        raise ValueError(text)
    return text


def _folder(text: str) -> Path:
    return Path(_name(text))


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "MUSICEVAL_MODEL", "the embedded demo model", "folder of the model that scores", _folder, "model"
    ),
    Setting("MUSICEVAL_HOST", "127.0.0.1", "address that the app listens on", _name, "host"),
    Setting("MUSICEVAL_PORT", "7860", "port that the app listens on", _port, "port"),
    Setting(
        "MUSICEVAL_MIN_DURATION_S",
        "0.5",
        "shortest clip that is scored, in seconds",
        _positive,
        "min_duration_s",
    ),
    Setting(
        "MUSICEVAL_MAX_DURATION_S",
        "600",
        "longest clip that is scored, in seconds",
        _positive,
        "max_duration_s",
    ),
    Setting(
        "MUSICEVAL_MAX_FILE_MB", "100", "largest file that is read, in megabytes", _positive, "max_file_mb"
    ),
    Setting(
        "MUSICEVAL_DATA",
        "data",
        "folder of the listening tests: their database and clips; never served",
        _folder,
        "data",
    ),
    Setting(
        "MUSICEVAL_DATABASE_URL",
        "sqlite:///DATA/musiceval.sqlite",
        "database of the listening tests, where it is not in that folder",
        _name,
        "database",
    ),
    Setting("MUSICEVAL_REFERENCE_DATA", "none", "(tests only) folder of reference clips", _folder, None),
    Setting("MUSICEVAL_CHROMIUM", "/usr/bin/chromium", "(tests only) browser to use", _folder, None),
)


@dataclass(frozen=True)
class Settings:
    """What the app and the command line run with.

    Attributes
    ----------
    model : Path or None
        Folder of the checkpoint; None is the embedded demo checkpoint.
    host, port : str, int
        Only this machine by default.
    min_duration_s, max_duration_s : float
    max_file_mb : float
        In megabytes of 1,000,000 bytes.
    data : Path
        Folder of the listening tests.
    database : str
        URL of their database; empty for the one in `data`.
    """

    model: Path | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    min_duration_s: float = AudioLimits.min_duration_s
    max_duration_s: float = AudioLimits.max_duration_s
    max_file_mb: float = AudioLimits.max_bytes / _MEGABYTE
    data: Path = Path("data")
    database: str = ""

    @property
    def database_url(self) -> str:
        """URL of the database of the listening tests."""
        return self.database or f"sqlite:///{self.data / 'musiceval.sqlite'}"

    @property
    def limits(self) -> AudioLimits:
        """What a clip may be."""
        return AudioLimits(self.min_duration_s, self.max_duration_s, int(self.max_file_mb * _MEGABYTE))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Parameters
        ----------
        environment : mapping of str to str
            Usually ``os.environ``.

        Raises
        ------
        SettingsError
            If a name that begins with ``MUSICEVAL_`` is unknown, or a value is not what it must be.
        """
        known = {setting.name: setting for setting in SETTINGS}
        values: dict[str, Any] = {}
        for name in sorted(name for name in environment if name.startswith(PREFIX)):
            if name not in known:
                raise SettingsError(f"{name} is not a setting. The settings are {', '.join(known)}.")
            setting = known[name]
            try:
                value = setting.parse(environment[name])
            except ValueError as error:
                raise SettingsError(
                    f"{name} is {environment[name]!r}, which cannot be the {setting.meaning}. "
                    f"Correct it, or unset it for the default ({setting.default})."
                ) from error
            if setting.field is not None:
                values[setting.field] = value
        settings = cls(**values)
        if settings.min_duration_s > settings.max_duration_s:
            raise SettingsError("MUSICEVAL_MIN_DURATION_S is above MUSICEVAL_MAX_DURATION_S. Lower it.")
        return settings
