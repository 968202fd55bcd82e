"""TensorFlow's checkpoints, read from a miniature that is written here byte by byte."""

import struct
from pathlib import Path

import numpy as np

from tools.judge.conversion import read_bundle


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
