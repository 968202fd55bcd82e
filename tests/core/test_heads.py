import torch

from core.heads import Heads


def test_impression_hears_only_the_audio_and_alignment_both():
    torch.manual_seed(0)
    heads = Heads(8)
    audio, text = torch.randn(4, 8), torch.randn(4, 8)
    values = heads(audio, text)
    assert values.shape == (4, 2)
    other = heads(audio, text.flip(0))
    assert torch.equal(values[:, 0], other[:, 0])
    assert not torch.allclose(values[:, 1], other[:, 1])


def test_heads_are_three_layers_and_not_one_affine_map():
    torch.manual_seed(0)
    heads = Heads(8)
    linear = [layer for layer in heads.musical_impression if isinstance(layer, torch.nn.Linear)]
    assert [layer.out_features for layer in linear] == [256, 64, 1]
    a, b = torch.randn(8), torch.randn(8)
    with torch.inference_mode():
        ends = heads.musical_impression(torch.stack([a, b, (a + b) / 2]))[:, 0]
    assert abs(float(ends[2] - (ends[0] + ends[1]) / 2)) > 1e-4
