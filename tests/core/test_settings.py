"""Settings and devices, the error tree, scales, and what `core` offers by name."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sqlalchemy import make_url

import core
from core import errors
from core.audio import AudioLimits
from core.errors import MAX_NAME_LENGTH, DeviceError, MusicEvalError, ScaleError, SettingsError, shown_name
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL, Scale, clamp, keys
from core.settings import (
    ADMIN_PASSWORD,
    JOURNAL_URL,
    METRICS_TOKEN,
    SECRETS,
    SETTINGS,
    Settings,
    check_platform,
    pick_device,
)

ROOT = Path(__file__).parents[2]


def test_defaults() -> None:
    settings = Settings.from_environment({"PATH": "/bin", "OTHER_PORT": "1"})
    assert settings == Settings()
    assert (settings.model, settings.host, settings.port) == (None, "127.0.0.1", 7860)
    assert settings.limits == AudioLimits() == AudioLimits(0.5, 600.0, 100_000_000)
    assert settings.database_url == "sqlite:///data/musiceval.sqlite"


def test_values() -> None:
    given = {
        "MUSICEVAL_MODEL": "models/mine",
        "MUSICEVAL_HOST": "0.0.0.0",
        "MUSICEVAL_PORT": "8000",
        "MUSICEVAL_MIN_DURATION_S": "1",
        "MUSICEVAL_MAX_DURATION_S": "30.5",
        "MUSICEVAL_MAX_FILE_MB": "2.5",
        "MUSICEVAL_DATA": "there",
        "MUSICEVAL_DATABASE_URL": "sqlite:////mnt/disk/a.sqlite",
        "MUSICEVAL_REFERENCE_DATA": "anywhere",
    }
    settings = Settings.from_environment(given)
    assert (settings.model, settings.host, settings.port) == (Path("models/mine"), "0.0.0.0", 8000)
    assert settings.limits == AudioLimits(1.0, 30.5, 2_500_000)
    assert (settings.models, settings.cache) == (Path("there/models"), Path("there/embeddings"))
    assert settings.database_url == "sqlite:////mnt/disk/a.sqlite"


def test_the_database_lies_in_the_data_folder_whatever_its_name() -> None:
    folder = Path("/a?b 100%/c#d;e")
    url = make_url(Settings(data=folder).database_url)
    assert (url.database, dict(url.query)) == (str(folder / "musiceval.sqlite"), {})


def test_the_table_is_that_of_the_fields() -> None:
    assert len(SETTINGS) == len(Settings.model_fields) == 22
    assert {setting.name for setting in SETTINGS if setting.secret} == SECRETS
    assert {ADMIN_PASSWORD, METRICS_TOKEN, JOURNAL_URL} == SECRETS
    for setting in SETTINGS:
        assert setting.meaning
        plain = {
            "MUSICEVAL_MODEL",
            "MUSICEVAL_CLAP_CHECKPOINT",
            "MUSICEVAL_REFERENCE_DATA",
            ADMIN_PASSWORD,
            METRICS_TOKEN,
            "MUSICEVAL_AUDIT_DAYS",
            "MUSICEVAL_ADMIN_USERS",
        }
        if setting.name not in plain | {
            "MUSICEVAL_DATABASE_URL",
            JOURNAL_URL,
            "MUSICEVAL_TRUSTED_PROXIES",
        }:  # their defaults are words, no values
            assert Settings.from_environment({setting.name: setting.default}) == Settings()


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"MUSICEVAL_PROT": "8000"})
    known = ", ".join(setting.name for setting in SETTINGS)
    assert str(caught.value) == f"MUSICEVAL_PROT is not a setting. The settings are {known}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSICEVAL_PORT", "http"),
        ("MUSICEVAL_PORT", "70000"),
        ("MUSICEVAL_PORT", ""),
        ("MUSICEVAL_MAX_DURATION_S", "-1"),
        ("MUSICEVAL_MAX_DURATION_S", "inf"),
        ("MUSICEVAL_MAX_FILE_MB", "nan"),
        ("MUSICEVAL_MODEL", " "),
        ("MUSICEVAL_HOST", ""),
        ("MUSICEVAL_DEVICE", "gpu"),
        ("MUSICEVAL_TRUSTED_PROXIES", "proxy.example"),
        ("MUSICEVAL_TRUSTED_PROXIES", "10.0.0.1, 10.0.0.300"),
    ],
)
def test_a_bad_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} is '{value}', which cannot be the .* \(.+\)\.$"):
        Settings.from_environment({name: value})


def test_a_password_is_shown_nowhere() -> None:
    settings = Settings.from_environment({ADMIN_PASSWORD: "correct horse"})
    assert settings.admin_password == "correct horse"
    assert "correct horse" not in repr(settings)
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({ADMIN_PASSWORD: "horse"})
    assert str(caught.value) == (
        "MUSICEVAL_ADMIN_PASSWORD is a value that is not shown here, which cannot be the password of the "
        "administrator, 8 characters or more. Correct it, or unset it for the default (none: a link on the "
        "terminal signs in)."
    )
    assert caught.value.__cause__ is None  # no traceback shows it either


def test_limits_must_leave_room() -> None:
    with pytest.raises(SettingsError, match="MUSICEVAL_MIN_DURATION_S is above"):
        Settings.from_environment({"MUSICEVAL_MIN_DURATION_S": "20", "MUSICEVAL_MAX_DURATION_S": "10"})


def test_windows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_platform()
    monkeypatch.setattr("core.settings.os.name", "nt")
    with pytest.raises(SettingsError, match=r"^MusicEval runs on Linux and macOS\. .*WSL"):
        check_platform()


def test_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    expected = r"^There is no device 'cuda' here\. There is cpu; or give auto\.$"
    with pytest.raises(DeviceError, match=expected):
        pick_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
    assert pick_device("mps") == torch.device("mps")


def test_one_tree_of_errors() -> None:
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    bases = {error.__name__: error.__base__ for error in classes}
    assert bases.pop("MusicEvalError") is Exception
    of_studies = ("AccessError", "BusyError", "DamagedError", "RatingError", "StorageError")
    assert {bases.pop(name) for name in of_studies} == {errors.StudyError}
    assert bases.pop("SilenceError") is errors.AudioError
    assert set(bases.values()) == {MusicEvalError}
    assert all(name in (errors.__doc__ or "") for name in bases)


def test_shown_name_is_one_short_line() -> None:
    assert shown_name("clip.wav") == '"clip.wav"'
    assert shown_name("Übung 🎹.wav") == '"Übung 🎹.wav"'
    assert shown_name("a\nb\x1b[31m\u202e.wav") == '"a?b?[31m?.wav"'
    assert len(shown_name("x" * 500)) == MAX_NAME_LENGTH + 2


@pytest.mark.parametrize(("value", "label"), [(-3.0, 0), (1.49, 0), (1.5, 1), (2.5, 2), (3.4, 2), (4.5, 4), (9.0, 4)])
def test_a_scale_describes_the_nearest_point(value: float, label: int) -> None:
    assert MUSICAL_IMPRESSION.describe(value) == MUSICAL_IMPRESSION.labels[label]


def test_scales() -> None:
    assert keys(MUSICEVAL) == ["musical_impression", "textual_alignment"]
    assert [scale.short for scale in MUSICEVAL] == ["MI", "TA"]
    assert [Scale.from_json(scale.to_json()) for scale in MUSICEVAL] == list(MUSICEVAL)
    assert Scale("a", "Sound quality", "How good?", tuple("12345")).short == "SQ"
    assert [clamp(value) for value in (0.2, 3.3, 5.1)] == [1.0, 3.3, 5.0]


def test_scales_that_cannot_be() -> None:
    for key, labels in (("No", tuple("12345")), ("a", tuple("1234"))):
        with pytest.raises(ScaleError):
            Scale(key, "Title", "How good?", labels)
    for stored in ({"key": "a"}, MUSICAL_IMPRESSION.to_json() | {"colour": "red"}):
        with pytest.raises(ScaleError, match="cannot be read"):
            Scale.from_json(stored)


@pytest.mark.parametrize("name", core.PUBLIC)
def test_the_public_names_are_there_and_documented(name: str) -> None:
    value = getattr(core, name)
    assert value.__name__ == name
    assert value.__doc__


def test_another_name_is_answered_with_the_public_ones() -> None:
    with pytest.raises(AttributeError, match="'scorer_of_dreams'; it has AudioLimits, Item"):
        core.scorer_of_dreams  # noqa: B018


def test_what_is_imported_when() -> None:
    """In a process of its own, since other tests have imported all of it."""
    code = (
        "import sys, core, core.settings; core.settings.Settings(); "
        "print({'torch', 'scipy', 'gradio'} & {*sys.modules}); "
        "import torch, core.towers.clap, core.towers.compiled; print(torch.backends.cudnn.allow_tf32)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "set()\nFalse\n"  # light; and a tower convolves in float32 on any device
