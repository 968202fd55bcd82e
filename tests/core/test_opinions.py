"""Tables of ratings as surveys leave them: any range, single ratings or means, with or without prompts."""

import math
from pathlib import Path

import pytest

from core.errors import DataError
from core.musiceval import read_source
from core.opinions import Reading
from core.rated_clips import RatedClips
from core.splits import Split, split_clips
from tests.rated import rated_table, write_survey

MI, TA = "musical_impression", "textual_alignment"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six files that may be clips: c0.wav to c5.wav."""
    for n in range(6):
        (tmp_path / f"c{n}.wav").write_bytes(bytes([n]))
    return tmp_path


def write(folder: Path, *rows: str, name: str = "t.csv") -> Path:
    (folder / name).write_text("\n".join(rows))
    return folder / name


def refusal(path: Path, reading: Reading | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_source(path, reading)
    return str(caught.value)


def test_single_ratings_on_another_range(folder: Path) -> None:
    path = write(
        folder, "rater,clip,file,rating_0_to_5", "a,x,c0.wav,5", "b,x,c0.wav,2", "a,y,c1.wav,0", "b,y,c1.wav,0"
    )
    clips = read_source(path)
    assert clips.table[MI].tolist() == pytest.approx([1 + 3.5 * 0.8, 1])
    assert clips.table["n_ratings"].tolist() == [2, 2]
    assert clips.table[f"{MI}_sd"].tolist() == pytest.approx([math.sqrt(4.5) * 0.8, 0])
    assert [Path(file).name for file in clips.table["audio_path"]] == ["c0.wav", "c1.wav"]
    assert (clips.has_prompts, clips.n_systems, [scale.key for scale in clips.scales]) == (False, 0, [MI])
    assert clips.opinions is not None
    assert clips.opinions.ranges == {MI: (0, 5)}
    assert clips.opinions.ratings is not None
    assert clips.opinions.ratings[MI].tolist() == [5, 2, 0, 0]  # as they were given
    assert clips.opinions.read_as == (
        "rating_0_to_5 is read as musical impression, 0 to 5: 4 ratings by 2 raters of 2 clips.",
    )


@pytest.mark.parametrize(
    ("heading", "reading"),
    [
        ("rating", Reading(scale_range=(-3, 3))),
        ("rating_-3_to_3", Reading()),
        ("musical_impression_-3_to_3", Reading(scale_range=(-3, 3))),
        ("mos", Reading(scale=MI, scale_range=(-3, 3))),
    ],
)
def test_a_range_is_said_by_an_option_or_a_columns_name(heading: str, reading: Reading, folder: Path) -> None:
    clips = read_source(write(folder, f"clip,file,{heading}", "x,c0.wav,-3", "y,c1.wav,0", "z,c2.wav,3"), reading)
    assert clips.table[MI].tolist() == [1, 3, 5]


def test_the_worst_may_be_the_higher_number(folder: Path) -> None:
    path = write(folder, "clip,file,rating", "x,c0.wav,1", "y,c1.wav,6")
    assert read_source(path, Reading(scale_range=(6, 1))).table[MI].tolist() == [5, 1]


def test_means_with_what_is_known_of_them(folder: Path) -> None:
    heading = f"clip,file,system,prompt,n_ratings,{MI}_0_to_100,{MI}_0_to_100_sd,{TA},age"
    path = write(folder, heading, "x,c0.wav,S1,A waltz,9,50,25,2,", "y,c1.wav,S2,A waltz,8,100,0,4,")
    clips = read_source(path)
    assert clips.table[[MI, f"{MI}_sd", TA]].to_numpy().tolist() == [[3, 1, 2], [5, 0, 4]]
    assert clips.table["n_ratings"].tolist() == [9, 8]
    assert (clips.table["prompt_id"].tolist(), clips.table["system_id"].tolist()) == (["P001"] * 2, ["S1", "S2"])
    assert clips.opinions is not None
    assert clips.opinions.ratings is None
    assert clips.notes[-1] == "Columns that are not read: age."


def test_without_prompts_alignment_is_left_out_with_the_reason(folder: Path) -> None:
    path = write(folder, f"clip,file,{MI},{TA}", "x,c0.wav,1,2", "y,c1.wav,3,4")
    clips = read_source(path)
    assert [scale.key for scale in clips.scales] == [MI]
    assert "Textual alignment is not measured: the clips have no prompts." in clips.notes
    path = write(folder, "clip,file,rating", "x,c0.wav,1")
    assert "the clips have no column prompt" in refusal(path, Reading(scale=TA))


def test_clips_stand_beside_the_ratings_or_are_named(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "survey", 4)
    beside, whole = read_source(folder / "ratings.csv"), read_source(folder)
    assert beside.table.equals(whole.table)
    assert beside.opinions is not None
    assert beside.opinions.groups == {"0": "computer", "1": "computer", "2": "human", "3": "human"}
    other = (folder / "clips.csv").rename(folder / "music.csv")
    assert "does not say where the clips' files are" in refusal(folder / "ratings.csv")
    assert read_source(folder / "ratings.csv", Reading(clips=other)).table.equals(whole.table)
    ratings = (folder / "ratings.csv").read_text().splitlines()
    named = write(tmp_path, ratings[0], *(f"{row.split(',')[0]},c0{row.split(',', 1)[1]}" for row in ratings[1:]))
    by_folder = read_source(named, Reading(clips=folder))
    assert by_folder.table["audio_path"].tolist() == whole.table["audio_path"].tolist()
    assert by_folder.opinions is not None
    assert by_folder.opinions.groups == {}


def test_clips_without_ratings_are_left_out_and_said(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "survey", 4)
    rows = (folder / "ratings.csv").read_text().splitlines()
    (folder / "ratings.csv").write_text("\n".join(row for row in rows if ",3," not in row))
    clips = read_source(folder)
    assert clips.table["clip_id"].tolist() == ["0", "1", "2"]
    assert "1 clip without a rating left out: 3." in clips.notes


def test_a_rater_counts_once_for_a_clip(folder: Path) -> None:
    path = write(folder, "rater,clip,file,rating", "a,x,c0.wav,5", "a,x,c0.wav,3", "b,x,c0.wav,1", "b,y,c1.wav,2")
    clips = read_source(path)
    assert clips.table[MI].tolist() == [2.5, 2]
    assert clips.table["n_ratings"].tolist() == [2, 1]
    assert clips.notes[-1] == "1 rating by a rater who had rated the clip before: the rater's mean counts once."


def test_clips_without_names_go_by_their_files(folder: Path) -> None:
    clips = read_source(write(folder, "file,mos", "c0.wav,2", "c1.wav,3"))
    assert clips.table["clip_id"].tolist() == ["c0.wav", "c1.wav"]
    assert [Path(file).name for file in clips.table["audio_path"]] == ["c0.wav", "c1.wav"]
    again = read_source(write(folder, "rater,file,rating", "a,c0.wav,2", "b,c0.wav,4"))
    assert again.table[MI].tolist() == [3]


def test_a_decimal_comma_where_semicolons_separate(folder: Path) -> None:
    clips = read_source(write(folder, "clip;file;mos_0_to_10;mos_0_to_10_sd", "x;c0.wav;2,5;1,5", "y;c1.wav;10;0"))
    assert clips.table[[MI, f"{MI}_sd"]].to_numpy().tolist() == [[2, pytest.approx(0.6)], [5, 0]]
    path = write(folder, "clip,file,mos,mos_sd", "x,c0.wav,2,-1")
    assert "line 2: mos_sd: -1 is not 0 or more" in refusal(path)


def test_a_table_that_names_files_needs_no_other(folder: Path) -> None:
    path = write(folder, "clip,file,rating", "x,c0.wav,2")
    write(folder, "clip,file", "another,c1.wav", name="clips.csv")
    assert read_source(path).table["clip_id"].tolist() == ["x"]


def test_all_ratings_of_a_study_are_not_taken_for_those_that_count(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "survey", 4)
    (folder / "manifest.json").write_text('{"study": "autumn"}')
    assert refusal(folder / "ratings.csv").startswith("These are all ratings of a study, those that do not count too.")


def test_a_rater_may_leave_a_scale_out(folder: Path) -> None:
    rows = ["a,x,c0.wav,p,5,4", "b,x,c0.wav,p,,2", "a,y,c1.wav,q,1,1"]
    clips = read_source(write(folder, f"rater,clip,file,prompt,{MI},{TA}", *rows))
    assert clips.mos.tolist() == [[5, 3], [1, 1]]
    rows[2] = "a,y,c1.wav,q,,1"
    assert 'musical_impression: the clip "y" has no rating' in refusal(
        write(folder, f"rater,clip,file,prompt,{MI},{TA}", *rows)
    )


def test_all_problems_are_told_by_line(folder: Path) -> None:
    rows = ["a,x,c0.wav,6", "a,y,none.wav,1", "b,,c2.wav,1", "c,z,c3.wav,good", "d,x,c4.wav,1"]
    lines = refusal(write(folder, "rater,clip,file,rating", *rows)).splitlines()
    assert lines[0] == '"t.csv" cannot be used, it has 5 problems:'
    assert lines[1].endswith("t.csv, line 4: clip is empty")
    hint = "Say the range: --scale-range WORST BEST, or in the column's name, rating_0_to_5"
    assert f"  t.csv, line 2: rating: 6 is not from 1 to 5. {hint}" in lines
    assert '  t.csv, line 5: rating: "good" is not a number' in lines
    assert '  t.csv, line 2: the clip "x" has several values of audio_path' in lines
    assert '  t.csv, line 3: there is no audio file "none.wav" of the clip "y"' in lines


@pytest.mark.parametrize(
    ("heading", "row", "message"),
    [
        ("clip,file,verdict", "x,c0.wav,1", "has no column of ratings. Name it musical_impression"),
        ("song,rating", "x,1", "has no column clip or file"),
        ("clip,clip_id,file,rating", "x,x,c0.wav,1", "The columns clip_id and clip are of the same thing"),
        ("clip,file,rating,mos", "x,c0.wav,1,1", "The columns rating and mos are both of musical_impression"),
        ("clip,file,rating_5_to_5", "x,c0.wav,5", "two numbers, the worst rating and the best"),
        ("clip,file,rating", "x,c0.wav,1\nx,c0.wav,2", "is there twice; single ratings need a column rater"),
    ],
)
def test_what_cannot_be_read(heading: str, row: str, message: str, folder: Path) -> None:
    assert message in refusal(write(folder, heading, row))


def test_an_unknown_clip_is_told_and_a_wrong_scale(tmp_path: Path) -> None:
    folder = write_survey(tmp_path / "survey", 4)
    rows = (folder / "clips.csv").read_text().splitlines()
    (folder / "clips.csv").write_text("\n".join([*rows[:-1], rows[1]]))
    message = refusal(folder)
    assert '"clips.csv" has no clip "3"' in message
    assert 'clips.csv, line 5: the clip "0" is there twice' in message
    assert refusal(folder, Reading(scale="beauty")).startswith("There is no scale 'beauty'")


def test_what_a_study_writes_is_read_as_before(folder: Path) -> None:
    table = rated_table(6).table.assign(audio_path=[str(folder / f"c{n}.wav") for n in range(6)])
    RatedClips(table).to_csv(folder / "rated_clips.csv")
    read = read_source(folder)
    assert read.table["system_id"].tolist() == table["system_id"].tolist()
    assert read.opinions is None
    assert read_source(folder / "rated_clips.csv").opinions is not None  # of a table, agreement with people is shown
    (folder / "sets").mkdir()
    (folder / "sets" / "total_mos_list.txt").write_text("")
    assert "says all of itself" in refusal(folder, Reading(scale_range=(0, 5)))


def test_it_can_be_split_and_trained_on(tmp_path: Path) -> None:
    clips = read_source(write_survey(tmp_path / "survey", 12))
    parted = split_clips(clips, Split("random", folds=4))
    assert (len(parted.rows("test")), len(parted.take([0, 1]))) == (3, 2)
    assert parted.opinions == clips.opinions
    with pytest.raises(DataError, match="systems are too few"):
        split_clips(clips, Split("systems"))
