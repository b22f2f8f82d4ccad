"""Largest magnitudes of a plane's cells, pooled to pixels: from the finest picture to the coarsest.

The picture of largest magnitudes at 2p tokens a pixel follows from the one at p: see `Pyramid`.
Shapes: pixel (I, J) at p tokens a pixel holds the cells n = I*p .. I*p + p - 1 and
m = J*p .. J*p + p - 1.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from retnet_viz.trace.tiles.window import Window


class Pyramid:
    """Largest magnitudes, with their signs, at each resolution from `pixel` tokens a pixel on.

    A level (side, width + 1) holds the diagonals I - J = width .. 0 of the pixels I: column c of
    row I is pixel (I, I + c - width). Slots before the first pixel of a row are never read.
    """

    def __init__(self, threshold: float, pixel: int, base: Tensor, skipped_bound: float) -> None:
        self.threshold = threshold
        self.skipped_bound = skipped_bound
        self.levels = {pixel: base}  # rows of memory without gaps, which `read` relies on
        while len(base) > 1:
            pixel, base = 2 * pixel, _halve(base)
            self.levels[pixel] = base = base.contiguous()

    def read(self, window: Window) -> tuple[Tensor, float]:
        """The window's pixels; those above the diagonal and beyond the reach are undefined."""
        level = self.levels[window.pixel]
        side, width = len(level), level.shape[1] - 1
        # With this stride (I, J) stands where the level has it. Pixels off the band show others'
        # slots, but none outside the level.
        plane = level.as_strided((side, side), (width, 1), width)
        rows, cols = (slice(pixels.start, pixels.stop) for pixels in (window.rows, window.cols))
        return plane[rows, cols].clone(), self.skipped_bound


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
    quarters = (even[:, 1:stop:2], even[:, 2 : stop + 1 : 2], odd[:, 0:stop:2], odd[:, 1:stop:2])
    high = torch.maximum(torch.maximum(*quarters[:2]), torch.maximum(*quarters[2:]))
    low = torch.minimum(torch.minimum(*quarters[:2]), torch.minimum(*quarters[2:]))
    return _larger(high, low)


def interleave(cols: Tensor, pixel: int, factor: Tensor | None = None) -> Tensor:
    """cols (C, x), times factor (C, 1), in the order that `pool` needs: first of each pixel, ...

    Pixels are then pooled along whole rows of memory and not in steps of a few numbers.
    """
    cols = cols.unflatten(0, (-1, pixel)).transpose(0, 1)
    if factor is None:
        return cols.reshape(-1, cols.shape[-1])
    # Without `out` the product would keep the order of memory that `cols` has.
    product = cols.new_empty(cols.shape)
    torch.mul(cols, factor.unflatten(0, (-1, pixel)).transpose(0, 1), out=product)
    return product.flatten(0, 1)


def pool(cells: Tensor, pixel: int) -> Tensor:
    """(rows / pixel, cols / pixel), in each pixel the cell of largest magnitude.

    cells (rows, cols) with the columns as `interleave` puts them.
    """
    if pixel == 1:
        return cells
    rows = cells.unflatten(0, (-1, pixel))
    high = rows.amax(1).unflatten(1, (pixel, -1)).amax(1)
    low = rows.amin(1).unflatten(1, (pixel, -1)).amin(1)
    return _larger(high, low)


def _larger(high: Tensor, low: Tensor) -> Tensor:
    """The one of larger magnitude, where high >= low; high if equal."""
    return torch.maximum(high, -low).copysign_(high + low)  # several times as fast as where()
