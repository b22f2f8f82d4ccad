"""The tokenizer of a foreign checkpoint, or one of bytes where the checkpoint has none."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import tokenizers

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.tokenizer import Tokenizer

# Vocabulary files that transformers can load: SentencePiece's, and GPT-2's two files.
VOCABULARIES = (("tokenizer.model",), ("spiece.model",), ("vocab.json", "merges.txt"))
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how SentencePiece writes a space
_CONTINUATION = "##"  # how WordPiece writes that a token goes on with a word


class ForeignTokenizer(Tokenizer):
    """A tokenizer whose tokens are characters, not bytes.

    A text need not decode to itself, and has no safe cut: an edit encodes the whole text again.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        self._added_ids = set(backend.get_added_tokens_decoder())
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
        if token_id not in self._added_ids:
            token = token.replace(_SPACE, " ")
            token = token.removeprefix(_CONTINUATION) if self._is_word_piece else token
        return token.encode("utf-8", "replace")


def find_tokenizer(folder: Path, vocab_size: int) -> Tokenizer | None:
    """The tokenizer in a foreign checkpoint's folder, for a model of `vocab_size` tokens.

    Where there is none it is a tokenizer of bytes, or None for a model of fewer than 256 tokens; a
    warning says so. Raises CheckpointError, naming the file, on one that is damaged.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exception on a malformed file
            raise CheckpointError(f"{path} is not a tokenizer file: {error}") from error
        return _wrap(backend)
    for names in VOCABULARIES:
        if all((folder / name).is_file() for name in names):
            return _wrap(_convert(folder, names))
    if vocab_size < 256:
        warnings.warn(
            f"{folder} has no tokenizer, and a model of {vocab_size} tokens cannot read bytes: "
            "give it ids",
            stacklevel=2,
        )
        return None
    byte_tokenizer = Tokenizer.of_bytes()
    byte_tokenizer.caution = (
        "This model came without a tokenizer: text is read as bytes, whose ids it may never have "
        "seen in this sense"
    )
    warnings.warn(f"{folder}: {byte_tokenizer.caution}", stacklevel=2)
    return byte_tokenizer


def _wrap(backend: tokenizers.Tokenizer) -> Tokenizer:
    backend.no_truncation()
    backend.no_padding()
    byte_tokenizer = Tokenizer(backend)
    return byte_tokenizer if byte_tokenizer.unreadable is None else ForeignTokenizer(backend)


def _convert(folder: Path, names: tuple[str, ...]) -> tokenizers.Tokenizer:
    """Load another vocabulary with transformers; no code of the checkpoint runs."""
    names_text = " and ".join(names)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise CheckpointError(
            f"{folder} has its vocabulary as {names_text}, which needs transformers: "
            "pip install transformers sentencepiece"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        backend: tokenizers.Tokenizer = tokenizer.backend_tokenizer
    except Exception as error:  # transformers raises whatever its parts do
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            f"{folder}: {names_text} could not be made a tokenizer of: {reason}"
        ) from error
    return backend
