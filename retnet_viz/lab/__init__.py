"""Experiments: changed models, tiny models in training, and what each form costs and rounds."""

from retnet_viz.lab.chunk_sizes import ChunkCurve, chunk_curve
from retnet_viz.lab.generation_cost import Point, generation_cost
from retnet_viz.lab.practice import Practice, Report
from retnet_viz.lab.precision import Rounding, rounding
from retnet_viz.lab.step_times import step_times
from retnet_viz.lab.tasks import TASKS, Task
from retnet_viz.lab.variants import variant

__all__ = [
    "TASKS",
    "ChunkCurve",
    "Point",
    "Practice",
    "Report",
    "Rounding",
    "Task",
    "chunk_curve",
    "generation_cost",
    "rounding",
    "step_times",
    "variant",
]
