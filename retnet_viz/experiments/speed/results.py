"""What the speed benchmark finds: times, memory, and the limits of the machine."""

from __future__ import annotations

import math
from dataclasses import dataclass

LIMIT = 60.0  # seconds after which a measurement is given up
STEP = "step"  # in place of a mode, where tokens are generated
STEPS = 25  # that are timed one after the other


@dataclass(frozen=True)
class Forward:
    """One way to read a text: the median seconds, and how much memory and arithmetic it took.

    peak_bytes  resident memory at its highest in the first pass, beyond that before it; None where
                it cannot be read
    flops       of the matrix products
    first       seconds of the first pass, in which torch.compile compiles
    """

    name: str
    mode: str
    length: int
    chunk_size: int
    seconds: float
    peak_bytes: int | None
    flops: int
    first: float = math.nan


@dataclass(frozen=True)
class Timeout:
    """A measurement that exceeded the limit: reading `length` tokens, or a step after them.

    `mode` is STEP where tokens are generated.

    expected  seconds that it would take at least, estimated from a shorter text, where it was not
              tried; nan where it was
    """

    name: str
    mode: str
    length: int
    chunk_size: int
    expected: float = math.nan


@dataclass(frozen=True)
class Generation:
    """Median and 95th percentile of the seconds that one more token takes after `position`.

    first  seconds of the first STEPS tokens together
    """

    name: str
    position: int
    seconds: float
    p95: float
    first: float = math.nan


@dataclass(frozen=True)
class MachineLimits:
    """The limits of this machine, measured with the same threads, now and then during the run.

    matmul_flops   floating-point operations a second, product of two square matrices in float32;
                   bfloat16_flops in bfloat16
    matmul_size    their rows and columns, LARGEST or less where that takes long; bfloat16_size
    bytes_second   bytes read and written a second, copying 256 MB
    weight_seconds time to multiply each weight matrix of the model once by a vector
    weight_bytes   bytes of those matrices
    """

    threads: int
    matmul_flops: float
    bfloat16_flops: float
    matmul_size: int
    bfloat16_size: int
    bytes_second: float
    weight_seconds: float
    weight_bytes: int


@dataclass(frozen=True)
class Speed:
    """All that `measure_speed` found.

    matmul_rate  floating-point operations a second inside the matrix products of a chunkwise pass
                 over `profiled` tokens; nan where that takes longer than the limit
    matmul_time  their share of the time of that pass; nan likewise
    rounding     max |difference| of bfloat16 logits over `rounded` tokens, relative to the largest
                 float32 logit; nan where that takes longer than the limit
    absent       names of the contenders that are not installed
    repeat       runs of which a time is the median, or fewer within RUN_BUDGET
    failure      why torch.compile could not be used; empty where it could, or was not requested
    timeouts     measurements that took longer than `limit` seconds and were given up
    """

    machine: MachineLimits
    forwards: tuple[Forward, ...]
    generations: tuple[Generation, ...]
    matmul_rate: float
    matmul_time: float
    profiled: int
    rounding: float
    rounded: int
    absent: tuple[str, ...]
    repeat: int
    failure: str = ""
    timeouts: tuple[Timeout, ...] = ()
    limit: float = LIMIT
