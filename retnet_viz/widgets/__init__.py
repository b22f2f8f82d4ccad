"""The live explorers: controls, panels, one state, one selection."""

from retnet_viz.widgets.explorer import MAX_TOKENS, Explorer, explore
from retnet_viz.widgets.modes import Modes, modes
from retnet_viz.widgets.state import ExplorerState

__all__ = ["MAX_TOKENS", "Explorer", "ExplorerState", "Modes", "explore", "modes"]
