"""Runs from the command line: they learn, stop, go on bit for bit, and ship a model."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import arguments, log_of

from retnet_viz.checkpoints import load, load_model
from retnet_viz.checkpoints.native import KINDS
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.cli import main, make_parser
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.training import TrainingConfig, loop
from retnet_viz.training.data import read_corpus, tokenize
from retnet_viz.training.evaluation import evaluate
from retnet_viz.training.optimizer import make_optimizers


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_learns_and_leaves_a_checkpoint_and_a_log(
    stories: Path, tmp_path: Path, precision: str
) -> None:
    run = tmp_path / "run"
    assert main(arguments(stories, run, steps=40, validate_every=10, precision=precision)) == 0
    log = log_of(run)
    assert [line["step"] for line in log] == [10, 20, 30, 40]
    assert [line["tokens"] for line in log] == [10 * 4 * 24, 20 * 4 * 24, 30 * 4 * 24, 40 * 4 * 24]
    losses = [math.log(290)] + [line["loss"] for line in log]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.6 * losses[0]
    assert all(line["seconds"] > 0 for line in log)

    model = load(run / "checkpoint")
    assert model.config.d_model == 16
    dataset = tokenize(read_corpus(stories), model.tokenizer)
    ratio = dataset.validation_bytes / len(dataset.validation)
    result = evaluate(model, dataset.validation, ratio, 24)
    assert result.loss == pytest.approx(log[-1]["loss"], rel=1e-5)
    assert result.bits_per_byte == pytest.approx(log[-1]["bits_per_byte"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_learns_and_is_shipped(
    stories: Path, tmp_path: Path, kind: str
) -> None:
    run = tmp_path / "run"
    words = arguments(stories, run, steps=40, validate_every=20, model=kind)
    if kind == "mamba":
        words = [word for i, word in enumerate(words) if "--n-heads" not in words[i - 1 : i + 1]]
    assert main(words) == 0
    losses = [math.log(290)] + [line["loss"] for line in log_of(run)]
    assert losses[-1] < 0.7 * losses[0]
    model = load_model(run / "model")
    assert isinstance(model, KINDS[kind][1])
    card = (run / "model" / "MODEL_CARD.md").read_text()
    assert f"| parameters | {model.n_parameters:,} |" in card
    assert f"--model {kind}" in card


@pytest.mark.slow
def test_a_sample_goes_on_from_the_held_out_text(stories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(stories, run, steps=4, validate_every=2, sample_tokens=7)) == 0
    tokenizer = load(run / "model").tokenizer
    prompt = tokenizer.decode(tokenize(read_corpus(stories), tokenizer).validation[:16].tolist())
    samples = [line["sample"] for line in log_of(run)]
    assert len(samples) == 2
    assert all(sample.startswith(prompt) and len(sample) > len(prompt) for sample in samples)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["retnet", "transformer"])
def test_rows_read_in_parts_give_the_same_run(stories: Path, tmp_path: Path, kind: str) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(arguments(stories, whole, model=kind)) == 0
    assert main(arguments(stories, parts, model=kind, accumulate=2)) == 0
    assert_same_run(whole, parts)


@pytest.mark.slow
def test_rows_read_by_two_processes_give_the_same_run(stories: Path, tmp_path: Path) -> None:
    options = {"steps": 8, "validate_every": 2}
    whole, processes = tmp_path / "whole", tmp_path / "processes"
    assert main(arguments(stories, whole, **options)) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "-m", "retnet_viz"]
    done = subprocess.run(
        [*command, *arguments(stories, processes, accumulate=2, **options)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tokenizing") == 1  # one process speaks
    assert [line["step"] for line in log_of(processes)] == [2, 4, 6, 8]
    assert_same_run(whole, processes)


def assert_same_run(first: Path, second: Path) -> None:
    """The same rows in each step: only the order in which gradients are summed up differs."""
    lines, others = log_of(first), log_of(second)
    for name in ("loss", "train_loss", "bits_per_byte"):
        values = [line[name] for line in others]
        assert values == pytest.approx([line[name] for line in lines], rel=1e-4)
    for name in ("step", "tokens"):
        assert [line[name] for line in others] == [line[name] for line in lines]


@pytest.mark.slow
def test_a_stopped_and_resumed_run_equals_one_in_a_single_go_bit_for_bit(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, parted = tmp_path / "straight", tmp_path / "parted"
    assert main(arguments(stories, straight, validate_every=4)) == 0

    step = loop._step

    def stop_in_step_5(*arguments: Any) -> float:
        if arguments[-1] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments)

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "_step", stop_in_step_5)
    assert main(arguments(stories, parted, validate_every=4)) == 0
    assert signal.getsignal(signal.SIGTERM) is handler
    monkeypatch.undo()
    half = json.loads((parted / "checkpoint" / "training.json").read_text())
    assert half["progress"]["step"] == 5  # the step in progress was finished and kept

    assert main([*arguments(stories, parted, validate_every=4), "--resume"]) == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        expected, actual = (
            dict(Weights([run / "checkpoint" / name])) for run in (straight, parted)
        )
        assert actual.keys() == expected.keys()
        for key in expected:
            assert torch.equal(actual[key], expected[key]), key
    assert [line["step"] for line in log_of(parted)] == [4, 5, 8, 10]
    assert log_of(parted)[-1]["loss"] == log_of(straight)[-1]["loss"]
    assert log_of(parted)[-1]["tokens"] == log_of(straight)[-1]["tokens"]


def test_a_stop_during_a_validation_still_ends_with_a_checkpoint(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, save_run = tmp_path / "run", loop.save_run

    def stop_after_saving(*arguments: Any) -> None:
        save_run(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, "save_run", stop_after_saving)
    assert main(arguments(stories, run, validate_every=3)) == 0
    saved = json.loads((run / "checkpoint" / "training.json").read_text())["progress"]
    assert saved["step"] == log_of(run)[-1]["step"] < 10


def test_what_needs_no_decay_is_not_decayed() -> None:
    class Half(RetNet):
        no_weight_decay = ("q_proj.weight",)

    model = Half(RetNetConfig(vocab_size=9, d_model=8, n_layers=1, n_heads=2))
    (optimizer,) = make_optimizers(model, "adamw", 1e-3, 0.05)
    decay, no_decay = optimizer.param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    unshrunk = {names[id(parameter)] for parameter in no_decay["params"]}
    assert no_decay["weight_decay"] == 0.0
    assert decay["weight_decay"] == 0.05
    assert "blocks.0.retention.q_proj.weight" in unshrunk
    assert {name for name in unshrunk if "q_proj" not in name} == {
        name for name, parameter in model.named_parameters() if parameter.dim() == 1
    }


@pytest.mark.slow
def test_a_finished_run_leaves_a_small_model_whose_card_repeats_it(
    stories: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [*arguments(stories, run), "--about", "made-up 'stories'", "--weights-license", "MIT"]
    assert main(words) == 0
    full, small = load(run / "checkpoint"), load(run / "model")
    for name, weight in full.state_dict().items():
        assert torch.equal(small.state_dict()[name], weight.half().float())

    card = (run / "model" / "MODEL_CARD.md").read_text()
    dataset = tokenize(read_corpus(stories), small.tokenizer)
    ratio = dataset.validation_bytes / len(dataset.validation)
    result = evaluate(small, dataset.validation, ratio, 24)
    assert f"{result.loss:.4f} nats per token" in card
    assert f"| bits per byte | {result.bits_per_byte:.4f} |" in card
    assert read_corpus(stories).sha256 in card
    assert "| licence of the weights | MIT |" in card

    command = shlex.split(next(line for line in card.splitlines() if "retnet-viz train" in line))
    again, first = (vars(make_parser().parse_args(each)) for each in (command[1:], words))
    assert {name for name in again if again[name] != first[name]} <= {"data", "out"}


@pytest.mark.slow
def test_one_gamma_may_stand_for_all_heads(stories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = arguments(stories, run, steps=1, validate_every=1, decay=1, head_norm="none")
    assert main([*words, "--gate", "none"]) == 0
    config = load(run / "model").config
    assert (config.decay, config.head_norm, config.gate) == ((1.0, 1.0), "none", "none")
    assert "--decay 1.0,1.0 --head-norm none --gate none" in (
        run / "model" / "MODEL_CARD.md"
    ).read_text().replace("\n", " ")


def test_the_command_and_the_library_train_with_the_same_defaults() -> None:
    options = vars(make_parser().parse_args(["train", "--data", "d", "--out", "o"]))
    training = asdict(TrainingConfig("d", "o"))
    assert training.keys() - options.keys() == {"chunk_size"}  # unsaid, it is the library's
    assert {name: options.get(name, value) for name, value in training.items()} == training
    shape = [name for name in RetNetConfig().to_dict() if name in options]
    assert {options[name] for name in shape} == {None}  # as in RetNetConfig
    assert shape
