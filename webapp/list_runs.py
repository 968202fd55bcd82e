"""Clip lists that a server scores: by turns, within limits, whoever waits for them (a client, or a job).

Many lists are scored side by side, some clips of each at a time; an address has few lists at once.
"""

import itertools
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from core.audio import ClipSource
from core.batch.leaderboard import leaderboard
from core.batch.manifest import OK, Cells, Row, score_columns
from core.batch.uploads import ClipFiles, ListLimits, UploadedList, list_clips, read_list
from core.errors import AudioError, BatchError, shown_name
from core.scales import Scale, Scales
from core.scores import CheckpointFacts
from core.warnings import ScoreWarning
from webapp.judge import JUDGE, Judge, ModelMenu
from webapp.metrics import SCORING
from webapp.turns import Turns, caller_left

if TYPE_CHECKING:
    from core.scorer import Scorer

CLIPS_AT_ONCE = 8  # are scored together: progress is shown, a stop heard, and others have a turn between them
_MOST_LISTS = 3  # of one address at a time

_NO_LIST = "There is no clip list. Give a CSV, JSON Lines or Parquet file with the columns file and prompt."


@dataclass(frozen=True)
class Given:
    """What a visitor gave, as paths of uploads: clips, and a list of them or `prompt` for those that have none."""

    files: tuple[str, ...] = ()
    clip_list: str | None = None
    prompt: str | None = None  # None: there must be a list
    judge: str = JUDGE  # what the visitor chose (`webapp.judge.ModelMenu`)


@dataclass(frozen=True)
class ListJudge:
    """What is to be said of the model that scores a list."""

    title: str
    facts: CheckpointFacts
    scales: Scales
    warnings: tuple[ScoreWarning, ...]

    @classmethod
    def of(cls, scorer: "Scorer", title: str) -> Self:
        """Return that of a scorer."""
        return cls(title, scorer.checkpoint.facts, scorer.checkpoint.scales, tuple(scorer.model_warnings()))


