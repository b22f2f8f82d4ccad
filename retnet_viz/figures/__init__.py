"""Pure functions: Trace -> plotly figure. What a notebook draws is what the dashboard shows."""

from retnet_viz.figures.cost import cost
from retnet_viz.figures.next_token import next_token
from retnet_viz.figures.planes import decay, retention, scores
from retnet_viz.figures.state_norm import state_norm

__all__ = ["cost", "decay", "next_token", "retention", "scores", "state_norm"]
