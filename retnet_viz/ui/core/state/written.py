"""Which part of a text the model wrote: ranges of its characters, kept while the text is edited.

A range (start, stop) is of the characters start .. stop - 1; ranges are in order and do not touch.
"""

from __future__ import annotations

from typing import Any

from retnet_viz.trace import Trace

Ranges = tuple[tuple[int, int], ...]


def are_ranges(value: Any) -> bool:
    """Whether a value is ranges of characters: pairs of whole numbers, in order and apart."""
    if not isinstance(value, (list, tuple)):
        return False
    last = -1
    for pair in value:
        if not isinstance(pair, (list, tuple)) or [type(end) for end in pair] != [int, int]:
            return False
        if not last < pair[0] < pair[1]:
            return False
        last = pair[1]
    return True


def add_range(ranges: Ranges, start: int, stop: int) -> Ranges:
    """The ranges and one behind them, which joins the last one where they touch."""
    if ranges and ranges[-1][1] >= start:
        return (*ranges[:-1], (ranges[-1][0], stop))
    return (*ranges, (start, stop))


def after_edit(ranges: Ranges, old: str, new: str) -> Ranges:
    """The ranges of `old` in `new`: what was typed into one or over one is not the model's."""
    if not ranges:
        return ()
    start = _common_start(old, new)
    same = _common_start(old[start:][::-1], new[start:][::-1])
    stop, shift = len(old) - same, len(new) - len(old)
    moved: Ranges = ()
    for first, last in ranges:
        for a, b in ((first, min(last, start)), (max(first, stop) + shift, last + shift)):
            if a < b:
                moved = add_range(moved, a, b)
    return moved


def _common_start(a: str, b: str) -> int:
    """How many characters two texts have in common from the start on."""
    pairs = enumerate(zip(a, b, strict=False))
    return next((i for i, (x, y) in pairs if x != y), min(len(a), len(b)))


def written_tokens(trace: Trace, text: str, ranges: Ranges) -> list[tuple[int, int]]:
    """The ranges of tokens that hold something of the `ranges` of characters of `text`.

    `text` is the end of what the trace is of. The cost is that of the text from the first range on.
    """
    ranges = tuple((a, b) for a, b in ranges if a < len(text))
    if not ranges:
        return []
    # Counted in bytes before the end: a token may end inside a character.
    first = ranges[0][0]
    sizes = [len(each.encode(errors="surrogatepass")) for each in text[first:]]
    before_end = [0]
    for size in reversed(sizes):
        before_end.append(before_end[-1] + size)
    before_end.reverse()
    spans = [(before_end[a - first], before_end[min(b, len(text)) - first]) for a, b in ranges]
    marked: list[tuple[int, int]] = []
    tail = trace.ids[-before_end[0] :].tolist()
    n, end = trace.length, 0  # of the token before which all are looked at: number, bytes after it
    while tail and end < before_end[0]:
        n, start = n - 1, end
        end = start + _size(trace, tail.pop())
        if any(low < end and start < high for high, low in spans):
            if marked and marked[-1][0] == n + 1:
                marked[-1] = (n, marked[-1][1])
            else:
                marked.append((n, n + 1))
    return marked[::-1]


def _size(trace: Trace, token_id: int) -> int:
    """Bytes of a token's text; 0 where it has none."""
    try:
        return int(trace.model.tokenizer.size(token_id))  # type: ignore[union-attr]
    except (AttributeError, ValueError):
        return 0
