"""Pure functions: Trace or Report -> plotly figure. A notebook draws what the dashboard shows."""

from retnet_viz.figures.base.theme import theme
from retnet_viz.figures.experiments.chunk_sizes import chunk_sizes
from retnet_viz.figures.experiments.context_memory import memory
from retnet_viz.figures.experiments.generation_cost import state_size, step_time
from retnet_viz.figures.experiments.learning import (
    accuracy_by_lag,
    decay_by_lag,
    heads_by_lag,
    learning_curve,
)
from retnet_viz.figures.experiments.rounding import rounding
from retnet_viz.figures.experiments.training_runs import ablations, losses, recall_over_tokens
from retnet_viz.figures.experiments.word_recall import recall_by_lag, recall_by_noise
from retnet_viz.figures.reading.agreement import agreement
from retnet_viz.figures.reading.attribution import attribution
from retnet_viz.figures.reading.gate import gate
from retnet_viz.figures.reading.heads import heads
from retnet_viz.figures.reading.lens import lens
from retnet_viz.figures.reading.mode_costs import cost
from retnet_viz.figures.reading.next_token import next_token
from retnet_viz.figures.reading.normalization import normalization
from retnet_viz.figures.reading.phase import phase
from retnet_viz.figures.reading.planes import decay, retention, scores
from retnet_viz.figures.reading.surprise import surprise
from retnet_viz.figures.reading.token_strip import token_strip
from retnet_viz.figures.states.selection import selection
from retnet_viz.figures.states.singular_values import singular_values
from retnet_viz.figures.states.state import state
from retnet_viz.figures.states.state_decay import state_decay
from retnet_viz.figures.states.state_norm import state_norm
from retnet_viz.figures.states.token_memory import recall
from retnet_viz.figures.steps.step_figure import stage

__all__ = [
    "ablations",
    "accuracy_by_lag",
    "agreement",
    "attribution",
    "chunk_sizes",
    "cost",
    "decay",
    "decay_by_lag",
    "gate",
    "heads",
    "heads_by_lag",
    "learning_curve",
    "lens",
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
    "surprise",
    "theme",
    "token_strip",
]
