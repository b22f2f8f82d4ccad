"""Training a language model on text, in one process or in all those that torchrun started."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.checkpoints.native import kind_of
from retnet_viz.model import LanguageModel, RetNet, generate
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
from retnet_viz.training.distributed import Processes, join_processes
from retnet_viz.training.evaluation import Evaluation, evaluate
from retnet_viz.training.lr_schedule import lr_factor
from retnet_viz.training.optimizer import make_optimizers
from retnet_viz.training.precision import Pace, fastest_precision, half_precision
from retnet_viz.training.recall import Recall, measure_recall
from retnet_viz.training.recurring import RecurringRows
from retnet_viz.training.run import (
    Progress,
    TrainingConfig,
    TrainingError,
    checkpoint_status,
    earlier_precision,
    init_model,
    load_run,
    log,
    restore,
    save_run,
    writing,
)

PROMPT = 16  # tokens of the held-out text that a sample goes on from
RECALL_SAMPLES = 8  # texts for each figure of recall at a validation
SAVE_SECONDS = 600  # of training that an interruption costs at most


def train(
    config: TrainingConfig,
    model_config: Any,
    *,
    resume: bool = False,
    about: str = "no description given",
    weights_license: str = "",
) -> Progress:
    """Run or resume a training run in `config.out`; the checkpoint is there when it returns.

    `model_config` says which of the checkpoints' kinds of models is trained, `about` describes the
    data in the model card, `weights_license` says in it who may use the weights.

    SIGINT and SIGTERM end the run after the step in progress, with a checkpoint. Raises DataError
    or CheckpointError on what it cannot start from, TrainingError where the loss is not finite or
    a checkpoint cannot be written.
    """
    with join_processes() as processes:
        description = {"about": about}
        if weights_license:
            description["weights_license"] = weights_license
        return _train(config, model_config, processes, resume, description)


def _train(
    config: TrainingConfig,
    model_config: Any,
    processes: Processes,
    resume: bool,
    description: dict[str, str],
) -> Progress:
    out = Path(config.out)
    folder = out / "checkpoint"
    _check_device_and_folder(out, config.device)
    if folder.exists() and not resume:
        raise DataError(
            f"{folder} holds a checkpoint; pass --resume to go on or name another --out"
        )
    if config.batch_size % (config.accumulate * processes.size):
        raise DataError(
            f"batch_size {config.batch_size} does not divide into equal parts for {processes.size} "
            f"processes with accumulate {config.accumulate}"
        )
    torch.manual_seed(config.seed)
    processes.print(f"reading {config.data}")
    corpus = read_corpus(Path(config.data))
    progress = Progress()
    if resume:
        if config.precision == "auto" and folder.exists():
            config = replace(config, precision=earlier_precision(folder))
        model, progress, moments = load_run(folder, config, model_config, corpus)
    else:
        tokenizer = _make_tokenizer(config, model_config.vocab_size, corpus, processes)
        model = init_model(model_config, tokenizer, config.initial_scale, config.initial_weights)
        moments = {}
    processes.print("tokenizing")
    dataset = tokenize(corpus, model.tokenizer)
    for name, ids in (("training", dataset.train), ("held-out", dataset.validation)):
        if len(ids) <= config.context:
            raise DataError(
                f"the {name} text has {len(ids)} tokens, fewer than a context of {config.context}; "
                "give more text or a smaller --context"
            )
    processes.print(
        f"{model.n_parameters:,} parameters, {len(dataset.train):,} training tokens, "
        f"{len(dataset.validation):,} held out"
    )
    model.to(config.device)
    pace = processes.broadcast(fastest_precision(model, config) if processes.is_leader else None)
    config = replace(config, precision=pace.precision)
    optimizers = make_optimizers(
        model,
        config.optimizer,
        config.learning_rate,
        config.weight_decay,
        config.muon_learning_rate,
        config.precision,
    )
    if resume:
        restore(optimizers, model, moments)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    processes.print(_estimate(pace, config, progress, processes))
    with _stop_signal() as stop_signals:
        _run_steps(model, optimizers, dataset, corpus, config, progress, stop_signals, processes)
    if progress.step >= config.total(progress) and processes.is_leader:
        processes.print("writing the model and its card")
        with writing(out):
            result = ship(
                model,
                out / "model",
                dataset,
                corpus,
                _provenance(model, config, progress, description),
            )
        processes.print(
            f"loss {result.loss:.4f}, {result.bits_per_byte:.4f} bits per byte: {out / 'model'}"
        )
    return progress


def _check_device_and_folder(out: Path, device: str) -> None:
    """Raise DataError where `out` lies in a file, or where this machine lacks the device."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise DataError(f"{nearest} is a file; name a folder with --out")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # torch was built without it
        raise DataError(f"--device {device} cannot be used: {error}") from error


