"""The models that training has made, and which of them judges.

Every folder of ``<data>/models`` with a ``config.json`` is a model. Which one judges is a ledger,
``activations.jsonl``: a line for each time that one was taken, none is ever changed, and going back is a new
line. A line without a model stands for the one that the app begins with: that of ``MUSICEVAL_MODEL``, or the
demo model.
"""

import json
import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from core.controls import Controls
from core.errors import CheckpointError, ScaleError, counted, shown_name
from core.evaluation import LEVELS, Measured
from core.model_files import CONFIG_FILE, METRICS_FILE, RUN_FILE, read_metrics
from core.ranges import why_no_range
from core.scales import MUSICEVAL, Scale
from core.training.about import About
from core.training.manager import UNLEARNED, read_progress

LEDGER_FILE = "activations.jsonl"
_UNITS = ("clip", "system")
_DAMAGED = "It is damaged: {} is missing, was changed or cannot be read. Train it again."
_TIMED = re.compile(r"(uploaded\.)?(.+)-\d{8}T\d{12}")  # a folder of data that the page wrote


@dataclass(frozen=True)
class RunFacts:
    """What ``run.json`` of a model says of its training; "?" for what it does not say."""

    recipe: str
    tower: str
    split: str
    seed: str
    data: str
    data_sha256: str
    parts: Mapping[str, int]

    @classmethod
    def read(cls, run: Mapping[str, Any]) -> Self:
        """Read it from the content of the file."""

        def said(*keys: str) -> Any:
            value: Any = run
            for key in keys:
                value = value.get(key) if isinstance(value, Mapping) else None
            return "?" if value is None else value

        parts = said("data", "parts")
        return cls(
            recipe=str(said("recipe", "name")),
            tower=str(said("tower", "name")),
            split=str(said("split", "kind")),
            seed=str(said("seed")),
            data=str(said("data", "name")),
            data_sha256=str(said("data", "sha256")),
            parts=parts if isinstance(parts, Mapping) else {},
        )


@dataclass(frozen=True)
class Model:
    """A trained model, as its folder describes it; its weights are not looked at.

    `run` is None if it was trained elsewhere, `problem` says why it cannot be used, `doubts` what stands against
    using it, `kept` which epoch's weights it has; texts are "" for nothing.
    """

    name: str
    folder: Path
    trained_at: datetime
    run: RunFacts | None
    measured: Measured
    part: str = ""
    system_truth: str = ""
    comparison: str = ""
    caveat: str = ""
    problem: str = ""
    controls: Controls = field(default_factory=Controls)
    doubts: tuple[str, ...] = ()
    kept: str = ""
    about: About = field(default_factory=About)
    held_out_data: str = ""  # what it was measured on, in its own words
    people: Mapping[str, float] = field(default_factory=dict)  # SRCC with people by scale, of a table of ratings
    unlearned: bool = False

    @property
    def called(self) -> str:
        """What people call it."""
        return self.about.title or self.name

    @property
    def is_usable(self) -> bool:
        """Whether it can score, as far as its files say, and learned something."""
        return not (self.problem or self.unlearned)

    @property
    def is_offered(self) -> bool:
        """Whether visitors may choose it."""
        return self.is_usable and self.about.offered

    def learned_from(self) -> str:
        """Return what data it learned from, in words."""
        if self.run is None:
            return self.held_out_data or "data that it does not name"
        found = _TIMED.fullmatch(self.run.data)
        data = (f"uploaded {found[2]}" if found[1] else f"study {found[2]}") if found else self.run.data
        n_clips = sum(n for n in self.run.parts.values() if isinstance(n, int))
        return f"{data}, {counted(n_clips, 'clip')}" if n_clips else data

    def agreement(self) -> dict[str, str]:
        """Return the SRCC with people by the scale's title, and on what; empty where nothing was measured."""
        found = {}
        for scale in self.measured.scales:
            known = [(unit, self.measured.on(level).get(scale.key)) for level, unit in zip(LEVELS, _UNITS, strict=True)]
            said = [f"{of.figures['srcc']:.2f} by {unit}" for unit, of in known if of and "srcc" in of.figures]
            if not said and scale.key in self.people:
                said = [f"{self.people[scale.key]:.2f}"]
            if said:
                found[scale.title] = ", ".join(said)
        return found


