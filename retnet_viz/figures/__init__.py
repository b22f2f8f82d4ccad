"""Pure functions: Trace or Report -> plotly figure. A notebook draws what the dashboard shows."""

from retnet_viz.figures.agreement import agreement
from retnet_viz.figures.chunk_sizes import chunk_sizes
from retnet_viz.figures.cost import cost
from retnet_viz.figures.gate import gate
from retnet_viz.figures.generation_cost import state_size, step_time
from retnet_viz.figures.learning import (
    accuracy_by_lag,
    decay_by_lag,
    heads_by_lag,
    learning_curve,
)
from retnet_viz.figures.memory import memory
from retnet_viz.figures.next_token import next_token
from retnet_viz.figures.normalization import normalization
from retnet_viz.figures.phase import phase
from retnet_viz.figures.planes import decay, retention, scores
from retnet_viz.figures.quality import ablations, losses, recall_over_tokens
from retnet_viz.figures.recall import recall
from retnet_viz.figures.rounding import rounding
from retnet_viz.figures.selection import selection
from retnet_viz.figures.singular_values import singular_values
from retnet_viz.figures.stage import stage
from retnet_viz.figures.state import state
from retnet_viz.figures.state_decay import state_decay
from retnet_viz.figures.state_norm import state_norm
from retnet_viz.figures.token_strip import token_strip
from retnet_viz.figures.word_recall import recall_by_lag, recall_by_noise

__all__ = [
    "ablations",
    "accuracy_by_lag",
    "agreement",
    "chunk_sizes",
    "cost",
    "decay",
    "decay_by_lag",
    "gate",
    "heads_by_lag",
    "learning_curve",
    "losses",
    "memory",
    "next_token",
    "normalization",
    "phase",
    "recall",
    "recall_by_lag",
    "recall_by_noise",
    "recall_over_tokens",
    "retention",
    "rounding",
    "scores",
    "selection",
    "singular_values",
    "stage",
    "state",
    "state_decay",
    "state_norm",
    "state_size",
    "step_time",
    "token_strip",
]
