import numpy as np
import soundfile

from core.audio import read_clip
from core.demo.examples import write_examples


def test_six_examples_that_can_be_read_and_scored_again(tmp_path):
    examples = write_examples(tmp_path / "new" / "folder")
    assert len(examples) >= 6
    assert len({example.title for example in examples}) == len(examples)
    for example in examples:
        samples, rate_hz = soundfile.read(example.path)
        assert rate_hz == 16_000
        assert read_clip(example.path).duration_s == 16.0
        assert 0.05 < np.sqrt(np.mean(samples**2)) < 0.9
        assert example.prompt.endswith(".")
        assert example.note
    again = write_examples(tmp_path / "again")
    assert all(a.path.read_bytes() == b.path.read_bytes() for a, b in zip(examples, again, strict=True))
