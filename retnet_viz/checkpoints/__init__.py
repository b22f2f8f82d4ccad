"""Checkpoints on disk -> (RetNet, Tokenizer). Files are data, never code."""

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.native import load, save
from retnet_viz.checkpoints.tokenizer import Tokenizer

__all__ = ["CheckpointError", "Tokenizer", "load", "save"]
