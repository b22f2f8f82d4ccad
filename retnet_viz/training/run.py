"""The folder of a run: its checkpoint, written whole or not at all, and its log.

run/
  checkpoint/    the model, with optimizer.safetensors and training.json: enough to go on
  log.jsonl      one line per validation
  model/         when all steps are done: 16-bit weights and a model card
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from retnet_viz.baselines.transformer import TransformerBlock
from retnet_viz.checkpoints import CheckpointError, Tokenizer, load_model
from retnet_viz.checkpoints.files import read_json, replaced_folder, write_json
from retnet_viz.checkpoints.native import build, write_model
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.model import LanguageModel
from retnet_viz.model.retnet import RetNetBlock
from retnet_viz.training.data import Corpus
from retnet_viz.training.lr_schedule import SCHEDULES, decay_start
from retnet_viz.training.optimizer import OPTIMIZERS, STATE, Muon, is_inner
from retnet_viz.training.recurring import COPY_KIND, KINDS

INITIAL_WEIGHTS = ("free", "positive")
PRECISIONS = ("auto", "float32", "bfloat16")
FIXED = (  # a resume must not change these: its numbers would differ from an uninterrupted run's
    "batch_size",
    "context",
    "optimizer",
    "learning_rate",
    "muon_learning_rate",
    "warmup",
    "schedule",
    "weight_decay",
    "clip",
    "initial_scale",
    "initial_weights",
    "copy_steps",
    "recurring",
    "recurring_end",
    "recurring_steps",
    "recurring_kinds",
    "seed",
    "precision",
)
# The end of a run: one with a stable schedule may change it until its rate falls.
ENDING = ("steps", "decay_share", "recurring_last")


class TrainingError(RuntimeError):
    """A run that failed; the last good checkpoint is intact."""


@dataclass(frozen=True)
class TrainingConfig:
    """The settings of a run: each step reads `batch_size` rows of `context` tokens.

    `accumulate` parts of them are read one after the other, which needs less memory. A RetNet reads
    chunkwise: the same gradient as parallel mode, and faster from a few hundred tokens on.
    `sample_tokens` are generated at each validation. `minutes` limits the time of a run, and its
    schedule ends with that time; 0 sets no limit. Raises ValueError on invalid settings.

    The first `copy_steps` steps read only repeated random tokens, in spans that grow: a model
    learns to copy sooner than from a mix with stories. Then each row has the probability
    `recurring` to be one in which something recurs (see the module `recurring`), of one of
    `recurring_kinds`; over `recurring_steps` steps the probability goes to `recurring_end` in a
    straight line. While the rate of a stable run falls it is `recurring_last`, if that is given: a
    model remembers best what it reads then.
    """

    data: str
    out: str
    tokenizer: str = ""  # a tokenizer.json; learned from the data where there is none
    steps: int = 3000
    minutes: float = 0.0
    batch_size: int = 8
    accumulate: int = 1
    context: int = 512
    chunk_size: int = 128  # longer than elsewhere: the backward pass needs every chunk's state
    optimizer: str = "adamw"
    learning_rate: float = 1.5e-3
    muon_learning_rate: float = 0.02
    warmup: int = 200
    schedule: str = "cosine"
    decay_share: float = 0.2
    weight_decay: float = 0.05
    clip: float = 1.0
    initial_scale: float = 1.0
    initial_weights: str = "free"
    copy_steps: int = 0
    recurring: float = 0.0
    recurring_end: float = 0.0
    recurring_steps: int = 0
    recurring_last: float | None = None
    recurring_kinds: str = ",".join(KINDS)
    seed: int = 0
    precision: str = "auto"
    device: str = "cpu"
    validate_every: int = 250
    validation_tokens: int = 65536
    sample_tokens: int = 40

    def __post_init__(self) -> None:
        for name, minimum in (
            ("steps", 1),
            ("batch_size", 1),
            ("accumulate", 1),
            ("context", 1),
            ("chunk_size", 1),
            ("validate_every", 1),
            ("validation_tokens", 1),
            ("sample_tokens", 0),
            ("warmup", 0),
            ("copy_steps", 0),
            ("recurring_steps", 0),
        ):
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} must be {minimum} or more, not {getattr(self, name)}")
        for name in ("learning_rate", "muon_learning_rate", "clip", "initial_scale"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("weight_decay", "minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name in ("recurring", "recurring_end", "recurring_last", "decay_share"):
            share = getattr(self, name)
            if share is not None and not 0 <= share <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1, not {share}")
        for name, allowed in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
            ("initial_weights", INITIAL_WEIGHTS),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
                )
        unknown = [kind for kind in self.recurring_kinds.split(",") if kind not in KINDS]
        if unknown:
            raise ValueError(
                f"recurring_kinds are some of {', '.join(KINDS)}, with commas between, "
                f"not {unknown[0]!r}"
            )
        if abs(self.seed) >= 2**31:
            raise ValueError(f"seed must be a number of 31 bits, not {self.seed}")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide into accumulate {self.accumulate} "
                "equal parts"
            )

    def total(self, progress: Progress) -> int:
        """The steps of the whole run: `steps`, or as many as `minutes` have room for."""
        if not self.minutes or not progress.step:
            return self.steps
        remaining = 60 * self.minutes - progress.elapsed
        more_steps = max(0, int(remaining * progress.step / progress.elapsed))
        return max(progress.step, min(self.steps, progress.step + more_steps))

    def span_growth(self, step: int) -> float:
        """How far the spans that come again have grown from the shortest, 0, to all lengths, 1."""
        return min(1.0, step / self.copy_steps) if self.copy_steps else 1.0

    def recurring_share(self, step: int) -> float:
        """The probability that something recurs in a row of this step."""
        if step < self.copy_steps:
            return 1.0
        is_falling = self.schedule == "stable" and step >= decay_start(self.steps, self.decay_share)
        if is_falling and self.recurring_last is not None:
            return self.recurring_last
        steps_since = step - self.copy_steps
        progress = min(1.0, steps_since / self.recurring_steps) if self.recurring_steps else 1.0
        return self.recurring + (self.recurring_end - self.recurring) * progress

    def kinds_of_step(self, step: int) -> list[str]:
        """The kinds of such rows, each drawn as often as it stands here."""
        return [COPY_KIND] if step < self.copy_steps else self.recurring_kinds.split(",")


@dataclass
class Progress:
    """The progress of a run. `seconds` are of training alone, `elapsed` includes validations."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    elapsed: float = 0.0
    loss: float = math.nan
    bits_per_byte: float = math.nan


