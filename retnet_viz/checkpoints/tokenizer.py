"""Text <-> token ids, and the text of each single token."""

from __future__ import annotations

from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

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
_LETTER, _NUMBER, _OTHER, _SPACE = "a", "1", "!", " "  # one character of each kind


class Tokenizer:
    """A byte-level BPE tokenizer: every Unicode text has ids, and decodes to itself.

    `caution` is a warning to show beside its tokens, a sentence without its full stop, or "".
    """

    caution: str = ""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        added = backend.get_added_tokens_decoder()
        self._added_ids = set(added)  # added tokens are plain text
        self._has_gpt2_words = _has_gpt2_words(backend) and not any(
            token.lstrip or token.rstrip or token.single_word for token in added.values()
        )
        self._added_token_pairs = {
            token.content[i : i + 2] for token in added.values() for i in range(len(token.content))
        }
        self._kinds: dict[str, str] = {}

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """The tokenizer of a `tokenizer.json`; CheckpointError where the file is none."""
        try:
            tokenizer = cls.from_json(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error
        except Exception as error:  # the library raises bare Exception on a malformed file
            raise CheckpointError(f"{path} is not a tokenizer file: {error}") from error
        if (token := tokenizer.unreadable) is not None:
            raise CheckpointError(f"{path} is not a byte-level vocabulary: token {token!r}")
        return tokenizer

    @classmethod
    def from_json(cls, content: str) -> Tokenizer:
        """The tokenizer that `to_json` wrote."""
        return cls(tokenizers.Tokenizer.from_str(content))

    def to_json(self) -> str:
        """The tokenizer as JSON, for `from_json`."""
        content: str = self.backend.to_str()
        return content

    @classmethod
    def of_bytes(cls) -> Tokenizer:
        """A tokenizer whose 256 tokens are the bytes, each with its value as id."""
        backend = tokenizers.Tokenizer(models.BPE(vocab=dict(_BYTES), merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        return cls(backend)

    @property
    def unreadable(self) -> str | None:
        """A token that does not stand for bytes, if there is one."""
        return next(
            (
                token
                for token, token_id in self.backend.get_vocab().items()
                if token_id not in self._added_ids and not _BYTES.keys() >= set(token)
            ),
            None,
        )

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, special tokens included."""
        return max(self.backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; lone surrogates, which no UTF-8 text can hold, become U+FFFD."""
        clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return list(self.backend.encode(clean, add_special_tokens=False).ids)

    def is_boundary(self, before: str, after: str) -> bool:
        r"""Whether a text may be cut between these two neighbouring characters of it.

        Where that is so, encode(left + right) == encode(left) + encode(right), whatever else the
        text holds. A byte-level tokenizer cuts a text into words before it looks for tokens, by

            's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+

        and never joins characters of two words. No alternative matches two characters of different
        kinds (letter, number, space, other) in a row, but for a space before a word and for the
        apostrophe of a contraction; so what ends in neither ends a word before any other kind. The
        words of the left part stay as they are without the right one: a run of one kind ends at the
        cut either way, a contraction goes on with letters only, and the look-ahead after spaces
        sees no further than the first character that is none. Those of the right part do too: the
        pattern looks at nothing before it. Added tokens are found before all this, so no cut is
        made between two characters that are neighbours in one of them.

        False wherever this is not certain, and always for a tokenizer that splits differently.
        """
        if not self._has_gpt2_words or before + after in self._added_token_pairs:
            return False
        if _is_surrogate(before) or _is_surrogate(after):  # two of them may be one character
            return False
        kind = self._kind(before)
        return before != "'" and kind != _SPACE and kind != self._kind(after)

    def next_boundary(self, text: str, position: int) -> int:
        """The first place from `position` (1 or more) on to cut `text`; its length if none."""
        while position < len(text) and not self.is_boundary(text[position - 1], text[position]):
            position += 1
        return min(position, len(text))

    def _kind(self, character: str) -> str:
        """Which of the pre-tokenizer's runs a character belongs to.

        The pre-tokenizer itself is asked: its Unicode tables are not those of Python.
        """
        if character not in self._kinds:
            split = self.backend.pre_tokenizer.pre_tokenize_str
            matching_kinds = [
                kind for kind in (_LETTER, _NUMBER, _OTHER) if len(split(kind + character)) == 1
            ]
            self._kinds[character] = matching_kinds[0] if matching_kinds else _SPACE
        return self._kinds[character]

    def decode(self, ids: list[int]) -> str:
        """The text of `ids`, special tokens included."""
        return b"".join(self._bytes(token_id) for token_id in ids).decode("utf-8", "replace")

    def piece(self, token_id: int) -> str:
        """The text of one token; bytes that are only part of a character read as `\\xe2`."""
        return self._bytes(token_id).decode("utf-8", "backslashreplace")

    def size(self, token_id: int) -> int:
        """Bytes of the text of one token, as UTF-8; ValueError where there is no such token."""
        return len(self._bytes(token_id))

    def _bytes(self, token_id: int) -> bytes:
        token = self.backend.id_to_token(token_id)
        if token is None:
            raise ValueError(f"token id {token_id} is not in the vocabulary of {self.vocab_size}")
        if token_id in self._added_ids:
            return token.encode("utf-8")
        return bytes(_BYTES[character] for character in token)


def _has_gpt2_words(backend: tokenizers.Tokenizer) -> bool:
    """Whether text becomes ids word by word, the words being those of GPT-2's pattern."""
    words = backend.pre_tokenizer
    return (
        isinstance(words, pre_tokenizers.ByteLevel)
        and words.use_regex
        and not words.add_prefix_space
        and backend.normalizer is None
        and backend.post_processor is None
        and backend.truncation is None
        and backend.padding is None
    )


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
