"""Text <-> token ids, and the text of each single token."""

from __future__ import annotations

from pathlib import Path

import tokenizers

from retnet_viz.checkpoints.errors import CheckpointError


def _byte_of_character() -> dict[str, int]:
    """Which byte each character of a byte-level BPE vocabulary stands for.

    The table that GPT-2's vocabulary introduced: printable Latin-1 bytes stand for themselves, the
    others follow from code point 256 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }


_BYTES = _byte_of_character()


class Tokenizer:
    """A byte-level BPE tokenizer: every Unicode text has ids, and decodes to itself."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        self._literal = set(backend.get_added_tokens_decoder())  # added tokens are plain text

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """The tokenizer of a `tokenizer.json`; CheckpointError where the file is none."""
        try:
            tokenizer = cls(tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        except Exception as error:  # the library raises bare Exception on a malformed file
            raise CheckpointError(f"{path} is not a tokenizer file: {error}") from error
        for token, token_id in tokenizer.backend.get_vocab().items():
            if token_id not in tokenizer._literal and not _BYTES.keys() >= set(token):
                raise CheckpointError(f"{path} is not a byte-level vocabulary: token {token!r}")
        return tokenizer

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, special tokens included."""
        return max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; lone surrogates, which no UTF-8 text can hold, become U+FFFD."""
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return list(self.backend.encode(clean).ids)

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`, special tokens included."""
        return b"".join(self._bytes(token_id) for token_id in ids).decode("utf-8", "replace")

    def piece(self, token_id: int) -> str:
        """The text of one token; bytes that are only part of a character read as `\\xe2`."""
        return self._bytes(token_id).decode("utf-8", "backslashreplace")

    def _bytes(self, token_id: int) -> bytes:
        token = self.backend.id_to_token(token_id)
        if token is None:
            raise ValueError(f"token id {token_id} is not in the vocabulary of {self.vocab_size}")
        if token_id in self._literal:
            return token.encode("utf-8")
        return bytes(_BYTES[character] for character in token)