def init_model(
    model_config: Any, tokenizer: Tokenizer, scale: float = 1.0, weights: str = "free"
) -> LanguageModel[Any]:
    """A model of random weights, drawn from torch's generator as it stands.

    The matrices between layers are `scale` times as large as the model draws them. With `weights`
    "positive" a RetNet's retention weights are positive at first, near the diagonal: keys begin as
    queries, and what both are made of has a shift common to all tokens. Retention weights are
    signed and, of free matrices, 0 on average: no first step tells the model that reading earlier
    tokens helps. A Transformer begins to read what is near in the same way; a Mamba has no queries.
    """
    model = build(model_config)
    model.tokenizer = tokenizer
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if is_inner(name, parameter, model):
                parameter.mul_(scale)
        if weights == "positive":
            for part in model.modules():
                if isinstance(part, RetNetBlock):
                    q, k = part.retention.q_proj.weight, part.retention.k_proj.weight
                    _align_queries_and_keys(part.retention_norm, q, k)
                elif isinstance(part, TransformerBlock):
                    q, k, _ = part.attention.qkv_proj.weight.chunk(3)
                    _align_queries_and_keys(part.attention_norm, q, k)
    return model


def _align_queries_and_keys(norm: nn.Module, q: Tensor, k: Tensor) -> None:
    """Let any token's query have a positive product with any near token's key."""
    if q.shape == k.shape:
        k.copy_(q)
    if isinstance(norm, nn.LayerNorm):
        norm.bias.normal_()  # as large as what the norm gives


def save_run(
    model: LanguageModel[Any],
    optimizers: Sequence[torch.optim.Optimizer],
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
            for optimizer in optimizers
            if parameter in optimizer.state
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
    optimizers: Sequence[torch.optim.Optimizer],
    model: LanguageModel[Any],
    moments: dict[str, Tensor],
) -> None:
    """Give the optimizers the state of each parameter in a checkpoint.

    Raises CheckpointError where something is missing or has another shape.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        keys = STATE["muon" if isinstance(optimizer, Muon) else "adamw"]
        for parameter in (each for group in optimizer.param_groups for each in group["params"]):
            state = {}
            for key in keys:
                name = f"{names[id(parameter)]}.{key}"
                moment = moments.get(name)
                shape = torch.Size([]) if key == "step" else parameter.shape
                if moment is None or moment.shape != shape:
                    raise CheckpointError(
                        f"optimizer.safetensors lacks the tensor {name} of shape {tuple(shape)}"
                    )
                state[key] = moment.to("cpu" if key == "step" else parameter.device)
            optimizer.state[parameter] = state


def load_run(
    folder: Path, config: TrainingConfig, model_config: Any, corpus: Corpus
) -> tuple[LanguageModel[Any], Progress, dict[str, Tensor]]:
    """The model, the progress and the moments in a run's checkpoint.

    Raises CheckpointError where it is damaged, or of a run with another model, text or settings.
    """
    model = load_model(folder)
    if model.config != model_config:
        raise CheckpointError(f"{folder} was trained with another model: {model.config}")
    moments = dict(Weights([folder / "optimizer.safetensors"]))
    content = read_json(folder / "training.json")
    earlier, progress, text_hash = _parse(content, folder)
    names = FIXED if _may_change_ending(earlier, config, progress) else (*ENDING, *FIXED)
    for name in names:
        if getattr(earlier, name) != getattr(config, name):
            raise CheckpointError(
                f"{folder} was trained with {name} {getattr(earlier, name)}, "
                f"not {getattr(config, name)}"
            )
    if text_hash != corpus.sha256:
        raise CheckpointError(f"{folder} was trained on other text than {config.data}")
    return model, progress, moments


def earlier_precision(folder: Path) -> str:
    """The precision that a run's checkpoint was trained with."""
    return _parse(read_json(folder / "training.json"), folder)[0].precision


def _parse(content: dict[str, Any], folder: Path) -> tuple[TrainingConfig, Progress, str]:
    try:
        earlier = TrainingConfig(**content["training"])
        return earlier, Progress(**content["progress"]), content["corpus"]["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{folder / 'training.json'} is not that of a training run: {error}"
        ) from error


def _may_change_ending(earlier: TrainingConfig, later: TrainingConfig, progress: Progress) -> bool:
    """Whether the run is one whose rate has not fallen yet, in either plan."""
    return earlier.schedule == "stable" and all(
        progress.step <= decay_start(plan.total(progress), plan.decay_share)
        for plan in (earlier, later)
    )


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
            f"{out} cannot be written to: {error}. {checkpoint_status(out)}; make room and {how}"
        ) from error


def checkpoint_status(out: Path) -> str:
    """A sentence on the last checkpoint of a run that failed."""
    if (out / "checkpoint").exists():
        return f"The last checkpoint in {out} is intact"
    return f"{out} has no checkpoint yet"
