"""Experiments: a model changed in one point, and what each form of retention costs and rounds."""

from retnet_viz.lab.chunk_sizes import ChunkCurve, chunk_curve
from retnet_viz.lab.precision import Rounding, rounding
from retnet_viz.lab.step_times import step_times
from retnet_viz.lab.variants import variant

__all__ = ["ChunkCurve", "Rounding", "chunk_curve", "rounding", "step_times", "variant"]
