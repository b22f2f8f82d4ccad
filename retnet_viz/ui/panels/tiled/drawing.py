"""The planes of some heads as they are drawn: one colour scale, and pictures of any window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from retnet_viz.figures.base.scale import ColorScale, color_scale, raster
from retnet_viz.figures.reading.planes import SIGNED
from retnet_viz.trace.tiles.pictures import RESOLUTION, Plane, View
from retnet_viz.ui.panels.tiled.tiled_captions import Pieces, note, token_names

MOST_SIDE = 1024  # height and width of a head's picture at most, pixels
MOST_PIXELS = 2**21  # of the pictures of all heads together


@dataclass
class Drawing:
    """What `show` was given, and what is prepared of it so far."""

    plane: Plane
    heads: list[int]
    scale: str
    pieces: Pieces | None
    meta: dict[str, Any]
    colors: ColorScale | None = None
    ready: list[int] = field(default_factory=list)

    @property
    def resolution(self) -> float:
        """The share of the limit that half a step of the colour scale is, next to 0."""
        assert self.colors is not None
        return self.colors.value(RESOLUTION) / self.colors.limit

    def view(self, head: int, rows: range, cols: range, side: int) -> View:
        """A picture of a prepared head, of about `side` pixels a side."""
        assert self.colors is not None
        return self.plane.view(
            head, rows, cols, side, side, self.colors.limit, resolution=self.resolution
        )

    def views(self, rows: range, cols: range, side: int) -> dict[int, View]:
        """A view of the window for each prepared head."""
        return {head: self.view(head, rows, cols, side) for head in list(self.ready)}

    def picture(self, views: dict[int, View]) -> tuple[dict[str, Any], bytes]:
        """The picture of views of one window: its description, and places in `colors` as bytes."""
        assert self.colors is not None
        places = [
            raster(values, self.colors, mask=values == values)
            for values in (view.values.numpy() for view in views.values())
        ]
        first = next(iter(views.values()))
        height, width = first.values.shape
        return {
            "rows": [first.rows.start, first.rows.stop],
            "cols": [first.cols.start, first.cols.stop],
            "pixel": first.tokens_per_pixel,
            "height": height,
            "width": width,
            "heads": list(views),
            "bounds": [head for head, view in views.items() if not view.exact],
            "note": note(self.plane.kind, views),
            "names": [token_names(self.pieces, tokens) for tokens in (first.rows, first.cols)],
        }, b"".join(place.tobytes() for place in places)


def color_scale_of(plane: Plane, heads: Sequence[int], scale: str, limit: float) -> ColorScale:
    """The scale that figures.planes gives the whole plane of `heads`."""
    ends = [limit]
    if plane.kind == "decay":  # its smallest number; where that underflows, any that is small
        smallest = plane.gamma[list(heads)].min().item() ** (plane.length - 1)
        ends.append(max(smallest, float(np.finfo(np.float32).tiny)))
    return color_scale(np.array(ends), scale, signed=SIGNED[plane.kind], limit=limit)


def clip_range(requested: Any, all_tokens: range) -> range:
    """The tokens from requested[0] to before requested[1] that the text has; one at least."""
    start = min(max(int(requested[0]), 0), all_tokens.stop - 1)
    return range(start, min(max(int(requested[1]), start + 1), all_tokens.stop))


def picture_side(requested: Any, heads: int) -> int:
    """The side of each head's picture in pixels: as requested, within the limits."""
    return max(1, min(int(requested), MOST_SIDE, math.isqrt(MOST_PIXELS // heads)))
