"""Training runs that take a second: their texts, their command, what they leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from retnet_viz.training.data import END

LINES = [
    f"The {colour} {animal} sat on the {place}."
    for colour in ("red", "old", "shy")
    for animal in ("fox", "owl", "hen")
    for place in ("mat", "log", "hill", "wall")
]


def write_stories(folder: Path) -> Path:
    """A file of 36 short texts."""
    path = folder / "stories.txt"
    path.write_text(f"\n{END}\n".join(line * 3 for line in LINES) + f"\n{END}\n")
    return path


def arguments(data: Path, out: Path, **options: Any) -> list[str]:
    settings = {
        "data": data, "out": out, "steps": 10, "batch_size": 4, "context": 24, "chunk_size": 10,
        "vocab_size": 290, "d_model": 16, "n_layers": 2, "n_heads": 2, "warmup": 3, "learning_rate":
        0.01, "validate_every": 5, "precision": "float32", **options,
    }  # fmt: skip
    words = ["train"]
    for name, value in settings.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return words


def log_of(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def files_of(run: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (run / "checkpoint").iterdir()}
