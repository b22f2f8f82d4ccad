"""Training a language model on text: data, schedule, loop, evaluation."""

from retnet_viz.training.data import DataError, read_held_out
from retnet_viz.training.loop import train
from retnet_viz.training.recall import Recall, measure_recall, recall_by_noise
from retnet_viz.training.run import TrainingConfig, TrainingError

__all__ = [
    "DataError",
    "Recall",
    "TrainingConfig",
    "TrainingError",
    "measure_recall",
    "read_held_out",
    "recall_by_noise",
    "train",
]
