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
from retnet_viz.training.distributed import Processes, joined
from retnet_viz.training.evaluation import Evaluation, evaluate
from retnet_viz.training.lr_schedule import rate_share
from retnet_viz.training.optimizer import make_optimizers
from retnet_viz.training.precision import Pace, fastest_precision, half_precision
from retnet_viz.training.recall import Recall, measure_recall
from retnet_viz.training.recurring import RecurringRows
from retnet_viz.training.run import (
    Progress,
    TrainingConfig,
    TrainingError,
    begin,
    earlier_precision,
    kept,
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
) -> Progress:
    """Run or resume a training run in `config.out`; the checkpoint is there when it returns.

    `model_config` says which of the checkpoints' kinds of models is trained, `about` describes the
    data in the model card.

    SIGINT and SIGTERM end the run after the step in progress, with a checkpoint. Raises DataError
    or CheckpointError on what it cannot start from, TrainingError where the loss is not finite or
    a checkpoint cannot be written.
    """
    with joined() as processes:
        return _train(config, model_config, processes, resume, about)


def _train(
    config: TrainingConfig, model_config: Any, processes: Processes, resume: bool, about: str
) -> Progress:
    out = Path(config.out)
    folder = out / "checkpoint"
    _check_place(out, config.device)
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
    processes.say(f"reading {config.data}")
    corpus = read_corpus(Path(config.data))
    progress = Progress()
    if resume:
        if config.precision == "auto" and folder.exists():
            config = replace(config, precision=earlier_precision(folder))
        model, progress, moments = load_run(folder, config, model_config, corpus)
    else:
        tokenizer = _tokenizer(config, model_config.vocab_size, corpus, processes)
        model = begin(model_config, tokenizer, config.initial_scale, config.initial_weights)
        moments = {}
    processes.say("tokenizing")
    dataset = tokenize(corpus, model.tokenizer)
    for name, ids in (("training", dataset.train), ("held-out", dataset.validation)):
        if len(ids) <= config.context:
            raise DataError(
                f"the {name} text has {len(ids)} tokens, fewer than a context of {config.context}; "
                "give more text or a smaller --context"
            )
    processes.say(
        f"{model.n_parameters:,} parameters, {len(dataset.train):,} training tokens, "
        f"{len(dataset.validation):,} held out"
    )
    model.to(config.device)
    pace = processes.of_leader(fastest_precision(model, config) if processes.leads else None)
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
    processes.say(_outlook(pace, config, progress, processes))
    with _stop_signal() as stopped:
        _run(model, optimizers, dataset, corpus, config, progress, stopped, processes)
    if progress.step >= config.total(progress) and processes.leads:
        processes.say("writing the model and its card")
        with writing(out):
            result = ship(
                model, out / "model", dataset, corpus, _provenance(model, config, progress, about)
            )
        processes.say(
            f"loss {result.loss:.4f}, {result.bits_per_byte:.4f} bits per byte: {out / 'model'}"
        )
    return progress


