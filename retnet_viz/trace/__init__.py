"""What can be observed of a forward pass: captured where it was computed, else derived."""

from retnet_viz.trace.agreement import Agreement
from retnet_viz.trace.cost import Cost
from retnet_viz.trace.equations import ChunkTerms, ParallelTerms, RecurrentTerms, terms
from retnet_viz.trace.live import Live, Recomputed, live
from retnet_viz.trace.observables import Cell, Trace, trace
from retnet_viz.trace.steps import Schedule, Step, schedule

__all__ = [
    "Agreement",
    "Cell",
    "ChunkTerms",
    "Cost",
    "Live",
    "ParallelTerms",
    "Recomputed",
    "RecurrentTerms",
    "Schedule",
    "Step",
    "Trace",
    "live",
    "schedule",
    "terms",
    "trace",
]
