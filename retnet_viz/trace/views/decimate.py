"""Curves over long texts, reduced to the points that a picture can show."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def decimate(values: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The points of a curve (T,) that a picture of `width` pixels can tell apart.

    Of each of at most `width` stretches of equal length the first, the smallest, the largest and
    the last point are kept, at their own positions, so that no spike is lost; in a stretch with
    NaN, which is a gap in the curve, the first NaN is kept instead of the first point. Returns
    positions (P,) int64, rising, and the values there; P <= 4 * width. All points if
    T <= 2 * width. Raises ValueError where the values are not a curve or the width is below 1.
    """
    if values.dim() != 1:
        raise ValueError(f"a curve has the shape (T,), not {tuple(values.shape)}")
    if width < 1:
        raise ValueError(f"a curve cannot be drawn {width} pixels wide")
    length = len(values)
    if length <= 2 * width:
        return torch.arange(length), values
    size = -(-length // width)
    starts = torch.arange(0, length, size)
    # The last stretch is filled up with its last value, whose first occurrence is found.
    fill = values[-1:].expand(-length % size)
    buckets = torch.cat((values, fill)).unflatten(0, (-1, size))
    gaps = buckets.isnan()
    lowest = buckets.masked_fill(gaps, math.inf).argmin(1)
    highest = buckets.masked_fill(gaps, -math.inf).argmax(1)
    first = gaps.int().argmax(1)  # 0 where there is no gap
    last = torch.full_like(first, size - 1)
    points = torch.stack((first, lowest, highest, last), dim=1) + starts[:, None]
    positions = points.clamp(max=length - 1).unique()
    return positions, values[positions]
