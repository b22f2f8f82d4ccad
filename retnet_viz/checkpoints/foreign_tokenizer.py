"""The tokenizer that came with a checkpoint of another code, or the bytes where none did."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import tokenizers

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.tokenizer import Tokenizer

# Vocabularies that transformers makes a tokenizer of: SentencePiece's, and GPT-2's two files.
VOCABULARIES = (("tokenizer.model",), ("spiece.model",), ("vocab.json", "merges.txt"))
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how SentencePiece writes a space
_CONTINUES = "##"  # how WordPiece writes that a token goes on with a word


class ForeignTokenizer(Tokenizer):
    """A tokenizer whose tokens are characters, not bytes.

    A text need not decode to itself, and may be cut nowhere: an edit encodes it anew.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        self._literal = set(backend.get_added_tokens_decoder())
        self._is_word_piece = type(backend.model).__name__ == "WordPiece"

    def is_boundary(self, before: str, after: str) -> bool:
        """False: no cut is certain."""
        return False

    def next_boundary(self, text: str, position: int) -> int:
        """The length of the text: it is cut nowhere."""
        return len(text)

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`, special tokens included."""
        text: str = self.backend.decode(ids, skip_special_tokens=False)
        return text

    def _bytes(self, token_id: int) -> bytes:
        token = self.backend.id_to_token(token_id)
        if token is None:
            raise ValueError(f"token id {token_id} is not in the vocabulary of {self.vocab_size}")
        if (byte := _BYTE.fullmatch(token)) is not None:
            return bytes([int(byte[1], 16)])
        if token_id not in self._literal:
            token = token.replace(_SPACE, " ")
            token = token.removeprefix(_CONTINUES) if self._is_word_piece else token
        return token.encode("utf-8", "replace")


def tokenizer_in(folder: Path, vocab_size: int) -> Tokenizer | None:
    """The tokenizer in a foreign checkpoint's folder, for a model of so many tokens.

    Where there is none the text is read as bytes, or not at all by a model of fewer than 256
    tokens; a warning says so. Raises CheckpointError, naming the file, on one that is damaged.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exception on a malformed file
            raise CheckpointError(f"{path} is not a tokenizer file: {error}") from error
        return _wrapped(backend)
    for names in VOCABULARIES:
        if all((folder / name).is_file() for name in names):
            return _wrapped(_converted(folder, names))
    if vocab_size < 256:
        warnings.warn(
            f"{folder} has no tokenizer, and a model of {vocab_size} tokens cannot read bytes: "
            "give it ids",
            stacklevel=2,
        )
        return None
    of_bytes = Tokenizer.of_bytes()
    of_bytes.caution = (
        "This model came without a tokenizer: text is read as bytes, whose ids it may never have "
        "seen in this sense"
    )
    warnings.warn(f"{folder}: {of_bytes.caution}", stacklevel=2)
    return of_bytes


def _wrapped(backend: tokenizers.Tokenizer) -> Tokenizer:
    backend.no_truncation()
    backend.no_padding()
    of_bytes = Tokenizer(backend)
    return of_bytes if of_bytes.unreadable is None else ForeignTokenizer(backend)


def _converted(folder: Path, names: tuple[str, ...]) -> tokenizers.Tokenizer:
    """What transformers makes of another vocabulary; no code of the checkpoint runs."""
    listed = " and ".join(names)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise CheckpointError(
            f"{folder} has its vocabulary as {listed}, which needs transformers: "
            "pip install transformers sentencepiece"
        ) from error
    try:
        made = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        backend: tokenizers.Tokenizer = made.backend_tokenizer
    except Exception as error:  # transformers raises whatever its parts do
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{folder}: {listed} could not be made a tokenizer of: {first}"
        ) from error
    return backend
