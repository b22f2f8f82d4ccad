"""Rows of tensors that grow, change and shrink while a text is edited."""

from __future__ import annotations

from torch import Tensor

SPARE = 4096  # spare rows of a new buffer, at most; an eighth of its length where that is more


class GrowableBuffer:
    """Rows along one axis, in a buffer that grows; with `keep`, only the last `keep` of them.

    A `Draft` changes them. Nothing changes before its `commit`, which cannot fail.
    """

    def __init__(self, axis: int = -2, keep: int | None = None) -> None:
        self._axis = axis
        self._keep = keep
        self._data: Tensor | None = None
        self.first = 0  # which row stands first in the buffer
        self.known = 0  # from which row on the buffer holds what was written last
        self.stop = 0

    @property
    def tensor(self) -> Tensor:
        """A view of the rows that are kept."""
        return self.slice(self.begin(self.stop), self.stop)

    def slice(self, start: int, stop: int) -> Tensor:
        """A view of rows start .. stop - 1."""
        assert self._data is not None
        return self._data.narrow(self._axis, start - self.first, stop - start)

    def begin(self, length: int) -> int:
        """The first row to keep of `length` rows."""
        return 0 if self._keep is None else max(0, length - self._keep)

    def draft(self, at: int, length: int) -> Draft:
        """A change to `length` rows: those before `at` stay, those from `at` on are new."""
        return Draft(self, at, length)


class Draft:
    """New rows for a `GrowableBuffer`, collected before anything in it changes.

    Where the buffer has no room for them, they are written into a new buffer after a copy of the
    rows that stay; else into a tensor of their own, which `commit` copies. Either way memory holds
    each row at most twice.
    """

    def __init__(self, rows: GrowableBuffer, at: int, length: int) -> None:
        self._rows = rows
        self._begin = rows.begin(length)
        self._at = at
        self._length = length
        self._next = at  # the next row to add
        self._target: Tensor | None = None
        self._first = 0  # which row stands first in the target

    def add(self, rows: Tensor) -> None:
        """Add the next rows, except those that the buffer would drop."""
        count = rows.shape[self._rows._axis]
        n_skipped = min(count, max(0, self._begin - self._next))
        start, self._next = self._next + n_skipped, self._next + count
        if start == self._next:
            return
        if self._target is None:
            self._target = self._room(rows)
        axis = self._rows._axis
        slot = self._target.narrow(axis, start - self._first, self._next - start)
        slot.copy_(rows.narrow(axis, n_skipped, count - n_skipped))

    def commit(self) -> None:
        """Put the rows in place; all `length` of them must be there."""
        assert self._next == self._length
        rows = self._rows
        rows.stop = self._length
        # New rows before `begin` were not written, so that older ones stand in their places.
        rows.known = self._begin if self._at < self._begin else min(rows.known, self._begin)
        if self._target is None:
            return
        if self._reuses():
            rows.slice(max(self._at, self._begin), self._length).copy_(self._target)
        else:
            rows._data, rows.first, rows.known = self._target, self._first, self._first
        self._target = None

    def _reuses(self) -> bool:
        rows = self._rows
        if rows._data is None:
            return False
        return rows.first <= self._begin and (
            self._length <= rows.first + rows._data.shape[rows._axis]
        )

    def _room(self, like: Tensor) -> Tensor:
        """A tensor for the new rows, of the shape of `like` except for their number."""
        rows = self._rows
        shape = list(like.shape)
        if self._reuses():
            self._first = max(self._at, self._begin)
            shape[rows._axis] = self._length - self._first
            return like.new_empty(shape)
        self._first = self._begin
        shape[rows._axis] = with_spare(self._length - self._begin)
        data = like.new_empty(shape)
        if self._begin < self._at and rows._data is not None:
            old_rows = rows.slice(self._begin, self._at)
            data.narrow(rows._axis, 0, self._at - self._begin).copy_(old_rows)
        return data


def with_spare(count: int) -> int:
    """The capacity of a new buffer for `count` rows: with it, appending copies each row rarely."""
    return count + min(count, max(SPARE, count // 8))
