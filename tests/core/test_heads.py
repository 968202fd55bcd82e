"""Heads over sequences: what they begin with, what they can hear, that a window is a clip without others."""

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from core.heads import EmbeddedClips, SequenceHeads, SequenceParts, bin_centres
from core.scales import MUSICEVAL, Scale

DIM, FRAME, FRAMES, CLIPS = 6, 4, 5, 12
PARTS = SequenceParts()
ALL_OFF = SequenceParts(attention=False, product=False, tokens=False, bins=False, bound=0.0)


def clips_of(counts: Tensor) -> EmbeddedClips:
    """Clips of so many windows each, with prompts of one to four tokens."""
    random = torch.Generator().manual_seed(0)
    n_windows = int(counts.sum())
    tokens = torch.randn(len(counts), 4, DIM, generator=random)
    tokens[torch.arange(4) > torch.arange(len(counts))[:, None] % 4] = 0.0
    return EmbeddedClips(
        functional.normalize(torch.randn(n_windows, DIM, generator=random), dim=-1),
        torch.repeat_interleave(counts),
        functional.normalize(torch.randn(len(counts), DIM, generator=random), dim=-1),
        0.5 + torch.rand(n_windows, generator=random),
        torch.randn(n_windows, FRAMES, FRAME, generator=random),
        tokens,
    )


@pytest.fixture
def clips() -> EmbeddedClips:
    return clips_of(torch.arange(CLIPS) % 3 + 1)


def scores() -> Tensor:
    return 2.0 + torch.rand(CLIPS, 2, generator=torch.Generator().manual_seed(1))


