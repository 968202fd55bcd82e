"""The committed sounds are what the tool writes."""

import json

import numpy as np
import pytest

from core.audio import read_clip
from tools.demo_judge.examples import write_demo_study, write_examples

WRITERS = [
    (write_examples, "webapp/examples", "examples.json", "file", 12, 16.0),
    (write_demo_study, "annotation/material/demo", "clips.json", "sound", 13, 8.0),
]


@pytest.mark.parametrize(("write", "committed", "table", "column", "count", "duration_s"), WRITERS)
def test_the_committed_sounds_are_what_the_tool_writes(
    tmp_path, pytestconfig, write, committed, table, column, count, duration_s
):
    write(tmp_path)
    committed = pytestconfig.rootpath / committed
    assert (committed / table).read_bytes() == (tmp_path / table).read_bytes()
    rows = json.loads((tmp_path / table).read_text())
    assert len(rows) == len({row[column] for row in rows}) == count
    assert {path.name for path in committed.iterdir()} == {path.name for path in tmp_path.iterdir()}
    for row in rows:
        written, kept = read_clip(tmp_path / row[column]), read_clip(committed / row[column])
        assert (kept.duration_s, kept.sample_rate_hz, kept.channels) == (duration_s, 16_000, 1)
        assert np.array_equal(written.samples, kept.samples)
        assert 0.02 < np.sqrt(np.mean(kept.samples**2)) < 0.9
