"""From values to positions on a colour scale: linear, log or arcsinh.

A weak value is hard to see beside a strong one: after 20 tokens most heads still keep over half of
a token, so their decay looks flat, while one large retention weight hides all others. "log" and
"arcsinh" spread the small magnitudes out. Sign and order are kept by all three.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from retnet_viz.figures.base.captions import number

SCALES = ("linear", "log", "arcsinh")
_LOG_DECADES = 4.0  # a log scale ends at a ten-thousandth of the largest magnitude
_KNEE = 0.05  # arcsinh is near linear below this share of the largest magnitude


@dataclass(frozen=True)
class ColorScale:
    """A scale for magnitudes from `floor` to `limit`; signed ones from -limit to limit."""

    kind: str
    limit: float
    signed: bool
    floor: float = 0.0

    def position(self, values: np.ndarray) -> np.ndarray:
        """Where `values` lie on the colour scale: [0, 1], or [-1, 1] for signed values."""
        if self.kind == "linear" and self.signed and not self.floor:
            return np.asarray(np.clip(values / self.limit, -1, 1))  # as below, in two passes
        magnitude = np.abs(values) / self.limit
        if self.kind == "linear":
            low = self.floor / self.limit
            position = (magnitude - low) / (1 - low) if low < 1 else np.ones_like(magnitude)
        elif self.kind == "log":
            lowest = math.log10(self._log_floor() / self.limit)
            with np.errstate(divide="ignore"):
                position = 1 - np.log10(magnitude) / min(lowest, -1e-12)
        else:
            position = np.arcsinh(magnitude / _KNEE) / math.asinh(1 / _KNEE)
        position = np.clip(position, 0, 1)
        return np.asarray(np.copysign(position, values) if self.signed else position)

    def value(self, position: float) -> float:
        """The value at a position: the inverse of `position`, for the ticks of a legend."""
        share = abs(position)
        if self.kind == "linear":
            magnitude = self.floor + share * (self.limit - self.floor)
        elif self.kind == "log":
            magnitude = self.limit * (self._log_floor() / self.limit) ** (1 - share)
        else:
            magnitude = self.limit * _KNEE * math.sinh(share * math.asinh(1 / _KNEE))
        return math.copysign(magnitude, position)

    def _log_floor(self) -> float:
        return max(self.floor, self.limit * 10**-_LOG_DECADES)

    def ticks(self) -> list[tuple[float, str]]:
        """Positions of a legend's marks, and the values there as text."""
        positions = (-1.0, -0.5, 0.0, 0.5, 1.0) if self.signed else (0.0, 0.5, 1.0)
        middle = {0.0: "0"} if self.signed else {}
        return [
            (position, middle.get(position) or _tick_text(self.value(position)))
            for position in positions
        ]


def _tick_text(value: float) -> str:
    """Few digits as people write them: 0.15, 17, 1,160."""
    return number(value) if 100 <= abs(value) < 1e6 else f"{value:.2g}"


def color_scale(
    values: np.ndarray, kind: str, *, signed: bool, limit: float | None = None
) -> ColorScale:
    """The scale on which `values` are drawn: up to their largest magnitude, unless limited.

    A log scale of magnitudes starts at the smallest value above zero, so that a slow decay still
    uses all of its colours.
    """
    if kind not in SCALES:
        raise ValueError(f"scale must be one of {SCALES}, not {kind!r}")
    magnitude = np.abs(values)
    largest = limit if limit is not None else float(magnitude.max(initial=0.0))
    floor = 0.0
    if kind == "log" and not signed:
        floor = float(magnitude[magnitude > 0].min(initial=largest))
    return ColorScale(kind, largest or 1.0, signed, floor)


def raster(values: np.ndarray, scale: ColorScale, mask: np.ndarray | None = None) -> np.ndarray:
    """`values` as indices into a colour table: 1 .. 255, and 0 where `mask` is False. uint8.

    NaN is drawn as 0 is, or not at all.
    """
    position = scale.position(values)
    np.nan_to_num(position, copy=False)
    position *= 127 if scale.signed else 254
    position += 128 if scale.signed else 1
    indices = np.rint(position, out=position).astype(np.uint8)
    return indices if mask is None else np.asarray(indices * mask)