def _check_place(out: Path, device: str) -> None:
    """Raise DataError where no run can be: in a file, or on a device that this machine lacks."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise DataError(f"{nearest} is a file; name a folder with --out")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as error:  # torch was built without it
        raise DataError(f"--device {device} cannot be used: {error}") from error


def _tokenizer(
    config: TrainingConfig, vocab_size: int, corpus: Corpus, processes: Processes
) -> Tokenizer:
    """The tokenizer that is named, or one learned from the texts, the same in every process."""
    if config.tokenizer:
        tokenizer = Tokenizer.from_file(Path(config.tokenizer))
        if tokenizer.vocab_size != vocab_size:
            raise DataError(
                f"{config.tokenizer} has {tokenizer.vocab_size} tokens, but the model {vocab_size}"
            )
        return tokenizer
    processes.say(f"learning a vocabulary of {vocab_size} tokens")
    content = train_tokenizer(corpus.texts, vocab_size).to_json() if processes.leads else ""
    return Tokenizer.from_json(processes.of_leader(content))


def _provenance(
    model: LanguageModel[Any], config: TrainingConfig, progress: Progress, about: str
) -> Provenance:
    """What a card says of the run: how it was trained, and where the model is not the default."""
    default = type(model.config)().to_dict()
    changed = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in model.config.to_dict().items()
        if value != default[name]
    }
    done = {"steps": progress.step, "minutes": 0.0}  # as many as the time had room for
    fields = {"model": kind_of(model.config)} | asdict(config) | done | changed
    unsaid = ("data", "out", "tokenizer")
    options = {
        name: str(value)
        for name, value in fields.items()
        if name not in unsaid and value is not None
    }
    recurring = f"{100 * config.recurring_end:.0f} %"
    if config.recurring_steps:
        settled = config.copy_steps + config.recurring_steps
        recurring += f" from step {settled:,} on, {100 * config.recurring:.0f} % before"
    if config.recurring_last is not None:
        recurring += f", {100 * config.recurring_last:.0f} % while the rate falls"
    if config.copy_steps:
        recurring += f"; all of the first {config.copy_steps:,} steps, of random tokens"
    return Provenance(
        about,
        options | {"about": about},
        progress.step,
        progress.tokens,
        config.context,
        recurring,
    )


def _outlook(pace: Pace, config: TrainingConfig, progress: Progress, processes: Processes) -> str:
    """What is known before the first step: precision, speed, time to the end."""
    rate = pace.tokens_per_second * processes.size
    tokens = (config.steps - progress.step) * config.batch_size * config.context
    minutes = tokens / rate / 60
    if config.minutes:
        minutes = min(minutes, max(0.0, config.minutes - progress.elapsed / 60))
    return f"{pace.reason}; about {rate:,.0f} tokens a second, {_duration(minutes)} to the end"


def _duration(minutes: float) -> str:
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h"


def _run(
    model: LanguageModel[Any],
    optimizers: Sequence[torch.optim.Optimizer],
    dataset: Dataset,
    corpus: Corpus,
    config: TrainingConfig,
    progress: Progress,
    stopped: list[int],
    processes: Processes,
) -> None:
    out = Path(config.out)
    model.train()
    wrapped = processes.wrap(model)
    rows = RecurringRows(dataset.train, model.tokenizer)
    total = processes.of_leader(config.total(progress))
    last = saved = time.perf_counter()
    with tqdm(
        total=total,
        initial=progress.step,
        unit="step",
        dynamic_ncols=True,
        disable=not processes.leads,
    ) as bar:
        stop = False
        while progress.step < total and not stop:
            share = rate_share(
                progress.step, total, config.warmup, config.schedule, config.decay_share
            )
            for group in (group for each in optimizers for group in each.param_groups):
                group["lr"] = group["peak"] * share
            loss = _step(wrapped, optimizers, rows, config, processes, progress.step)
            if not isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {progress.step}; lower --learning-rate. "
                    f"{kept(out)}"
                )
            progress.step += 1
            progress.tokens += config.batch_size * config.context
            now = time.perf_counter()
            progress.seconds += now - last
            progress.elapsed += now - last
            last = now
            total = processes.of_leader(config.total(progress)) if config.minutes else config.steps
            bar.total = total
            bar.update()
            rate = progress.tokens / progress.seconds
            bar.set_postfix_str(f"loss {loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
            stop = processes.any(bool(stopped))  # read once: what arrives later ends the next step
            is_last = progress.step >= total
            if progress.step % config.validate_every == 0 or is_last or stop:
                found = _validate(model, dataset, config, progress, processes, is_last)
                if not isfinite(found.result.loss):
                    raise TrainingError(
                        f"the validation loss is {found.result.loss} after step {progress.step}; "
                        f"lower --learning-rate. {kept(out)}"
                    )
                progress.loss = found.result.loss
                progress.bits_per_byte = found.result.bits_per_byte
                if processes.leads:
                    with writing(out):
                        save_run(model, optimizers, corpus, config, progress)
                        log(out / "log.jsonl", asdict(progress) | found.line(loss))
                    for line in found.said(progress.step):
                        bar.write(line)
                saved = time.perf_counter()
            elif now - saved > SAVE_SECONDS:
                if processes.leads:
                    with writing(out):
                        save_run(model, optimizers, corpus, config, progress)
                saved = time.perf_counter()
            now = time.perf_counter()
            progress.elapsed += now - last
            last = now


@dataclass(frozen=True)
class _Validation:
    """How well the model does on the held-out text, what it recalls, and how it goes on."""

    result: Evaluation
    recall: Recall | None = None
    sample: str = ""

    def line(self, train_loss: float) -> dict[str, Any]:
        """What the log has of it beside the progress."""
        recall = self.recall and self.recall.to_dict()
        return {
            "train_loss": train_loss,
            "validation_tokens": self.result.tokens,
            "recall": recall,
            "sample": self.sample,
        }

    def said(self, step: int) -> Iterator[str]:
        """What the terminal shows of it."""
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
    """How the model does after this step, the same in every process."""
    found = None
    if processes.leads:
        result = evaluate(
            model,
            dataset.validation,
            dataset.validation_bytes / len(dataset.validation),
            config.context,
            None if is_last else config.validation_tokens,
        )
        found = _Validation(result)
        if isfinite(result.loss):
            recall = measure_recall(model, dataset.validation, RECALL_SAMPLES)
            found = _Validation(result, recall, _sample(model, dataset.validation, config))
    validated: _Validation = processes.of_leader(found)
    return validated


def _sample(model: LanguageModel[Any], ids: Tensor, config: TrainingConfig) -> str:
    """What the model writes after the first words of the held-out text, and these words."""
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
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    how: dict[str, Any] = {}
    if isinstance(inner, RetNet):
        how = {"mode": "chunkwise", "chunk_size": config.chunk_size}
    x, y = (
        part[processes.rank :: processes.size].to(config.device)
        for part in rows_of_step(rows, config, step)
    )
    total = 0.0
    for i, (inputs, targets) in enumerate(
        zip(x.chunk(config.accumulate), y.chunk(config.accumulate), strict=True)
    ):
        with half_precision(config):
            logits = model(inputs, **how).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
            loss = loss / config.accumulate
        total += loss.item()
        with _unshared(model, i < config.accumulate - 1):
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
    # Of their own memory: inputs and targets of one row overlap in the corpus.
    x, y = (
        each.clone()
        for each in batch(rows.ids, config.batch_size, config.context, config.seed, step)
    )
    share, grown = config.recurring_share(step), config.span_growth(step)
    if share:
        kinds = config.kinds_of_step(step)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step + 2**40)
        for row in range(config.batch_size):
            is_recurring, choice = torch.rand(2, generator=generator).tolist()
            if is_recurring < share:
                kind = kinds[int(choice * len(kinds))]
                x[row], y[row] = rows.draw(kind, config.context, generator, grown)
    return x, y


def _unshared(model: nn.Module, more: bool) -> AbstractContextManager[None]:
    """Gradients stay in this process while `more` are to be added."""
    if more and isinstance(model, DistributedDataParallel):
        unshared: AbstractContextManager[None] = model.no_sync()
        return unshared
    return nullcontext()


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
