"""What can be observed of a forward pass: captured where it was computed, else derived."""

from retnet_viz.trace.agreement import Agreement
from retnet_viz.trace.budget import NotEnoughMemory, foreseen
from retnet_viz.trace.cost import Cost
from retnet_viz.trace.equations import ChunkTerms, ParallelTerms, RecurrentTerms, terms
from retnet_viz.trace.live import Live, Recomputed, live
from retnet_viz.trace.observables import Cell, Trace, trace
from retnet_viz.trace.saved import TraceFileError
from retnet_viz.trace.steps import Schedule, Step, schedule
from retnet_viz.trace.text_file import FileText, TextFileError, decode_text, read_text

__all__ = [
    "Agreement",
    "Cell",
    "ChunkTerms",
    "Cost",
    "FileText",
    "Live",
    "NotEnoughMemory",
    "ParallelTerms",
    "Recomputed",
    "RecurrentTerms",
    "Schedule",
    "Step",
    "TextFileError",
    "Trace",
    "TraceFileError",
    "decode_text",
    "foreseen",
    "live",
    "read_text",
    "schedule",
    "terms",
    "trace",
]
