"""Experiments: changed models, tiny models in training, and what each form costs and rounds."""

from retnet_viz.experiments.ablations import ablate
from retnet_viz.experiments.generation_cost import Point, generation_cost
from retnet_viz.experiments.learning.tasks import TASKS, Task
from retnet_viz.experiments.learning.tiny_training import Report, TinyTraining
from retnet_viz.experiments.number_formats import Rounding, rounding
from retnet_viz.experiments.speed.chunk_sizes import ChunkCurve, chunk_curve
from retnet_viz.experiments.speed.step_times import step_times

__all__ = [
    "TASKS",
    "ChunkCurve",
    "Point",
    "Report",
    "Rounding",
    "Task",
    "TinyTraining",
    "ablate",
    "chunk_curve",
    "generation_cost",
    "rounding",
    "step_times",
]
