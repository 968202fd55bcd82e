import json
from pathlib import Path

import pytest

from core.errors import DataError
from core.many.journal import open_journal

HEADER = {"manifest": "m1", "model": "j1", "limits": {"max_bytes": 10}}
RECORDS = [{"id": str(number), "status": "failed" if number % 3 == 1 else "ok"} for number in range(6)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with six rows, two of them failed."""
    path = tmp_path / "scores.csv.part"
    with open_journal(path, HEADER) as journal:
        journal.append(RECORDS[:4])
        journal.append(RECORDS[4:])
    return path


def test_it_goes_on_where_it_ended(path: Path) -> None:
    with open_journal(path, HEADER) as journal:
        assert (journal.n_rows, journal.n_ok) == (6, 4)
        journal.append([{"id": "6", "status": "ok"}])
        assert (journal.n_rows, journal.n_ok) == (7, 5)
        assert list(journal.records()) == [*RECORDS, {"id": "6", "status": "ok"}]
        journal.remove()
    assert not path.exists()


def test_cut_anywhere_it_keeps_what_is_whole(path: Path) -> None:
    whole = path.read_bytes()
    ends = [n + 1 for n, byte in enumerate(whole) if byte == ord("\n")]
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        n_rows = max(sum(end <= length for end in ends) - 1, 0)
        with open_journal(path, HEADER) as journal:
            assert journal.n_rows == n_rows
            journal.append(RECORDS[n_rows:])
            assert list(journal.records()) == RECORDS


def test_what_follows_damage_is_dropped(path: Path) -> None:
    lines = path.read_bytes().split(b"\n")
    lines[3] = b"\0" * len(lines[3])  # a block that never reached the disk
    path.write_bytes(b"\n".join(lines))
    with open_journal(path, HEADER) as journal:
        assert list(journal.records()) == RECORDS[:2]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"model": "j2"}, "model"), ({"manifest": "", "limits": {"max_bytes": 11}}, "manifest, limits")],
)
def test_it_is_for_one_run(path: Path, change: dict, named: str) -> None:
    before = path.read_bytes()
    with (
        pytest.raises(DataError, match=f'"scores.csv.part" was begun with another {named}. Give another'),
        open_journal(path, {**HEADER, **change}),
    ):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"my notes\n", b"my notes", b'{"a": 1}\n', b"[]\n"])
def test_the_file_of_someone_else_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with (
        pytest.raises(DataError, match="is in the way: it is no journal of this program"),
        open_journal(path, HEADER),
    ):
        pass
    assert path.read_bytes() == content


def test_one_process_at_a_time(path: Path) -> None:
    with (
        open_journal(path, HEADER),
        pytest.raises(DataError, match="is being written by another process"),
        open_journal(path, HEADER),
    ):
        pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="cannot be written: No such file"),
        open_journal(tmp_path / "nowhere" / "scores.csv.part", HEADER),
    ):
        pass


def test_lines_are_json(path: Path) -> None:
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"format": 1, **HEADER}, *RECORDS]
