"""The live explorers: controls, panels, one state, one selection."""

from retnet_viz.widgets.compare import Compare, compare
from retnet_viz.widgets.cost import Cost, cost
from retnet_viz.widgets.explorer import MAX_TOKENS, Explorer, explore
from retnet_viz.widgets.keep import export
from retnet_viz.widgets.modes import Modes, modes
from retnet_viz.widgets.state import ExplorerState
from retnet_viz.widgets.training import Training, practice
from retnet_viz.widgets.training_state import TrainingState

__all__ = [
    "MAX_TOKENS",
    "Compare",
    "Cost",
    "Explorer",
    "ExplorerState",
    "Modes",
    "Training",
    "TrainingState",
    "compare",
    "cost",
    "explore",
    "export",
    "modes",
    "practice",
]
