"""A text in pieces, so that an edit is encoded again where it is and nowhere else."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate

from retnet_viz.checkpoints import Tokenizer

SEGMENT = 64  # characters, at least, of what the tokenizer is given at once


@dataclass(frozen=True)
class Change:
    """Segments `first` .. `stop` - 1 give way to others, made of `ids` in place of `tokens`."""

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
    """A text in pieces, cut where the tokenizer can be given each by itself.

    So an edit encodes the pieces that it touches and no more. A cut is certain by the characters
    on its two sides: it stands while an edit changes neither of them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._segments: list[str] = []
        self._starts: list[int] = []
        self._token_starts: list[int] = []
        self._joined: str | None = ""
        self.length = 0

    @property
    def whole(self) -> str:
        """The text, joined when it is first asked for."""
        if self._joined is None:
            self._joined = "".join(self._segments)
        return self._joined

    def splice(self, start: int, stop: int, text: str, n_tokens: int) -> Change:
        """What changes with `text` in place of characters start .. stop - 1; nothing does yet."""
        first = max(0, bisect_left(self._starts, start) - 1)
        last = bisect_right(self._starts, stop)
        begin, token_begin = self._start(first, n_tokens)
        end, token_end = self._start(last, n_tokens)
        old = "".join(self._segments[first:last])
        segments = self._cut(old[: start - begin] + text + old[stop - begin :])
        encoded = [self._tokenizer.encode(segment) for segment in segments]
        starts = [begin, *accumulate(map(len, segments), initial=begin)][1:]
        token_starts = [token_begin, *accumulate(map(len, encoded), initial=token_begin)][1:]
        moved, tokens_moved = starts.pop() - end, token_starts.pop() - token_end
        return Change(
            first=first,
            stop=last,
            segments=segments,
            starts=starts + [place + moved for place in self._starts[last:]],
            token_starts=token_starts + [n + tokens_moved for n in self._token_starts[last:]],
            tokens=(token_begin, token_end),
            ids=[token_id for ids in encoded for token_id in ids],
            length=self.length + moved,
            encoded=sum(map(len, segments)),
        )

    def accept(self, change: Change) -> None:
        """Make a change that `splice` worked out."""
        self._segments[change.first : change.stop] = change.segments
        self._starts[change.first :] = change.starts
        self._token_starts[change.first :] = change.token_starts
        self._joined = None
        self.length = change.length

    def _start(self, index: int, n_tokens: int) -> tuple[int, int]:
        if index < len(self._starts):
            return self._starts[index], self._token_starts[index]
        return self.length, n_tokens

    def _cut(self, text: str) -> list[str]:
        segments, start = [], 0
        while start < len(text):
            # A piece is cut off only where as much is left for the next: none is ever tiny.
            cut = len(text)
            if len(text) - start >= 2 * SEGMENT:
                cut = self._tokenizer.next_boundary(text, start + SEGMENT)
            segments.append(text[start:cut])
            start = cut
        return segments
