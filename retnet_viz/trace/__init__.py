"""What can be observed of a forward pass: captured where the pass computed it, else derived."""

from retnet_viz.trace.files.saved import TraceFileError
from retnet_viz.trace.files.text_file import FileText, TextFileError, decode_text, read_text
from retnet_viz.trace.passes.budget import NotEnoughMemory, live_memory
from retnet_viz.trace.passes.live import Live, Recomputed, live
from retnet_viz.trace.views.agreement import Agreement
from retnet_viz.trace.views.attribution import Attribution
from retnet_viz.trace.views.equations import ChunkTerms, ParallelTerms, RecurrentTerms, terms
from retnet_viz.trace.views.observables import Trace, trace, traces
from retnet_viz.trace.views.pass_cost import Cost
from retnet_viz.trace.views.plane import Cell
from retnet_viz.trace.views.steps import Schedule, Step, schedule

__all__ = [
    "Agreement",
    "Attribution",
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
    "live",
    "live_memory",
    "read_text",
    "schedule",
    "terms",
    "trace",
    "traces",
]
