"""What an observation will hold is told before it runs, and refused where there is no room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import NotEnoughMemory, live, live_memory, trace
from retnet_viz.trace.passes import budget, incremental
from retnet_viz.trace.passes.budget import (
    available_memory,
    check_memory,
    group_memory,
    trace_memory,
)
from retnet_viz.trace.views.pass_cost import Meter

ModelFactory = Callable[..., RetNet]
LINE = "The fox had a red kite, and the kite had a long tail. It's 12 o'clock!\n"
SHAPE = {"d_model": 64, "n_heads": 4, "n_layers": 3, "dtype": torch.float32}


@pytest.fixture
def model(tiny_model: ModelFactory, tiny_tokenizer: Tokenizer) -> RetNet:
    model = tiny_model(**SHAPE)
    model.tokenizer = tiny_tokenizer
    return model


def free(patch: pytest.MonkeyPatch, count: int) -> None:
    patch.setattr(budget, "available_memory", lambda _: count)


@pytest.mark.slow
@pytest.mark.parametrize("row_budget", [2**30, 0])
@pytest.mark.parametrize(
    ("mode", "chunk_size", "lines"),
    [
        *(("parallel", 64, lines) for lines in (3, 12)),
        *(("recurrent", 64, lines) for lines in (2, 5)),  # each step is slow under the meter
        *(("chunkwise", size, lines) for size in (8, 64, 200) for lines in (3, 12, 70)),
    ],
)
def test_what_is_foreseen_is_held(
    mode: str,
    chunk_size: int,
    lines: int,
    row_budget: int,
    model: RetNet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incremental, "ROW_BUDGET", row_budget)
    with Meter() as meter:
        live_text = live(model, LINE * lines, mode, chunk_size, keep_logits=500)
    predicted = live_memory(model, live_text.length, mode, chunk_size, 500)
    assert 0.75 * meter.peak_bytes <= predicted <= 1.25 * meter.peak_bytes
    if row_budget == 0 and lines < 70:
        with Meter() as meter:
            trace(model, LINE * lines, mode, chunk_size)
        predicted = trace_memory(model, live_text.length, mode, chunk_size)
        assert 0.75 * meter.peak_bytes <= predicted <= 1.25 * meter.peak_bytes


def test_parallel_mode_needs_the_square_of_the_length_and_the_others_the_length(
    model: RetNet,
) -> None:
    for mode in MODES:
        short, long = (live_memory(model, length, mode) for length in (2**17, 2**18))
        assert long / short == pytest.approx(4 if mode == "parallel" else 2, rel=0.2)
    assert live_memory(model, 2**17, "parallel") > 3 * 2 * 4 * 2**34 * 4
    assert live_memory(model, 0, "parallel") == live_memory(model, 0) == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_does_not_fit_is_refused_and_changes_nothing(
    mode: str, model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_text = live(model, LINE, mode, 8)
    before, text = live_text.trace, live_text.text
    runs: list[int] = []
    model.register_forward_pre_hook(lambda *_: runs.append(1))
    free(
        monkeypatch,
        live_memory(model, 30 * live_text.length, mode, 8) - live_memory(model, 1, mode, 8) - 1,
    )
    with pytest.raises(NotEnoughMemory, match=f"(?i)^{mode} mode would hold .* MB free"):
        live_text.edit("~" + LINE * 30)
    with pytest.raises(NotEnoughMemory):
        live(model, LINE * 31, mode, 8)
    assert (live_text.text, live_text.trace, runs) == (text, before, [])
    assert before.q(0).shape[1] == live_text.length
    live_text.edit("~" + LINE * 20)  # and what fits is run
    assert live_text.text == "~" + LINE * 20
    free(monkeypatch, 1000)
    with pytest.raises(NotEnoughMemory):
        trace(model, LINE, mode, 8)
    with pytest.raises(NotEnoughMemory):
        live_text.trace.in_mode("parallel" if mode != "parallel" else "recurrent")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_what_is_there_already_need_not_fit_again(
    mode: str, model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_text = live(model, LINE * 100, mode, 8)
    free(monkeypatch, live_memory(model, live_text.length, mode, 8) // 20)
    assert live_text.append(" fox").tokens < 16
    with pytest.raises(NotEnoughMemory):
        live_text.append(LINE * 20)
    with pytest.raises(NotEnoughMemory):
        live_text.splice(0, 1, "~")


def test_the_sentence_has_the_lesson_in_it(model: RetNet) -> None:
    check_memory(100, model, 9, "parallel", 64, available=100)
    with pytest.raises(NotEnoughMemory) as error:
        check_memory(3_300_000_000_000, model, 131_072, "parallel", 64, available=20_000_000_000)
    assert isinstance(error.value, MemoryError)
    assert str(error.value) == (
        "Parallel mode would hold 3 layers x 4 heads x 2 planes (scores, weights) of "
        "131,072 x 131,072 numbers: 3,300 GB, and this machine has 20 GB free. Chunkwise and "
        "recurrent mode give the same result in O(T) memory."
    )
    needed = live_memory(model, 20_000, "chunkwise", 20_000)
    with pytest.raises(NotEnoughMemory, match=r"20,000 x 20,000.*A smaller chunk size gives"):
        check_memory(needed, model, 20_000, "chunkwise", 20_000, available=3_210_000_000)
    needed = live_memory(model, 2**24)
    with pytest.raises(NotEnoughMemory, match=r"16,777,216 tokens.* 3\.2 GB free.*A shorter text"):
        check_memory(needed, model, 2**24, "chunkwise", 64, available=3_210_000_000)


def test_free_memory_is_that_of_the_machine_and_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = psutil.virtual_memory().total
    assert 0 < available_memory() <= total
    assert group_memory(tmp_path) > total
    for name, content in (
        ("memory.max", "1000000\n"),
        ("memory.current", "700000\n"),
        ("memory.stat", "anon 5\ninactive_file 50000\n"),
    ):
        (tmp_path / name).write_text(content)
    assert group_memory(tmp_path) == 350_000
    monkeypatch.setattr(budget, "group_memory", lambda: 350_000)
    assert available_memory() == 350_000
    (tmp_path / "memory.max").write_text("max\n")
    assert group_memory(tmp_path) > total
