"""Tables of pairs: read whole, or refused with every line that is wrong."""

import json
import shutil
from pathlib import Path

import pytest

from core.errors import DataError
from core.scales import MUSICAL_IMPRESSION, TEXTUAL_ALIGNMENT
from core.training.pairs import Answer, Pair, read_pairs, scales_of
from tests.clips import pluck, write_clip

HEADING = "scale,better_file,better_prompt,worse_file,worse_prompt,weight\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    for n, name in enumerate(("good.wav", "bad.wav")):
        write_clip(tmp_path / "clips" / name, pluck(0.5 + 0.1 * n))
    return tmp_path


def write(folder: Path, rows: str, heading: str = HEADING) -> Path:
    path = folder / "pairs.csv"
    path.write_text(heading + rows)
    return path


def test_a_table_is_read(folder: Path) -> None:
    rows = "musical_impression,clips/good.wav,,clips/bad.wav,,\n"
    rows += "textual_alignment,clips/good.wav,A calm piano,clips/good.wav,Loud drums,0.5\n"
    table = read_pairs(write(folder, rows))
    good, bad = folder / "clips" / "good.wav", folder / "clips" / "bad.wav"
    assert table.pairs == (
        Pair(MUSICAL_IMPRESSION, Answer(good, ""), Answer(bad, ""), 1.0),
        Pair(TEXTUAL_ALIGNMENT, Answer(good, "A calm piano"), Answer(good, "Loud drums"), 0.5),
    )
    assert table.files() == [good, bad]
    assert scales_of(table.pairs) == (MUSICAL_IMPRESSION, TEXTUAL_ALIGNMENT)


def test_a_pair_may_have_a_margin_of_its_own(folder: Path) -> None:
    rows = "musical_impression,clips/good.wav,,clips/bad.wav,,1,{}\n"
    heading = HEADING.replace("weight", "weight,margin")
    known = read_pairs(write(folder, rows.format(""), heading))
    own = read_pairs(write(folder, rows.format("0.5"), heading))
    assert [pair.margin for table in (known, own) for pair in table.pairs] == [None, 0.5]
    assert own.sha256 != known.sha256 == read_pairs(write(folder, rows.replace(",{}", ""))).sha256
    with pytest.raises(DataError, match="the margin is -1; it must be above 0"):
        read_pairs(write(folder, rows.format("-1"), heading))


def test_without_weights_all_count_alike(folder: Path) -> None:
    heading = "scale,better_file,better_prompt,worse_file,worse_prompt\n"
    table = read_pairs(write(folder, "musical_impression,clips/good.wav,,clips/bad.wav,\n", heading))
    assert [pair.weight for pair in table.pairs] == [1.0]


def test_all_that_is_wrong_is_said_by_line(folder: Path) -> None:
    rows = [
        "beauty,clips/good.wav,,clips/bad.wav,,1",
        "musical_impression,clips/gone.wav,,clips/bad.wav,,1",
        "textual_alignment,clips/good.wav,A calm piano,clips/bad.wav,,1",
        "musical_impression,clips/good.wav,,clips/good.wav,,1",
        "musical_impression,clips/good.wav,,clips/bad.wav,,0",
        "musical_impression,clips/good.wav,,clips/bad.wav,,much",
    ]
    with pytest.raises(DataError) as raised:
        read_pairs(write(folder, "\n".join(rows) + "\n"))
    assert str(raised.value).splitlines() == [
        '"pairs.csv" cannot be used, it has 6 problems:',
        '  pairs.csv, line 2: there is no scale "beauty". The scales are musical_impression, textual_alignment',
        '  pairs.csv, line 3: there is no audio file "clips/gone.wav" (better_file)',
        "  pairs.csv, line 4: textual_alignment is of a clip and its prompt; give worse_prompt",
        "  pairs.csv, line 5: both sides are the same clip and prompt",
        "  pairs.csv, line 6: the weight is 0; it must be above 0",
        '  pairs.csv, line 7: "much" is not a number',
    ]


@pytest.mark.parametrize(
    ("heading", "rows", "message"),
    [
        ("scale,better_file,better_prompt,worse_file\n", "", "has no column worse_prompt. Its columns are"),
        (HEADING.replace("weight", "w"), "", "has an unknown column w. Its columns are"),
        (HEADING, "", '"pairs.csv" holds no pairs.'),
    ],
)
def test_a_table_of_something_else(folder: Path, heading: str, rows: str, message: str) -> None:
    with pytest.raises(DataError) as raised:
        read_pairs(write(folder, rows, heading))
    assert message in str(raised.value)


def test_the_hash_is_of_what_can_be_learned(folder: Path, tmp_path: Path) -> None:
    one = "musical_impression,clips/good.wav,,clips/bad.wav,,1\n"
    other = "textual_alignment,clips/good.wav,A,clips/bad.wav,B,1\n"
    known = read_pairs(write(folder, one + other)).sha256
    assert read_pairs(write(folder, other + one)).sha256 == known
    moved = Path(shutil.copytree(folder / "clips", folder / "there" / "clips")).parent
    assert read_pairs(write(moved, one + other)).sha256 == known
    hashes = {known}
    for changed in (one, one.replace(",1\n", ",2\n") + other, one + other.replace(",A,", ",C,")):
        hashes.add(read_pairs(write(folder, changed)).sha256)
    write_clip(folder / "clips" / "bad.wav", pluck(0.9))
    hashes.add(read_pairs(write(folder, one + other)).sha256)
    assert len(hashes) == 5


def test_scales_beside_the_table(folder: Path) -> None:
    energy = {"key": "energy", "title": "Energy", "question": "How much?", "labels": list("12345")}
    (folder / "scales.json").write_text(json.dumps([energy]))
    table = read_pairs(write(folder, "energy,clips/good.wav,,clips/bad.wav,,\n"))
    assert [pair.scale.title for pair in table.pairs] == ["Energy"]
