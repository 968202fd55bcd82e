import pytest

from core.errors import (
    MAX_NAME_LENGTH,
    AccessError,
    AudioError,
    BatchError,
    CheckpointError,
    DataError,
    MetricError,
    MusicEvalError,
    RatingError,
    SettingsError,
    StudyError,
    TrainingError,
    shown_name,
)


@pytest.mark.parametrize(
    "error",
    [
        AudioError,
        BatchError,
        CheckpointError,
        DataError,
        MetricError,
        SettingsError,
        StudyError,
        TrainingError,
    ],
)
def test_one_tree(error: type[Exception]) -> None:
    assert error.__base__ is MusicEvalError


@pytest.mark.parametrize("error", [AccessError, RatingError])
def test_errors_of_the_listening_test(error: type[Exception]) -> None:
    assert error.__base__ is StudyError


def test_shown_name_is_one_short_line() -> None:
    assert shown_name("clip.wav") == '"clip.wav"'
    assert shown_name("Übung 🎹.wav") == '"Übung 🎹.wav"'
    assert shown_name("a\nb\x1b[31m\u202e.wav") == '"a?b?[31m?.wav"'
    assert len(shown_name("x" * 500)) == MAX_NAME_LENGTH + 2
