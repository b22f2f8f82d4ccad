"""Training a language model on text: data, schedule, loop, evaluation."""

from retnet_viz.training.data import DataError
from retnet_viz.training.loop import train
from retnet_viz.training.run import TrainingConfig, TrainingError

__all__ = ["DataError", "TrainingConfig", "TrainingError", "train"]
