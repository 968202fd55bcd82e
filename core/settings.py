"""What can be set from outside: environment variables that begin with ``MUSICEVAL_``, and the device.

The fields of `Settings` are the one list of the variables; `SETTINGS`, the table in the docs and the
messages come from it. pydantic reads the variables and not pydantic-settings, which passes over a name that
it does not know: here it is an error, so that a slip of the pen does not count as a default.
"""

import ipaddress
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, AliasGenerator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from core.errors import DeviceError, SettingsError

if TYPE_CHECKING:
    import torch

    from core.audio import AudioLimits

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "tf32", "bfloat16")

PREFIX = "MUSICEVAL_"
ADMIN_PASSWORD = "MUSICEVAL_ADMIN_PASSWORD"
METRICS_TOKEN = "MUSICEVAL_METRICS_TOKEN"
JOURNAL_URL = "MUSICEVAL_JOURNAL_URL"
SHORTEST_TOKEN = 16
SHORTEST_PASSWORD = 8  # random ones take centuries to guess at 20 guesses a second
_MEGABYTE = 1_000_000


def check_platform() -> None:
    """Refuse Windows, which lacks what locks and limits are made with here."""
    if os.name == "nt":
        raise SettingsError(
            "MusicEval runs on Linux and macOS. On Windows, run it in the Windows Subsystem for Linux (WSL)."
        )


