"""Train what the quality of a RetNet is compared with, and write down how well each one does.

    .venv/bin/python benchmarks/quality.py recipe        # what recall is learned with
    .venv/bin/python benchmarks/quality.py rates         # three learning rates for each kind
    .venv/bin/python benchmarks/quality.py baselines     # three kinds of models, one long budget
    .venv/bin/python benchmarks/quality.py ablations     # the paper's, and two more seeds, short
    .venv/bin/python benchmarks/quality.py ablations --only no-gate --steps 50 --data some.txt

Each run is a `retnet-viz train` in a folder of --runs; one that is there goes on where it stands.
Its validations go to benchmarks/results/GROUP.csv, where they take the place of an earlier run's.
"""

from __future__ import annotations

import argparse
import csv
import json
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from statistics import mean
from typing import Any

from retnet_viz.checkpoints import load_model

ROOT = Path(__file__).parents[1]
STORIES = ROOT.parent / "shared" / "data" / "stories.txt.xz"
TOKENIZER = ROOT / "retnet_viz" / "checkpoints" / "default" / "tokenizer.json"
ABOUT = "51 MB of public-domain short stories from Project Gutenberg"
LICENSE = "MIT, as the code"
SHORT = "--steps 600 --warmup 100 --validate-every 100 --validation-tokens 300000"
# What the models that ship are trained with, but for the rates and the length. The first steps
# teach copying, of spans that grow slowly: a RetNet needs 500 steps, a Transformer more (the runs
# `transformer-copy-...` of the sweep). Then recurring rows become few, so that the models become
# models of stories. That goes slowly too: where stories come all at once, what was learned of
# copying is lost within 200 steps. While the rate falls they are many again: what is read then is
# recalled best.
SHIPPED = (
    "--batch-size 4 --context 512 --schedule stable --warmup 100 --optimizer muon "
    "--copy-steps 1500 --recurring 1 --recurring-end 0.3 --recurring-steps 4000 "
    "--recurring-last 0.6 "
    "--recurring-kinds random,span,sentence,word,name --chunk-size 128"
)
KINDS = {
    # a Mamba has no queries that could begin as keys
    "retnet": "--model retnet --initial-weights positive",
    "transformer": "--model transformer --initial-weights positive",
    "mamba": "--model mamba",
}
RATES = ((0.003, 0.001), (0.006, 0.002), (0.012, 0.004))  # Muon's, and that of the rest
# A recipe, as words of `retnet-viz train`: for the sweep, which changes one of them at a time.
RECIPE = {
    "steps": "800",
    "batch-size": "4",
    "context": "512",
    "warmup": "50",
    "schedule": "stable",
    "optimizer": "muon",
    "learning-rate": "0.002",
    "muon-learning-rate": "0.006",
    "angles": "half_turn",
    "rotation-base": "1000",
    "initial-weights": "positive",
    "copy-steps": "400",
    "recurring": "1",
    "recurring-end": "0.5",
    "recurring-steps": "400",
    "recurring-kinds": "random,span,sentence,name",
    "validate-every": "100",
    "validation-tokens": "30000",
    "sample-tokens": "0",
}


def but(**changed: str) -> str:
    """The recipe with something changed."""
    words = RECIPE | {name.replace("_", "-"): value for name, value in changed.items()}
    return " ".join(f"--{name} {value}" for name, value in words.items())


def transformer(
    copy_steps: int, steps: int, muon: float = 0.006, rest: float = 0.002, more: str = ""
) -> str:
    """A Transformer that learns copying in `copy_steps` of its steps."""
    return (
        f"{KINDS['transformer']} {SHIPPED} --copy-steps {copy_steps} --steps {steps} "
        f"--recurring-steps {max(1000, copy_steps)} --muon-learning-rate {muon} "
        f"--learning-rate {rest} --validate-every 100 --validation-tokens 10000 "
        f"--sample-tokens 0 {more}"
    )


