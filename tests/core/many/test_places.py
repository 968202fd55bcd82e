from pathlib import Path

import pytest

from core.errors import DataError
from core.many.records import write_records

pytest.importorskip("pyarrow", exc_type=ImportError)

from core.many.places import Place

RECORDS = [
    {"id": "007", "text": 'two\nlines, "quoted"'},
    {"id": "1e3", "text": "NA"},
    {"id": "x", "text": ""},
]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("scheme", ["", "file://", "fsspec+local://"])
def test_texts_stay_texts(tmp_path: Path, suffix: str, scheme: str) -> None:
    write_records(tmp_path / f"t{suffix}", {"id": str, "text": str}, RECORDS)
    place = Place.of(f"{scheme}{tmp_path}/t{suffix}")
    assert place.is_there()
    assert (place.name, place.is_csv, place.is_local) == (
        f"t{suffix}",
        suffix == ".csv",
        "fsspec" not in scheme,
    )
    assert place.columns() == ["id", "text"]
    assert list(place.rows()) == RECORDS
    assert list(place.rows(["text"])) == [{"text": record["text"]} for record in RECORDS]


def test_a_folder_of_files_in_order(tmp_path: Path) -> None:
    for number, record in enumerate(RECORDS):
        write_records(tmp_path / f"part-{number}.parquet", {"id": str, "text": str}, [record])
    assert list(Place.of(str(tmp_path)).rows()) == RECORDS


def test_files_beside(tmp_path: Path) -> None:
    place = Place.of(f"file://{tmp_path}/m.csv")
    assert place.beside("a/b.wav").path == f"{tmp_path}/a/b.wav"
    other = place.beside("memory://bucket/b.wav")
    assert (other.path, other.is_local) == ("/bucket/b.wav", False)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Neither Arrow nor fsspec opens tape:// here"):
        Place.of("tape://reel/m.csv")
    with pytest.raises(DataError, match=r'"m.csv" cannot be read as a table: it is not there\.'):
        Place.of(str(tmp_path / "m.csv")).columns()
    (tmp_path / "m.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r'"m.parquet" cannot be read as a table: '):
        list(Place.of(str(tmp_path / "m.parquet")).rows())
    assert not Place.of(str(tmp_path / "m.csv")).is_there()
