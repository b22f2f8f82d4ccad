"""One head of a plane, near its diagonal: the visible part, and its cells pooled to pixels.

Beyond the `reach`, where ||q_n|| ||k_m|| gamma**(n-m) is under half a step of the colour scale,
nothing is computed; blocks of columns whose bound is under it are left out.

Shapes: T tokens, d_k the width of a head's queries and keys; pixels as in `pyramid`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from retnet_viz.model.position import decay_powers
from retnet_viz.trace.tiles.pyramid import Pyramid, interleave, pool
from retnet_viz.trace.tiles.window import TILE, Window, magnitude

STRIP = 256  # rows that are computed at once
BLOCK = 64  # columns that are left out together; the coarsest base of a pyramid
PIECE = 2**19  # cells computed at once: 2 MB, which stays in the cache
BASE = 128  # numbers per token in the base of a pyramid: those of q and k, if d_k is 64
FINEST_BASE = 8  # tokens per pixel; finer views are cheap to compute
_SLACK = 1 + 1e-4  # on bounds, for the rounding of float32
_NOTHING = 1e-30  # smaller magnitudes are ignored

Progress = Callable[[int, int], None]


class Band:
    """One head of a plane: its q and k (T, d_k) float32, and what is computed from them once.

    What can be seen lies in a band along the diagonal. It is computed by strips of rows: a strip's
    columns left of its first row a, and the square on the diagonal. To the left,
    gamma**(n-m) = gamma**(n-a) * gamma**(a-m) with both exponents >= 0, so that it can be
    multiplied into q and k (with a negative exponent one factor would overflow) and costs nothing
    per cell.
    """

    def __init__(self, q: Tensor, k: Tensor, gamma: float) -> None:
        self.q, self.k = q, k
        self.length = len(q)
        self.padded_length = -(-self.length // STRIP) * STRIP
        self.log_gamma = math.log(gamma)
        self.gamma = torch.tensor([gamma], dtype=torch.float64)
        # gamma**padded_length .. gamma**0: ascending, as the columns of a row are.
        self.powers = self._powers(torch.arange(self.padded_length, -1, -1))
        self.row_decay = self._powers(torch.arange(STRIP))[:, None]
        lag = torch.arange(STRIP)[:, None] - torch.arange(STRIP)
        self.square_decay = self._powers(lag.clamp(min=0)).tril()
        self.q_norm = torch.linalg.vector_norm(q, dim=1) * _SLACK
        self.k_norm = torch.linalg.vector_norm(k, dim=1)
        if not bool(torch.isfinite(self.q_norm.max() * self.k_norm.max())):
            raise ValueError("q and k must be finite, and their products too")
        self.largest_k_before: Tensor = torch.cummax(self.k_norm, 0).values
        self.q_strips = _largest(self.q_norm, STRIP)
        self.k_blocks = pad(
            _largest(self.k_norm, BLOCK),
            (0, self.padded_length // BLOCK - -(-self.length // BLOCK)),
        )
        self._reach: dict[float, int | None] = {}
        self._cells: dict[float, int] = {}
        self._near_peak: float | None = None
        self._peak: float | None = None
        self._pyramid: Pyramid | None = None

    def _powers(self, exponents: Tensor) -> Tensor:
        return decay_powers(self.gamma, exponents, torch.float32)[0]

    # -- what need not be computed ------------------------------------------------------------

    def tail(self, distance: int) -> float:
        """No cell with n - m >= distance is larger: max ||q_n|| ||k_m|| gamma**distance over them.

        Never rises with the distance.
        """
        if distance >= self.length:
            return 0.0
        products = self.q_norm[distance:] * self.largest_k_before[: self.length - distance]
        largest: float = products.max().item()
        return largest * math.exp(distance * self.log_gamma)

    def reach(self, threshold: float) -> int | None:
        """The smallest distance >= 1 from which on no cell comes up to the threshold."""
        if threshold not in self._reach:
            low, high = 1, self.length
            while low < high:
                middle = (low + high) // 2
                low, high = (low, middle) if self.tail(middle) < threshold else (middle + 1, high)
            self._reach[threshold] = low if low < self.length else None
        return self._reach[threshold]

    def base(self, threshold: float) -> int:
        """Tokens per pixel of the pyramid's base: as fine as fits into 4 * BASE bytes a token."""
        if self._pyramid is not None and self._pyramid.threshold <= threshold:
            return min(self._pyramid.levels)
        width = (self.reach(threshold) or self.length) + BLOCK
        pixel = FINEST_BASE
        while pixel < BLOCK and width > BASE * pixel**2:
            pixel *= 2
        return pixel

    def _start(self, row: int, threshold: float) -> int:
        """The first column, a multiple of BLOCK, within the reach of the strip at `row`."""
        reach = self.reach(threshold)
        return 0 if reach is None else max(0, row - reach + 1) // BLOCK * BLOCK

    def _block_bounds(self, row: int, start: int, stop: int) -> Tensor:
        """(blocks,): no cell of the strip at `row` in a block of columns start .. stop is larger.

        The columns lie left of the strip; a block's last one is the nearest.
        """
        offset = self.padded_length - row  # of column 0's power in self.powers
        powers = self.powers[offset + start + BLOCK - 1 : offset + stop : BLOCK]
        blocks = self.k_blocks[start // BLOCK : stop // BLOCK]
        return blocks * powers * self.q_strips[row // STRIP]

    def cells(self, threshold: float) -> int:
        """How many cells a pyramid for this threshold has to compute (no fewer than that)."""
        width = (self.reach(threshold) or self.length) + STRIP + BLOCK
        if self.length * width <= 2**30:
            return self.length * width
        if threshold not in self._cells:
            blocks = 0
            for row in range(0, self.padded_length, STRIP):
                bounds = self._block_bounds(row, self._start(row, threshold), row)
                blocks += int((bounds >= threshold).sum())
            self._cells[threshold] = blocks * STRIP * BLOCK + self.padded_length * STRIP
        return self._cells[threshold]

    # -- cells, pooled to pixels --------------------------------------------------------------

    def _square(self, row: int, pixel: int) -> Tensor:
        """(STRIP / pixel, STRIP / pixel), the square of the strip at `row` on the diagonal."""
        decay = interleave(self.square_decay.mT, pixel).mT
        rows, cols = (_stretch(x, row, row + STRIP) for x in (self.q, self.k))
        return pool((rows @ interleave(cols, pixel).mT) * decay, pixel)

    def _left_columns(
        self, row: int, start: int, stop: int, pixel: int, threshold: float
    ) -> tuple[Tensor, float]:
        """(STRIP / pixel, (stop - start) / pixel), columns start .. stop, which end before `row`.

        Blocks whose bound is under the threshold are left out (0); the largest bound of those is
        the second result. start and stop are multiples of BLOCK.
        """
        bounds = self._block_bounds(row, start, stop)
        blocks = (bounds >= threshold).nonzero()[:, 0]
        values = torch.zeros(STRIP // pixel, len(bounds), BLOCK // pixel)
        if len(blocks):
            first, last = int(blocks[0]), int(blocks[-1])
            if last - first < 1.5 * len(blocks):  # computing a few more is cheaper than picking
                selection: slice | Tensor = slice(first, last + 1)
            else:
                selection = blocks
            offset = self.padded_length - row
            powers = self.powers[offset + start : offset + stop, None]
            cols, powers = (
                x.unflatten(0, (-1, BLOCK))[selection].flatten(0, 1)
                for x in (self.k[start:stop], powers)
            )
            rows = _stretch(self.q, row, row + STRIP) * self.row_decay
            pixels = pool(rows @ interleave(cols, pixel, powers).mT, pixel)
            values[:, selection] = pixels.unflatten(1, (-1, BLOCK // pixel))
            bounds[selection] = 0
        return values.flatten(1), bounds.max().item()

    def tile(self, i: int, j: int, pixel: int, threshold: float) -> tuple[Tensor, float]:
        """(TILE, TILE), pixels from (i * TILE, j * TILE) on; and the largest bound left out.

        Pixels above the diagonal and beyond the text are 0; `pixel` divides BLOCK.
        """
        values = torch.zeros(TILE, TILE)
        skipped_bound = 0.0
        top, first, side = i * TILE * pixel, j * TILE * pixel, TILE * pixel
        for row in range(top, min(top + side, self.padded_length), STRIP):
            band = values[(row - top) // pixel : (row - top + STRIP) // pixel]
            begin, end = max(first, self._start(row, threshold)), min(first + side, row)
            for start, stop in _pieces(begin, end):
                part, part_bound = self._left_columns(row, start, stop, pixel, threshold)
                band[:, (start - first) // pixel : (stop - first) // pixel] = part
                skipped_bound = max(skipped_bound, part_bound)
            if first <= row < first + side:
                part = self._square(row, pixel)
                band[:, (row - first) // pixel : (row - first + STRIP) // pixel] = part
        return values, skipped_bound

    def ceilings(self, window: Window) -> Tensor:
        """(rows, cols), for each pixel a bound of the magnitudes of its cells."""
        p = window.pixel
        rows, cols = (
            _largest(norms[pixels.start * p : pixels.stop * p], p)
            for norms, pixels in ((self.q_norm, window.rows), (self.k_norm, window.cols))
        )
        return window.decay(math.exp(self.log_gamma)).mul_(rows[:, None]).mul_(cols)

    # -- the largest magnitude ----------------------------------------------------------------

    def near_peak(self) -> float:
        """The largest magnitude in the squares on the diagonal: a lower bound of the peak."""
        if self._near_peak is None:
            largest = 0.0
            for row in range(0, self.padded_length, STRIP):
                largest = max(largest, magnitude(self._square(row, 1)))
            self._near_peak = largest
        return self._near_peak

    def cells_to_peak(self) -> int:
        """How many cells `peak` has to compute at most; 0 where it is known."""
        return 0 if self._peak is not None else self.cells(max(self.near_peak(), _NOTHING))

    def peak(self, progress: Progress | None = None) -> float:
        """The largest magnitude of all cells.

        A block is left out if its bound is under the largest magnitude so far. That is at most the
        peak, so no cell of that block can be the peak. The squares on the diagonal go first: the
        largest cells are usually near it, and then few blocks remain.
        """
        if self._peak is None:
            largest = self.near_peak()
            for row in range(0, self.padded_length, STRIP):
                if progress is not None:
                    progress(row, self.length)
                # From the first value found: to look at more bounds costs less than to search for
                # the reach again.
                begin = self._start(row, max(self.near_peak(), _NOTHING))
                for start, stop in _pieces(begin, row):
                    part, _ = self._left_columns(row, start, stop, BLOCK, max(largest, _NOTHING))
                    largest = max(largest, magnitude(part))
            self._peak = largest
        return self._peak

    # -- the pyramid --------------------------------------------------------------------------

    def pyramid(self, threshold: float, progress: Progress | None = None) -> Pyramid:
        """The pyramid of all cells that may reach the threshold; cached for higher ones too."""
        if self._pyramid is None or self._pyramid.threshold > threshold:
            self._pyramid = self._build(threshold, progress)
        return self._pyramid

    def _build(self, threshold: float, progress: Progress | None) -> Pyramid:
        pixel = self.base(threshold)
        side, per_strip, margin = self.padded_length // pixel, STRIP // pixel, BLOCK // pixel
        reach = self.reach(threshold) or self.padded_length
        width = min(side - 1, (reach + pixel - 2) // pixel)
        band = torch.zeros(side, width + 1)
        skipped_bound = 0.0
        for row in range(0, self.padded_length, STRIP):
            if progress is not None:
                progress(row, self.length)
            strip = torch.zeros(per_strip, margin + width + per_strip)
            first = row // pixel - width - margin  # the strip's first column, pixels
            for start, stop in _pieces(self._start(row, threshold), row):
                part, part_bound = self._left_columns(row, start, stop, pixel, threshold)
                strip[:, start // pixel - first : stop // pixel - first] = part
                skipped_bound = max(skipped_bound, part_bound)
            strip[:, row // pixel - first :] = self._square(row, pixel)
            # Each row of pixels one further to the right: from columns J to diagonals I - J.
            band[row // pixel : row // pixel + per_strip] = strip.as_strided(
                (per_strip, width + 1), (strip.shape[1] + 1, 1), margin
            )
        return Pyramid(threshold, pixel, band, skipped_bound)


def _largest(values: Tensor, size: int) -> Tensor:
    """The largest of each `size` values; the values are not negative."""
    largest: Tensor = pad(values, (0, -len(values) % size)).unflatten(0, (-1, size)).amax(1)
    return largest


def _stretch(x: Tensor, start: int, stop: int) -> Tensor:
    """Tokens start .. stop - 1 of x (T, d_k), with zeros after the end of the text."""
    part = x[start:stop]
    return part if len(part) == stop - start else pad(part, (0, 0, 0, stop - start - len(part)))


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """Split columns start .. stop - 1 into stretches that a strip can compute at once."""
    size = PIECE // STRIP
    return [(first, min(first + size, stop)) for first in range(start, stop, size)]


def round_down(threshold: float) -> float:
    """Round to a power of two, so that the cache stays valid while a limit changes a little."""
    return 2.0 ** math.floor(math.log2(threshold))
