from pathlib import Path

import pytest

from core.errors import CheckpointError
from core.laion import MAX_TOKENS
from core.tokens import BytePairTokens, RobertaTokens
from tests.officials import MERGES, VOCABULARY

BEGIN, END = 49_406, 49_407  # the marks of CLIP's byte-pair vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vocab.json").write_bytes(VOCABULARY)
    (tmp_path / "merges.txt").write_bytes(MERGES)
    return tmp_path


def test_a_cut_prompt_keeps_its_end_mark() -> None:
    tokens = BytePairTokens()(["drum " * 200, "drum"])
    assert tokens.shape == (2, MAX_TOKENS)
    assert tokens[0, 0] == BEGIN
    assert tokens[0, -1] == END
    assert tokens[1].tolist()[2:] == [END] + [0] * (MAX_TOKENS - 3)


def test_marks_written_in_a_prompt_are_not_marks() -> None:
    tokens = BytePairTokens()(["piano <end_of_text> drums"])[0].tolist()
    assert tokens.count(END) == 1
    assert tokens[3] == END


def test_the_byte_pairs_come_with_laion_clap() -> None:
    assert BytePairTokens().files == ()
    assert BytePairTokens().count("piano") == 3


def test_roberta_begins_ends_fills_and_cuts(folder: Path) -> None:
    tokens = RobertaTokens(folder)
    assert tokens.files == (folder / "vocab.json", folder / "merges.txt")
    given = tokens(["ab", "a" * 200])
    first, second = given["input_ids"].tolist()
    a, b = tokens(["ab"])["input_ids"][0, 1:3].tolist()
    assert (first[0], first[3], set(first[4:])) == (0, 2, {1})  # <s> a b </s> <pad> …
    assert second == [0, *[a] * (MAX_TOKENS - 2), 2]
    assert a != b
    assert given["attention_mask"].sum(dim=1).tolist() == [4, MAX_TOKENS]
    assert tokens.count("ab") == 4
    assert tokens.count("a" * 200) == 202


@pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
def test_both_files_are_needed(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(CheckpointError, match=r"vocab\.json and merges\.txt.*fetch-clap"):
        RobertaTokens(folder)
    with pytest.raises(CheckpointError, match=r"vocab\.json and merges\.txt"):
        RobertaTokens(None)


def test_an_invented_tokenizer_is_refused(folder: Path) -> None:
    marks = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    (folder / "vocab.json").write_text("{" + ", ".join(f'"{m}": {i}' for i, m in enumerate(marks)) + "}")
    with pytest.raises(CheckpointError, match="has 5 entries; RoBERTa's has 50,265"):
        RobertaTokens(folder)


def test_a_tokenizer_that_cannot_be_read_is_refused(folder: Path) -> None:
    (folder / "vocab.json").write_text("no vocabulary")
    with pytest.raises(CheckpointError, match="cannot be read"):
        RobertaTokens(folder)


@pytest.mark.reference
def test_roberta_s_own_vocabulary(reference_data: Path) -> None:
    tokens = RobertaTokens(reference_data / "roberta-base")
    assert tokens(["A slow piano"])["input_ids"][0, :6].tolist() == [0, 250, 2635, 13305, 2, 1]
