"""The pixels of a picture of a plane, and their bounds, which need no cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from retnet_viz.model.position import decay_powers

TILE = 256  # height and width of a cached tile, pixels


@dataclass(frozen=True)
class Window:
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
        peak = magnitude(values)
        if self.cols.stop - 1 > self.rows.start:
            values += torch.full_like(values, math.nan).triu_(lag + 1)
        return values, peak


def magnitude(values: Tensor) -> float:
    """The largest magnitude."""
    low, high = torch.aminmax(values)
    return max(-low.item(), high.item())
