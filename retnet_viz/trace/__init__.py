"""What can be observed of a forward pass: captured where it was computed, else derived."""

from retnet_viz.trace.agreement import Agreement
from retnet_viz.trace.cost import Cost
from retnet_viz.trace.observables import Cell, Trace, trace

__all__ = ["Agreement", "Cell", "Cost", "Trace", "trace"]
