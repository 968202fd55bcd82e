"""Makes the tower `ears` from the packages that hold its parts; afterwards they are not needed.

    musicnn               two taggers, as TensorFlow checkpoints, read here without TensorFlow
    wordllama             vectors of pieces of words, and the tokenizer that cuts words into them
    wamerican-large, wbritish-large    which words are English (SCOWL)

A TensorFlow checkpoint is two files: an index, which is an uncompressed LevelDB table of protobufs, and the
values, raw float32. Both layouts are public: github.com/google/leveldb doc/table_format.md, and TensorFlow's
tensor_bundle.proto.
"""

import ast
import gzip
import struct
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.audio import InputPolicy, hear, read_whole_clip, split_windows
from core.towers.ears import BANDS, WORD_FILES, EarsTower, Words
from tools.judge.packages import Fetched

TAGGERS = ("MTT_musicnn", "MSD_musicnn")
_DICTIONARIES = ("wamerican-large", "wbritish-large")
_EPSILON = 1e-3  # of musicnn's batch normalisation
_FOOTER = 48
# What SCOWL lacks and people write of music.
_MORE_WORDS = """
    afrobeat arpeggiated autotune bandoneon bassline bouzouki chillwave darbuka djembe djent downtempo drumline
    dubstep edm erhu fingerpicked fingerstyle hihat hihats idm kalimba koto lofi melodica metalcore neosoul
    psytrance reggaeton shoegaze shamisen steelpan synthpop synthwave synths taiko uptempo vaporwave vocoder
"""

Arrays = Mapping[str, NDArray[np.float32]]


def convert(fetched: Mapping[str, Fetched], folder: Path, clips: Iterable[Path], policy: InputPolicy) -> EarsTower:
    """Make the tower of packages by name; `folder` gets the files that it reads words with.

    How likely each tag is in music is taken from the clips.
    """
    packages = fetched["musicnn"].root
    dictionaries = [path for name in _DICTIONARIES for path in fetched[name].files()]
    _write_word_files(packages, dictionaries, folder)
    tower = EarsTower(Words(folder)).eval().requires_grad_(False)
    tower.bands.copy_(torch.from_numpy(librosa.filters.mel(sr=16_000, n_fft=512, n_mels=BANDS)))
    for tagger, name in zip(tower.taggers, TAGGERS, strict=True):
        _fill_tagger(tagger, read_bundle(packages / "musicnn" / name))
    _fill_words(tower, packages)
    _standardise(tower, clips, policy)
    return tower


def read_bundle(folder: Path) -> Arrays:
    """Read the float32 arrays of a TensorFlow checkpoint, by name."""
    index, values = (folder / ".index").read_bytes(), (folder / ".data-00000-of-00001").read_bytes()
    footer = index[-_FOOTER:]
    position = 0
    handle = []
    for _ in range(4):  # where the meta index is, which is not needed, and the index
        number, position = _varint(footer, position)
        handle.append(number)
    arrays = {}
    for _, block in _entries(index, *handle[2:]):
        start, after = _varint(block, 0)
        size, _ = _varint(block, after)
        for name, entry in _entries(index, start, size):
            fields = _protobuf(entry)
            if name and fields.get(1) == [1]:  # the type float32
                begin, length = fields.get(4, [0])[0], fields[5][0]
                sizes = [_protobuf(of)[1][0] for of in _protobuf(fields[2][0]).get(2, [])]
                array = np.frombuffer(values[begin : begin + length], "<f4")
                arrays[name.decode()] = array.reshape(sizes)
    return arrays


