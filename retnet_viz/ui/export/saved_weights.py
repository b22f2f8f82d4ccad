"""What a notebook keeps of an explorer: a picture and a text, for where no kernel runs."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.base.theme import DIVERGING, color_table
from retnet_viz.trace import Trace
from retnet_viz.ui.core.state.page_state import ExplorerState

SIDE = 160  # pixels of a head's picture, at least
MOST_TOKENS = 512  # more would make the notebook large
_GAP = 6  # pixels between heads


def saved_html(trace: Trace, state: ExplorerState) -> str:
    """HTML: the trace's summary, and the retention weights of a layer, a picture per head."""
    parts = [trace._repr_html_()]
    if 0 < trace.length <= MOST_TOKENS:
        heads = list(state.heads) or list(range(trace.n_heads))
        names = ", ".join(map(str, heads))
        label = f"retention weights (token by earlier token), layer {state.layer}, heads {names}"
        picture = base64.b64encode(weights_png(trace, state.layer, heads, state.scale)).decode()
        parts.append(
            f'<div>{html.escape(label)}</div><img alt="{html.escape(label)}" '
            f'src="data:image/png;base64,{picture}">'
        )
    return "".join(parts)


def weights_png(trace: Trace, layer: int, heads: list[int], scale: str) -> bytes:
    """The retention weights of some heads side by side, each (T, T), as the explorer colours them.

    Blue is negative, red positive; what lies after a token, which it cannot read, is transparent.
    """
    weights = trace.retention(layer)[heads].float().numpy()
    is_read = np.tri(trace.length, dtype=bool)
    places = raster(weights, color_scale(weights, scale, signed=True), is_read)
    colors = color_table(DIVERGING)[places]
    alpha = np.broadcast_to(255 * is_read[..., None], (*places.shape, 1))
    pixels = np.concatenate([colors, alpha], -1).astype(np.uint8)
    factor = -(-SIDE // trace.length)
    pixels = pixels.repeat(factor, 1).repeat(factor, 2)
    gap = np.zeros((pixels.shape[1], _GAP, 4), np.uint8)
    parts = [part for head in pixels for part in (head, gap)][:-1]
    file = io.BytesIO()
    Image.fromarray(np.concatenate(parts, 1)).save(file, "PNG", compress_level=3)
    return file.getvalue()
