"""Runs that cannot start, cannot go on or fail: a sentence, a code, and what is kept."""

from __future__ import annotations

import math
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import arguments, files_of, log_of, write_stories

from retnet_viz.checkpoints import load
from retnet_viz.checkpoints.native import DEFAULT
from retnet_viz.cli import main
from retnet_viz.model import RetNet
from retnet_viz.training import loop


@pytest.fixture(scope="module")
def first_finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run that is done, made once."""
    folder = tmp_path_factory.mktemp("first")
    run = folder / "run"
    assert main(arguments(write_stories(folder), run, steps=2, validate_every=2)) == 0
    return run


@pytest.fixture
def finished(first_finished: Path, tmp_path: Path) -> Path:
    """A short run that is done, for one test alone."""
    return shutil.copytree(first_finished, tmp_path / "finished")


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ({"d_model": 32}, "another model"),
        ({"decay": "torchscale"}, "another model"),
        ({"steps": 4}, "steps 2, not 4"),
        ({"batch_size": 5}, "batch_size 4, not 5"),
        ({"context": 20}, "context 24, not 20"),
        ({"learning_rate": 0.02}, "learning_rate 0.01, not 0.02"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"weight_decay": 0.5}, "weight_decay 0.05, not 0.5"),
        ({"model": "transformer"}, "another model"),
        ({"gate": "none"}, "another model"),
        ({"precision": "bfloat16"}, "precision float32, not bfloat16"),
    ],
)
def test_a_resume_with_other_settings_is_refused(
    stories: Path, finished: Path, capsys: pytest.CaptureFixture[str], option: dict[str, Any],
    part: str,
) -> None:  # fmt: skip
    before = files_of(finished)
    settings = {"steps": 2, "validate_every": 2, **option}
    assert main([*arguments(stories, finished, **settings), "--resume"]) == 2
    assert part in capsys.readouterr().err
    assert files_of(finished) == before


def test_a_resume_on_other_text_is_refused(
    stories: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stories.write_text(stories.read_text() + "one more text")
    words = arguments(stories, finished, steps=2, validate_every=2)
    assert main([*words, "--resume"]) == 2
    assert "trained on other text" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("training.json", b"{}"),
        ("training.json", b'{"training": {"data": 1}, "progress": {}, "corpus": {}}'),
        ("training.json", b"nothing"),
        ("optimizer.safetensors", b"nothing"),
        ("optimizer.safetensors", (2).to_bytes(8, "little") + b"{}"),
        ("model.safetensors", b"nothing"),
    ],
)
def test_a_resume_from_a_damaged_run_is_refused_with_the_name_of_the_file(
    stories: Path, finished: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    (finished / "checkpoint" / name).write_bytes(content)
    words = arguments(stories, finished, steps=2, validate_every=2)
    assert main([*words, "--resume"]) == 2
    assert name in capsys.readouterr().err


def test_a_run_does_not_start_over_a_checkpoint_and_resumes_only_from_one(
    stories: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(finished)
    assert main(arguments(stories, finished)) == 2
    assert "--resume" in capsys.readouterr().err
    assert files_of(finished) == before
    assert main([*arguments(stories, tmp_path / "new"), "--resume"]) == 2
    assert "no checkpoint folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ({"context": 5000}, "tokens, fewer than a context of 5000"),
        ({"context": 0}, "context must be 1 or more"),
        ({"steps": 0}, "steps must be 1 or more"),
        ({"batch_size": -1}, "batch_size must be 1 or more"),
        ({"chunk_size": 0}, "chunk_size must be 1 or more"),
        ({"validate_every": 0}, "validate_every must be 1 or more"),
        ({"learning_rate": "nan"}, "learning_rate must be above 0"),
        ({"accumulate": 3}, "batch_size 4 does not divide into accumulate 3 equal parts"),
        ({"sample_tokens": -1}, "sample_tokens must be 0 or more"),
        ({"model": "transformer", "gate": "none"}, "a transformer has no --gate"),
        ({"gate": "relu"}, "gate must be one of"),
        ({"decay": "0.9,0.8,0.7"}, "decay lists 3 gammas for 2 heads"),
        ({"decay": "fast"}, "decay must be one of"),
        ({"tokenizer": "/nowhere/tokenizer.json"}, "/nowhere/tokenizer.json cannot be read"),
        ({"tokenizer": str(DEFAULT / "tokenizer.json")}, "has 4096 tokens, but the model 290"),
        ({"vocab_size": 5000}, "supports a vocabulary"),
        ({"vocab_size": 100}, "does not hold"),
        ({"d_model": 15}, "d_model 15"),
        ({"data": "/nowhere/at/all"}, "there is no data at"),
        ({"warmup": -5}, "warmup must be 0 or more, not -5"),
        ({"clip": 0}, "clip must be above 0, not 0.0"),
        ({"weight_decay": "nan"}, "weight_decay must be 0 or more, not nan"),
        ({"seed": 10**20}, "seed must be a number of 31 bits"),
        ({"minutes": -1}, "minutes must be 0 or more, not -1"),
        ({"recurring": 1.5}, "recurring is a share, from 0 to 1, not 1.5"),
        ({"recurring_last": 1.1}, "recurring_last is a share, from 0 to 1, not 1.1"),
        ({"recurring_end": -0.1}, "recurring_end is a share, from 0 to 1, not -0.1"),
        ({"decay_share": "nan"}, "decay_share is a share, from 0 to 1, not nan"),
        ({"copy_steps": -1}, "copy_steps must be 0 or more"),
        ({"recurring_steps": -1}, "recurring_steps must be 0 or more"),
        ({"recurring_kinds": "span,songs"}, "not 'songs'"),
        ({"device": "nowhere"}, "--device nowhere cannot be used"),
        ({"device": "hpu"}, "--device hpu cannot be used"),
    ],
)
def test_settings_that_cannot_be_used_end_with_a_sentence_and_code_2(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: dict[str, Any],
    part: str,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    words = arguments(option.pop("data", stories), run, **option)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("retnet-viz train: ")
    assert part in error
    assert not run.exists()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_run_in_a_file_is_refused(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(arguments(stories, tmp_path / place)) == 2
    assert f"{tmp_path / 'file'} is a file; name a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_run_that_fails_before_its_first_checkpoint_promises_none(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(arguments(stories, run, learning_rate=1e30, warmup=0)) == 1
    error = capsys.readouterr().err
    assert "the loss is " in error
    assert f"{run} has no checkpoint yet" in error
    assert not (run / "checkpoint").exists()


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_a_sentence_and_keeps_the_last_checkpoint(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run, files_before = tmp_path / "run", {}
    step = loop._step
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*arguments: Any) -> float:
        if arguments[-1] == 5:
            files_before.update(files_of(run))
            size = (run / "checkpoint" / "optimizer.safetensors").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, allowed[1]))
        return step(*arguments)

    monkeypatch.setattr(loop, "_step", fill)
    try:
        assert main(arguments(stories, run)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    error = capsys.readouterr().err
    assert f"{run} cannot be written to" in error
    assert "intact" in error
    assert files_of(run) == files_before
    assert {path.name for path in run.iterdir()} == {"checkpoint", "log.jsonl"}
    monkeypatch.undo()
    assert main([*arguments(stories, run), "--resume"]) == 0
    assert [line["step"] for line in log_of(run)] == [5, 10]


@pytest.mark.parametrize("where", ["training", "validation", "weights"])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], where: str,
) -> None:  # fmt: skip
    run, files_before = tmp_path / "run", {}
    step = loop._step

    def fail(model: RetNet, *arguments: Any) -> float:
        if arguments[-1] == 5:
            files_before.update(files_of(run))
        loss = step(model, *arguments)
        if arguments[-1] == 9 and where != "training":  # the last step before a validation
            with torch.no_grad():
                broken = model.norm.weight if where == "validation" else model.embedding.weight
                broken[0] = math.nan  # row 0 of the embedding, the end of a text, is held out too
        return math.inf if arguments[-1] == 9 and where == "training" else loss

    monkeypatch.setattr(loop, "_step", fail)
    assert main(arguments(stories, run)) == 1
    error = capsys.readouterr().err
    assert "--learning-rate" in error
    assert "intact" in error
    assert files_of(run) == files_before
    assert load(run / "checkpoint").config.d_model == 16
    assert [line["step"] for line in log_of(run)] == [5]
