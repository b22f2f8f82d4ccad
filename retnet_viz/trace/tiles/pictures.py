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
from dataclasses import dataclass

import torch
from torch import Tensor

from retnet_viz.model.position import decay_matrix, decay_powers
from retnet_viz.trace.tiles.band import BLOCK, Band, Progress, round_down
from retnet_viz.trace.tiles.window import TILE, Window
from retnet_viz.trace.views.plane import Cell

KINDS = ("retention", "scores", "decay")
RESOLUTION = 1 / 254  # half a step of a linear signed scale of 255 colours, as raster() draws
TILES_KEPT = 128  # 32 MB


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
            shapes = f"{tuple(q.shape)} and {tuple(k.shape)}"
            raise ValueError(f"q and k must both have the shape (H, T, d_k), not {shapes}")
        if gamma.shape != q.shape[:1] or not bool(((gamma > 0) & (gamma <= 1)).all()):
            raise ValueError("gamma must hold one number in (0, 1] for each head")
        self.kind = kind
        self.gamma = gamma.detach().cpu().double()
        self.n_heads, self.length = q.shape[:2]
        self.max_cells = max_cells
        self.max_view_cells = max_view_cells
        self._q, self._k = q.detach().cpu(), k.detach().cpu()
        self._bands: dict[int, Band] = {}
        self._tiles: dict[tuple[int, int, int, int, float], tuple[Tensor, float]] = {}

    def prepare(
        self,
        head: int,
        limit: float | None = None,
        resolution: float = RESOLUTION,
        progress: Progress | None = None,
    ) -> None:
        """Compute once what all views of a head with this limit need. A second call does nothing.

        `progress(done, total)` is called now and then. What it raises ends the preparation, which
        leaves the plane as it was.
        """
        self._check_head(head)
        if self.kind == "decay":
            return
        band, steps = self._band(head), 0 if limit is not None else self.length

        def report_search(done: int, _: int) -> None:
            if progress is not None:
                progress(done, steps + self.length)

        def report_build(done: int, total: int) -> None:
            report_search(steps + done, total)

        limit = self.limit(head, report_search) if limit is None else _positive("limit", limit)
        threshold = round_down(limit * _positive("resolution", resolution))
        if band.cells(threshold) <= self.max_cells:
            band.pyramid(threshold, report_build)

    def peak(self, head: int, progress: Progress | None = None) -> float:
        """The largest magnitude of a head in the whole text, exact; computed once.

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
        index = int(magnitudes.masked_fill(n[:, None] < m, -1).argmax())
        return rows[index // len(cols)], cols[index % len(cols)]

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
        window = Window(_pixels(rows, pixel), _pixels(cols, pixel), pixel)
        rows, cols = (
            range(pixels.start * pixel, min(pixels.stop * pixel, self.length))
            for pixels in (window.rows, window.cols)
        )
        limit = self.limit(head) if limit is None else _positive("limit", limit)
        if self.kind == "decay":
            values, peak = window.finish(window.decay(self.gamma[head].item()), None)
            return View(values, rows, cols, pixel, limit, None, 0.0, peak, True)
        threshold = limit * _positive("resolution", resolution)
        lower = round_down(threshold)
        band = self._band(head)
        reach = band.reach(threshold)
        exact, fits = True, band.cells(lower) <= self.max_cells
        if fits and pixel >= band.base(lower):
            values, skipped_bound = band.pyramid(lower).read(window)
        elif fits or (pixel <= BLOCK and window.cells(reach, self.length) <= self.max_view_cells):
            values, skipped_bound = self._assemble(head, window, lower)
        else:
            values, skipped_bound, exact = band.ceilings(window), 0.0, False
        values, peak = window.finish(values, reach)
        bound = max(skipped_bound, band.tail(reach) if reach is not None else 0.0)
        return View(values, rows, cols, pixel, limit, reach, bound, peak, exact)

    def _assemble(self, head: int, window: Window, threshold: float) -> tuple[Tensor, float]:
        """Assemble a window from cached and new tiles; also gives the largest bound left out."""
        reach = self._band(head).reach(threshold)
        values = torch.zeros(len(window.rows), len(window.cols))
        skipped_bound = 0.0
        for i in range(window.rows.start // TILE, (window.rows.stop - 1) // TILE + 1):
            for j in range(window.cols.start // TILE, (window.cols.stop - 1) // TILE + 1):
                nearest = ((i - j) * TILE - TILE + 1) * window.pixel + 1 - window.pixel
                if i < j or (reach is not None and nearest >= reach):
                    continue
                tile, tile_bound = self._tile(head, i, j, window.pixel, threshold)
                to_rows, from_rows = _overlap(window.rows, i * TILE)
                to_cols, from_cols = _overlap(window.cols, j * TILE)
                values[to_rows, to_cols] = tile[from_rows, from_cols]
                skipped_bound = max(skipped_bound, tile_bound)
        return values, skipped_bound

    def _tile(
        self, head: int, i: int, j: int, pixel: int, threshold: float
    ) -> tuple[Tensor, float]:
        key = (head, i, j, pixel, threshold)
        tile = self._tiles.pop(key, None)
        if tile is None:
            tile = self._band(head).tile(i, j, pixel, threshold)
        self._tiles[key] = tile  # the most recently used stands last
        while len(self._tiles) > TILES_KEPT:
            del self._tiles[next(iter(self._tiles))]
        return tile

    def _band(self, head: int) -> Band:
        if head not in self._bands:
            gamma = 1.0 if self.kind == "scores" else self.gamma[head].item()
            self._bands[head] = Band(self._q[head].float(), self._k[head].float(), gamma)
        return self._bands[head]

    def _check_head(self, head: int) -> None:
        if not 0 <= head < self.n_heads:
            raise IndexError(f"head {head} is outside 0 .. {self.n_heads - 1}")


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
