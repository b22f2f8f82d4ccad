"""Training from the command line: data, a run that learns, resuming, failing, evaluating."""

from __future__ import annotations

import json
import lzma
import math
import os
import resource
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.checkpoints import Tokenizer, load, load_model
from retnet_viz.checkpoints.native import DEFAULT, KINDS
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.cli import main, make_parser
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.training import DataError, TrainingConfig, loop
from retnet_viz.training.data import END, Corpus, batch, read_corpus, tokenize, train_tokenizer
from retnet_viz.training.evaluation import evaluate
from retnet_viz.training.schedule import learning_rate

ModelFactory = Callable[..., RetNet]
LINES = [
    f"The {colour} {animal} sat on the {place}."
    for colour in ("red", "old", "shy")
    for animal in ("fox", "owl", "hen")
    for place in ("mat", "log", "hill", "wall")
]


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    """A file of 36 short texts."""
    path = tmp_path / "stories.txt"
    path.write_text(f"\n{END}\n".join(line * 3 for line in LINES) + f"\n{END}\n")
    return path


# Data


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (f"one\n{END}\ntwo\n{END}\n", ["one", "two"]),
        (f"one\n{END}\ntwo", ["one", "two"]),
        (f"one\n{END}\ntwo\n{END}", ["one", "two"]),  # no newline at the end of the file
        (f"{END}\none\n{END}\n{END}\n\n{END}\ntwo\n", ["one", "two"]),  # empty texts
        (f"one\r\n{END}\r\ntwo\r\n", ["one", "two"]),
        (f"a {END} inside a line\n{END}\n b\n\nc ", [f"a {END} inside a line", " b\n\nc "]),
    ],
)
def test_a_line_of_its_own_ends_a_text(tmp_path: Path, content: str, texts: list[str]) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(content.encode())
    assert read_corpus(path).texts == texts


def test_a_folder_a_file_and_a_compressed_file_hold_the_same_texts(tmp_path: Path) -> None:
    one, two = f"ein\n{END}\nzwei\n".encode(), "drei ä".encode()
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.txt").write_bytes(one)
    (folder / "deep" / "b.txt.xz").write_bytes(lzma.compress(two))
    (folder / "picture.png").write_bytes(b"\x89PNG\xff")
    corpus = read_corpus(folder)
    assert corpus.texts == ["ein", "zwei", "drei ä"]
    plain, packed = tmp_path / "same.txt", tmp_path / "same.txt.xz"
    plain.write_bytes(one)
    packed.write_bytes(lzma.compress(one))
    assert read_corpus(plain).texts == read_corpus(packed).texts == ["ein", "zwei"]
    assert read_corpus(plain).sha256 == read_corpus(packed).sha256 != corpus.sha256


def damaged_xz() -> bytes:
    return lzma.compress(os.urandom(5000))[:2500]


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("none.txt", None, "there is no data at"),
        ("empty.txt", b"", "holds no text"),
        ("blank.txt", b" \n\n <|endofstory|>\n".replace(b" <", b"<"), "holds no text"),
        ("latin.txt", "café".encode("latin-1"), "is not UTF-8 text"),
        ("cut.txt.xz", damaged_xz(), "cannot be read"),
        ("fake.txt.xz", b"not compressed", "cannot be read"),
    ],
)
def test_data_that_cannot_be_used_is_refused_with_its_name(
    tmp_path: Path, name: str, content: bytes | None, part: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=part) as caught:
        read_corpus(tmp_path / name)
    assert name in str(caught.value)


def test_a_folder_without_texts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="holds no text"):
        read_corpus(tmp_path)


