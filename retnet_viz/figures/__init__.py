"""Pure functions: Trace -> plotly figure. What a notebook draws is what the dashboard shows."""

from retnet_viz.figures.chunk_sizes import chunk_sizes
from retnet_viz.figures.cost import cost
from retnet_viz.figures.gate import gate
from retnet_viz.figures.next_token import next_token
from retnet_viz.figures.normalization import normalization
from retnet_viz.figures.phase import phase
from retnet_viz.figures.planes import decay, retention, scores
from retnet_viz.figures.recall import recall
from retnet_viz.figures.rounding import rounding
from retnet_viz.figures.singular_values import singular_values
from retnet_viz.figures.stage import stage
from retnet_viz.figures.state import state
from retnet_viz.figures.state_norm import state_norm

__all__ = [
    "chunk_sizes",
    "cost",
    "decay",
    "gate",
    "next_token",
    "normalization",
    "phase",
    "recall",
    "retention",
    "rounding",
    "scores",
    "singular_values",
    "stage",
    "state",
    "state_norm",
]