def begun(clips: EmbeddedClips, parts: SequenceParts, is_stirred: bool = False) -> SequenceHeads:
    """Heads at their beginning or, stirred, with weights of which none is 0."""
    random = torch.Generator().manual_seed(2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        heads = SequenceHeads(DIM, FRAME, MUSICEVAL, parts).eval()
    heads.start_from(clips, scores())
    with torch.no_grad():
        for weight in heads.parameters() if is_stirred else ():
            weight.add_(0.3 * torch.randn(weight.shape, generator=random))
    return heads


def cosines(clips: EmbeddedClips) -> Tensor:
    """Of each clip and its prompt: the mean of its windows' by what they count."""
    of_windows = (clips.audio * clips.text[clips.owner]).sum(dim=-1)
    assert clips.weight is not None
    found = [
        (of_windows * clips.weight)[clips.owner == n].sum() / clips.weight[clips.owner == n].sum()
        for n in range(len(clips))
    ]
    return torch.stack(found)


@torch.no_grad()
@pytest.mark.parametrize("parts", [PARTS, dataclasses.replace(PARTS, hidden=8, members=3), ALL_OFF])
def test_it_begins_at_the_mean_and_in_the_order_of_the_cosine(clips: EmbeddedClips, parts: SequenceParts) -> None:
    values = begun(clips, parts).judge(clips)
    impression, alignment = values.T
    assert torch.allclose(impression, impression[0].expand(CLIPS), atol=1e-6)
    assert float(impression[0]) == pytest.approx(float(scores()[:, 0].mean()), abs=0.02)
    assert torch.equal(alignment.argsort(), cosines(clips).argsort())
    assert float(alignment.mean()) == pytest.approx(float(scores()[:, 1].mean()), abs=0.02)


@torch.no_grad()
def test_with_everything_off_alignment_is_a_line_of_the_cosine_that_rises(clips: EmbeddedClips) -> None:
    alignment = begun(clips, ALL_OFF, is_stirred=True).judge(clips)[:, 1]
    order = cosines(clips).argsort()
    rises = alignment[order].diff() / cosines(clips).double()[order].diff()
    assert float(rises.min()) > 0
    torch.testing.assert_close(rises, rises[0].expand(CLIPS - 1), rtol=1e-3, atol=0)


@torch.no_grad()
def test_with_everything_off_impression_is_linear_in_the_mean_of_all_frames(clips: EmbeddedClips) -> None:
    heads = begun(clips, ALL_OFF, is_stirred=True)
    assert clips.frames is not None
    assert clips.weight is not None
    [head] = heads["musical_impression"]
    centre, spread = heads.get_buffer("frame_centre"), heads.get_buffer("frame_spread")
    for n, value in enumerate(heads.judge(clips)[:, 0].tolist()):
        mine = clips.owner == n
        mean = (clips.frames[mine].mean(dim=1) * clips.weight[mine, None]).sum(dim=0) / clips.weight[mine].sum()
        expected = head.bias + head.last.weight[0] @ ((mean - centre) / spread)
        assert value == pytest.approx(float(expected), abs=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("parts", [PARTS, dataclasses.replace(PARTS, hidden=8, members=2), ALL_OFF])
def test_a_clip_is_judged_the_same_in_any_company(clips: EmbeddedClips, parts: SequenceParts) -> None:
    heads = begun(clips, parts, is_stirred=True)
    together = heads.judge(clips)
    assert float(together.std(dim=0).min()) > 1e-3
    for rows in ([4], [7, 2], [11, 5, 0]):
        torch.testing.assert_close(heads.judge(clips.take(torch.tensor(rows))), together[rows], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_window_is_judged_as_a_clip_that_has_no_other(clips: EmbeddedClips) -> None:
    heads = begun(clips, PARTS, is_stirred=True)
    of_windows, of_clips = heads.judge(clips.by_window()), heads.judge(clips)
    alone = (torch.bincount(clips.owner) == 1).nonzero()[:, 0]
    places = torch.tensor([int((clips.owner == n).nonzero()[0, 0]) for n in alone])
    torch.testing.assert_close(of_windows[places], of_clips[alone], rtol=0, atol=1e-5)
    assert len(of_windows) == len(clips.owner)
    pair = clips.owner == 1  # frames of both windows compete for attention: no mean of the windows' values
    assert abs(float(of_windows[pair, 0].mean() - of_clips[1, 0])) > 1e-4


@torch.no_grad()
def test_bins_hold_every_value_between_one_and_five(clips: EmbeddedClips) -> None:
    heads = begun(clips, PARTS, is_stirred=True)
    for weight in heads.parameters():
        weight.mul_(100.0)
    outputs = heads.outputs(clips)
    assert outputs.shape == (CLIPS, 1, 2, 21)
    values = outputs[:, 0, :, 0]
    assert (float(values.min()), float(values.max())) == (1.0, pytest.approx(5.0, abs=1e-5))
    torch.testing.assert_close(values, outputs[:, 0, :, 1:].softmax(dim=-1) @ bin_centres())


@torch.no_grad()
def test_a_bound_keeps_what_is_far_from_all_that_was_heard_near(clips: EmbeddedClips) -> None:
    assert clips.frames is not None
    far = dataclasses.replace(clips, frames=1000 * clips.frames)
    farthest = {}
    for bound in (3.0, 0.0):
        heads = begun(clips, dataclasses.replace(ALL_OFF, bound=bound), is_stirred=True)
        farthest[bound] = float((heads.judge(far) - heads.judge(clips))[:, 0].abs().max())
    assert farthest[3.0] < 6 * FRAME < 100 < farthest[0.0]


@torch.no_grad()
def test_rows_that_fill_a_prompt_up_are_no_words(clips: EmbeddedClips) -> None:
    heads = begun(clips, PARTS, is_stirred=True)
    assert clips.tokens is not None
    longer = dataclasses.replace(clips, tokens=functional.pad(clips.tokens, (0, 0, 0, 3)))
    torch.testing.assert_close(heads.judge(longer), heads.judge(clips), rtol=0, atol=1e-6)
    other = dataclasses.replace(clips, tokens=clips.tokens.flip(2))
    differences = (heads.judge(other) - heads.judge(clips)).abs().amax(dim=0)
    assert float(differences[0]) == 0.0 < 0.001 < float(differences[1])


@torch.no_grad()
def test_members_are_averaged_and_differ(clips: EmbeddedClips) -> None:
    heads = begun(clips, dataclasses.replace(PARTS, members=3), is_stirred=True)
    outputs = heads.outputs(clips)[..., 0]
    assert outputs.shape == (CLIPS, 3, 2)
    torch.testing.assert_close(heads.judge(clips), outputs.double().mean(dim=1))
    assert float(outputs.std(dim=1).min()) > 0.0


@torch.no_grad()
def test_scales_are_data(clips: EmbeddedClips) -> None:
    sound = Scale("sound_quality", "Sound quality", "How does it sound?", tuple("12345"))
    heads = SequenceHeads(DIM, FRAME, (sound,), PARTS).eval()
    known = scores()[:, :1]
    known[3:] = float("nan")  # of the others nothing is known
    heads.start_from(clips, known)
    assert not heads.hears_tokens
    values = heads.judge(clips)
    assert values.shape == (CLIPS, 1)
    assert float(values[0, 0]) == pytest.approx(float(scores()[:3, 0].mean()), abs=0.02)


def test_without_frames_there_is_no_value(clips: EmbeddedClips) -> None:
    heads = begun(clips, PARTS)
    with pytest.raises(ValueError, match="hear frames"):
        heads.judge(dataclasses.replace(clips, frames=None))
    with pytest.raises(ValueError, match="hear words"):
        heads.judge(dataclasses.replace(clips, tokens=None))
