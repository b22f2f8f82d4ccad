"""The published formats of RetNet checkpoints: one table of names and meanings each."""

from retnet_viz.checkpoints.layouts import fla, syncdoth, torchscale
from retnet_viz.checkpoints.layouts.layout import Fields, Layout

LAYOUTS = (fla.LAYOUT, syncdoth.LAYOUT, torchscale.LAYOUT)

__all__ = ["LAYOUTS", "Fields", "Layout"]
