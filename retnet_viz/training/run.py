"""The folder of a run: what a resume needs, written whole or not at all, and the log.

run/
  checkpoint/    the model, with optimizer.safetensors and training.json: enough to go on
  log.jsonl      one line per validation
  model/         when all steps are done: 16-bit weights and a model card
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from retnet_viz.checkpoints import CheckpointError, Tokenizer, load_model
from retnet_viz.checkpoints.files import read_json, replaced_folder, write_json
from retnet_viz.checkpoints.native import build, write_model
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.model import LanguageModel
from retnet_viz.training.data import Corpus

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter
FIXED = (  # what a resume may not change: the numbers would be those of no run in a single go
    "steps",
    "batch_size",
    "context",
    "learning_rate",
    "warmup",
    "weight_decay",
    "clip",
    "seed",
    "precision",
)


class TrainingError(RuntimeError):
    """A run that failed; the last good checkpoint is intact."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a run is made: each step reads `batch_size` rows of `context` tokens.

    `accumulate` parts of them are read one after the other, for a memory that does not hold all. A
    RetNet reads chunkwise: the same gradient as parallel mode, and faster from a few hundred tokens
    on. `sample_tokens` are generated at each validation. Raises ValueError on what no run can have.
    """

    data: str
    out: str
    tokenizer: str = ""  # a tokenizer.json; learned from the data where there is none
    steps: int = 3000
    batch_size: int = 8
    accumulate: int = 1
    context: int = 512
    chunk_size: int = 128
    learning_rate: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 0.05
    clip: float = 1.0
    seed: int = 0
    precision: str = "bfloat16"
    device: str = "cpu"
    validate_every: int = 250
    validation_tokens: int = 65536
    sample_tokens: int = 40

    def __post_init__(self) -> None:
        for name, least in (
            ("steps", 1),
            ("batch_size", 1),
            ("accumulate", 1),
            ("context", 1),
            ("chunk_size", 1),
            ("validate_every", 1),
            ("validation_tokens", 1),
            ("sample_tokens", 0),
            ("warmup", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, not {getattr(self, name)}")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay must be 0 or more, not {self.weight_decay}")
        if abs(self.seed) >= 2**31:
            raise ValueError(f"seed must be a number of 31 bits, not {self.seed}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide into accumulate {self.accumulate} "
                "equal parts"
            )


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    bits_per_byte: float = math.nan


def begin(model_config: Any, tokenizer: Tokenizer) -> LanguageModel[Any]:
    """A model of random weights, drawn from torch's generator as it stands."""
    model = build(model_config)
    model.tokenizer = tokenizer
    return model


def save_run(
    model: LanguageModel[Any],
    optimizer: torch.optim.Optimizer,
    corpus: Corpus,
    config: TrainingConfig,
    progress: Progress,
) -> None:
    """Write the run's checkpoint, in full precision and with all that a resume needs."""
    with replaced_folder(Path(config.out) / "checkpoint") as scratch:
        write_model(model, scratch, torch.float32)
        moments = {
            f"{name}.{key}": value.detach().cpu().clone()
            for name, parameter in model.named_parameters()
            for key, value in optimizer.state[parameter].items()
        }
        save_file(moments, scratch / "optimizer.safetensors")
        content = {
            "training": asdict(config),
            "progress": asdict(progress),
            "corpus": {"name": corpus.name, "sha256": corpus.sha256, "texts": len(corpus.texts)},
        }
        write_json(scratch / "training.json", content)


def restore(
    optimizer: torch.optim.Optimizer, model: LanguageModel[Any], moments: dict[str, Tensor]
) -> None:
    """Give the optimizer the moments of a checkpoint."""
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            key: moments[f"{name}.{key}"].to("cpu" if key == "step" else parameter.device)
            for key in MOMENTS
        }


def load_run(
    folder: Path, config: TrainingConfig, model_config: Any, corpus: Corpus
) -> tuple[LanguageModel[Any], Progress, dict[str, Tensor]]:
    """The model, the progress and the moments in a run's checkpoint.

    Raises CheckpointError where it is damaged, or of a run with another model, text or settings.
    """
    model = load_model(folder)
    content = read_json(folder / "training.json")
    if model.config != model_config:
        raise CheckpointError(f"{folder} was trained with another model: {model.config}")
    moments = dict(Weights([folder / "optimizer.safetensors"]))
    try:
        earlier = TrainingConfig(**content["training"])
        progress = Progress(**content["progress"])
        trained_on = content["corpus"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'training.json'} is not that of a training run: {error}"
        ) from error
    for name, parameter in model.named_parameters():
        for key in MOMENTS:
            moment = moments.get(f"{name}.{key}")
            if moment is None or moment.shape not in (parameter.shape, torch.Size([])):
                raise CheckpointError(
                    f"{folder / 'optimizer.safetensors'} lacks the tensor {name}.{key}"
                )
    for name in FIXED:
        if getattr(earlier, name) != getattr(config, name):
            raise CheckpointError(
                f"{folder} was trained with {name} {getattr(earlier, name)}, "
                f"not {getattr(config, name)}"
            )
    if trained_on != corpus.sha256:
        raise CheckpointError(f"{folder} was trained on other text than {config.data}")
    return model, progress, moments


def log(path: Path, line: dict[str, Any]) -> None:
    """Add a line to a log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """TrainingError, with a sentence, where something of a run cannot be written."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        how = "pass --resume to go on from there" if (out / "checkpoint").exists() else "start anew"
        raise TrainingError(
            f"{out} cannot be written to: {error}. {kept(out)}; make room and {how}"
        ) from error


def kept(out: Path) -> str:
    """What a run that failed leaves."""
    if (out / "checkpoint").exists():
        return f"The last checkpoint in {out} is intact"
    return f"{out} has no checkpoint yet"
