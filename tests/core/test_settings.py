from dataclasses import fields
from pathlib import Path

import pytest

from core.audio import AudioLimits
from core.errors import SettingsError
from core.settings import ADMIN_PASSWORD, SETTINGS, Settings


def test_defaults() -> None:
    settings = Settings.from_environment({"PATH": "/bin", "OTHER_PORT": "1"})
    assert settings == Settings()
    assert (settings.model, settings.host, settings.port) == (None, "127.0.0.1", 7860)
    assert settings.limits == AudioLimits(0.5, 600.0, 100_000_000)


def test_the_table_covers_every_field_and_shows_its_default() -> None:
    shown = {setting.field: setting for setting in SETTINGS if setting.field is not None}
    assert set(shown) == {field.name for field in fields(Settings)}
    defaults = {name: getattr(Settings(), name) for name in shown if getattr(Settings(), name)}
    assert {name: shown[name].parse(shown[name].default) for name in defaults} == defaults


def test_the_database_lies_in_the_data_folder_unless_named() -> None:
    settings = Settings.from_environment({"MUSICEVAL_DATA": "there"})
    assert settings.database_url == "sqlite:///there/musiceval.sqlite"
    settings = Settings.from_environment({"MUSICEVAL_DATABASE_URL": "sqlite:////mnt/disk/a.sqlite"})
    assert settings.database_url == "sqlite:////mnt/disk/a.sqlite"


def test_values() -> None:
    settings = Settings.from_environment(
        {
            "MUSICEVAL_MODEL": "models/mine",
            "MUSICEVAL_HOST": "0.0.0.0",
            "MUSICEVAL_PORT": "8000",
            "MUSICEVAL_MIN_DURATION_S": "1",
            "MUSICEVAL_MAX_DURATION_S": "30.5",
            "MUSICEVAL_MAX_FILE_MB": "2.5",
            "MUSICEVAL_REFERENCE_DATA": "anywhere",
        }
    )
    assert settings == Settings(Path("models/mine"), "0.0.0.0", 8000, 1.0, 30.5, 2.5)
    assert settings.limits == AudioLimits(1.0, 30.5, 2_500_000)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"^MUSICEVAL_PROT is not a setting\. .*MUSICEVAL_PORT"):
        Settings.from_environment({"MUSICEVAL_PROT": "8000"})


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
        "administrator, 8 characters or more. Correct it, or unset it for the default (none: only whoever "
        "sits at the machine of the app)."
    )


def test_what_training_needs_lies_in_the_data_folder() -> None:
    settings = Settings(data=Path("there"))
    assert (settings.models, settings.cache) == (Path("there/models"), Path("there/embeddings"))


def test_limits_must_leave_room() -> None:
    with pytest.raises(SettingsError, match="MUSICEVAL_MIN_DURATION_S is above"):
        Settings.from_environment({"MUSICEVAL_MIN_DURATION_S": "20", "MUSICEVAL_MAX_DURATION_S": "10"})
