"""A compact RetNet that reads like the paper (Sun et al. 2023, arXiv:2307.08621)."""

from retnet_viz.model.config import ConfigError, RetNetConfig
from retnet_viz.model.generate import generate, stream
from retnet_viz.model.language_model import LanguageModel, Output, State
from retnet_viz.model.retention import CHUNK_SIZE, MODES, chunkwise, parallel, recurrent
from retnet_viz.model.retnet import RetNet, RetNetState
from retnet_viz.model.step import Stepper

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
    "chunkwise",
    "generate",
    "parallel",
    "recurrent",
    "stream",
]
