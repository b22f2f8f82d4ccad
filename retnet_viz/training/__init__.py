"""Training a RetNet on text: data, schedule, loop, evaluation."""

from retnet_viz.training.data import DataError
from retnet_viz.training.loop import TrainingConfig, TrainingError, train

__all__ = ["DataError", "TrainingConfig", "TrainingError", "train"]
