"""The tokens of the text in reading order, shaded by what the selected one retains of each."""

from __future__ import annotations

import anywidget
import traitlets as t

from retnet_viz.ui.core.assets import module


class TokenStrip(anywidget.AnyWidget):
    """A list box of tokens.

    tokens    visible text of each token that is shown; becomes text of the page, never HTML
    first     the number of the first of them in the text
    length    of how many tokens the text is
    shades    a place in `colors` per shown token, uint8; none for tokens that are not read
    colors    256 x 3 bytes, RGB
    weights   what each shade stands for, float32
    selected  the selected token, -1 for none
    title     what the shades mean
    note      over which heads they are taken, and whether the mode computed them
    empty     the sentence that stands where tokens would
    """

    _esm = module("panels/token_strip.js")
    tokens = t.List(t.Unicode()).tag(sync=True)
    first = t.Int(0).tag(sync=True)
    length = t.Int(0).tag(sync=True)
    shades = t.Bytes(b"").tag(sync=True)
    colors = t.Bytes(b"").tag(sync=True)
    weights = t.Bytes(b"").tag(sync=True)
    selected = t.Int(-1).tag(sync=True)
    title = t.Unicode("").tag(sync=True)
    note = t.Unicode("").tag(sync=True)
    empty = t.Unicode("").tag(sync=True)
