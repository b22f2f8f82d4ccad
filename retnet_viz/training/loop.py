"""Training a language model on text, in one process or in all those that torchrun started."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
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
from retnet_viz.training.evaluation import Evaluation, evaluate
from retnet_viz.training.run import (
    Progress,
    TrainingConfig,
    TrainingError,
    begin,
    kept,
    load_run,
    log,
    restore,
    save_run,
    writing,
)
from retnet_viz.training.schedule import learning_rate
from retnet_viz.training.world import World, joined

PROMPT = 16  # tokens of the held-out text that a sample goes on from


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
    with joined() as world:
        return _train(config, model_config, world, resume, about)


def _train(
    config: TrainingConfig, model_config: Any, world: World, resume: bool, about: str
) -> Progress:
    out = Path(config.out)
    folder = out / "checkpoint"
    _check_place(out, config.device)
    if folder.exists() and not resume:
        raise DataError(
            f"{folder} holds a checkpoint; pass --resume to go on or name another --out"
        )
    if config.batch_size % (config.accumulate * world.size):
        raise DataError(
            f"batch_size {config.batch_size} does not divide into equal parts for {world.size} "
            f"processes with accumulate {config.accumulate}"
        )
    torch.manual_seed(config.seed)
    world.say(f"reading {config.data}")
    corpus = read_corpus(Path(config.data))
    progress = Progress()
    if resume:
        model, progress, moments = load_run(folder, config, model_config, corpus)
    else:
        tokenizer = _tokenizer(config, model_config.vocab_size, corpus, world)
        model, moments = begin(model_config, tokenizer), {}
    world.say("tokenizing")
    dataset = tokenize(corpus, model.tokenizer)
    for name, ids in (("training", dataset.train), ("held-out", dataset.validation)):
        if len(ids) <= config.context:
            raise DataError(
                f"the {name} text has {len(ids)} tokens, fewer than a context of {config.context}; "
                "give more text or a smaller --context"
            )
    world.say(
        f"{model.n_parameters:,} parameters, {len(dataset.train):,} training tokens, "
        f"{len(dataset.validation):,} held out"
    )
    model.to(config.device)
    optimizer = _optimizer(model, config)
    if moments:
        restore(optimizer, model, moments)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with _stop_signal() as stopped:
        _run(model, optimizer, dataset, corpus, config, progress, stopped, world)
    if progress.step == config.steps and world.leads:
        world.say("writing the model and its card")
        with writing(out):
            result = ship(
                model, out / "model", dataset, corpus, _provenance(model, config, progress, about)
            )
        world.say(
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


def _tokenizer(config: TrainingConfig, vocab_size: int, corpus: Corpus, world: World) -> Tokenizer:
    """The tokenizer that is named, or one learned from the texts, the same in every process."""
    if config.tokenizer:
        tokenizer = Tokenizer.from_file(Path(config.tokenizer))
        if tokenizer.vocab_size != vocab_size:
            raise DataError(
                f"{config.tokenizer} has {tokenizer.vocab_size} tokens, but the model {vocab_size}"
            )
        return tokenizer
    world.say(f"learning a vocabulary of {vocab_size} tokens")
    content = train_tokenizer(corpus.texts, vocab_size).to_json() if world.leads else ""
    return Tokenizer.from_json(world.of_leader(content))


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
    fields = {"model": kind_of(model.config)} | asdict(config) | changed
    unsaid = ("data", "out", "tokenizer")
    options = {name: str(value) for name, value in fields.items() if name not in unsaid}
    return Provenance(
        about, options | {"about": about}, progress.step, progress.tokens, config.context
    )


def _run(
    model: LanguageModel[Any],
    optimizer: torch.optim.Optimizer,
    dataset: Dataset,
    corpus: Corpus,
    config: TrainingConfig,
    progress: Progress,
    stopped: list[int],
    world: World,
) -> None:
    out = Path(config.out)
    model.train()
    wrapped = world.wrap(model)
    last = time.perf_counter()
    with tqdm(
        total=config.steps,
        initial=progress.step,
        unit="step",
        dynamic_ncols=True,
        disable=not world.leads,
    ) as bar:
        stop = False
        while progress.step < config.steps and not stop:
            loss = _step(wrapped, optimizer, dataset.train, config, world, progress.step)
            if not isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss} at step {progress.step}; lower --learning-rate. "
                    f"{kept(out)}"
                )
            progress.step += 1
            progress.tokens += config.batch_size * config.context
            now = time.perf_counter()
            progress.seconds += now - last
            last = now
            bar.update()
            rate = progress.tokens / progress.seconds
            bar.set_postfix_str(f"loss {loss:.3f}, {rate:,.0f} tokens/s", refresh=False)
            stop = world.any(bool(stopped))  # read once: what arrives later ends the next step
            due = progress.step % config.validate_every == 0 or progress.step == config.steps
            if due or stop:
                result, sample = _validate(model, dataset, config, progress, world)
                if not isfinite(result.loss):
                    raise TrainingError(
                        f"the validation loss is {result.loss} after step {progress.step}; lower "
                        f"--learning-rate. {kept(out)}"
                    )
                progress.loss, progress.bits_per_byte = result.loss, result.bits_per_byte
                if world.leads:
                    with writing(out):
                        save_run(model, optimizer, corpus, config, progress)
                        line = {"train_loss": loss, "validation_tokens": result.tokens}
                        log(out / "log.jsonl", asdict(progress) | line | {"sample": sample})
                    bar.write(
                        f"step {progress.step}: validation loss {result.loss:.4f}, "
                        f"{result.bits_per_byte:.4f} bits per byte"
                    )
                    if sample:
                        bar.write(f"  {sample!r}")
                last = time.perf_counter()


def _validate(
    model: LanguageModel[Any],
    dataset: Dataset,
    config: TrainingConfig,
    progress: Progress,
    world: World,
) -> tuple[Evaluation, str]:
    """How well the model does on the held-out text, and how it goes on from its beginning."""
    found = None
    if world.leads:
        result = evaluate(
            model,
            dataset.validation,
            dataset.validation_bytes / len(dataset.validation),
            config.context,
            None if progress.step == config.steps else config.validation_tokens,
        )
        found = result, _sample(model, dataset.validation, config) if isfinite(result.loss) else ""
    validated: tuple[Evaluation, str] = world.of_leader(found)
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
    optimizer: torch.optim.Optimizer,
    ids: Tensor,
    config: TrainingConfig,
    world: World,
    step: int,
) -> float:
    """One step of the optimizer on the step's rows; their mean loss, over all processes."""
    rate = learning_rate(step, config.steps, config.learning_rate, config.warmup)
    for group in optimizer.param_groups:
        group["lr"] = rate
    inner = model.module if isinstance(model, DistributedDataParallel) else model
    how: dict[str, Any] = {}
    if isinstance(inner, RetNet):
        how = {"mode": "chunkwise", "chunk_size": config.chunk_size}
    x, y = (
        part[world.rank :: world.size].to(config.device)
        for part in batch(ids, config.batch_size, config.context, config.seed, step)
    )
    half = config.precision == "bfloat16"
    total = 0.0
    for i, (inputs, targets) in enumerate(
        zip(x.chunk(config.accumulate), y.chunk(config.accumulate), strict=True)
    ):
        with torch.autocast(config.device, torch.bfloat16) if half else nullcontext():
            logits = model(inputs, **how).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
            loss = loss / config.accumulate
        total += loss.item()
        with _unshared(model, i < config.accumulate - 1):
            loss.backward()  # type: ignore[no-untyped-call]
    total = world.mean(total)
    if isfinite(total):
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def _unshared(model: nn.Module, more: bool) -> AbstractContextManager[None]:
    """Gradients stay in this process while `more` are to be added."""
    if more and isinstance(model, DistributedDataParallel):
        unshared: AbstractContextManager[None] = model.no_sync()
        return unshared
    return nullcontext()


def _optimizer(model: LanguageModel[Any], config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices only: a norm's scale or shift has no reason to shrink."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_decayed = parameter.dim() > 1 and not name.endswith(model.undecayed)
        (decayed if is_decayed else kept).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": config.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        lr=config.learning_rate,
    )


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
