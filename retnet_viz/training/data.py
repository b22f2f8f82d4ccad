"""Text -> tokenizer -> token ids, split into a training part and a validation part."""

from __future__ import annotations

import hashlib
import lzma
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from torch import Tensor

from retnet_viz.checkpoints import Tokenizer

END = "<|endofstory|>"
END_LINE = re.compile(rf"^{re.escape(END)}\r?$", re.MULTILINE)
VALIDATION_EVERY = 50  # every 50th text is held out
HELD_OUT = Path(__file__).with_name("held_out.txt.xz")  # beginnings of those of the shipped models


class DataError(ValueError):
    """A corpus that nothing can be trained on; the message says why."""


@dataclass(frozen=True)
class Corpus:
    """Texts and the hash of the bytes that they came from."""

    name: str
    sha256: str
    texts: list[str]


@dataclass(frozen=True)
class Dataset:
    """Token ids of both parts, 1-D, and the UTF-8 size of the held-out part."""

    train: Tensor
    validation: Tensor
    validation_bytes: int


def read_corpus(path: Path) -> Corpus:
    """The texts of a file (.txt, or .txt.xz) or of all such files of a folder.

    A line `<|endofstory|>` ends a text, and so does the end of a file.
    """
    if not path.exists():
        raise DataError(f"there is no data at {path}")
    files = sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]
    files = [f for f in files if f.name.endswith((".txt", ".txt.xz")) or f == path]
    digest, texts = hashlib.sha256(), []
    for file in files:
        content = _read(file)
        digest.update(content)
        try:
            decoded = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{file} is not UTF-8 text: {error}") from error
        texts += [text.strip("\r\n") for text in END_LINE.split(decoded)]
    texts = [text for text in texts if text.strip()]
    if not texts:
        raise DataError(f"{path} holds no text (.txt or .txt.xz)")
    return Corpus(path.name, digest.hexdigest(), texts)


def _read(file: Path) -> bytes:
    try:
        if file.suffix == ".xz":
            with lzma.open(file) as stream:
                return stream.read()
        return file.read_bytes()
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def train_tokenizer(texts: list[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE vocabulary of `vocab_size` tokens learned from `texts`."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = Tokenizer(backend)
    if tokenizer.vocab_size > vocab_size:
        raise DataError(
            f"a vocabulary of {vocab_size} tokens does not hold the {tokenizer.vocab_size} that "
            "stand for single bytes and the end of a text; give a larger --vocab-size"
        )
    if tokenizer.vocab_size < vocab_size:
        raise DataError(
            f"the text supports a vocabulary of {tokenizer.vocab_size} tokens, not {vocab_size}; "
            "give more text or a smaller --vocab-size"
        )
    return tokenizer


def tokenize(corpus: Corpus, tokenizer: Tokenizer) -> Dataset:
    """Ids of all texts, each ended by the end token; every 50th text is held out."""
    held_out = set(range(VALIDATION_EVERY - 1, len(corpus.texts), VALIDATION_EVERY))
    if not held_out:  # a small corpus: hold out its last text, or the tail of its only one
        held_out = {len(corpus.texts) - 1} if len(corpus.texts) > 1 else set()
    encoded = tokenizer.backend.encode_batch_fast(corpus.texts)
    end = tokenizer.backend.token_to_id(END)
    parts: dict[bool, list[np.ndarray]] = {False: [], True: []}
    for i, encoding in enumerate(encoded):
        parts[i in held_out].append(np.array([*encoding.ids, end], dtype=np.int32))
    if held_out:
        train, validation = np.concatenate(parts[False]), np.concatenate(parts[True])
        size = sum(len((corpus.texts[i] + END).encode()) for i in held_out)
    else:
        ids = parts[False][0]
        cut = len(ids) * 9 // 10
        train, validation = ids[:cut], ids[cut:]
        size = len(tokenizer.decode(validation.tolist()).encode())
    return Dataset(torch.from_numpy(train), torch.from_numpy(validation), size)


def read_held_out(tokenizer: Tokenizer, path: Path = HELD_OUT) -> tuple[Tensor, int]:
    """Ids (1-D) of texts that are all held out, each ended by the end token; their UTF-8 size.

    By default they are those held out from the training of the shipped models.
    """
    texts = [text + END for text in read_corpus(path).texts]
    ids = [token for text in texts for token in tokenizer.encode(text)]
    return torch.tensor(ids), sum(len(text.encode()) for text in texts)


def batch(
    ids: Tensor, batch_size: int, context: int, seed: int, step: int
) -> tuple[Tensor, Tensor]:
    """Inputs and targets (batch_size, context) of one step, the same at every call."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    starts = torch.randint(0, len(ids) - context, (batch_size,), generator=generator)
    windows = torch.stack([ids[start : start + context + 1] for start in starts]).long()
    return windows[:, :-1], windows[:, 1:]
