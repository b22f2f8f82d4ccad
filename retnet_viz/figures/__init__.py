"""Pure functions: Trace -> plotly figure. What a notebook draws is what the dashboard shows."""

import sys

# plotly imports nbformat, whose JSON schema checks import a grammar of internationalised
# addresses that takes over a second to build and that no figure needs.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

from retnet_viz.figures.cost import cost
from retnet_viz.figures.next_token import next_token
from retnet_viz.figures.planes import decay, retention, scores
from retnet_viz.figures.state_norm import state_norm

__all__ = ["cost", "decay", "next_token", "retention", "scores", "state_norm"]