def pick_device(name: str) -> "torch.device":
    """Return a device of this machine: ``auto`` is CUDA where there is one, else the CPU.

    MPS (Apple) must be asked for by its name.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    known = [device for device, is_there in there.items() if is_there]
    if name not in known:
        raise DeviceError(f"There is no device {name!r} here. There is {', '.join(known)}; or give auto.")
    return torch.device(name)


def _not_blank(text: Any) -> Any:
    if isinstance(text, str) and not text.strip():
        raise ValueError("blank")
    return text


def _setting(default: Any, meaning: str, shown: str = "", secret: bool = False) -> Any:
    """Describe a setting; `shown` is its default in words, and no message repeats the value of a secret."""
    words: Any = {"shown": shown or f"{default}"}
    return Field(default, description=meaning, json_schema_extra=words, repr=not secret)


def _networks(text: Any) -> Any:
    for part in text.split(",") if text else ():
        ipaddress.ip_network(part.strip())
    return text


_Proxies = Annotated[str, AfterValidator(_networks)]
_Folder = Annotated[Path, BeforeValidator(_not_blank)]
_Name = Annotated[str, BeforeValidator(_not_blank)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _variable(field: str) -> str:
    return "MUSICEVAL_DATABASE_URL" if field == "database" else PREFIX + field.upper()


class Settings(BaseModel):
    """What the app and the command line run with; a megabyte is 1,000,000 bytes."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        alias_generator=AliasGenerator(validation_alias=_variable),
        populate_by_name=True,
    )

    model: _Folder | None = _setting(None, "folder of the model that scores", "the embedded judge")
    clap_checkpoint: _Folder | None = _setting(
        None, "file of the official CLAP checkpoint", "what `fetch-clap` fetched"
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = _setting(
        "auto", "where the app's models run: auto, cpu, cuda or mps"
    )
    host: _Name = _setting("127.0.0.1", "address that the app listens on")
    port: Annotated[int, Field(gt=0, lt=65_536)] = _setting(7860, "port that the app listens on")
    min_duration_s: _Positive = _setting(0.5, "shortest clip that is scored, in seconds")
    max_duration_s: _Positive = _setting(600.0, "longest clip that is scored, in seconds", "600")
    max_file_mb: _Positive = _setting(100.0, "largest file that is read, in megabytes", "100")
    data: _Folder = _setting(
        Path("data"),
        "folder of the listening tests (database, clips), of trained models and of embeddings; never served",
    )
    database: _Name = _setting(
        "", "database of the listening tests, where it is not in that folder", "sqlite:///DATA/musiceval.sqlite"
    )
    journal_url: str = _setting(
        "",
        "folder, or fsspec's URL of one, in which every commit and every clip of the listening tests is kept too",
        "none: ratings are lost with the disk",
        secret=True,  # a URL may have a password in it
    )
    admin_password: Annotated[str, Field(min_length=SHORTEST_PASSWORD)] = _setting(
        "",
        f"password of the administrator, {SHORTEST_PASSWORD} characters or more",
        "none: a link on the terminal signs in",
        secret=True,
    )
    admin_users: str = _setting(
        "", "users of Hugging Face, with commas, who may administrate this Space beside its owner", "none"
    )
    metrics_token: Annotated[str, Field(min_length=SHORTEST_TOKEN)] = _setting(
        "",
        f"token by which a monitor reads `/metrics`, {SHORTEST_TOKEN} characters or more",
        "none: there is no `/metrics`",
        secret=True,
    )
    trusted_proxies: _Proxies = _setting(
        "",
        "proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks, with commas",
        "none",
    )
    log: Literal["text", "json"] = _setting(
        "text", "lines of the log: text; or json, an object a line with every request, and nothing personal"
    )
    reserve_mb: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _setting(
        2000.0, "megabytes of the database's disk that uploads leave free, for ratings", "2000"
    )
    visitor_mb: _Positive = _setting(
        10_000.0, "megabytes that one visitor (an address) may upload in a day; less where the disk is small", "10000"
    )
    kept_days: _Positive = _setting(
        1.0, "days for which uploads and results of visitors are kept; parts of a day too", "1"
    )
    audit_days: _Positive | None = _setting(
        None, "days for which lines of `audit.jsonl` are kept", "none: they are only added to"
    )
    reference_data: _Folder | None = _setting(None, "(tests only) folder of reference clips", "none")
    chromium: _Folder = _setting(Path("/usr/bin/chromium"), "(tests only) browser to use")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings."""
        given = {name: value for name, value in sorted(environment.items()) if name.startswith(PREFIX)}
        known = {setting.name: setting for setting in SETTINGS}
        try:
            settings = cls.model_validate(given)
        except ValidationError as invalid:
            name = str(invalid.errors()[0]["loc"][0])
            if name not in known:
                raise SettingsError(f"{name} is not a setting. The settings are {', '.join(known)}.") from None
            setting = known[name]
            value = "a value that is not shown here" if setting.secret else repr(given[name])
            raise SettingsError(
                f"{name} is {value}, which cannot be the {setting.meaning}. "
                f"Correct it, or unset it for the default ({setting.default})."
            ) from None
        if settings.min_duration_s > settings.max_duration_s:
            raise SettingsError("MUSICEVAL_MIN_DURATION_S is above MUSICEVAL_MAX_DURATION_S. Lower it.")
        return settings

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
        if self.database:
            return self.database
        from sqlalchemy import URL  # made of its parts: a ? or % in the folder's name means nothing else

        return URL.create("sqlite", database=str(self.data / "musiceval.sqlite")).render_as_string()

    @property
    def limits(self) -> "AudioLimits":
        """What a clip may be."""
        from core.audio import AudioLimits  # takes seconds to import, and most commands read no audio

        return AudioLimits(self.min_duration_s, self.max_duration_s, self.max_bytes)

    @property
    def max_bytes(self) -> int:
        """Size of the largest file that is read."""
        return int(self.max_file_mb * _MEGABYTE)

    @property
    def reserve_bytes(self) -> int:
        """What uploads leave free of the disk."""
        return int(self.reserve_mb * _MEGABYTE)

    @property
    def visitor_bytes(self) -> int:
        """`visitor_mb` in bytes."""
        return int(self.visitor_mb * _MEGABYTE)


@dataclass(frozen=True)
class Setting:
    """One environment variable, as it stands in the docs; `default` is in words."""

    name: str
    default: str
    meaning: str
    secret: bool


def _table() -> tuple[Setting, ...]:
    described = []
    for field, info in Settings.model_fields.items():
        words: Any = info.json_schema_extra
        described.append(Setting(_variable(field), words["shown"], info.description or "", not info.repr))
    return tuple(described)


SETTINGS = _table()
SECRETS = frozenset(setting.name for setting in SETTINGS if setting.secret)


def environment(withheld: Collection[str] = SECRETS) -> dict[str, str]:
    """Return what a process is started with that imports these packages: all variables but those `withheld`."""
    paths = (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", ""))
    kept = {name: value for name, value in os.environ.items() if name not in withheld}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