GROUPS = {
    # run: options of `retnet-viz train`
    "recipe": {
        "recipe": but(),
        "initial-scale-3": but(initial_scale="3"),
        "free-weights": but(initial_weights="free"),
        "adamw": but(optimizer="adamw"),
        "adamw-free-weights": but(optimizer="adamw", initial_weights="free"),
        "base-100": but(rotation_base="100"),
        "base-10000": but(rotation_base="10000"),
        "paper-angles": but(angles="inclusive", rotation_base="10000"),
        "no-copy-steps": but(copy_steps="0", recurring_steps="800"),
        "stories-at-once": but(recurring="0.4", recurring_end="0.4"),
        "only-stories": but(copy_steps="0", recurring="0", recurring_end="0"),
        "only-stories-no-head-norm": but(
            copy_steps="0", recurring="0", recurring_end="0", head_norm="none"
        ),
        "all-lengths-at-once": but(
            copy_steps="0", recurring="1", recurring_end="1", recurring_kinds="random"
        ),
        "no-head-norm": but(head_norm="none"),
        "8-heads": but(n_heads="8"),
        "torchscale-gammas": but(decay="torchscale"),
        "batch-8": but(
            batch_size="8",
            steps="400",
            copy_steps="200",
            recurring_steps="200",
            validate_every="50",
        ),
        "context-256": but(batch_size="8", context="256"),
        "muon-rate-0.003": but(muon_learning_rate="0.003", learning_rate="0.001"),
        "muon-rate-0.02": but(muon_learning_rate="0.02"),
        "transformer-copy-500": transformer(500, 2000),
        "transformer-copy-500-rate-0.003": transformer(500, 2000, 0.003, 0.001),
        "transformer-copy-500-rate-0.012": transformer(500, 2000, 0.012, 0.004),
        "transformer-copy-1500": transformer(1500, 1500),
        "transformer-copy-1500-base-100": transformer(1500, 1500, more="--rotation-base 100"),
    },
    "rates": {
        f"{kind}-{muon}": f"{options} {SHIPPED} --steps 2000 --copy-steps 1000 "
        f"--recurring-steps 1500 --muon-learning-rate {muon} --learning-rate {rest} "
        "--validate-every 200 --validation-tokens 60000 --sample-tokens 0"
        for kind, options in KINDS.items()
        for muon, rest in RATES
    },
    "baselines": {
        kind: f"{options} {SHIPPED} --steps 9800 --muon-learning-rate 0.006 --learning-rate 0.002 "
        "--validate-every 400 --validation-tokens 100000"
        for kind, options in KINDS.items()
    },
    "ablations": {
        "retnet": SHORT,
        "retnet-seed-1": f"{SHORT} --seed 1",
        "retnet-seed-2": f"{SHORT} --seed 2",
        "no-gate": f"{SHORT} --gate none",
        "no-head-norm": f"{SHORT} --head-norm none",
        "no-decay": f"{SHORT} --decay 1",
        "one-gamma": f"{SHORT} --decay 0.9921875",
        "small-heads": f"{SHORT} --n-heads 16",
    },
}
COLUMNS = ("step", "tokens", "seconds", "train_loss", "loss", "bits_per_byte", "validation_tokens")
RECALLED = ("copy_8", "copy_32", "copy_64", "names", "things", "second_reading", "late")
NEAR = 64  # tokens: the lags up to here are one figure


def train(folder: Path, options: str, data: Path, more: list[str]) -> int:
    """Begin or go on with a run; the exit code of `retnet-viz train`, or 1 where it was stopped."""
    words = [sys.executable, "-m", "retnet_viz", "train", "--data", str(data), "--out", str(folder)]
    words += [
        "--tokenizer",
        str(TOKENIZER),
        "--about",
        ABOUT,
        "--weights-license",
        LICENSE,
        *shlex.split(options),
        *more,
    ]
    if (folder / "checkpoint").exists():
        words.append("--resume")
    print(shlex.join(words[1:]), flush=True)
    with suppress(KeyboardInterrupt):  # which the run has received too, and ends with a checkpoint
        process = subprocess.Popen(words)
        return process.wait() or (0 if (folder / "model").exists() else stopped(folder))
    process.wait()
    return stopped(folder)


def stopped(folder: Path) -> int:
    print(f"stopped: {folder} goes on where it stands when this is run again", file=sys.stderr)
    return 1


def rows(folder: Path, options: str) -> list[dict[str, object]]:
    """What a run logged at its validations, the later line where one was repeated."""
    log = folder / "log.jsonl"
    if not log.exists():
        return []
    size = load_model(folder / "checkpoint").n_parameters
    lines = {line["step"]: line for line in map(json.loads, log.read_text().splitlines())}
    return [
        {
            "run": folder.name,
            "options": options,
            "parameters": size,
            **{name: line[name] for name in COLUMNS},
            **recalled(line.get("recall")),
        }
        for _, line in sorted(lines.items())
    ]


def recalled(recall: dict[str, Any] | None) -> dict[str, object]:
    """The figures of recall that a validation logged; empty where the log is older than they."""
    if recall is None:
        return dict.fromkeys(RECALLED, "")
    copies = {f"copy_{each['length']}": each["second"] for each in recall["copies"]}
    words = {
        f"{kind}s": mean(
            word["accuracy"]
            for word in recall["words"]
            if word["kind"] == kind and word["lag"] <= NEAR
        )
        for kind in ("name", "thing")
    }
    return copies | words | {"second_reading": recall["second_reading"], "late": recall["late"]}


def kept(path: Path) -> list[dict[str, object]]:
    """The rows of a file of results, none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, found: list[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        names = max((list(row) for row in found), key=len)  # earlier rows may lack newer figures
        writer = csv.DictWriter(file, names, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", choices=GROUPS)
    parser.add_argument("--only", nargs="+", metavar="RUN", help="of the group (all)")
    parser.add_argument("--data", type=Path, default=STORIES)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "quality")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options, more = parser.parse_known_args()
    group = GROUPS[options.group]
    order = list(group)
    options.results.mkdir(exist_ok=True)
    path = options.results / f"{options.group}.csv"
    for name in options.only or group:
        folder = options.runs / options.group / name
        code = train(folder, group[name], options.data, more)
        words = shlex.join([*shlex.split(group[name]), *more])
        found = [row for row in kept(path) if row["run"] != name] + rows(folder, words)
        if found:
            write(path, sorted(found, key=lambda row: order.index(row["run"])))
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
