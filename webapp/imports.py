"""*Import ratings* on the page *Studies*: a study that has ended, from ratings that exist already.

Of a ZIP only the tables that are known by name are unpacked, each under that name, so no path of an archive is used.
Sound files that an uploaded table names are sought among those that came with it, and nowhere else: no path is opened.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import gradio as gr

from annotation.imports.reading import NAMES, PAUSES, parse_columns
from annotation.imports.store import ImportReport, import_ratings
from annotation.material.sound import read_normalised
from annotation.studies import parse_scales
from core.audio import AudioLimits
from core.batch.uploads import ClipFiles, open_zip, unpack
from core.errors import StudyError, shown_name
from core.musiceval import DEMO_PROMPTS, EXPORTED, PROMPTS
from core.rated_clips import MANIFEST
from core.readers import Readers
from webapp.follow import Done, Report, follow
from webapp.handlers import PRIVATE, Shown, explain, told
from webapp.html import render
from webapp.listening_api import StudyStore

MOST_BYTES = 50_000_000  # of one table, packed or not
_KNOWN = frozenset({"ratings.csv", "batches.csv", "exclusions.csv", PAUSES, EXPORTED, MANIFEST, PROMPTS, DEMO_PROMPTS})
_PERSON = "_person_mos.txt"
_MOST_FILES = 20
_WHAT = (
    "A table of single ratings (a row for each: clip, rater, and a column for each scale), the ZIP of a study’s "
    "export, or a ZIP with person_mos and prompt_info.txt of MusicEval. Or the path of such a table or folder on the "
    "server, with the audio that it names. No audio is needed; with it clips can be played, and judged. A ZIP with "
    "ratings and audio is given as audio alone."
)


class ImportDesk:
    """The form; `created` is the name of the study that was made last."""

    def __init__(self, store: StudyStore, limits: AudioLimits | None, readers: Readers | None) -> None:
        self._store, self._limits = store, limits
        self._read = partial(readers.call, read_normalised) if readers else read_normalised
        with gr.Accordion("Import ratings", open=False, elem_id="import-ratings"):
            explain("Import ratings", _WHAT)
            self.name = gr.Textbox(label="Name of the study that they become", max_length=64)
            with gr.Row(elem_classes="me-columns"):
                self.file = gr.File(label="Table, or ZIP", file_types=[".csv", ".tsv", ".txt", ".zip"], height=140)
                self.audio = gr.File(label="Audio files, or a ZIP (may be empty)", file_count="multiple", height=140)
            self.path = gr.Textbox(label="Or a table or folder on the server", max_length=1000)
            usual = ", ".join(f"{role}={names[0]}" for role, names in NAMES.items())
            self.columns = gr.Textbox(
                label="Columns of a table (may be empty)",
                info=f"Where their names do not tell, with commas between: {usual}, and KEY=COLUMN for a scale.",
                max_length=1000,
            )
            self.scales = gr.Textbox(
                label="Scales of a table, as JSON (may be empty)",
                info="Empty: MusicEval’s where a column has their key, else one by the name of the column.",
                lines=2,
                max_lines=24,
                max_length=20_000,
            )
            add = gr.Button("Import", variant="primary", elem_classes="me-narrow")
        self.note = gr.HTML(apply_default_css=False)
        self.created = gr.State()
        self.made = add.click(
            told(self.import_study),
            [self.name, self.file, self.audio, self.path, self.columns, self.scales],
            [self.note, self.name, self.file, self.audio, self.created],
            **PRIVATE,
            show_progress="hidden",
        ).success

    def import_study(
        self, name: str, file: str | None, audio: Sequence[str] | None, path: str, columns: str, scales: str
    ) -> Iterator[Shown]:
        """Make the study, and report what was read."""
        given = (name.strip(), file, [Path(one) for one in audio or ()], path.strip(), columns, scales.strip())
        for step in follow(partial(self._import, *given)):
            if isinstance(step, Done):
                first, *lines = str(step.value).splitlines()
                yield {
                    self.note: render("studio_imported.html", first=first, lines=[line[2:] for line in lines]),
                    self.name: "",
                    **dict.fromkeys((self.file, self.audio), None),
                    self.created: step.value.study,
                }
            else:
                yield {self.note: render("studio_filling.html", done=step[0], total=step[1])}

    def _import(
        self, name: str, file: str | None, audio: list[Path], path: str, columns: str, scales: str, report: Report
    ) -> ImportReport:
        read = partial(
            import_ratings,
            self._store.database,
            self._store.data,
            name,
            at=datetime.now(UTC),
            columns=parse_columns(part for part in columns.split(",") if part.strip()),
            scales=parse_scales(scales) if scales else None,
            limits=self._limits,
            progress=report,
            read=self._read,
            came=(lambda asked: ClipFiles(audio, asked, self._limits or AudioLimits())) if audio else None,
        )
        if path:
            return read(_on_server(path))
        archives = [one for one in audio if one.suffix.lower() == ".zip"]
        if file is None and len(archives) != 1:
            raise StudyError("Give a table or a ZIP, or name one on the server.")
        with _source(Path(file) if file else archives[0]) as source:
            return read(source, with_audio=bool(audio))


def _on_server(given: str) -> Path:
    path = Path(given).expanduser().absolute()
    if not path.exists():
        raise StudyError(f"There is nothing on the server at {shown_name(path.name)}. Give its path.")
    return path


@contextmanager
def _source(file: Path) -> Iterator[Path]:
    """Yield the table that was uploaded, or a folder with the tables of an archive."""
    if file.suffix.lower() != ".zip":
        if file.stat().st_size > MOST_BYTES:
            raise StudyError(f"The table has more than {MOST_BYTES / 1e6:g} MB. Split it.")
        yield file
        return
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / (_plain_name(file.stem) or "import")
        folder.mkdir()
        _unpack(file, folder)
        yield folder


def _plain_name(stem: str) -> str:
    return "".join(sign for sign in stem if sign.isalnum() or sign in "-_ ")[:64].strip()


def _unpack(file: Path, folder: Path) -> None:
    """Write the tables of an archive that an import reads, by their own names alone."""
    with ExitStack() as opened:
        archive = open_zip(file, opened)
        found: dict[str, Any] = {}
        for entry in archive.infolist():
            name = PurePosixPath(entry.filename.replace("\\", "/")).name
            wanted = name in _KNOWN or (name.endswith(_PERSON) and name.isprintable())
            if not wanted or entry.is_dir():
                continue
            # An export with its clips has the tables of the release deeper inside; those on top are the export's.
            if name not in found or _depth(entry) < _depth(found[name]):
                found[name] = entry
        if not found or len(found) > _MOST_FILES:
            raise StudyError(f"{shown_name(file.name)} has no ratings: neither an export’s tables nor person_mos.")
        for name, entry in found.items():
            place = folder / "person_mos" if name.endswith(_PERSON) else folder
            place.mkdir(exist_ok=True)
            (place / name).write_bytes(unpack(archive, entry, MOST_BYTES))


def _depth(entry: Any) -> int:
    return str(entry.filename).count("/")
