"""Experiments: changed models, tiny models in training, and what each form costs and rounds."""

from retnet_viz.experiments.ablations import ablate
from retnet_viz.experiments.generation_cost import Point, crossover, generation_cost
from retnet_viz.experiments.learning.tasks import TASKS, Task
from retnet_viz.experiments.learning.tiny_training import Report, TinyTraining
from retnet_viz.experiments.learning.training_runs import (
    Ablation,
    Run,
    ablation_results,
    agreement_with_paper,
    logged_runs,
    read_runs,
    seed_changes,
    tokens_until,
)
from retnet_viz.experiments.number_formats import Rounding, rounding
from retnet_viz.experiments.speed.chunk_sizes import ChunkCurve, chunk_curve
from retnet_viz.experiments.speed.step_times import step_times
from retnet_viz.experiments.token_reads import TokenReads, read

__all__ = [
    "TASKS",
    "Ablation",
    "ChunkCurve",
    "Point",
    "Report",
    "Rounding",
    "Run",
    "Task",
    "TinyTraining",
    "TokenReads",
    "ablate",
    "ablation_results",
    "agreement_with_paper",
    "chunk_curve",
    "crossover",
    "generation_cost",
    "logged_runs",
    "read",
    "read_runs",
    "rounding",
    "seed_changes",
    "step_times",
    "tokens_until",
]
