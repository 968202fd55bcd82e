"""A long table: a part of it is shown, and all of it is looked through."""

import gradio as gr
import pandas as pd
import pytest

from webapp.html import html_table
from webapp.long_frame import MOST_ROWS, LongFrame

N_ROWS = MOST_ROWS + 40
ROWS = pd.DataFrame(
    {"File": [f"clip-{number}.wav" for number in range(N_ROWS)], "MI": [number / 100 for number in range(N_ROWS)]}
)


@pytest.fixture
def frame() -> LongFrame:
    with gr.Blocks():
        return LongFrame("Clips")


def test_a_part_of_a_long_table_is_shown(frame: LongFrame) -> None:
    shown = frame.show(ROWS)
    assert shown[frame.table]["value"]["File"].tolist() == ROWS["File"][:MOST_ROWS].tolist()
    assert shown[frame.looking]["visible"]
    assert f"Of {N_ROWS:,} rows" in shown[frame.find]["info"]
    assert not frame.show(ROWS[:MOST_ROWS])[frame.looking]["visible"]
    assert not frame.show(None)[frame.table]["visible"]


def test_all_of_it_is_looked_through(frame: LongFrame) -> None:
    last = ROWS["File"].iloc[-1]
    assert frame.look(ROWS, f" {last.upper()} ", None, True)["value"]["File"].tolist() == [last]
    assert frame.look(ROWS, "", "MI", True)["value"]["File"].iloc[0] == last
    assert frame.look(ROWS, "", "MI", False)["value"]["File"].iloc[0] == "clip-0.wav"
    assert frame.look(ROWS, "no (such", None, True)["value"].empty


def test_what_is_left_of_a_table_is_folded() -> None:
    rows = [(f"R{number}", number) for number in range(33)]
    html = html_table("Raters", ("Rater", "Ratings"), rows)
    first, rest = html.split("<details")
    assert (first.count("<tr>"), rest.count("<tr>")) == (31, 4)
    assert "3 more rows" in rest
    assert "<details" not in html_table("Raters", ("Rater", "Ratings"), rows[:30])