def _varint(content: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position


def _entries(table: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The entries of a block; a key leaves out what it begins as the one before."""
    block = table[start : start + size]
    end = len(block) - 4 - 4 * struct.unpack("<I", block[-4:])[0]
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        own, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + own]
        yield key, block[position + own : position + own + length]
        position += own + length


def _protobuf(message: bytes) -> dict[int, list[Any]]:
    """The fields of a message by number."""
    fields: dict[int, list[Any]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, position = _varint(message, position) if tag & 7 in (0, 2) else ({1: 8, 5: 4}[tag & 7], position)
        value: Any = number
        if tag & 7:
            value, position = message[position : position + number], position + number
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _fill_tagger(tagger: Any, arrays: Arrays) -> None:
    """Fill a tagger; the arrays are numbered in the order in which musicnn makes its layers."""
    scalings = [tagger.start, *tagger.front, *tagger.after, tagger.pooled, tagger.layer]
    for number, scaling in enumerate(scalings):
        gamma, beta, mean, variance = (
            arrays[f"batch_normalization{_number(number)}/{name}"]
            for name in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        factor = gamma / np.sqrt(variance + _EPSILON)
        _copy(scaling.factor, factor)
        _copy(scaling.offset, beta - mean * factor)
    for number, layer in enumerate([*tagger.timbre, *tagger.tempo, *tagger.middle]):
        kernel = arrays[f"conv2d{_number(number)}/kernel"]
        _fill_layer(layer, kernel.transpose(3, 2, 0, 1), arrays[f"conv2d{_number(number)}/bias"])
    for number, layer in enumerate([tagger.dense, tagger.tags]):
        _fill_layer(layer, arrays[f"dense{_number(number)}/kernel"].T, arrays[f"dense{_number(number)}/bias"])


def _number(number: int) -> str:
    return f"_{number}" if number else ""


def _fill_layer(layer: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    if isinstance(layer, nn.Conv1d):  # musicnn's are over (time, channels, 1)
        kernel = kernel[:, 0].transpose(0, 2, 1)
    _copy(layer.weight, kernel)
    _copy(layer.bias, bias)


def _copy(weight: Tensor, array: NDArray[np.float32]) -> None:
    if weight.shape != array.shape:
        raise ValueError(f"musicnn has an array of shape {array.shape} where {tuple(weight.shape)} is asked for")
    weight.copy_(torch.tensor(array.copy()))


def tag_names(packages: Path) -> list[str]:
    """Return the names of all tags, from musicnn's configuration."""
    module = ast.parse((packages / "musicnn/configuration.py").read_text(encoding="utf-8"))
    labels = {ast.unparse(line.targets[0]): line.value for line in module.body if isinstance(line, ast.Assign)}
    return [tag.casefold() for name in TAGGERS for tag in ast.literal_eval(labels[f"{name[:3]}_LABELS"])]


def _write_word_files(packages: Path, dictionaries: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, words = (folder / name for name in WORD_FILES)
    _write_packed(tokenizer, (packages / "wordllama/tokenizers/l2_supercat_tokenizer_config.json").read_bytes())
    known = {*_MORE_WORDS.split(), *_english(dictionaries)}
    _write_packed(words, ("\n".join(sorted(known)) + "\n").encode())


def _write_packed(path: Path, content: bytes) -> None:
    path.write_bytes(gzip.compress(content, mtime=0))


def _english(dictionaries: Sequence[Path]) -> Iterator[str]:
    for path in dictionaries:
        for word in path.read_text(encoding="utf-8").split():
            plain = unicodedata.normalize("NFKD", word.casefold())
            if plain.isascii() or not plain.isalpha():
                yield "".join(sign for sign in plain if not unicodedata.combining(sign)).removesuffix("'s")


def _fill_words(tower: EarsTower, packages: Path) -> None:
    """Fill in how near each piece of a word is to each tag, in standard deviations over English words."""
    weights = safetensors.numpy.load_file(packages / "wordllama/weights/l2_supercat_256.safetensors")
    vectors = weights["embedding.weight"].astype(np.float32)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        pieces = (tower.words.tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
        return np.stack([vectors[ids].mean(axis=0) for ids in pieces])

    tags = embed([f"{name} music" for name in tag_names(packages)])
    middle = tags.mean(axis=0)
    directions = tags - middle
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    usual = (embed(sorted(tower.words.known)) - middle) @ directions.T
    nearness = ((vectors - middle) @ directions.T - usual.mean(axis=0)) / usual.std(axis=0)
    scale = np.abs(nearness).max(axis=1) / 127
    tower.pieces.copy_(torch.from_numpy(np.rint(nearness / scale[:, None]).astype(np.int8)))
    tower.piece_scale.copy_(torch.from_numpy(scale))


def _standardise(tower: EarsTower, clips: Iterable[Path], policy: InputPolicy) -> None:
    tags = torch.cat([_tags(tower, path, policy) for path in clips])
    deviation, mean = torch.std_mean(tags, dim=0)
    tower.tag_mean.copy_(mean)
    tower.tag_deviation.copy_(deviation)


def _tags(tower: EarsTower, path: Path, policy: InputPolicy) -> Tensor:
    """What the taggers say of a clip, a row for each stretch."""
    clip = hear(read_whole_clip(path), policy, path.name).at_48k()
    return tower.tagged(tower.features(split_windows(clip)))[1].flatten(0, 1)