def _make_tokenizer(
    config: TrainingConfig, vocab_size: int, corpus: Corpus, processes: Processes
) -> Tokenizer:
    """The tokenizer of the config, or one learned from the texts, the same in every process."""
    if config.tokenizer:
        tokenizer = Tokenizer.from_file(Path(config.tokenizer))
        if tokenizer.vocab_size != vocab_size:
            raise DataError(
                f"{config.tokenizer} has {tokenizer.vocab_size} tokens, but the model {vocab_size}"
            )
        return tokenizer
    processes.print(f"learning a vocabulary of {vocab_size} tokens")
    content = train_tokenizer(corpus.texts, vocab_size).to_json() if processes.is_leader else ""
    return Tokenizer.from_json(processes.broadcast(content))


def _provenance(
    model: LanguageModel[Any],
    config: TrainingConfig,
    progress: Progress,
    description: dict[str, str],
) -> Provenance:
    """The run for the model card: its options, and where the model differs from the default."""
    default = type(model.config)().to_dict()
    changed = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in model.config.to_dict().items()
        if value != default[name]
    }
    progress_fields = {"steps": progress.step, "minutes": 0.0}  # the steps really taken
    fields = {"model": kind_of(model.config)} | asdict(config) | progress_fields | changed
    omitted = ("data", "out", "tokenizer")
    options = {
        name: str(value)
        for name, value in fields.items()
        if name not in omitted and value is not None
    }
    recurring = f"{100 * config.recurring_end:.0f} %"
    if config.recurring_steps:
        final_step = config.copy_steps + config.recurring_steps
        recurring += f" from step {final_step:,} on, {100 * config.recurring:.0f} % before"
    if config.recurring_last is not None:
        recurring += f", {100 * config.recurring_last:.0f} % while the rate falls"
    if config.copy_steps:
        recurring += f"; all of the first {config.copy_steps:,} steps, of random tokens"
    return Provenance(
        options=options | description,
        steps=progress.step,
        tokens=progress.tokens,
        context=config.context,
        recurring=recurring,
        **description,
    )


def _estimate(pace: Pace, config: TrainingConfig, progress: Progress, processes: Processes) -> str:
    """A line for the terminal before the first step: precision, speed, time to the end."""
    rate = pace.tokens_per_second * processes.size
    tokens = (config.steps - progress.step) * config.batch_size * config.context
    minutes = tokens / rate / 60
    if config.minutes:
        minutes = min(minutes, max(0.0, config.minutes - progress.elapsed / 60))
    return (
        f"{pace.reason}; about {rate:,.0f} tokens a second, {_format_duration(minutes)} to the end"
    )


def _format_duration(minutes: float) -> str:
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


