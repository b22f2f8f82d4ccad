"""Training a RetNet on text: one run is one folder, which can be resumed and shipped.

run/
  checkpoint/    the model, with optimizer.safetensors and training.json: enough to go on
  log.jsonl      one line per validation
  model/         when all steps are done: 16-bit weights and a model card
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from retnet_viz.checkpoints import CheckpointError, load
from retnet_viz.checkpoints.files import read_json, replaced_folder, write_json
from retnet_viz.checkpoints.native import read_tensors, write_model
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.training.card import Provenance, ship
from retnet_viz.training.data import (
    Corpus,
    DataError,
    Dataset,
    batch,
    read_corpus,
    tokenize,
    train_tokenizer,
)
from retnet_viz.training.evaluation import Evaluation, evaluate
from retnet_viz.training.schedule import learning_rate

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter


class TrainingError(RuntimeError):
    """A run that failed; the last good checkpoint is intact."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a run is made: each step reads `batch_size` rows of `context` tokens.

    The steps run chunkwise: the same gradient as parallel mode, and faster from a few hundred
    tokens on.
    """

    data: str
    out: str
    steps: int = 3000
    batch_size: int = 8
    context: int = 512
    chunk_size: int = 128
    learning_rate: float = 1.5e-3
    warmup: int = 200
    weight_decay: float = 0.05
    clip: float = 1.0
    seed: int = 0
    precision: str = "bfloat16"
    validate_every: int = 250
    validation_tokens: int = 65536

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "context",
            "chunk_size",
            "validate_every",
            "validation_tokens",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}")


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    loss: float = math.nan
    bits_per_byte: float = math.nan


def train(
    config: TrainingConfig,
    model_config: RetNetConfig,
    *,
    resume: bool = False,
    about: str = "no description given",
) -> Progress:
    """Run or resume a training run in `config.out`; the checkpoint is there when it returns.

    `about` describes the data in the model card.

    SIGINT and SIGTERM end the run after the step in progress, with a checkpoint. Raises DataError
    or CheckpointError on what it cannot start from, TrainingError when the loss is not finite.
    """
    out = Path(config.out)
    folder = out / "checkpoint"
    if folder.exists() and not resume:
        raise DataError(
            f"{folder} holds a checkpoint; pass --resume to go on or name another --out"
        )
    torch.manual_seed(config.seed)
    print(f"reading {config.data}", flush=True)
    corpus = read_corpus(Path(config.data))
    progress = Progress()
    if resume:
        model, progress, moments = _load_run(folder, config, model_config, corpus)
    else:
        print(f"learning a vocabulary of {model_config.vocab_size} tokens", flush=True)
        tokenizer = train_tokenizer(corpus.texts, model_config.vocab_size)
        model, moments = RetNet(model_config), None
        model.tokenizer = tokenizer
    print("tokenizing", flush=True)
    dataset = tokenize(corpus, model.tokenizer)
    for name, ids in (("training", dataset.train), ("held-out", dataset.validation)):
        if len(ids) <= config.context:
            raise DataError(
                f"the {name} text has {len(ids)} tokens, fewer than a context of {config.context}; "
                "give more text or a smaller --context"
            )
    print(
        f"{model.n_parameters:,} parameters, {len(dataset.train):,} training tokens, "
        f"{len(dataset.validation):,} held out",
        flush=True,
    )
    optimizer = _optimizer(model, config)
    if moments:
        _restore(optimizer, model, moments)
    out.mkdir(parents=True, exist_ok=True)
    with _stop_signal() as stopped:
        _run(model, optimizer, dataset, corpus, config, progress, stopped)
    if progress.step == config.steps:
        print("writing the model and its card", flush=True)
        result = ship(
            model, out / "model", dataset, corpus, _provenance(model, config, progress, about)
        )
        print(f"loss {result.loss:.4f}, {result.bits_per_byte:.4f} bits per byte: {out / 'model'}")
    return progress


def _provenance(
    model: RetNet, config: TrainingConfig, progress: Progress, about: str
) -> Provenance:
    """What a card says of the run: how it was trained, and where the model is not the default."""
    default = RetNetConfig().to_dict()
    fields = asdict(config) | {
        name: value for name, value in model.config.to_dict().items() if value != default[name]
    }
    options = {name: str(value) for name, value in fields.items() if name not in ("data", "out")}
    return Provenance(
        about, options | {"about": about}, progress.step, progress.tokens, config.context
    )


def _run(
    model: RetNet,
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    corpus: Corpus,
    config: TrainingConfig,
    progress: Progress,
    stopped: list[int],
) -> None:
    bytes_per_token = dataset.validation_bytes / len(dataset.validation)
    out = Path(config.out)
    model.train()
    last = time.perf_counter()
    with tqdm(total=config.steps, initial=progress.step, unit="step", dynamic_ncols=True) as bar:
        stop = False
        while progress.step < config.steps and not stop:
            loss = _step(model, optimizer, dataset.train, config, progress.step)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {progress.step}; lower --learning-rate. "
                    f"The last checkpoint in {out} is intact"
                )
            progress.step += 1
            progress.tokens += config.batch_size * config.context
            now = time.perf_counter()
            progress.seconds += now - last
            last = now
            bar.update()
            rate = progress.tokens / progress.seconds
            bar.set_postfix_str(f"loss {loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
            stop = bool(stopped)  # read once: what arrives later ends the next step
            due = progress.step % config.validate_every == 0 or progress.step == config.steps
            if due or stop:
                everything = progress.step == config.steps
                result = evaluate(
                    model,
                    dataset.validation,
                    bytes_per_token,
                    config.context,
                    None if everything else config.validation_tokens,
                )
                if not math.isfinite(result.loss):
                    raise TrainingError(
                        f"the validation loss is {result.loss} after step {progress.step}; lower "
                        f"--learning-rate. The last checkpoint in {out} is intact"
                    )
                progress.loss, progress.bits_per_byte = result.loss, result.bits_per_byte
                save_run(model, optimizer, corpus, config, progress)
                _log(out / "log.jsonl", progress, loss, result)
                bar.write(
                    f"step {progress.step}: validation loss {result.loss:.4f}, "
                    f"{result.bits_per_byte:.4f} bits per byte"
                )
                last = time.perf_counter()


def _step(
    model: RetNet,
    optimizer: torch.optim.Optimizer,
    ids: Tensor,
    config: TrainingConfig,
    step: int,
) -> float:
    rate = learning_rate(step, config.steps, config.learning_rate, config.warmup)
    for group in optimizer.param_groups:
        group["lr"] = rate
    x, y = batch(ids, config.batch_size, config.context, config.seed, step)
    half = config.precision == "bfloat16"
    with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
        logits = model(x, mode="chunkwise", chunk_size=config.chunk_size).logits
        loss = F.cross_entropy(logits.flatten(0, 1).float(), y.flatten())
    value = loss.item()
    if math.isfinite(value):
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return value


def _optimizer(model: RetNet, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices only: a norm's scale or shift has no reason to shrink."""
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if p.dim() > 1],
                "weight_decay": config.weight_decay,
            },
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        lr=config.learning_rate,
    )


