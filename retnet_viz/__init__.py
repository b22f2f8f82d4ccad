"""See how retention works: an instrumented RetNet, its trace, and live views of it.

import retnet_viz as rv
model = rv.load()
trace = rv.trace(model, "Once upon a time", mode="chunkwise", chunk_size=8)
rv.explore(model, "Once upon a time")
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from retnet_viz.checkpoints import CheckpointError, load
from retnet_viz.model import RetNet, RetNetConfig, generate
from retnet_viz.trace import (
    Live,
    Recomputed,
    Schedule,
    Step,
    Trace,
    TraceFileError,
    live,
    schedule,
    terms,
    trace,
    traces,
)
from retnet_viz.trace import edits as edits

if TYPE_CHECKING:
    from retnet_viz import figures
    from retnet_viz.figures import theme
    from retnet_viz.ui import compare, cost, explore, export, modes, practice

__version__ = "0.1.0"

# plotly and the servers import jsonschema, which would build a grammar of internationalised
# addresses, two seconds of work that nothing here uses. It does without where that is missing.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

__all__ = [
    "CheckpointError",
    "Live",
    "Recomputed",
    "RetNet",
    "RetNetConfig",
    "Schedule",
    "Step",
    "Trace",
    "TraceFileError",
    "compare",
    "cost",
    "edits",
    "explore",
    "export",
    "figures",
    "generate",
    "live",
    "load",
    "modes",
    "practice",
    "schedule",
    "terms",
    "theme",
    "trace",
    "traces",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # plotly and ipywidgets are imported only by those who draw: training and tracing need neither.
    if name == "figures":
        import importlib

        return importlib.import_module("retnet_viz.figures")
    if name == "theme":
        from retnet_viz.figures import theme

        return theme
    if name in ("compare", "cost", "explore", "export", "modes", "practice"):
        from retnet_viz import ui

        return getattr(ui, name)
    raise AttributeError(f"module 'retnet_viz' has no attribute {name!r}")
