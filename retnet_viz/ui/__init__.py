"""The live explorers: controls, panels, one state, one selection."""

from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.export.exports import export
from retnet_viz.ui.pages.compare import Compare, compare
from retnet_viz.ui.pages.cost.cost import Cost, cost
from retnet_viz.ui.pages.explorer.explore import explore
from retnet_viz.ui.pages.explorer.explorer import MAX_TOKENS, Explorer
from retnet_viz.ui.pages.modes.modes import Modes, modes
from retnet_viz.ui.pages.training.training import Training, practice
from retnet_viz.ui.pages.training.training_state import TrainingState
from retnet_viz.ui.panels.quiz import Question, check

__all__ = [
    "MAX_TOKENS",
    "Compare",
    "Cost",
    "Explorer",
    "ExplorerState",
    "Modes",
    "Question",
    "Training",
    "TrainingState",
    "check",
    "compare",
    "cost",
    "explore",
    "export",
    "modes",
    "practice",
]
