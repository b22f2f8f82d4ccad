"""Checkpoints on disk -> a language model with its tokenizer. Files are data, never code."""

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.native import load, load_model, save, shipped
from retnet_viz.checkpoints.tokenizer import Tokenizer

__all__ = ["CheckpointError", "Tokenizer", "load", "load_model", "save", "shipped"]