@given(count=st.integers(1, 130))
def test_what_is_held_out_is_never_trained_on(tiny_tokenizer: Tokenizer, count: int) -> None:
    texts = [f"text {i} of the fox" for i in range(count)]
    dataset = tokenize(Corpus("made up", "", texts), tiny_tokenizer)
    train, held_out = (
        tiny_tokenizer.decode(part.tolist()) for part in (dataset.train, dataset.validation)
    )
    assert dataset.validation_bytes == len(held_out.encode())
    if count == 1:  # the tail of the only text
        assert train + held_out == texts[0] + END
        assert train
        assert held_out
        return
    apart = [part.removesuffix(END).split(END) for part in (train, held_out)]
    assert sorted(apart[0] + apart[1]) == sorted(texts)
    assert len(apart[1]) == max(1, count // 50)


@pytest.mark.parametrize(
    ("vocab_size", "part"),
    [(5000, "supports a vocabulary of .* tokens, not 5000"), (256, "256 tokens does not hold")],
)
def test_a_vocabulary_the_text_cannot_fill_is_refused(vocab_size: int, part: str) -> None:
    with pytest.raises(DataError, match=part):
        train_tokenizer(LINES, vocab_size)


def test_a_step_reads_the_same_rows_whenever_asked(tiny_tokenizer: Tokenizer) -> None:
    ids = torch.arange(50)
    x, y = batch(ids, 4, 7, seed=3, step=9)
    assert x.shape == y.shape == (4, 7)
    assert torch.equal(y, x + 1)  # the next token of each
    assert torch.equal(batch(ids, 4, 7, seed=3, step=9)[0], x)
    assert not torch.equal(batch(ids, 4, 7, seed=3, step=10)[0], x)
    assert not torch.equal(batch(ids, 4, 7, seed=4, step=9)[0], x)
    everything = torch.cat([batch(ids, 8, 48, 0, step)[1] for step in range(20)])
    assert everything.max() == 49  # the last token is read too


# Runs


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


def test_a_sample_goes_on_from_the_held_out_text(stories: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert main(arguments(stories, run, steps=4, validate_every=2, sample_tokens=7)) == 0
    tokenizer = load(run / "model").tokenizer
    prompt = tokenizer.decode(tokenize(read_corpus(stories), tokenizer).validation[:16].tolist())
    samples = [line["sample"] for line in log_of(run)]
    assert len(samples) == 2
    assert all(sample.startswith(prompt) and len(sample) > len(prompt) for sample in samples)


@pytest.mark.parametrize("kind", ["retnet", "transformer"])
def test_rows_read_in_parts_or_by_two_processes_give_the_same_run(
    stories: Path, tmp_path: Path, kind: str
) -> None:
    """The same rows in each step: only the order in which gradients are summed up differs."""
    options = {"steps": 8, "validate_every": 2, "model": kind, "vocab_size": 290}
    runs = [tmp_path / name for name in ("whole", "parts", "processes")]
    assert main(arguments(stories, runs[0], **options)) == 0
    assert main(arguments(stories, runs[1], accumulate=2, **options)) == 0
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "-m", "retnet_viz"]
    done = subprocess.run(
        [*command, *arguments(stories, runs[2], accumulate=2, **options)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("tokenizing") == 1  # one process speaks
    whole, *others = (log_of(run) for run in runs)
    assert [line["step"] for line in whole] == [2, 4, 6, 8]
    for other in others:
        for name in ("loss", "train_loss", "bits_per_byte"):
            found = [line[name] for line in other]
            assert found == pytest.approx([line[name] for line in whole], rel=1e-4)
        assert [line["tokens"] for line in other] == [line["tokens"] for line in whole]


def test_a_stopped_and_resumed_run_equals_one_in_a_single_go_bit_for_bit(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, parted = tmp_path / "straight", tmp_path / "parted"
    assert main(arguments(stories, straight, validate_every=4)) == 0

    step = loop._step

    def stop_in_step_5(*given: Any) -> float:
        if given[-1] == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*given)

    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(loop, "_step", stop_in_step_5)
    assert main(arguments(stories, parted, validate_every=4)) == 0
    assert signal.getsignal(signal.SIGTERM) is handler
    monkeypatch.undo()
    half = json.loads((parted / "checkpoint" / "training.json").read_text())
    assert half["progress"]["step"] == 5  # the step in progress was finished and kept

    assert main([*arguments(stories, parted, validate_every=4), "--resume"]) == 0
    for name in ("model.safetensors", "optimizer.safetensors"):
        wanted, found = (dict(Weights([run / "checkpoint" / name])) for run in (straight, parted))
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert torch.equal(found[key], wanted[key]), key
    assert [line["step"] for line in log_of(parted)] == [4, 5, 8, 10]
    assert log_of(parted)[-1]["loss"] == log_of(straight)[-1]["loss"]
    assert log_of(parted)[-1]["tokens"] == log_of(straight)[-1]["tokens"]


def test_a_stop_during_a_validation_still_ends_with_a_checkpoint(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, save_run = tmp_path / "run", loop.save_run

    def stop_after_saving(*given: Any) -> None:
        save_run(*given)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(loop, "save_run", stop_after_saving)
    assert main(arguments(stories, run, validate_every=3)) == 0
    saved = json.loads((run / "checkpoint" / "training.json").read_text())["progress"]
    assert saved["step"] == log_of(run)[-1]["step"] < 10


@pytest.fixture
def finished(stories: Path, tmp_path: Path) -> Path:
    """A short run that is done."""
    run = tmp_path / "finished"
    assert main(arguments(stories, run, steps=2, validate_every=2)) == 0
    return run


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


def test_a_full_disk_ends_the_run_with_a_sentence_and_keeps_the_last_checkpoint(
    stories: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run, kept = tmp_path / "run", {}
    step = loop._step
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*given: Any) -> float:
        if given[-1] == 5:
            kept.update(files_of(run))
            size = (run / "checkpoint" / "optimizer.safetensors").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, allowed[1]))
        return step(*given)

    monkeypatch.setattr(loop, "_step", fill)
    try:
        assert main(arguments(stories, run)) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    error = capsys.readouterr().err
    assert f"{run} cannot be written to" in error
    assert "intact" in error
    assert files_of(run) == kept
    assert {path.name for path in run.iterdir()} == {"checkpoint", "log.jsonl"}
    monkeypatch.undo()
    assert main([*arguments(stories, run), "--resume"]) == 0
    assert [line["step"] for line in log_of(run)] == [5, 10]


def test_what_needs_no_decay_is_not_decayed() -> None:
    class Half(RetNet):
        undecayed = ("q_proj.weight",)

    model = Half(RetNetConfig(vocab_size=9, d_model=8, n_layers=1, n_heads=2))
    decayed, kept = loop._optimizer(model, TrainingConfig("d", "o")).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    unshrunk = {names[id(parameter)] for parameter in kept["params"]}
    assert kept["weight_decay"] == 0.0
    assert decayed["weight_decay"] == 0.05
    assert "blocks.0.retention.q_proj.weight" in unshrunk
    assert {name for name in unshrunk if "q_proj" not in name} == {
        name for name, parameter in model.named_parameters() if parameter.dim() == 1
    }


@pytest.mark.parametrize("where", ["training", "validation", "weights"])
def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(
    stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], where: str,
) -> None:  # fmt: skip
    run, kept = tmp_path / "run", {}
    step = loop._step

    def fail(model: RetNet, *given: Any) -> float:
        if given[-1] == 5:
            kept.update(files_of(run))
        loss = step(model, *given)
        if given[-1] == 9 and where != "training":  # the last step before a validation
            with torch.no_grad():
                broken = model.norm.weight if where == "validation" else model.embedding.weight
                broken[0] = math.nan  # row 0 of the embedding, the end of a text, is held out too
        return math.inf if given[-1] == 9 and where == "training" else loss

    monkeypatch.setattr(loop, "_step", fail)
    assert main(arguments(stories, run)) == 1
    error = capsys.readouterr().err
    assert "--learning-rate" in error
    assert "intact" in error
    assert files_of(run) == kept
    assert load(run / "checkpoint").config.d_model == 16
    assert [line["step"] for line in log_of(run)] == [5]


# Evaluation and schedule


def test_bits_per_byte_equal_a_sum_over_single_tokens(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model, context = tiny_model(), 8
    ids = torch.tensor(
        tiny_tokenizer.encode("The fox had a red kite and the owl saw it fall. " * 3)
    )
    size = len(tiny_tokenizer.decode(ids.tolist()).encode())
    model.train()
    result = evaluate(model, ids, size / len(ids), context, batch_size=2)
    assert model.training  # as it was

    bits, count = 0.0, 0
    for start in range(0, len(ids) - context, context):
        for n in range(context):  # each window is read anew, each token predicted from those before
            logits = model(ids[None, start : start + n + 1]).logits[0, -1].tolist()
            target = int(ids[start + n + 1])
            total = sum(math.exp(x - logits[target]) for x in logits)
            bits += math.log2(total)
            count += 1
    assert result.tokens == count
    assert result.loss == pytest.approx(bits / count * math.log(2), rel=1e-5)
    assert result.bits_per_byte == pytest.approx(bits / count * len(ids) / size, rel=1e-5)


def test_an_evaluation_can_stop_early(tiny_model: ModelFactory) -> None:
    ids = torch.randint(0, 300, (500,), generator=torch.Generator().manual_seed(0))
    model = tiny_model()
    part = evaluate(model, ids, 3.0, 16, max_tokens=100)
    assert part.tokens == 96
    assert part == evaluate(model, ids[:97], 3.0, 16)


def test_the_learning_rate_rises_to_its_peak_and_falls_to_a_tenth() -> None:
    rates = [learning_rate(step, 100, 0.5, 10) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (n + 1) for n in range(10)])
    assert max(rates) == rates[10] == 0.5
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.275)
    assert learning_rate(100, 100, 0.5, 10) == pytest.approx(0.05)
    assert learning_rate(0, 5, 0.5, 0) == 0.5


def test_a_finished_run_leaves_a_small_model_whose_card_repeats_it(
    stories: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main([*arguments(stories, run), "--about", "made-up 'stories'"]) == 0
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

    command = shlex.split(next(line for line in card.splitlines() if "retnet-viz train" in line))
    again, first = (
        vars(make_parser().parse_args(words))
        for words in (command[1:], [*arguments(stories, run), "--about", "made-up 'stories'"])
    )
    assert {name for name in again if again[name] != first[name]} <= {"data", "out"}


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
    assert {name: options[name] for name in training} == training
    shape = [name for name in RetNetConfig().to_dict() if name in options]
    assert {options[name] for name in shape} == {None}  # as in RetNetConfig
    assert shape
