"""A compact RetNet that reads like the paper (Sun et al. 2023, arXiv:2307.08621)."""

from retnet_viz.model.checks import ConfigError
from retnet_viz.model.config import RetNetConfig
from retnet_viz.model.generate import generate, stream
from retnet_viz.model.language_model import LanguageModel, Output, State
from retnet_viz.model.retention import CHUNK_SIZE, MODES, chunkwise, parallel, recurrent
from retnet_viz.model.retnet import RetNet, RetNetState
from retnet_viz.model.step import Stepper
from retnet_viz.model.variant import Variant

__all__ = [
    "CHUNK_SIZE",
    "MODES",
    "ConfigError",
    "LanguageModel",
    "Output",
    "RetNet",
    "RetNetConfig",
    "RetNetState",
    "State",
    "Stepper",
    "Variant",
    "chunkwise",
    "generate",
    "parallel",
    "recurrent",
    "stream",
]
