"""The paper's two heads: three-layer MLPs from CLAP embeddings to MOS values (MusicEval, section V.A).

Musical impression is read from the audio embedding, textual alignment from the audio and text embeddings side
by side. The authors' released code puts no activation between the layers, which makes each head one affine
map; ours has ReLU there, as the paper's words "MLP" ask.
"""

from torch import Tensor, cat, nn, stack


def _mlp(inputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1))


class Heads(nn.Module):
    """Both heads.

    Parameters
    ----------
    dim : int
        Length of an audio embedding, and of a text embedding.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.musical_impression = _mlp(dim)
        self.textual_alignment = _mlp(2 * dim)

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Values of each pair of embeddings, not clamped to the scale.

        Parameters
        ----------
        audio, text : (n, dim)

        Returns
        -------
        Tensor, (n, 2)
            Musical impression and textual alignment.
        """
        pair = cat([audio, text], dim=-1)
        return stack([self.musical_impression(audio)[:, 0], self.textual_alignment(pair)[:, 0]], dim=-1)
