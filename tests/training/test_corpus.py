"""From files to the token ids of a step."""

from __future__ import annotations

import lzma
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs import LINES

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.training import DataError
from retnet_viz.training.data import END, Corpus, batch, read_corpus, tokenize, train_tokenizer


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (f"one\n{END}\ntwo\n{END}\n", ["one", "two"]),
        (f"one\n{END}\ntwo", ["one", "two"]),
        (f"one\n{END}\ntwo\n{END}", ["one", "two"]),  # no newline at the end of the file
        (f"{END}\none\n{END}\n{END}\n\n{END}\ntwo\n", ["one", "two"]),  # empty texts
        (f"one\r\n{END}\r\ntwo\r\n", ["one", "two"]),
        (f"a {END} inside a line\n{END}\n b\n\nc ", [f"a {END} inside a line", " b\n\nc "]),
    ],
)
def test_a_line_of_its_own_ends_a_text(tmp_path: Path, content: str, texts: list[str]) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(content.encode())
    assert read_corpus(path).texts == texts


def test_a_folder_a_file_and_a_compressed_file_hold_the_same_texts(tmp_path: Path) -> None:
    one, two = f"ein\n{END}\nzwei\n".encode(), "drei ä".encode()
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(one)
    (folder / "deep" / "b.txt.xz").write_bytes(lzma.compress(two))
    (folder / "picture.png").write_bytes(b"\x89PNG\xff")
    corpus = read_corpus(folder)
    assert corpus.texts == ["ein", "zwei", "drei ä"]
    plain, compressed = tmp_path / "same.txt", tmp_path / "same.txt.xz"
    plain.write_bytes(one)
    compressed.write_bytes(lzma.compress(one))
    assert read_corpus(plain).texts == read_corpus(compressed).texts == ["ein", "zwei"]
    assert read_corpus(plain).sha256 == read_corpus(compressed).sha256 != corpus.sha256


def damaged_xz() -> bytes:
    return lzma.compress(os.urandom(5000))[:2500]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("none.txt", None, "there is no data at"),
        ("empty.txt", b"", "holds no text"),
        ("blank.txt", b" \n\n <|endofstory|>\n".replace(b" <", b"<"), "holds no text"),
        ("latin.txt", "café".encode("latin-1"), "is not UTF-8 text"),
        ("cut.txt.xz", damaged_xz(), "cannot be read"),
        ("fake.txt.xz", b"not compressed", "cannot be read"),
    ],
)
def test_data_that_cannot_be_used_is_refused_with_its_name(
    tmp_path: Path, name: str, content: bytes | None, part: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=part) as caught:
        read_corpus(tmp_path / name)
    assert name in str(caught.value)


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="holds no text"):
        read_corpus(tmp_path)


@given(count=st.integers(1, 130))
def test_what_is_held_out_is_never_trained_on(tiny_tokenizer: Tokenizer, count: int) -> None:
    texts = [f"text {i} of the fox" for i in range(count)]
    dataset = tokenize(Corpus("made up", "", texts), tiny_tokenizer)
    train, held_out = (
        tiny_tokenizer.decode(part.tolist()) for part in (dataset.train, dataset.validation)
    )
    assert dataset.validation_bytes == len(held_out.encode())
    if count == 1:  # the tail of the only text
        assert train + held_out == texts[0] + END
        assert train
        assert held_out
        return
    texts_by_part = [part.removesuffix(END).split(END) for part in (train, held_out)]
    assert sorted(texts_by_part[0] + texts_by_part[1]) == sorted(texts)
    assert len(texts_by_part[1]) == max(1, count // 50)


@pytest.mark.parametrize(
    ("vocab_size", "part"),
    [(5000, "supports a vocabulary of .* tokens, not 5000"), (256, "256 tokens does not hold")],
)
def test_a_vocabulary_the_text_cannot_fill_is_refused(vocab_size: int, part: str) -> None:
    with pytest.raises(DataError, match=part):
        train_tokenizer(LINES, vocab_size)


def test_a_step_reads_the_same_rows_whenever_asked(tiny_tokenizer: Tokenizer) -> None:
    ids = torch.arange(50)
    x, y = batch(ids, 4, 7, seed=3, step=9)
    assert x.shape == y.shape == (4, 7)
    assert torch.equal(y, x + 1)  # the next token of each
    assert torch.equal(batch(ids, 4, 7, seed=3, step=9)[0], x)
    assert not torch.equal(batch(ids, 4, 7, seed=3, step=10)[0], x)
    assert not torch.equal(batch(ids, 4, 7, seed=4, step=9)[0], x)
    everything = torch.cat([batch(ids, 8, 48, 0, step)[1] for step in range(20)])
    assert everything.max() == 49  # the last token is read too
