"""How long Training live's tasks take to be learned: seconds of training on one thread.

.venv/bin/python benchmarks/practice.py
"""

from __future__ import annotations

import time

import torch

from retnet_viz.lab.practice import LEARNED, Practice
from retnet_viz.lab.tasks import TASKS

SEEDS = range(5)
REPORT = 20  # steps between two looks at the held-out accuracy
MOST_SECONDS = 60


def learned(task: str, seed: int) -> tuple[float, int, float]:
    """Seconds, steps and accuracy when enough answers are right, or when the time is over."""
    practice, steps = Practice(task, seed), 0
    start = time.perf_counter()
    while True:
        for _ in range(REPORT):
            practice.step()
        steps += REPORT
        accuracy, seconds = practice.report().accuracy, time.perf_counter() - start
        if accuracy >= LEARNED or seconds > MOST_SECONDS:
            return seconds, steps, accuracy


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'task':12} {'seed':>4} {'seconds':>8} {'steps':>6} {'accuracy':>9}")
    for task in TASKS:
        for seed in SEEDS:
            seconds, steps, accuracy = learned(task, seed)
            print(f"{task:12} {seed:4} {seconds:8.1f} {steps:6} {accuracy:9.3f}", flush=True)


if __name__ == "__main__":
    main()