class ModelRegistry:
    """The models in a folder, which is made when something is first written, and which of them judges."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._writing = threading.Lock()

    def models(self) -> list[Model]:
        """Return all models, the newest first, damaged ones among them."""
        configs = self.folder.glob(f"[!.]*/{CONFIG_FILE}")
        return sorted(map(_model, configs), key=lambda model: model.trained_at, reverse=True)

    def model(self, name: str) -> Model:
        """Return one model; a CheckpointError if there is none of that name."""
        for model in self.models():
            if model.name == name:
                return model
        raise CheckpointError(f"There is no model {shown_name(name)}. It may have been deleted.")

    def folder_of(self, name: str) -> Path:
        """Return the folder of a model or a run; a CheckpointError if there is none of that name."""
        found = self.folder / name
        if not name or name.startswith(".") or Path(name).name != name or not found.is_dir():
            raise CheckpointError(f"There is no model {shown_name(name)}. It may have been deleted.")
        return found

    def active(self) -> str | None:
        """Return the name of the model that judges; None for the one that the app begins with."""
        stack = self._stack()
        return stack[-1] if stack else None

    def previous(self) -> str | None:
        """Return the model before, None for the first; a CheckpointError if none was taken."""
        stack = self._stack()
        if not stack:
            raise CheckpointError("There is no earlier model to go back to.")
        return stack[-2] if len(stack) > 1 else None

    def activate(self, name: str | None) -> None:
        """Note that a model judges from now on; None for the one that the app begins with."""
        self._note({"model": name})

    def back(self) -> None:
        """Note that the model before judges again; a CheckpointError if no model was taken before."""
        self._note({"model": self.previous(), "back": True})

    def _note(self, entry: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **entry})
        with self._writing, (self.folder / LEDGER_FILE).open("a", encoding="utf-8") as ledger:
            ledger.write(f"{line}\n")
            ledger.flush()
            os.fsync(ledger.fileno())

    def _stack(self) -> list[str | None]:
        """Walk through the ledger: taking a model puts it on top, going back takes the top away."""
        try:
            lines = (self.folder / LEDGER_FILE).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        stack: list[str | None] = []
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                name, back = entry["model"], entry.get("back", False)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(
                    f"Line {number} of {LEDGER_FILE} is damaged. Remove it to go on without it."
                ) from error
            if not back:
                stack.append(name)
            elif stack:
                stack.pop()
        return stack


def _model(config_path: Path) -> Model:
    folder = config_path.parent
    contents = {name: _json_object(folder / name) for name in (CONFIG_FILE, METRICS_FILE, RUN_FILE)}
    unread = [name for name, content in contents.items() if content is None and name != RUN_FILE]
    config, metrics, run = (content or {} for content in contents.values())
    unread += [name for name in config.get("weights_sha256", {}) if not (folder / Path(name).name).is_file()]
    measured, controls = Measured(MUSICEVAL, {}), Controls()
    try:
        scales = tuple(map(Scale.from_json, config.get("scales", [scale.to_json() for scale in MUSICEVAL])))
        read_metrics(folder, config)  # is it what it was when the model was made?
        measured, controls = Measured.from_json(metrics, scales), Controls.from_json(metrics, scales)
    except (CheckpointError, ScaleError, AttributeError, TypeError, ValueError):
        unread.append(METRICS_FILE)
    part, truth, comparison = (str(metrics.get(key, "")) for key in ("part", "system_truth", "comparison"))
    return Model(
        folder.name,
        folder,
        datetime.fromtimestamp(config_path.stat().st_mtime, UTC),
        RunFacts.read(run) if run else None,
        measured,
        part,
        truth,
        comparison,
        caveat=str(config.get("caveat", "")),
        problem=_DAMAGED.format(", ".join(dict.fromkeys(unread))) if unread else "",
        controls=controls,
        doubts=_doubts(metrics),
        kept=_kept(metrics),
        about=About.read(folder),
        held_out_data=_held_out_data(metrics),
        people=_people(metrics),
        unlearned=read_progress(folder).phase == UNLEARNED,
    )


def _held_out_data(metrics: Mapping[str, Any]) -> str:
    held_out = metrics.get("held_out")
    return str(held_out.get("data", "")) if isinstance(held_out, Mapping) else ""


def _people(metrics: Mapping[str, Any]) -> dict[str, float]:
    stored = metrics.get("people")
    known = stored.items() if isinstance(stored, Mapping) else ()
    return {key: of["srcc"] for key, of in known if isinstance(of, Mapping) and isinstance(of.get("srcc"), float)}


def _kept(metrics: Mapping[str, Any]) -> str:
    best, last = metrics.get("best_epoch"), metrics.get("epochs")
    return f"epoch {best} of {last} is kept" if best and last else ""


def _doubts(metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """What stands against using a model; of a folder from before there were doubts, too few held-out clips."""
    stored = metrics.get("doubts")
    if isinstance(stored, list):
        return tuple(map(str, stored))
    held_out = metrics.get("held_out")
    known = [held_out.get(of) for of in ("n_clips", "n_systems")] if isinstance(held_out, Mapping) else []
    counts = [n for n in known if isinstance(n, int)]
    short = why_no_range(*counts) if len(counts) == 2 else ""
    return (f"Its scores have no range: {short}",) if short else ()


def _json_object(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
