"""Tables on any file system that Arrow or fsspec knows: on this machine by path, elsewhere by URI.

Source of the names: https://arrow.apache.org/docs/python/filesystems.html.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import csv, dataset, fs

from core.errors import DataError, shown_name
from core.many.records import Cells, plain
from core.ratings import unescape_cell


@dataclass(frozen=True)
class Place:
    """Where a table is: CSV or Parquet, a file or a folder of files.

    Attributes
    ----------
    filesystem : FileSystem
    path : str
        On it.
    """

    filesystem: fs.FileSystem
    path: str

    @classmethod
    def of(cls, given: str) -> "Place":
        """Understand a path or a URI.

        Raises
        ------
        DataError
            Neither Arrow nor fsspec knows its file system.
        """
        if "://" not in given:
            return cls(fs.LocalFileSystem(), str(Path(given).absolute()))
        try:
            return cls(*fs.FileSystem.from_uri(given))
        except pyarrow.ArrowInvalid:
            return cls._of_fsspec(given)

    @classmethod
    def _of_fsspec(cls, given: str) -> "Place":
        try:
            return cls(*fs.FileSystem.from_uri(f"fsspec+{given}"))
        except (ValueError, ImportError) as error:
            scheme = given.split("://")[0]
            raise DataError(f"Neither Arrow nor fsspec opens {scheme}:// here: {error}.") from error

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_csv(self) -> bool:
        """Whether it is CSV; otherwise it is Parquet."""
        return self.name.lower().endswith(".csv")

    @property
    def is_local(self) -> bool:
        """Whether Python's own functions open it."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def is_there(self) -> bool:
        """Whether there is a file or a folder."""
        return bool(self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound)

    def beside(self, file: str) -> "Place":
        """Give a file that is named relative to this one, or by a URI."""
        if "://" in file:
            return Place.of(file)
        return Place(self.filesystem, f"{self.path.rstrip('/').rsplit('/', 1)[0]}/{file}")

    def csv_options(self) -> dict[str, Any]:
        """Give options for Arrow's reader of CSV: texts only, with line ends in them.

        Raises
        ------
        DataError
            The heading cannot be read.
        """
        parse = csv.ParseOptions(newlines_in_values=True)
        names = self._open(dataset.CsvFileFormat(parse_options=parse)).schema.names
        texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pyarrow.string()))
        return {"parse_options": parse, "convert_options": texts}

    def columns(self) -> list[str]:
        """Give the table's columns.

        Raises
        ------
        DataError
            It cannot be read.
        """
        return list(self._table().schema.names)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Cells]:
        """Read the table, in the order of its files; CSV has texts only, whose escapes are undone.

        Raises
        ------
        DataError
            It cannot be read.
        """
        try:
            for batch in self._table().to_batches(columns=columns):
                yield from self.records(batch)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def records(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> list[Cells]:
        """Give the rows of a part of the table."""
        if not self.is_csv:
            return [plain(cells) for cells in batch.to_pylist()]
        return [{name: unescape_cell(cell) for name, cell in cells.items()} for cells in batch.to_pylist()]

    def _table(self) -> Any:
        if not self.is_csv:
            return self._open("parquet")
        options = self.csv_options()
        return self._open(
            dataset.CsvFileFormat(options["parse_options"], convert_options=options["convert_options"])
        )

    def _open(self, kind: Any) -> Any:
        try:
            return dataset.dataset(self.path, filesystem=self.filesystem, format=kind)
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DataError:
        is_missing = isinstance(error, FileNotFoundError)
        why = "it is not there" if is_missing else str(error).splitlines()[0].rstrip(".")
        return DataError(f"{shown_name(self.name)} cannot be read as a table: {why}.")