def save_run(
    model: RetNet,
    optimizer: torch.optim.Optimizer,
    corpus: Corpus,
    config: TrainingConfig,
    progress: Progress,
) -> None:
    """Write the run's checkpoint, in full precision and with all that a resume needs."""
    with replaced_folder(Path(config.out) / "checkpoint") as scratch:
        write_model(model, scratch, torch.float32)
        save_file(_moments(optimizer, model), scratch / "optimizer.safetensors")
        content = {
            "training": asdict(config),
            "progress": asdict(progress),
            "corpus": {"name": corpus.name, "sha256": corpus.sha256, "texts": len(corpus.texts)},
        }
        write_json(scratch / "training.json", content)


def _moments(optimizer: torch.optim.Optimizer, model: RetNet) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.clone()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _restore(optimizer: torch.optim.Optimizer, model: RetNet, moments: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {key: moments[f"{name}.{key}"] for key in MOMENTS}


def _load_run(
    folder: Path, config: TrainingConfig, model_config: RetNetConfig, corpus: Corpus
) -> tuple[RetNet, Progress, dict[str, Tensor]]:
    model = load(folder)
    content = read_json(folder / "training.json")
    if model.config != model_config:
        raise CheckpointError(f"{folder} was trained with another model: {model.config}")
    moments = read_tensors(folder / "optimizer.safetensors")
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
    for name in ("steps", "batch_size", "context", "learning_rate", "warmup", "seed", "precision"):
        if getattr(earlier, name) != getattr(config, name):
            raise CheckpointError(
                f"{folder} was trained with {name} {getattr(earlier, name)}, "
                f"not {getattr(config, name)}"
            )
    if trained_on != corpus.sha256:
        raise CheckpointError(f"{folder} was trained on other text than {config.data}")
    return model, progress, moments


def _log(path: Path, progress: Progress, loss: float, result: Evaluation) -> None:
    line = {**asdict(progress), "train_loss": loss, "validation_tokens": result.tokens}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM append to, in place of ending the process."""
    received: list[int] = []

    def note(number: int, _frame: Any) -> None:
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
