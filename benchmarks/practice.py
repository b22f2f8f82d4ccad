"""How long Training live's tasks take to be learned: seconds of training on one thread.

.venv/bin/python -m benchmarks.practice
"""

from __future__ import annotations

import torch

from retnet_viz.experiments.learning.tasks import TASKS
from retnet_viz.experiments.learning.tiny_training import TinyTraining

SEEDS = range(5)
REPORT = 20  # steps between two looks at the held-out accuracy
MOST_SECONDS = 60


def measure_learning(task: str, seed: int) -> list[tuple[str, tuple[int, float] | None, float]]:
    """For each model of the task: steps and seconds until enough answers are right, accuracy.

    None where that took longer than MOST_SECONDS, of that model's own training.
    """
    practice = TinyTraining(task, seed)
    while True:
        for _ in range(REPORT):
            practice.step()
        report = practice.report()
        results = [("RetNet", report.learned_at, report.accuracy, practice.seconds)]
        if report.mamba is not None:
            mamba = report.mamba
            results.append(("Mamba", mamba.learned_at, mamba.accuracy, mamba.seconds))
        if all(at is not None or seconds > MOST_SECONDS for _, at, _, seconds in results):
            return [result[:3] for result in results]


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'task':12} {'model':7} {'seed':>4} {'seconds':>10} {'steps':>6} {'accuracy':>9}")
    for task in TASKS:
        for seed in SEEDS:
            for model, at, accuracy in measure_learning(task, seed):
                steps, seconds = (f"{at[0]}", f"{at[1]:.1f}") if at else ("-", f"> {MOST_SECONDS}")
                line = f"{task:12} {model:7} {seed:4} {seconds:>10} {steps:>6} {accuracy:9.3f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
