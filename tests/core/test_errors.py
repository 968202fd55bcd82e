import pytest

from core.errors import (
    MAX_NAME_LENGTH,
    AudioError,
    CheckpointError,
    MusicEvalError,
    SettingsError,
    shown_name,
)


@pytest.mark.parametrize("error", [AudioError, CheckpointError, SettingsError])
def test_one_tree(error: type[Exception]) -> None:
    assert issubclass(error, MusicEvalError)


def test_shown_name_is_one_short_line() -> None:
    assert shown_name("clip.wav") == '"clip.wav"'
    assert shown_name("Übung 🎹.wav") == '"Übung 🎹.wav"'
    assert shown_name("a\nb\x1b[31m\u202e.wav") == '"a?b?[31m?.wav"'
    assert len(shown_name("x" * 500)) == MAX_NAME_LENGTH + 2
