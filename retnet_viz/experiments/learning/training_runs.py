"""How well trained models predict held-out text, and what they recall, while they are trained.

Read from the logged runs of benchmarks/quality.py.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retnet_viz.content import RESULTS

REFERENCE = "retnet"  # the run that every ablation is compared with
SEEDS = (REFERENCE, "retnet-seed-1", "retnet-seed-2")  # the same model from other random numbers
PAPER = 26.05  # perplexity of the paper's RetNet of 200 M parameters, in its table of ablations
ABLATIONS = {
    # run: what was changed, and the paper's perplexity of it
    "no-gate": ("without swish gate", 27.84),
    "no-head-norm": ("without GroupNorm", 27.54),
    "no-decay": ("without decay, γ = 1", 27.86),
    "one-gamma": ("one γ for all heads", 27.02),
    "small-heads": ("heads a quarter as wide", 27.68),
}
RECALL_COLUMNS = {
    # column: what is recalled, as a share
    "copy_8": "rows of 8 random tokens copied",
    "copy_32": "rows of 32 random tokens copied",
    "copy_64": "rows of 64 random tokens copied",
    "names": "invented names recalled",
    "things": "somebody's things recalled",
}


@dataclass(frozen=True)
class Run:
    """A training run: its size, and at each validation tokens read, loss in nats, bits per byte.

    `seconds` are those of training alone. `recall` has, for each column of RECALL_COLUMNS, the
    share at each validation; it is empty where an old log lacks these columns.
    """

    name: str
    options: str
    parameters: int
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    losses: tuple[float, ...]
    bits_per_byte: tuple[float, ...]
    recall: Mapping[str, tuple[float, ...]]

    @property
    def perplexity(self) -> float:
        """exp of the last validation's loss."""
        return math.exp(self.losses[-1])

    @property
    def tokens_per_second(self) -> float:
        """Tokens trained on per second, over the whole run."""
        return self.tokens[-1] / self.seconds[-1]


@dataclass(frozen=True)
class Ablation:
    """The change of the perplexity, in percent of the unchanged RetNet's, here and in the paper."""

    label: str
    parameters: int
    perplexity: float
    change: float
    paper_perplexity: float
    paper_change: float


def logged_runs(group: str) -> dict[str, Run]:
    """The runs that come with the package, by name: those of the shipped models are "baselines",
    of the paper's table of ablations "ablations", of the search for the recipe "recipe".

    Raises ValueError, with the groups that there are, where `group` is none.
    """
    groups = sorted(path.stem for path in RESULTS.glob("*.csv"))
    if group not in groups:
        raise ValueError(f"there are runs of {', '.join(groups)}, not of {group!r}")
    return read_runs(RESULTS / f"{group}.csv")


def read_runs(path: str | Path) -> dict[str, Run]:
    """The runs of a CSV file by name. Raises ValueError, naming the file, where it is none."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise ValueError("it has no rows")
        names = dict.fromkeys(row["run"] for row in rows)
        return {name: _run(name, [row for row in rows if row["run"] == name]) for name in names}
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a log of runs: {error!r}") from error


def _run(name: str, rows: Sequence[Mapping[str, str]]) -> Run:
    return Run(
        name,
        rows[0]["options"],
        int(rows[0]["parameters"]),
        tuple(int(row["tokens"]) for row in rows),
        tuple(float(row["seconds"]) for row in rows),
        tuple(float(row["loss"]) for row in rows),
        tuple(float(row["bits_per_byte"]) for row in rows),
        {
            name: tuple(float(row[name]) for row in rows)
            for name in RECALL_COLUMNS
            if all(row.get(name) for row in rows)
        },
    )


def tokens_until(run: Run, column: str, share: float = 0.5) -> int | None:
    """Tokens read when a recall column first reached `share`, None where it never did."""
    points = zip(run.tokens, run.recall[column], strict=True)
    return next((tokens for tokens, recall in points if recall >= share), None)


def ablation_results(runs: Mapping[str, Run]) -> list[Ablation]:
    """The paper's ablations among `runs`, the most harmful first."""
    results = [
        Ablation(
            label,
            runs[name].parameters,
            runs[name].perplexity,
            100 * (runs[name].perplexity / runs[REFERENCE].perplexity - 1),
            paper,
            100 * (paper / PAPER - 1),
        )
        for name, (label, paper) in ABLATIONS.items()
        if name in runs
    ]
    return sorted(results, key=lambda ablation: -ablation.change)


def seed_changes(runs: Mapping[str, Run]) -> list[float]:
    """The change of the perplexity by another seed, in percent of the first seed's; first 0."""
    reference = runs[REFERENCE].perplexity
    return [100 * (runs[name].perplexity / reference - 1) for name in SEEDS if name in runs]


def agreement_with_paper(results: Sequence[Ablation]) -> tuple[int, int]:
    """(pairs of ablations whose order is the same here and in the paper, all pairs)."""
    pairs = [(a, b) for i, a in enumerate(results) for b in results[i + 1 :]]
    same = [(a.change > b.change) == (a.paper_change > b.paper_change) for a, b in pairs]
    return sum(same), len(pairs)
