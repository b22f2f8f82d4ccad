"""The live explorers: controls, panels, one state, one selection."""

from retnet_viz.ui.core.page_state import ExplorerState
from retnet_viz.ui.export.exports import export
from retnet_viz.ui.pages.compare import Compare, compare
from retnet_viz.ui.pages.cost import Cost, cost
from retnet_viz.ui.pages.explorer import MAX_TOKENS, Explorer, explore
from retnet_viz.ui.pages.modes import Modes, modes
from retnet_viz.ui.pages.training import Training, practice
from retnet_viz.ui.pages.training_state import TrainingState

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
