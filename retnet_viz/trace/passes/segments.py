"""A text in pieces, so that an edit encodes only the pieces that it touches."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from retnet_viz.checkpoints import Tokenizer

SEGMENT = 64  # characters, at least, of what the tokenizer is given at once


@dataclass(frozen=True)
class Change:
    """Segments `first` .. `stop` - 1 are replaced, and the ids of `tokens` by `ids`."""

    first: int
    stop: int
    segments: list[str]
    starts: list[int]  # character at which each segment from `first` on starts, to the end
    token_starts: list[int]
    tokens: tuple[int, int]
    ids: list[int]
    length: int
    encoded: int


class Segments:
    """A text in pieces that the tokenizer can encode one by one.

    So an edit encodes only the pieces that it touches. Whether the text may be cut at a place
    depends on the characters on both sides alone: a cut stays while neither of them changes.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._segments: list[str] = []
        self._starts: list[int] = []
        self._token_starts: list[int] = []
        self._text: str | None = ""
        self.length = 0

    @property
    def text(self) -> str:
        """The whole text; the pieces are joined at the first call."""
        if self._text is None:
            self._text = "".join(self._segments)
        return self._text

    def splice(self, start: int, stop: int, text: str, n_tokens: int) -> Change:
        """The change that puts `text` in place of characters start .. stop - 1; see `accept`."""
        first = max(0, bisect_left(self._starts, start) - 1)
        last = bisect_right(self._starts, stop)
        begin, token_begin = self._start(first, n_tokens)
        end, token_end = self._start(last, n_tokens)
        old = "".join(self._segments[first:last])
        segments = self._split(old[: start - begin] + text + old[stop - begin :])
        segment_ids = [self._tokenizer.encode(segment) for segment in segments]
        starts = [begin, *accumulate(map(len, segments), initial=begin)][1:]
        token_starts = [token_begin, *accumulate(map(len, segment_ids), initial=token_begin)][1:]
        shift, token_shift = starts.pop() - end, token_starts.pop() - token_end
        return Change(
            first=first,
            stop=last,
            segments=segments,
            starts=starts + [position + shift for position in self._starts[last:]],
            token_starts=token_starts + [n + token_shift for n in self._token_starts[last:]],
            tokens=(token_begin, token_end),
            ids=[token_id for ids in segment_ids for token_id in ids],
            length=self.length + shift,
            encoded=sum(map(len, segments)),
        )

    def accept(self, change: Change) -> None:
        """Apply a change that `splice` returned."""
        self._segments[change.first : change.stop] = change.segments
        self._starts[change.first :] = change.starts
        self._token_starts[change.first :] = change.token_starts
        self._text = None
        self.length = change.length

    def _start(self, index: int, n_tokens: int) -> tuple[int, int]:
        if index < len(self._starts):
            return self._starts[index], self._token_starts[index]
        return self.length, n_tokens

    def _split(self, text: str) -> list[str]:
        segments, start = [], 0
        while start < len(text):
            # Cut only where enough text is left for the next piece, so that no piece is tiny.
            end = len(text)
            if len(text) - start >= 2 * SEGMENT:
                end = self._tokenizer.next_boundary(text, start + SEGMENT)
            segments.append(text[start:end])
            start = end
        return segments
