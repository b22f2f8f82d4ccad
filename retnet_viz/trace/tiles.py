"""Pictures of the T x T plane of a long text, at the resolution of the screen.

A `Plane` gives any window of q_n.k_m * gamma**(n-m) (or of either factor) as a picture of at most
so many pixels: single cells at high zoom, and zoomed out the cell of largest magnitude in each
pixel, with its sign. No T x T array is ever built. Two things make that possible:

- |q_n.k_m| <= ||q_n|| ||k_m|| (Cauchy and Schwarz), so that gamma**(n-m) bounds every far cell.
  Beyond the `reach`, where the bound is under half a step of the colour scale, nothing is computed.
- The picture of largest magnitudes at 2p tokens a pixel follows from the one at p. The band within
  the reach is pooled once per head to a small base picture, and from there in pairs upwards: the
  pyramid. Only views finer than its base compute cells.

Shapes: T tokens, H heads, d_k the width of a head's queries and keys. A pixel (I, J) at p tokens a
pixel holds the cells n = I*p .. I*p + p - 1, m = J*p .. J*p + p - 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from retnet_viz.model.position import decay_matrix, decay_powers
from retnet_viz.trace.observables import Cell

KINDS = ("retention", "scores", "decay")
RESOLUTION = 1 / 254  # half a step of a linear signed scale of 255 colours, as raster() draws
STRIP = 256  # rows that are computed at once
BLOCK = 64  # columns that are left out together; the coarsest base of a pyramid
PIECE = 2**19  # cells computed at once: 2 MB, which stays in the cache
TILE = 256  # height and width of a cached tile, pixels
TILES_KEPT = 128  # 32 MB
BASE = 128  # numbers per token in the base of a pyramid: those of q and k, if d_k is 64
FINEST_BASE = 8  # tokens per pixel; finer views are cheap to compute
_SLACK = 1 + 1e-4  # on bounds, for the rounding of float32
_NOTHING = 1e-30  # smaller magnitudes are not looked for

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class View:
    """A picture of a window of the plane.

    values            (pixel rows, pixel columns) float32, signed. NaN: the pixel has no cell with
                      n >= m. 0: all its cells lie beyond the reach, or were left out (see `bound`)
    rows, cols        the tokens n and m that the picture covers
    tokens_per_pixel  the side of a pixel, a power of two; 1 means that the values are cells. The
                      last pixels hold fewer tokens where the text ends
    limit             the value at the end of the colour scale that decided what was left out
    reach             the distance n - m from which on nothing was computed; None: no such distance
    bound             no cell that was left out is larger in magnitude; below limit * resolution.
                      Values of at least this magnitude are those of the largest cell of the pixel
    peak              the largest magnitude in the picture
    exact             False: there were too many cells to compute. Then each value within the reach
                      is an upper bound of the magnitudes in its pixel, without a sign, from
                      max ||q_n|| max ||k_m|| gamma**(n-m): no cell is larger, and the largest may
                      be much smaller
    """

    values: Tensor
    rows: range
    cols: range
    tokens_per_pixel: int
    limit: float
    reach: int | None
    bound: float
    peak: float
    exact: bool


class Plane:
    """The plane of one layer: of "retention", its "scores" or its "decay".

    q, k (H, T, d_k) as in a trace; gamma (H,). Pictures are computed in float32 on the CPU, cells
    in the dtype of q. A head is prepared when it is first looked at; `prepare` does so ahead of
    time. Memory: q and k; for each head looked at up to 700 bytes a token, and a copy of its q and
    k where they are not float32 on the CPU; 32 MB of tiles; some pictures.

    Of a head whose band has more than `max_cells` cells (decay near 1, or scores, which do not
    decay) there is no pyramid: views give bounds instead of values (see `View.exact`) where their
    tiles have more than `max_view_cells` cells or their pixels more than 64 tokens. By default
    the first is some 12 s of computing on one core, and the second 0.25 s.

    One thread may use a plane at a time; while a `progress` function runs, another may. Raises
    ValueError where shapes do not fit, a gamma is outside (0, 1], the kind is unknown, or (when a
    head is first used) a number is not finite.
    """

    def __init__(
        self,
        q: Tensor,
        k: Tensor,
        gamma: Tensor,
        kind: str = "retention",
        *,
        max_cells: int = 2**32,
        max_view_cells: int = 2**26,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, not {kind!r}")
        if q.dim() != 3 or q.shape != k.shape or 0 in q.shape:
            found = f"{tuple(q.shape)} and {tuple(k.shape)}"
            raise ValueError(f"q and k must both have the shape (H, T, d_k), not {found}")
        if gamma.shape != q.shape[:1] or not bool(((gamma > 0) & (gamma <= 1)).all()):
            raise ValueError("gamma must hold one number in (0, 1] for each head")
        self.kind = kind
        self.gamma = gamma.detach().cpu().double()
        self.n_heads, self.length = q.shape[:2]
        self.max_cells = max_cells
        self.max_view_cells = max_view_cells
        self._q, self._k = q.detach().cpu(), k.detach().cpu()
        self._bands: dict[int, _Band] = {}
        self._tiles: dict[tuple[int, int, int, int, float], tuple[Tensor, float]] = {}

    def prepare(
        self,
        head: int,
        limit: float | None = None,
        resolution: float = RESOLUTION,
        progress: Progress | None = None,
    ) -> None:
        """Compute once what all views of a head with this limit need. Does nothing the next time.

        `progress(done, total)` is called now and then. What it raises ends the preparation, which
        leaves the plane as it was.
        """
        self._check_head(head)
        if self.kind == "decay":
            return
        band, steps = self._band(head), 0 if limit is not None else self.length

        def searching(done: int, _: int) -> None:
            if progress is not None:
                progress(done, steps + self.length)

        def building(done: int, total: int) -> None:
            searching(steps + done, total)

        limit = self.limit(head, searching) if limit is None else _positive("limit", limit)
        threshold = _round_down(limit * _positive("resolution", resolution))
        if band.cells(threshold) <= self.max_cells:
            band.pyramid(threshold, building)

    def peak(self, head: int, progress: Progress | None = None) -> float:
        """The largest magnitude of a head in the whole text, exact; found once.

        Where the plane does not decay this computes all T**2 / 2 cells. `progress` as in `prepare`.
        """
        self._check_head(head)
        return 1.0 if self.kind == "decay" else self._band(head).peak(progress)

    def limit(self, head: int, progress: Progress | None = None) -> float:
        """The end of a colour scale on which every cell of a head has its place.

        The peak, 1 where that is 0; or an upper bound of it, where it would take more than
        `max_cells` cells to find. `progress` as in `prepare`.
        """
        self._check_head(head)
        if self.kind == "decay":
            return 1.0
        band = self._band(head)
        if band.cells_to_peak() <= self.max_cells:
            return band.peak(progress) or 1.0
        return band.tail(0) or 1.0

    def largest(self, head: int, rows: range, cols: range) -> tuple[int, int] | None:
        """(n, m) of the cell of largest magnitude in a window; None if all its cells have m > n.

        Computes every cell of the window, which should be that of one pixel.
        """
        self._check_head(head)
        if rows.stop - 1 < cols.start:
            return None
        n, m = (torch.arange(tokens.start, tokens.stop) for tokens in (rows, cols))
        magnitudes = torch.ones(len(n), len(m), dtype=self._q.dtype)
        if self.kind != "decay":
            magnitudes = (self._q[head, n] @ self._k[head, m].mT).abs()
        if self.kind != "scores":
            gamma = self.gamma[head : head + 1]
            magnitudes *= decay_matrix(gamma, n, m, magnitudes.dtype)[0]
        place = int(magnitudes.masked_fill(n[:, None] < m, -1).argmax())
        return rows[place // len(cols)], cols[place % len(cols)]

    def cell(self, head: int, n: int, m: int) -> Cell:
        """The cell with which token n reads token m, taken apart. For m > n its weight is 0."""
        self._check_head(head)
        for position in (n, m):
            if not 0 <= position < self.length:
                raise IndexError(f"position {position} is outside a text of {self.length} tokens")
        score = torch.dot(self._q[head, n], self._k[head, m])
        gamma = self.gamma[head]
        distance = torch.tensor(max(0, n - m))
        decay = decay_powers(gamma[None], distance, self._q.dtype)[0] * (n >= m)
        return Cell(
            score=score.item(),
            gamma=gamma.item(),
            distance=n - m,
            decay=decay.item(),
            weight=(score * decay).item(),
        )

    def view(
        self,
        head: int,
        rows: range,
        cols: range,
        height: int,
        width: int,
        limit: float | None = None,
        resolution: float = RESOLUTION,
    ) -> View:
        """A picture of rows n and columns m of a head, of at most (height + 1, width + 1) pixels.

        The tokens per pixel are the smallest power of two p with which `rows` make at most `height`
        pixels and `cols` at most `width`. The window is then widened to multiples of p, by which it
        may gain a pixel in each direction; so p does not change while a window is only moved.

        `limit` is the value at the end of the colour scale, by default the peak of the head (or an
        upper bound of it, where the peak would take more than `max_cells` cells to find), and
        magnitudes under `limit * resolution` are drawn as 0 is. The default resolution is that of a
        linear scale; a scale that spreads small magnitudes out needs a smaller one.
        Raises ValueError where a range is empty, has a step or is not in the text, where there are
        no pixels, or where limit or resolution is not above 0.
        """
        self._check_head(head)
        for name, tokens in (("rows", rows), ("cols", cols)):
            if tokens.step != 1 or not 0 <= tokens.start < tokens.stop <= self.length:
                raise ValueError(f"{name} must lie in range(0, {self.length}), not {tokens}")
        if height < 1 or width < 1:
            raise ValueError(f"a picture of {height} x {width} pixels shows nothing")
        pixel = 1
        while len(rows) > height * pixel or len(cols) > width * pixel:
            pixel *= 2
        window = _Window(_pixels(rows, pixel), _pixels(cols, pixel), pixel)
        rows, cols = (
            range(pixels.start * pixel, min(pixels.stop * pixel, self.length))
            for pixels in (window.rows, window.cols)
        )
        used = self.limit(head) if limit is None else _positive("limit", limit)
        if self.kind == "decay":
            values, peak = window.finish(window.decay(self.gamma[head].item()), None)
            return View(values, rows, cols, pixel, used, None, 0.0, peak, True)
        threshold = used * _positive("resolution", resolution)
        lower = _round_down(threshold)
        band = self._band(head)
        reach = band.reach(threshold)
        exact, few = True, band.cells(lower) <= self.max_cells
        if few and pixel >= band.base(lower):
            values, skipped = band.pyramid(lower).read(window)
        elif few or (pixel <= BLOCK and window.cells(reach, self.length) <= self.max_view_cells):
            values, skipped = self._tiled(head, window, lower)
        else:
            values, skipped, exact = band.ceilings(window), 0.0, False
        values, peak = window.finish(values, reach)
        bound = max(skipped, band.tail(reach) if reach is not None else 0.0)
        return View(values, rows, cols, pixel, used, reach, bound, peak, exact)

    def _tiled(self, head: int, window: _Window, threshold: float) -> tuple[Tensor, float]:
        """A window put together of tiles, new ones and kept ones; and what they left out."""
        reach = self._band(head).reach(threshold)
        values = torch.zeros(len(window.rows), len(window.cols))
        skipped = 0.0
        for i in range(window.rows.start // TILE, (window.rows.stop - 1) // TILE + 1):
            for j in range(window.cols.start // TILE, (window.cols.stop - 1) // TILE + 1):
                nearest = ((i - j) * TILE - TILE + 1) * window.pixel + 1 - window.pixel
                if i < j or (reach is not None and nearest >= reach):
                    continue
                tile, left_out = self._tile(head, i, j, window.pixel, threshold)
                to_rows, from_rows = _overlap(window.rows, i * TILE)
                to_cols, from_cols = _overlap(window.cols, j * TILE)
                values[to_rows, to_cols] = tile[from_rows, from_cols]
                skipped = max(skipped, left_out)
        return values, skipped

    def _tile(
        self, head: int, i: int, j: int, pixel: int, threshold: float
    ) -> tuple[Tensor, float]:
        key = (head, i, j, pixel, threshold)
        made = self._tiles.pop(key, None)
        if made is None:
            made = self._band(head).tile(i, j, pixel, threshold)
        self._tiles[key] = made  # the last one used stands last
        while len(self._tiles) > TILES_KEPT:
            del self._tiles[next(iter(self._tiles))]
        return made

    def _band(self, head: int) -> _Band:
        if head not in self._bands:
            gamma = 1.0 if self.kind == "scores" else self.gamma[head].item()
            self._bands[head] = _Band(self._q[head].float(), self._k[head].float(), gamma)
        return self._bands[head]

    def _check_head(self, head: int) -> None:
        if not 0 <= head < self.n_heads:
            raise IndexError(f"head {head} is outside 0 .. {self.n_heads - 1}")


@dataclass(frozen=True)
class _Window:
    """The pixels I and J of a picture at `pixel` tokens a pixel."""

    rows: range
    cols: range
    pixel: int

    def cells(self, reach: int | None, length: int) -> int:
        """How many cells of the band lie in the window's tiles, about: by whole pixels."""
        end, band = -(-length // self.pixel), self.diagonals(reach)
        rows, cols = (
            range(x.start // TILE * TILE, min(-(-x.stop // TILE) * TILE, end))
            for x in (self.rows, self.cols)
        )
        first, last = cols.start, cols.stop - 1
        pixels = sum(max(0, min(i, last) - max(first, i - band) + 1) for i in rows)
        return pixels * self.pixel**2

    def diagonals(self, reach: int | None) -> int:
        """The largest I - J of a pixel that has a cell nearer than the reach."""
        if reach is None:
            return self.rows.stop
        return (reach + self.pixel - 2) // self.pixel

    def decay(self, gamma: float) -> Tensor:
        """(rows, cols), gamma to the smallest distance in each pixel, 1 above the diagonal too."""
        height, width = len(self.rows), len(self.cols)
        lag = torch.arange(
            self.rows.stop - self.cols.start - 1, self.rows.start - self.cols.stop, -1
        )
        nearest = (lag * self.pixel - self.pixel + 1).clamp(min=0)
        powers = decay_powers(torch.tensor([gamma], dtype=torch.float64), nearest, torch.float32)[0]
        return powers.as_strided((height, width), (1, 1)).flip(0)

    def finish(self, values: Tensor, reach: int | None) -> tuple[Tensor, float]:
        """`values` with 0 beyond the reach and NaN above the diagonal; and the largest magnitude.

        Written in place.
        """
        lag = self.rows.start - self.cols.start
        values.tril_(lag)
        if reach is not None:
            values.triu_(lag - self.diagonals(reach))
        peak = _magnitude(values)
        if self.cols.stop - 1 > self.rows.start:
            values += torch.full_like(values, math.nan).triu_(lag + 1)
        return values, peak


class _Band:
    """One head of a plane: its q and k (T, d_k) float32, and what is prepared of them.

    What can be seen lies in a band along the diagonal. It is computed by strips of rows: a strip's
    columns left of its first row a, and the square on the diagonal. To the left,
    gamma**(n-m) = gamma**(n-a) * gamma**(a-m) with both exponents >= 0, so that it can be
    multiplied into q and k (with a negative exponent one factor would overflow) and costs nothing
    per cell.
    """

    def __init__(self, q: Tensor, k: Tensor, gamma: float) -> None:
        self.q, self.k = q, k
        self.length = len(q)
        self.padded = -(-self.length // STRIP) * STRIP
        self.log_gamma = math.log(gamma)
        self.gamma = torch.tensor([gamma], dtype=torch.float64)
        # gamma**padded .. gamma**0: ascending, as the columns of a row are.
        self.powers = self._powers(torch.arange(self.padded, -1, -1))
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
            _largest(self.k_norm, BLOCK), (0, self.padded // BLOCK - -(-self.length // BLOCK))
        )
        self._reach: dict[float, int | None] = {}
        self._cells: dict[float, int] = {}
        self._near_peak: float | None = None
        self._peak: float | None = None
        self._pyramid: _Pyramid | None = None

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
        place = self.padded - row  # of column 0's power in self.powers
        powers = self.powers[place + start + BLOCK - 1 : place + stop : BLOCK]
        blocks = self.k_blocks[start // BLOCK : stop // BLOCK]
        return blocks * powers * self.q_strips[row // STRIP]

    def cells(self, threshold: float) -> int:
        """How many cells a pyramid for this threshold has to compute (no fewer than that)."""
        width = (self.reach(threshold) or self.length) + STRIP + BLOCK
        if self.length * width <= 2**30:
            return self.length * width
        if threshold not in self._cells:
            blocks = 0
            for row in range(0, self.padded, STRIP):
                bounds = self._block_bounds(row, self._start(row, threshold), row)
                blocks += int((bounds >= threshold).sum())
            self._cells[threshold] = blocks * STRIP * BLOCK + self.padded * STRIP
        return self._cells[threshold]

    # -- cells, pooled to pixels --------------------------------------------------------------

    def _square(self, row: int, pixel: int) -> Tensor:
        """(STRIP / pixel, STRIP / pixel), the square of the strip at `row` on the diagonal."""
        decay = _interleave(self.square_decay.mT, pixel).mT
        rows, cols = (_stretch(x, row, row + STRIP) for x in (self.q, self.k))
        return _pool((rows @ _interleave(cols, pixel).mT) * decay, pixel)

    def _left(
        self, row: int, start: int, stop: int, pixel: int, threshold: float
    ) -> tuple[Tensor, float]:
        """(STRIP / pixel, (stop - start) / pixel), columns start .. stop, which end before `row`.

        Blocks whose bound is under the threshold are left out (0). Also gives the largest bound of
        those. start and stop are multiples of BLOCK.
        """
        bounds = self._block_bounds(row, start, stop)
        kept = (bounds >= threshold).nonzero()[:, 0]
        values = torch.zeros(STRIP // pixel, len(bounds), BLOCK // pixel)
        if len(kept):
            first, last = int(kept[0]), int(kept[-1])
            if last - first < 1.5 * len(kept):  # computing a few more is cheaper than picking
                chosen: slice | Tensor = slice(first, last + 1)
            else:
                chosen = kept
            place = self.padded - row
            powers = self.powers[place + start : place + stop, None]
            cols, powers = (
                x.unflatten(0, (-1, BLOCK))[chosen].flatten(0, 1)
                for x in (self.k[start:stop], powers)
            )
            rows = _stretch(self.q, row, row + STRIP) * self.row_decay
            pooled = _pool(rows @ _interleave(cols, pixel, powers).mT, pixel)
            values[:, chosen] = pooled.unflatten(1, (-1, BLOCK // pixel))
            bounds[chosen] = 0
        return values.flatten(1), bounds.max().item()

    def tile(self, i: int, j: int, pixel: int, threshold: float) -> tuple[Tensor, float]:
        """(TILE, TILE), pixels from (i * TILE, j * TILE) on; and the largest bound left out.

        Pixels above the diagonal and beyond the text are 0; `pixel` divides BLOCK.
        """
        values = torch.zeros(TILE, TILE)
        skipped = 0.0
        top, first, side = i * TILE * pixel, j * TILE * pixel, TILE * pixel
        for row in range(top, min(top + side, self.padded), STRIP):
            band = values[(row - top) // pixel : (row - top + STRIP) // pixel]
            begin, end = max(first, self._start(row, threshold)), min(first + side, row)
            for start, stop in _pieces(begin, end):
                part, left_out = self._left(row, start, stop, pixel, threshold)
                band[:, (start - first) // pixel : (stop - first) // pixel] = part
                skipped = max(skipped, left_out)
            if first <= row < first + side:
                part = self._square(row, pixel)
                band[:, (row - first) // pixel : (row - first + STRIP) // pixel] = part
        return values, skipped

    def ceilings(self, window: _Window) -> Tensor:
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
            found = 0.0
            for row in range(0, self.padded, STRIP):
                found = max(found, _magnitude(self._square(row, 1)))
            self._near_peak = found
        return self._near_peak

    def cells_to_peak(self) -> int:
        """How many cells `peak` has to compute at most; 0 where it is known."""
        return 0 if self._peak is not None else self.cells(max(self.near_peak(), _NOTHING))

    def peak(self, progress: Progress | None = None) -> float:
        """The largest magnitude of all cells.

        A block is left out if its bound is under the largest magnitude found so far. That is at
        most the peak, so that no cell left out is the peak: what is found in the end is. The
        squares on the diagonal go first, since the largest cells are usually near it; then few
        blocks are left.
        """
        if self._peak is None:
            found = self.near_peak()
            for row in range(0, self.padded, STRIP):
                if progress is not None:
                    progress(row, self.length)
                # From the first value found: to look at more bounds costs less than to search for
                # the reach again.
                begin = self._start(row, max(self.near_peak(), _NOTHING))
                for start, stop in _pieces(begin, row):
                    part, _ = self._left(row, start, stop, BLOCK, max(found, _NOTHING))
                    found = max(found, _magnitude(part))
            self._peak = found
        return self._peak

    # -- the pyramid --------------------------------------------------------------------------

    def pyramid(self, threshold: float, progress: Progress | None = None) -> _Pyramid:
        """The pyramid of all cells that may come up to the threshold; kept, and used for higher."""
        if self._pyramid is None or self._pyramid.threshold > threshold:
            self._pyramid = self._build(threshold, progress)
        return self._pyramid

    def _build(self, threshold: float, progress: Progress | None) -> _Pyramid:
        pixel = self.base(threshold)
        side, per_strip, margin = self.padded // pixel, STRIP // pixel, BLOCK // pixel
        reach = self.reach(threshold) or self.padded
        width = min(side - 1, (reach + pixel - 2) // pixel)
        band = torch.zeros(side, width + 1)
        skipped = 0.0
        for row in range(0, self.padded, STRIP):
            if progress is not None:
                progress(row, self.length)
            strip = torch.zeros(per_strip, margin + width + per_strip)
            first = row // pixel - width - margin  # the strip's first column, pixels
            for start, stop in _pieces(self._start(row, threshold), row):
                part, left_out = self._left(row, start, stop, pixel, threshold)
                strip[:, start // pixel - first : stop // pixel - first] = part
                skipped = max(skipped, left_out)
            strip[:, row // pixel - first :] = self._square(row, pixel)
            # Each row of pixels one further to the right: from columns J to diagonals I - J.
            band[row // pixel : row // pixel + per_strip] = strip.as_strided(
                (per_strip, width + 1), (strip.shape[1] + 1, 1), margin
            )
        return _Pyramid(threshold, pixel, band, skipped)


class _Pyramid:
    """Largest magnitudes, with their signs, at each resolution from `pixel` tokens a pixel on.

    A level (side, width + 1) holds the diagonals I - J = width .. 0 of the pixels I: column c of
    row I is pixel (I, I + c - width). Slots before the first pixel of a row are never read.
    """

    def __init__(self, threshold: float, pixel: int, base: Tensor, skipped: float) -> None:
        self.threshold = threshold
        self.skipped = skipped
        self.levels = {pixel: base}  # rows of memory without gaps, which `read` relies on
        while len(base) > 1:
            pixel, base = 2 * pixel, _halve(base)
            self.levels[pixel] = base = base.contiguous()

    def read(self, window: _Window) -> tuple[Tensor, float]:
        """The window's pixels; above the diagonal and beyond the reach anything may stand."""
        level = self.levels[window.pixel]
        side, width = len(level), level.shape[1] - 1
        # With this stride (I, J) stands where the level has it. Pixels off the band show others'
        # slots, but none outside the level.
        plane = level.as_strided((side, side), (width, 1), width)
        rows, cols = (slice(pixels.start, pixels.stop) for pixels in (window.rows, window.cols))
        return plane[rows, cols].clone(), self.skipped


def _halve(level: Tensor) -> Tensor:
    """The next level of a pyramid: pixels of 2 x 2.

    Pixel (I, J) holds (2I, 2J) and (2I + 1, 2J + 1) on the diagonal 2(I - J), and beside it
    (2I + 1, 2J) on the one before and (2I, 2J + 1) on the one after, which is empty if I = J.
    """
    side, last = len(level), level.shape[1] - 1
    width = min((last + 1) // 2, (side + 1) // 2 - 1)
    wide = pad(level, (2 * width + 1 - last, 1, 0, side % 2))  # diagonals 2 * width + 1 .. -1
    even, odd = wide[0::2], wide[1::2]
    stop = 2 * width + 2
    parts = (even[:, 1:stop:2], even[:, 2 : stop + 1 : 2], odd[:, 0:stop:2], odd[:, 1:stop:2])
    high = torch.maximum(torch.maximum(*parts[:2]), torch.maximum(*parts[2:]))
    low = torch.minimum(torch.minimum(*parts[:2]), torch.minimum(*parts[2:]))
    return _larger(high, low)


def _interleave(cols: Tensor, pixel: int, factor: Tensor | None = None) -> Tensor:
    """cols (C, x), times factor (C, 1), in the order that `_pool` wants: first of each pixel, ...

    Pixels are then pooled along whole rows of memory and not in steps of a few numbers.
    """
    cols = cols.unflatten(0, (-1, pixel)).transpose(0, 1)
    if factor is None:
        return cols.reshape(-1, cols.shape[-1])
    # Without `out` the product would keep the order of memory that `cols` has.
    ordered = cols.new_empty(cols.shape)
    torch.mul(cols, factor.unflatten(0, (-1, pixel)).transpose(0, 1), out=ordered)
    return ordered.flatten(0, 1)


def _pool(cells: Tensor, pixel: int) -> Tensor:
    """(rows / pixel, cols / pixel), in each pixel the cell of largest magnitude.

    cells (rows, cols) with the columns as `_interleave` puts them.
    """
    if pixel == 1:
        return cells
    rows = cells.unflatten(0, (-1, pixel))
    high = rows.amax(1).unflatten(1, (pixel, -1)).amax(1)
    low = rows.amin(1).unflatten(1, (pixel, -1)).amin(1)
    return _larger(high, low)


def _larger(high: Tensor, low: Tensor) -> Tensor:
    """Whichever is larger in magnitude, where high >= low; high if equal."""
    return torch.maximum(high, -low).copysign_(high + low)  # several times as fast as where()


def _magnitude(values: Tensor) -> float:
    """The largest magnitude."""
    low, high = torch.aminmax(values)
    return max(-low.item(), high.item())


def _largest(values: Tensor, size: int) -> Tensor:
    """The largest of each `size` values, which are not negative."""
    largest: Tensor = pad(values, (0, -len(values) % size)).unflatten(0, (-1, size)).amax(1)
    return largest


def _stretch(x: Tensor, start: int, stop: int) -> Tensor:
    """Tokens start .. stop - 1 of x (T, d_k), with zeros after the end of the text."""
    part = x[start:stop]
    return part if len(part) == stop - start else pad(part, (0, 0, 0, stop - start - len(part)))


def _pieces(start: int, stop: int) -> list[tuple[int, int]]:
    """start .. stop - 1 in stretches of columns that a strip can be computed for at once."""
    size = PIECE // STRIP
    return [(first, min(first + size, stop)) for first in range(start, stop, size)]


def _pixels(tokens: range, pixel: int) -> range:
    """The pixels that hold any of the tokens."""
    return range(tokens.start // pixel, -(-tokens.stop // pixel))


def _overlap(pixels: range, first: int) -> tuple[slice, slice]:
    """Where `pixels` and the tile from `first` on overlap: as a slice of each."""
    start, stop = max(pixels.start, first), min(pixels.stop, first + TILE)
    return slice(start - pixels.start, stop - pixels.start), slice(start - first, stop - first)


def _positive(name: str, value: float) -> float:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be above 0, not {value}")
    return float(value)


def _round_down(threshold: float) -> float:
    """To a power of two, so that what is kept serves while a limit is changed little by little."""
    return 2.0 ** math.floor(math.log2(threshold))
