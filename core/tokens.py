"""The two tokenizers of CLAP's text encoders: prompts in, token ids out, at most 77 of them.

Both count the begin and end marks among the 77 and cut what is longer in front of the end mark.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from core.errors import CheckpointError, shown_name
from core.laion import MAX_TOKENS, ROBERTA_VOCABULARY, clap_module

ROBERTA_FILES = ("vocab.json", "merges.txt")


class Tokenizer(Protocol):
    """What a tower needs of a tokenizer.

    Attributes
    ----------
    files : tuple of Path
        What a checkpoint must hold beside its weights for this tokenizer; none where it is part of a library.
    """

    files: tuple[Path, ...]

    def __call__(self, prompts: Sequence[str]) -> Any:
        """What clap_module's text encoder takes for n prompts."""
        ...

    def count(self, prompt: str) -> int:
        """Tokens of a prompt with both marks, uncut."""
        ...


class BytePairTokens:
    """The byte-pair vocabulary that laion-clap bundles (CLIP's), for the ``transformer`` text encoder."""

    files: tuple[Path, ...] = ()

    def __init__(self) -> None:
        self._encoder = clap_module("tokenizer").SimpleTokenizer()

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Token ids (n, 77), zero-padded. The end mark always stands: the encoder reads the meaning there."""
        rows = torch.zeros(len(prompts), MAX_TOKENS, dtype=torch.long)
        begin, end = self._encoder.all_special_ids
        for row, prompt in zip(rows, prompts, strict=True):
            ids = [begin, *self._ids(prompt)[: MAX_TOKENS - 2], end]
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def count(self, prompt: str) -> int:
        """Tokens of a prompt with both marks, uncut."""
        return len(self._ids(prompt)) + 2

    def _ids(self, prompt: str) -> list[int]:
        marks = set(self._encoder.all_special_ids)  # spelt out in a prompt, a mark must not end it there
        return [token for token in self._encoder.encode(prompt) if token not in marks]


class RobertaTokens:
    """RoBERTa's tokenizer from a local folder. transformers 5 invents a 5-token one when offline: refused.

    Parameters
    ----------
    folder : Path or None
        Holds ``vocab.json`` and ``merges.txt``.

    Raises
    ------
    CheckpointError
        A file is missing or cannot be read, or the vocabulary is not RoBERTa's 50,265 entries.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is None or not all((Path(folder) / name).is_file() for name in ROBERTA_FILES):
            raise CheckpointError(
                "The official CLAP reads prompts with RoBERTa's tokenizer: give a folder with its "
                f"{' and '.join(ROBERTA_FILES)} (`python -m core fetch-clap` fetches them)."
            )
        from transformers import RobertaTokenizer

        self.files: tuple[Path, ...] = tuple(Path(folder) / name for name in ROBERTA_FILES)
        entries = _count_entries(self.files[0])
        if entries == ROBERTA_VOCABULARY:
            self._tokenizer = RobertaTokenizer.from_pretrained(str(folder), local_files_only=True)
            entries = len(self._tokenizer)
        if entries != ROBERTA_VOCABULARY:
            raise CheckpointError(
                f"The tokenizer in {shown_name(Path(folder).name)} has {entries:,} entries; "
                f"RoBERTa's has {ROBERTA_VOCABULARY:,}. Copy its files again."
            )

    def __call__(self, prompts: Sequence[str]) -> Any:
        """``input_ids`` and ``attention_mask``, each (n, 77)."""
        return self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )

    def count(self, prompt: str) -> int:
        """Tokens of a prompt with both marks, uncut."""
        return len(self._tokenizer(prompt)["input_ids"])


def _count_entries(vocabulary: Path) -> int:
    try:
        return len(json.loads(vocabulary.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{shown_name(vocabulary.name)} of the tokenizer cannot be read. Copy it again."
        ) from error
