"""What can be set from outside, all of it through environment variables that begin with ``MUSICEVAL_``.

`SETTINGS` is the one table of them; the README shows the same. An unknown name is an error, so that a slip
of the pen does not pass as a default.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.audio import AudioLimits
from core.devices import DEVICES
from core.errors import SettingsError

PREFIX = "MUSICEVAL_"
ADMIN_PASSWORD = "MUSICEVAL_ADMIN_PASSWORD"
SHORTEST_PASSWORD = 8  # with the limit on attempts, enough that guessing takes centuries
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
    secret : bool
        Whether no message may show its value.
    """

    name: str
    default: str
    meaning: str
    parse: Callable[[str], Any]
    field: str | None
    secret: bool = False


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


def _device(text: str) -> str:
    if text not in DEVICES:
        raise ValueError(text)
    return text


def _password(text: str) -> str:
    if len(text) < SHORTEST_PASSWORD:
        raise ValueError(len(text))
    return text


def _folder(text: str) -> Path:
    return Path(_name(text))


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "MUSICEVAL_MODEL", "the embedded demo model", "folder of the model that scores", _folder, "model"
    ),
    Setting(
        "MUSICEVAL_CLAP_CHECKPOINT",
        "what `fetch-clap` fetched",
        "file of the official CLAP checkpoint",
        _folder,
        "clap_checkpoint",
    ),
    Setting(
        "MUSICEVAL_DEVICE", "auto", "where the app's models run: auto, cpu, cuda or mps", _device, "device"
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
        "folder of the listening tests (database, clips), of trained models and of embeddings; never served",
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
    Setting(
        ADMIN_PASSWORD,
        "none: only whoever sits at the machine of the app",
        f"password of the administrator, {SHORTEST_PASSWORD} characters or more",
        _password,
        "admin_password",
        secret=True,
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
    clap_checkpoint : Path or None
        The official CLAP checkpoint as it was published; None looks where `core.official.tower` keeps it.
    host, port : str, int
        Only this machine by default.
    min_duration_s, max_duration_s : float
    max_file_mb : float
        In megabytes of 1,000,000 bytes.
    data : Path
        Folder of the listening tests.
    database : str
        URL of their database; empty for the one in `data`.
    device : str
        One of `core.devices.DEVICES`.
    admin_password : str
        Empty for none.
    """

    model: Path | None = None
    host: str = "127.0.0.1"
    port: int = 7860
    min_duration_s: float = AudioLimits.min_duration_s
    max_duration_s: float = AudioLimits.max_duration_s
    max_file_mb: float = AudioLimits.max_bytes / _MEGABYTE
    data: Path = Path("data")
    database: str = ""
    clap_checkpoint: Path | None = None
    device: str = "auto"
    admin_password: str = dataclasses.field(default="", repr=False)

    @property
    def models(self) -> Path:
        """Folder of the models that are trained from the pages."""
        return self.data / "models"

    @property
    def cache(self) -> Path:
        """Folder of the cached embeddings."""
        return self.data / "embeddings"

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
                given = "a value that is not shown here" if setting.secret else repr(environment[name])
                raise SettingsError(
                    f"{name} is {given}, which cannot be the {setting.meaning}. "
                    f"Correct it, or unset it for the default ({setting.default})."
                ) from error
            if setting.field is not None:
                values[setting.field] = value
        settings = cls(**values)
        if settings.min_duration_s > settings.max_duration_s:
            raise SettingsError("MUSICEVAL_MIN_DURATION_S is above MUSICEVAL_MAX_DURATION_S. Lower it.")
        return settings
