"""Rows of tensors that are added to, replaced and cut off while a text is edited."""

from __future__ import annotations

from torch import Tensor

SPARE = 4096  # rows, at most, for which a buffer is given room; or an eighth of a longer one


class GrowableBuffer:
    """Rows along one axis, in a buffer that grows; of many only the last `keep`.

    They change by a `Draft`. Nothing does before it is committed, which cannot fail.
    """

    def __init__(self, axis: int = -2, keep: int | None = None) -> None:
        self._axis = axis
        self._keep = keep
        self._data: Tensor | None = None
        self.first = 0  # which row stands first in the buffer
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
        """To be `length` rows: those before `at` as they are, and others from there on."""
        return Draft(self, at, length)


class Draft:
    """Rows for a `GrowableBuffer`, from one row on, gathered before anything in it changes.

    Where the buffer has no room for them they are written into a new one, next to a copy of what
    stays; else beside it, to be copied when all are there. Either way each row is held but once
    more than it was.
    """

    def __init__(self, rows: GrowableBuffer, at: int, length: int) -> None:
        self._rows = rows
        self._begin = rows.begin(length)
        self._at = at
        self._length = length
        self._next = at  # the row that is added next
        self._target: Tensor | None = None
        self._first = 0  # which row stands first in the target

    def add(self, part: Tensor) -> None:
        """The next rows; those that are not to be kept are left out."""
        count = part.shape[self._rows._axis]
        skipped = min(count, max(0, self._begin - self._next))
        start, self._next = self._next + skipped, self._next + count
        if start == self._next:
            return
        if self._target is None:
            self._target = self._room(part)
        axis = self._rows._axis
        place = self._target.narrow(axis, start - self._first, self._next - start)
        place.copy_(part.narrow(axis, skipped, count - skipped))

    def commit(self) -> None:
        """Put the rows in place; all `length` of them must be there."""
        assert self._next == self._length
        rows = self._rows
        rows.stop = self._length
        if self._target is None:
            return
        if self._reuses():
            rows.slice(max(self._at, self._begin), self._length).copy_(self._target)
        else:
            rows._data, rows.first = self._target, self._first
        self._target = None

    def _reuses(self) -> bool:
        rows = self._rows
        if rows._data is None:
            return False
        return rows.first <= self._begin and (
            self._length <= rows.first + rows._data.shape[rows._axis]
        )

    def _room(self, part: Tensor) -> Tensor:
        """A tensor for the rows to come, shaped as `part` but for their number."""
        rows = self._rows
        shape = list(part.shape)
        if self._reuses():
            self._first = max(self._at, self._begin)
            shape[rows._axis] = self._length - self._first
            return part.new_empty(shape)
        self._first = self._begin
        shape[rows._axis] = with_spare(self._length - self._begin)
        data = part.new_empty(shape)
        if self._begin < self._at and rows._data is not None:
            kept = rows.slice(self._begin, self._at)
            data.narrow(rows._axis, 0, self._at - self._begin).copy_(kept)
        return data


def with_spare(count: int) -> int:
    """For how many rows a new buffer of `count` has room: appending copies each but a few times."""
    return count + min(count, max(SPARE, count // 8))
