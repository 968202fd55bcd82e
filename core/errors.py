"""Every error that MusicEval raises on purpose.

    MusicEvalError
    ├── AudioError        the clip cannot be read, or lies outside the limits
    │   └── SilenceError  the judge would hear nothing of it
    ├── BatchError        a run over many clips cannot begin or go on
    ├── CheckpointError   the model folder is missing, incomplete or damaged
    ├── DataError         a table of rated clips cannot be read or used
    ├── DeviceError       a device that this machine does not have
    ├── MetricError       scores that cannot be compared
    ├── ReadingError      a file took too much memory or time to read, or ended the process that read it
    ├── ScaleError        a rating scale that cannot be
    ├── SettingsError     an environment variable is unknown or has a bad value
    ├── StudyError        a listening test cannot be set up, changed or exported as asked
    │   ├── AccessError   whoever asks is not who they would have to be
    │   ├── BusyError     others hold the database for longer than one may wait, or its disk is full or away
    │   ├── DamagedError  the database is damaged
    │   ├── RatingError   an answer of a rater that cannot be taken
    │   └── StorageError  the storage of backups did not do what was asked of it
    └── TrainingError     a model cannot be trained, or a run not started, continued or stopped, as asked

A message is one line for the person who gave the input: what was given, what is allowed, what to do; data
with several problems get a line more for each. It names files by their basename only, because the same
message is shown to visitors of a web page.
"""

import math
from collections.abc import Mapping

MAX_NAME_LENGTH = 80


class MusicEvalError(Exception):
    """The root of the tree: catch this at the edge and show its message as it is.

    Where it has a `code`, the message is a template of the `values`, so that a page can say it in another language.
    """

    def __init__(self, message: object = "", code: str = "", **values: object) -> None:
        super().__init__(filled(str(message), values) if code else message)
        self.code = code
        self.values = values


class AudioError(MusicEvalError):
    """A clip cannot be read, or lies outside the limits."""


class SilenceError(AudioError):
    """A clip of which a judge would hear nothing, so that no score means anything."""


class BatchError(MusicEvalError):
    """A run over many clips cannot begin or go on."""


class CheckpointError(MusicEvalError):
    """A checkpoint folder is missing, incomplete or damaged."""


class DataError(MusicEvalError):
    """A table of rated clips cannot be read or used."""


class DeviceError(MusicEvalError):
    """A device that this machine does not have."""


class MetricError(MusicEvalError):
    """Scores that cannot be compared."""


class ReadingError(MusicEvalError):
    """A file took too much memory or time to read, or ended the process that read it."""


class ScaleError(MusicEvalError):
    """A rating scale that cannot be."""


class SettingsError(MusicEvalError):
    """An environment variable is unknown or has a bad value."""


class StudyError(MusicEvalError):
    """A listening test cannot be set up, changed or exported as asked."""


class AccessError(StudyError):
    """Whoever asks is not who they would have to be; says no more than that."""


class BusyError(StudyError):
    """Others hold the database for too long, or it cannot be reached or written; nothing was changed."""


class DamagedError(StudyError):
    """The database is damaged: a backup has to come back."""


class RatingError(StudyError):
    """An answer of a rater that cannot be taken: too early, out of range, or of a trial that is over."""


class StorageError(StudyError):
    """The storage of backups did not do what was asked of it."""


class TrainingError(MusicEvalError):
    """A model cannot be trained, or a run not started, continued or stopped, as asked."""


def filled(template: str, values: Mapping[str, object]) -> str:
    """Put values into the {places} of a template; of a list, all its parts."""
    shown = {name: ", ".join(map(str, one)) if isinstance(one, list | tuple) else one for name, one in values.items()}
    return template.format(**shown)


def counted(n: int, one: str) -> str:
    """Return so many of something in words, as ``1 row`` and ``2 rows``."""
    return f"{n:,} {one}{'' if n == 1 else 's'}"


def shown_beyond(value: float, limit: float, digits: int) -> str:
    """Write a value that lies beyond a limit, rounded away from it: 0.498 below 0.5 is 0.49 and not 0.50."""
    step = 10**digits
    steps = round(value * step, 6)  # 0.29 has 29 hundredths, whatever binary fractions say
    return f"{(math.floor(steps) if value < limit else math.ceil(steps)) / step:.{digits}f}"


def shown_name(name: str) -> str:
    """Return a basename in double quotes for a one-line message: printable, cut to `MAX_NAME_LENGTH`."""
    shown = printable(name)
    cut = shown if len(shown) <= MAX_NAME_LENGTH else shown[: MAX_NAME_LENGTH - 1] + "…"
    return f'"{cut}"'


def printable(name: str) -> str:
    """Return a name with a question mark for each sign that cannot be shown."""
    return "".join(sign if sign.isprintable() else "?" for sign in name)