def _run_steps(
    model: LanguageModel[Any],
    optimizers: Sequence[torch.optim.Optimizer],
    dataset: Dataset,
    corpus: Corpus,
    config: TrainingConfig,
    progress: Progress,
    stop_signals: list[int],
    processes: Processes,
) -> None:
    out = Path(config.out)
    model.train()
    parallel_model = processes.wrap(model)
    rows = RecurringRows(dataset.train, model.tokenizer)
    total = processes.broadcast(config.total(progress))
    last_time = last_save = time.perf_counter()
    with tqdm(
        total=total,
        initial=progress.step,
        unit="step",
        dynamic_ncols=True,
        disable=not processes.is_leader,
    ) as bar:
        stop = False
        while progress.step < total and not stop:
            factor = lr_factor(
                progress.step, total, config.warmup, config.schedule, config.decay_share
            )
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = group["peak"] * factor
            loss = _step(parallel_model, optimizers, rows, config, processes, progress.step)
            if not isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {progress.step}; lower --learning-rate. "
                    f"{checkpoint_status(out)}"
                )
            progress.step += 1
            progress.tokens += config.batch_size * config.context
            now = time.perf_counter()
            progress.seconds += now - last_time
            progress.elapsed += now - last_time
            last_time = now
            total = processes.broadcast(config.total(progress)) if config.minutes else config.steps
            bar.total = total
            bar.update()
            rate = progress.tokens / progress.seconds
            bar.set_postfix_str(f"loss {loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
            stop = processes.any(bool(stop_signals))  # once: a later signal ends the next step
            is_last = progress.step >= total
            if progress.step % config.validate_every == 0 or is_last or stop:
                validation = _validate(model, dataset, config, progress, processes, is_last)
                if not isfinite(validation.result.loss):
                    raise TrainingError(
                        f"the validation loss is {validation.result.loss} after step "
                        f"{progress.step}; lower --learning-rate. {checkpoint_status(out)}"
                    )
                progress.loss = validation.result.loss
                progress.bits_per_byte = validation.result.bits_per_byte
                if processes.is_leader:
                    with writing(out):
                        save_run(model, optimizers, corpus, config, progress)
                        log(out / "log.jsonl", asdict(progress) | validation.log_entry(loss))
                    for message in validation.messages(progress.step):
                        bar.write(message)
                last_save = time.perf_counter()
            elif now - last_save > SAVE_SECONDS:
                if processes.is_leader:
                    with writing(out):
                        save_run(model, optimizers, corpus, config, progress)
                last_save = time.perf_counter()
            now = time.perf_counter()
            progress.elapsed += now - last_time
            last_time = now


@dataclass(frozen=True)
class _Validation:
    """How well the model does on the held-out text, what it recalls, and how it goes on."""

    result: Evaluation
    recall: Recall | None = None
    sample: str = ""

    def log_entry(self, train_loss: float) -> dict[str, Any]:
        """The fields of a line of the log, beside those of the progress."""
        recall = self.recall and self.recall.to_dict()
        return {
            "train_loss": train_loss,
            "validation_tokens": self.result.tokens,
            "recall": recall,
            "sample": self.sample,
        }

    def messages(self, step: int) -> Iterator[str]:
        """The lines for the terminal."""
        yield (
            f"step {step}: validation loss {self.result.loss:.4f}, "
            f"{self.result.bits_per_byte:.4f} bits per byte"
        )
        if self.recall:
            yield f"  {self.recall.summary()}"
        if self.sample:
            yield f"  {self.sample!r}"


def _validate(
    model: LanguageModel[Any],
    dataset: Dataset,
    config: TrainingConfig,
    progress: Progress,
    processes: Processes,
    is_last: bool,
) -> _Validation:
    """Validate the model after this step; the result is the same in every process."""
    validation = None
    if processes.is_leader:
        result = evaluate(
            model,
            dataset.validation,
            dataset.validation_bytes / len(dataset.validation),
            config.context,
            None if is_last else config.validation_tokens,
        )
        validation = _Validation(result)
        if isfinite(result.loss):
            recall = measure_recall(model, dataset.validation, RECALL_SAMPLES)
            validation = _Validation(result, recall, _sample(model, dataset.validation, config))
    shared_validation: _Validation = processes.broadcast(validation)
    return shared_validation


def _sample(model: LanguageModel[Any], ids: Tensor, config: TrainingConfig) -> str:
    """The first words of the held-out text, and how the model continues them."""
    if not config.sample_tokens:
        return ""
    prompt = ids[None, : min(PROMPT, config.context)].long().to(config.device)
    model.eval()
    new = generate(model, prompt, config.sample_tokens, temperature=0.8, seed=config.seed)
    model.train()
    text: str = model.tokenizer.decode(torch.cat((prompt, new), dim=1)[0].tolist())
    return text


def _step(
    model: nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    rows: RecurringRows,
    config: TrainingConfig,
    processes: Processes,
    step: int,
) -> float:
    """One step of the optimizers on the step's rows; their mean loss, over all processes."""
    unwrapped = model.module if isinstance(model, DistributedDataParallel) else model
    kwargs: dict[str, Any] = {}
    if isinstance(unwrapped, RetNet):
        kwargs = {"mode": "chunkwise", "chunk_size": config.chunk_size}
    x, y = (
        part[processes.rank :: processes.size].to(config.device)
        for part in rows_of_step(rows, config, step)
    )
    total = 0.0
    for i, (inputs, targets) in enumerate(
        zip(x.chunk(config.accumulate), y.chunk(config.accumulate), strict=True)
    ):
        with half_precision(config):
            logits = model(inputs, **kwargs).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
            loss = loss / config.accumulate
        total += loss.item()
        with _no_sync(model, i < config.accumulate - 1):
            loss.backward()  # type: ignore[no-untyped-call]
    total = processes.mean(total)
    if isfinite(total):
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        for optimizer in optimizers:
            optimizer.step()
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    return total


def rows_of_step(rows: RecurringRows, config: TrainingConfig, step: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets (batch_size, context) of one step, the same whenever asked for."""
    # Copies: inputs and targets of one row overlap in the corpus.
    x, y = (
        tensor.clone()
        for tensor in batch(rows.ids, config.batch_size, config.context, config.seed, step)
    )
    share, growth = config.recurring_share(step), config.span_growth(step)
    if share:
        kinds = config.kinds_of_step(step)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step + 2**40)
        for row in range(config.batch_size):
            is_recurring, choice = torch.rand(2, generator=generator).tolist()
            if is_recurring < share:
                kind = kinds[int(choice * len(kinds))]
                x[row], y[row] = rows.draw(kind, config.context, generator, growth)
    return x, y


def _no_sync(model: nn.Module, is_partial: bool) -> AbstractContextManager[None]:
    """Keep gradients in this process while they are partial sums."""
    if is_partial and isinstance(model, DistributedDataParallel):
        context: AbstractContextManager[None] = model.no_sync()
        return context
    return nullcontext()


@contextmanager
def _stop_signal() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM append to, in place of ending the process."""
    received: list[int] = []

    def receive(number: int, _frame: Any) -> None:
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
