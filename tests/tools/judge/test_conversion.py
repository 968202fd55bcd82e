"""TensorFlow's checkpoints, read from a miniature that is written here byte by byte; what words say of tags."""

import struct
from pathlib import Path

import numpy as np
import torch

from tools.judge.conversion import read_bundle, said, whitening


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries: list[tuple[bytes, bytes]]) -> bytes:
    """Entries whose keys share a beginning with the one before."""
    out, before = b"", b""
    for key, value in entries:
        shared = next(
            (n for n, (a, b) in enumerate(zip(key, before, strict=False)) if a != b), min(len(key), len(before))
        )
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return out + struct.pack("<II", 0, 1)


def test_arrays_come_back(tmp_path: Path) -> None:
    arrays = {"dense/bias": np.arange(3, dtype="<f4"), "dense/kernel": np.arange(300, dtype="<f4").reshape(3, 100)}
    values, entries = b"", [(b"", field(1, 1))]
    for name, array in arrays.items():
        shape = b"".join(field(2, field(1, size)) for size in array.shape)
        where = field(4, len(values)) if values else b""  # a zero is left out
        entries.append((name.encode(), field(1, 1) + field(2, shape) + where + field(5, array.nbytes) + b"\x35abcd"))
        values += array.tobytes()
    entries.append((b"step", field(1, 9) + field(2, b"") + field(5, 8)))  # an integer
    data = block(entries)
    index = block([(b"z", varint(0) + varint(len(data)))])
    footer = (varint(0) + varint(0) + varint(len(data)) + varint(len(index))).ljust(48, b"\0")
    (tmp_path / ".index").write_bytes(data + index + footer)
    (tmp_path / ".data-00000-of-00001").write_bytes(values)
    read = read_bundle(tmp_path)
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_words_say_what_they_are_clearly_near_to_by_either_kind_of_vector() -> None:
    """Of 2,000 words at random two are near to tags: one by its pieces, one by GloVe, which lacks a tag."""
    random = np.random.default_rng(0)
    tags = ["drums", "vocals", "vocal", "voice", "no vocals", "no vocal", "no voice", "80s"]
    of_tags = random.normal(size=(8, 30)).astype(np.float32)
    known = [f"word{number}" for number in range(2_000)]
    pieces = dict(zip(known, random.normal(size=(2_000, 30)).astype(np.float32), strict=True))
    glove = {word: random.normal(size=20).astype(np.float32) for word in (*tags[:4], "no", *known)}
    pieces["word0"], glove["word1"] = 10 * of_tags[0], 10 * glove["vocals"]
    pieces |= {f"{tag} music": vector for tag, vector in zip(tags, of_tags, strict=True)}
    found = said(known, tags, lambda texts: np.stack([pieces[text] for text in texts]), glove)
    assert (found[0].argmax(), found[1].argmax()) == (0, 1)
    np.testing.assert_array_equal(found[:, 4:7], -found[:, 1:4])
    assert (found.any(axis=1)).mean() < 0.2
    lengths = np.linalg.norm(found, axis=1)
    assert lengths[lengths > 0].min() >= 1.0


def test_whitening_in_part() -> None:
    rows = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 1.0, 0.2])
    whole, part = (torch.cov((rows @ whitening(torch.cov(rows.T), ridge)).T).diagonal() for ridge in (1e-6, 1.0))
    torch.testing.assert_close(whole / whole.mean(), torch.ones(3), rtol=0.02, atol=0)
    assert 1.5 < part[0] / part[1] < 25
