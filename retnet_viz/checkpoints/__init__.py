"""Checkpoints on disk -> a language model with its tokenizer. Files are data, never code."""

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.load import Plan, inspect, load, load_model, load_shipped
from retnet_viz.checkpoints.native import save, shipped
from retnet_viz.checkpoints.tokenizer import Tokenizer

__all__ = [
    "CheckpointError",
    "Plan",
    "Tokenizer",
    "inspect",
    "load",
    "load_model",
    "load_shipped",
    "save",
    "shipped",
]
