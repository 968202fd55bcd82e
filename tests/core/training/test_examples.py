from pathlib import Path

import numpy as np
import pytest
import torch

from core.audio import InputPolicy
from core.embedded_clips import EmbeddedClips, embed_clips
from core.embeddings import EmbeddingCache
from core.ratings import RatedClips
from core.towers import load_tower
from core.training.examples import EmbeddedExamples, HeadsAlone, SoundExamples, WholeJudge
from core.training.fitting import new_heads
from tests.clips import pluck, write_clip
from tests.rated import write_rated

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> RatedClips:
    """Four clips; the third has two windows."""
    folder = tmp_path_factory.mktemp("rated")
    table = write_rated(folder, clips=4)
    write_clip(folder / "c02.wav", pluck(11.0))
    return RatedClips.from_csv(table)


def test_rows_bring_their_windows_in_their_order() -> None:
    audio = torch.arange(6.0)[:, None].expand(6, 3)
    text = torch.arange(10.0, 13.0)[:, None].expand(3, 3)
    owner = torch.tensor([0, 1, 1, 1, 2, 2])
    examples = EmbeddedExamples(EmbeddedClips(audio, owner, text), CPU)
    ((rows, (windows, owners, prompts)),) = examples.chunks([2, 0, 1])
    assert rows == [2, 0, 1]
    assert windows[:, 0].tolist() == [4, 5, 0, 1, 2, 3]
    assert owners.tolist() == [0, 0, 1, 2, 2, 2]
    assert prompts[:, 0].tolist() == [12, 10, 11]
    assert list(examples.chunks([])) == []


def test_chunks_hold_whole_clips(clips: RatedClips) -> None:
    starting = load_tower("small")
    sound = SoundExamples(clips, starting.tower, starting.policy, chunk_windows=2)
    chunks = list(sound.chunks([3, 2, 0, 1]))
    assert [rows for rows, _ in chunks] == [[3, 2], [0, 1]]
    log_mel, owner, prompts = chunks[0][1]
    assert log_mel.shape == (3, 1, 1001, 64)
    assert owner.tolist() == [0, 1, 1]
    assert prompts == [clips.table["prompt"][3], clips.table["prompt"][2]]
    assert list(sound.chunks([])) == []


def test_both_judges_say_the_same(clips: RatedClips, tmp_path: Path) -> None:
    starting = load_tower("small")
    heads = new_heads(starting.tower.dim, torch.tensor([3.0, 2.5]), seed=1)
    embedded = embed_clips(clips, EmbeddingCache(tmp_path, starting.tower, starting.policy))
    ((_, known),) = EmbeddedExamples(embedded, CPU).chunks(range(4))
    sound = SoundExamples(clips, starting.tower, starting.policy, chunk_windows=100)
    ((_, heard),) = sound.chunks(range(4))
    with torch.no_grad():
        alone, whole = HeadsAlone(heads)(*known), WholeJudge(starting.tower, heads)(*heard)
    assert alone.shape == (4, 2)
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=0)


def test_what_the_tower_has_learned_goes_on_learning(clips: RatedClips) -> None:
    starting = load_tower("small")
    judge = WholeJudge(starting.tower, new_heads(starting.tower.dim, torch.zeros(2), seed=1))
    asking = {name for name, weight in starting.tower.clap.named_parameters() if weight.requires_grad}
    assert asking == asking & starting.tower.weights().keys()
    assert not any("spectrogram" in name or "logmel" in name for name in asking)
    ((_, inputs),) = SoundExamples(clips, starting.tower, starting.policy, 100).chunks([0, 1])
    judge(*inputs).sum().backward()
    tower = dict(starting.tower.clap.named_parameters())
    for name in (
        "audio_branch.patch_embed.proj.weight",
        "audio_projection.0.weight",
        "text_projection.0.weight",
    ):
        gradient = tower[name].grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0


def test_all_clips_that_cannot_be_read_are_told(clips: RatedClips, tmp_path: Path) -> None:
    table = clips.table.copy()
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    table.loc[[1, 3], "audio_path"] = [str(tmp_path / "noise.wav"), str(tmp_path / "gone.wav")]
    sound = SoundExamples(RatedClips(table), load_tower("small").tower, InputPolicy(), 4)
    problems = sound.unreadable(range(4))
    assert len(problems) == 2
    assert problems[0].startswith('"noise.wav" ')
    assert problems[1] == '"gone.wav" was not found. Check the path.'
    assert np.array_equal(sound.unreadable([0, 2]), [])