@dataclass(frozen=True)
class ListRun:
    """How far a clip list is: its finished records by their places, the seconds it took, and whether it ended.

    `n_unused` files are asked for by no row. The judge of the beginning scores it to its end. `notes` say what of the
    list was taken otherwise than it is written.
    """

    n_rows: int
    others: tuple[str, ...]
    judge: ListJudge
    n_unused: int
    done: Mapping[int, Cells] = field(default_factory=dict)
    took_s: float = 0.0
    ended: bool = False
    notes: tuple[str, ...] = ()

    @property
    def records(self) -> list[Cells]:
        """The finished records, in the order of the list."""
        return [self.done[number] for number in sorted(self.done)]

    @property
    def n_failed(self) -> int:
        """How many of them have no scores."""
        return sum(record["status"] != OK for record in self.done.values())

    @property
    def systems(self) -> pd.DataFrame:
        """The leaderboard of the finished rows."""
        return leaderboard(self.records, self.judge.scales)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, strings and finite numbers."""
        whole = asdict(replace(self, done={}))
        whole["judge"]["scales"] = [scale.to_json() for scale in self.judge.scales]
        return whole | {"done": [*self.done.items()]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        judge = stored["judge"]
        scales = tuple(Scale.from_json(scale) for scale in judge["scales"])
        warnings = tuple(ScoreWarning(**warning) for warning in judge["warnings"])
        own = {
            "judge": ListJudge(judge["title"], CheckpointFacts(**judge["facts"]), scales, warnings),
            "others": tuple(stored["others"]),
            "notes": tuple(stored["notes"]),
            "done": dict(stored["done"]),
        }
        return cls(**{**stored, **own})


class ListRuns:
    """The clip lists that a server is scoring, one for each visitor and few for each address; they take turns."""

    def __init__(self, judge: Judge, menu: ModelMenu | None = None, limits: ListLimits | None = None) -> None:
        self.limits = limits or ListLimits()
        self.turns = Turns()
        self._menu = menu or ModelMenu(judge)
        self._running: dict[str, tuple[str, threading.Event]] = {}
        self._lock = threading.Lock()

    def scorer(self, given: Given) -> "Scorer":
        """Return what scores a list that is begun now."""
        return self._menu.scorer(given.judge)

    def run(
        self, visitor: str, address: str, given: Given, kept: Mapping[int, Cells] | None = None
    ) -> Iterator[ListRun]:
        """Score what was given, but for rows that are `kept`; yields at the beginning, on progress, and at the end."""
        if given.clip_list is None and given.prompt is None:
            raise BatchError(_NO_LIST)
        if not given.files:
            raise BatchError("There are no clips. Give the audio files, or a ZIP of them.")
        scorer = self.scorer(given)
        judge = ListJudge.of(scorer, self._menu.title(given.judge))
        with self._one_a_visitor(visitor, address) as stopped:
            read = self._read(given, scorer)
            rows, done = read.rows, dict(kept or {})
            others = tuple(dict.fromkeys(column for row in rows for column in row.others))
            asked = [row.file for row in rows]
            with ClipFiles([Path(file) for file in given.files], asked, scorer.limits) as clips:
                start_s = time.monotonic()
                n_unused = clips.n_unused if given.clip_list else 0  # else the notes say it
                begun = ListRun(len(rows), others, judge, n_unused, dict(done), notes=read.notes)
                begun = replace(begun, ended=len(done) == len(rows))
                yield begun
                left = {number: row for number, row in enumerate(rows) if number not in done}
                for finished in self._score(scorer, left, clips, address):
                    done |= finished
                    ended = stopped.is_set() or caller_left() or len(done) == len(rows)
                    yield replace(begun, done=dict(done), took_s=time.monotonic() - start_s, ended=ended)
                    if ended:
                        return

    def _read(self, given: Given, scorer: "Scorer") -> UploadedList:
        if given.clip_list is None:
            return list_clips([Path(file) for file in given.files], given.prompt or "", self.limits)
        path, taken = Path(given.clip_list), [*score_columns(scorer.checkpoint.scales)]
        if scorer.readers is None:
            return read_list(path, taken, self.limits)
        return scorer.readers.call(read_list, path, taken, self.limits, name=shown_name(path.name))

    def _score(
        self, scorer: "Scorer", rows: Mapping[int, Row], clips: ClipFiles, address: str
    ) -> Iterator[dict[int, Cells]]:
        """Score rows, those of one file together, and yield them by their places in the list, some clips at a time."""
        heard_s = worked_s = 0.0

        def find(row: Row) -> ClipSource:
            if row.fault:
                raise AudioError(row.fault)
            if heard_s > self.limits.max_audio_s or worked_s > self.limits.max_work_s:
                hours = self.limits.max_audio_s / 3600
                raise AudioError(f"The list has more than {hours:g} hours of audio, or takes too long. Split it.")
            return clips.find(row.file)

        of_file: dict[str, list[int]] = defaultdict(list)
        for number, row in rows.items():
            of_file[row.file].append(number)
        files = iter(of_file.values())
        while some := list(itertools.chain.from_iterable(itertools.islice(files, CLIPS_AT_ONCE))):
            with self.turns.turn(address), SCORING.labels("list").time():
                start_s = time.monotonic()
                from core.batch.run import score_rows  # late: torch

                finished = dict(zip(some, score_rows(scorer, [rows[number] for number in some], find), strict=True))
                worked_s += time.monotonic() - start_s
            heard_s += sum({record["file"]: record["duration_s"] or 0.0 for record in finished.values()}.values())
            yield finished

    def stop(self, visitor: str) -> None:
        """End a visitor's list after the rows that are being scored, if there is one."""
        with self._lock:
            if visitor in self._running:
                self._running[visitor][1].set()

    @contextmanager
    def _one_a_visitor(self, visitor: str, address: str) -> Iterator[threading.Event]:
        stopped = threading.Event()
        with self._lock:
            if visitor in self._running:
                raise BatchError("A clip list of yours is being scored already. Wait for it, or stop it.")
            if sum(other == address for other, _ in self._running.values()) >= _MOST_LISTS:
                raise BatchError(f"{_MOST_LISTS} clip lists of your address are being scored. Wait for one of them.")
            self._running[visitor] = address, stopped
        try:
            yield stopped
        finally:
            with self._lock:
                del self._running[visitor]
