"""The benchmark's own promises: same work, honest ratios, absence said. Never a time."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from retnet_viz.cli import main
from retnet_viz.experiments.speed import benchmark, contenders, machine, results, worker
from retnet_viz.experiments.speed.benchmark import measure_speed
from retnet_viz.experiments.speed.contenders import CONFIG, CONTENDERS, build, missing
from retnet_viz.experiments.speed.results import Forward
from retnet_viz.experiments.speed.speed_table import slope, speed_table
from retnet_viz.experiments.speed.worker import peak_bytes

INSTALLED = [name for name in CONTENDERS if not missing(name)]
OWN = ["retnet_viz", "retnet_viz, bfloat16", "Transformer, KV cache"]

pytestmark = pytest.mark.slow  # the fixture `speed` measures for 15 s


def serve_in_a_moment(connection, name, threads):
    """The process of a contender, or of a machine that is measured in a moment."""
    machine.BUDGET = 0.02
    worker.serve(connection, name, threads)


@pytest.fixture(scope="module", autouse=True)
def forked_processes() -> Iterator[None]:
    """The processes are forked from one that has torch, which takes each some 4 s to import."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(["torch._dynamo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "multiprocessing", SimpleNamespace(get_context=lambda _: forking))
        yield


@pytest.fixture(scope="module")
def speed() -> results.Speed:
    """Few tokens: where 16-bit products are emulated, reading 128 takes seconds."""
    messages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "serve", serve_in_a_moment)
        result = measure_speed((8, 20), (5, 40), repeat=1, threads=1, report=messages.append)
    assert messages.count("the machine's own limits") == 4
    assert [line for line in messages if line.startswith("reading 20")] == [
        f"reading 20 tokens: {doing}" for doing in (*INSTALLED, "all again, for the medians")
    ]
    return result


def test_every_contender_ran_in_all_its_modes(speed) -> None:
    assert set(OWN) <= set(INSTALLED)
    expected = [(n, mode) for n in INSTALLED for mode in build(n).modes]
    for length in (8, 20):
        ran = [(each.name, each.mode) for each in speed.forwards if each.length == length]
        assert ran == expected
    assert speed.absent == tuple(name for name in CONTENDERS if missing(name))
    assert [(g.name, g.position) for g in speed.generations] == [
        (name, position) for position in (5, 40) for name in INSTALLED
    ]
    for each in (*speed.forwards, *speed.generations):
        assert each.seconds > 0


def test_the_arithmetic_is_that_of_the_products_in_the_network(speed) -> None:
    """Written out for recurrent mode: each weight matrix once a token, and q S for each head."""
    weights = sum(p.numel() for p in build("retnet_viz").model.parameters() if p.dim() == 2)
    reads = CONFIG.n_layers * CONFIG.n_heads * CONFIG.head_dim * CONFIG.value_dim
    (recurrent,) = (
        each
        for each in speed.forwards
        if (each.name, each.mode, each.length) == ("retnet_viz", "recurrent", 20)
    )
    assert recurrent.flops == 20 * 2 * (weights + reads)


def test_all_have_the_same_number_of_weights_in_their_layers() -> None:
    """Embeddings are left out: one of two peers ties them to the head, the other does not."""
    for name in INSTALLED:
        sizes = [
            p.numel() for p in build(name).model.parameters() if CONFIG.vocab_size not in p.shape
        ]
        assert sum(sizes) == pytest.approx(CONFIG.n_layers * 12 * CONFIG.d_model**2, rel=0.01)


@pytest.mark.parametrize("name", OWN)
@torch.inference_mode()
def test_a_contender_goes_on_from_its_position(name: str) -> None:
    contender = build(name)
    contender.begin(7, 3)
    logits = [contender.step(token) for token in (3, 4, 5)]
    assert {each.shape for each in logits} == {(CONFIG.vocab_size,)}
    assert not torch.equal(logits[0], logits[1])


def test_the_table_says_what_is_absent_and_what_the_ratios_are_to(speed) -> None:
    table = speed_table(replace(speed, absent=("torchscale",)))
    assert "torchscale is not installed: pip install --no-deps" in table
    forwards = (
        Forward("retnet_viz", "chunkwise", 4096, 64, 2.0, 10**6, 10**9),
        Forward("yet-another-retnet", "chunkwise", 4096, 64, 3.0, 10**6, 10**9),
        Forward("torchscale", "chunkwise", 4096, 64, 4.0, None, 10**9),
    )
    lines = speed_table(replace(speed, forwards=forwards)).splitlines()
    ratios = [line.split()[-1] for line in lines if "chunk 64" in line]
    assert ratios == ["1.50", "1.00", "0.75"]
    alone = speed_table(replace(speed, forwards=forwards[:1])).splitlines()
    assert [line.split()[-1] for line in alone if "chunk 64" in line] == ["-"]


def test_only_the_modes_that_were_asked_for_run() -> None:
    workers = {name: serve(build(name)) for name in ("retnet_viz", contenders.ATTENTION)}
    forwards = list(benchmark._forwards(workers, 32, 1, ["chunkwise"], [], []))
    assert [(each.name, each.mode, each.chunk_size) for each in forwards] == [
        ("retnet_viz", "chunkwise", 32),
        (contenders.ATTENTION, "parallel", 32),
    ]


def test_the_slope_of_a_power_is_its_exponent() -> None:
    points = [Forward("a", "b", t, 1, 3e-9 * t**1.5, None, 0) for t in (10, 70, 900)]
    assert math.isclose(slope(points), 1.5)


def test_a_rate_below_one_is_not_shown_as_none(speed) -> None:
    slow = replace(speed.machine, matmul_flops=2.5e11, bfloat16_flops=3.3e8)
    usual = replace(slow, matmul_size=2048, bfloat16_size=2048)
    line = "matrix product: 250 GFLOP/s in float32, 0.33 in bfloat16"
    assert line in speed_table(replace(speed, machine=usual)).splitlines()
    smaller = replace(slow, matmul_size=2048, bfloat16_size=256)
    line += " (of 256 x 256 numbers: larger ones take long)"
    assert line in speed_table(replace(speed, machine=smaller)).splitlines()
    forward = Forward(contenders.HALF, "parallel", 512, 512, 16.0, None, 5 * 10**9)
    lines = speed_table(replace(speed, forwards=(forward,))).splitlines()
    (row,) = (line for line in lines if "16,000" in line)
    assert row.split()[5] == "0.31"


def test_the_peak_is_what_a_run_held_at_most() -> None:
    size = 64 * 2**20
    peak = peak_bytes(lambda: torch.ones(size // 4).sum())
    if peak is None:  # not a Linux system: the table shows a dash
        return
    assert 0.98 * size <= peak < 1.2 * size  # the system counts pages in batches


def test_a_plane_that_would_not_fit_is_left_out() -> None:
    assert benchmark.fits("retnet_viz", "parallel", 8192)
    assert not benchmark.fits("retnet_viz", "parallel", 32768)
    assert benchmark.fits("retnet_viz", "chunkwise", 32768)
    assert benchmark.fits("Transformer, KV cache", "parallel", 32768)


def test_a_failure_in_a_process_says_whose() -> None:
    with worker.start_workers(["retnet_viz"], 1, 60) as workers:
        ask = workers["retnet_viz"]
        with pytest.raises(RuntimeError, match="retnet_viz, forward: mode must be one of"):
            ask("forward", "sideways", 8, 8)
        ask.process.kill()
        ask.process.join()
        with pytest.raises(RuntimeError, match="retnet_viz, modes: its process ended"):
            ask("modes")


def test_a_case_that_takes_long_runs_less_often(monkeypatch) -> None:
    seconds = {64: 2.0, 128: 6.0, 256: 0.1}
    runs = dict.fromkeys(seconds, 0)

    def ask(question: str, *arguments: object) -> object:
        if question == "forward":
            runs[arguments[1]] += 1
            return seconds[arguments[1]]
        if question == "first":
            return 7, 8, 9.0 if arguments[1] == 128 else 1.0
        return {"modes": ("chunkwise",), "chunk_sizes": tuple(seconds)}[question]

    (forward,) = benchmark._forwards({"retnet_viz": ask}, 512, 5, ["chunkwise"], [], [])
    # After RUN_BUDGET, 5 s, no other one begins; a first pass that took longer is not run again.
    assert runs == {64: 3, 128: 0, 256: 5}
    assert forward == Forward("retnet_viz", "chunkwise", 512, 256, 0.1, 7, 8, 1.0)


# -- what takes too long -------------------------------------------------------------------------


class Quick(contenders.Contender):
    """One that takes no time, so that a small limit tells it from a slow one on any machine."""

    chunk_sizes = (8,)
    stepped = 0

    def forward(self, ids, mode, chunk_size):
        return torch.zeros(1)

    def begin(self, position, steps):
        pass

    def step(self, token):
        self.stepped += 1


class Slow(Quick):
    """One that once takes long in parallel mode, and for a step after the first ones."""

    is_rested = False

    def forward(self, ids, mode, chunk_size):
        if mode == "parallel" and not self.is_rested:
            time.sleep(20)
            self.is_rested = True
        return super().forward(ids, mode, chunk_size)

    def step(self, token):
        super().step(token)
        if self.stepped == results.STEPS + 1:
            time.sleep(20)


def serve_slow(connection, name, threads):
    """The process of a contender of which one is slow."""
    contenders.CONTENDERS.update({"retnet_viz": Quick, "torchscale": Slow})
    worker.serve(connection, name, threads)


def test_what_takes_too_long_is_given_up_and_the_rest_goes_on(speed, monkeypatch) -> None:
    monkeypatch.setattr(worker, "serve", serve_slow)
    timeouts: list[results.Timeout] = []
    messages: list[str] = []
    modes = ["parallel", "chunkwise"]
    with worker.start_workers(["retnet_viz", "torchscale"], 1, 1.0) as workers:
        processes = [worker.process for worker in workers.values()]
        short, long = (
            list(benchmark._forwards(workers, length, 1, modes, [], timeouts, messages.append))
            for length in (16, 24)
        )
        processes.append(workers["torchscale"].process)
        steps = [
            each
            for position in (3, 9)
            for each in benchmark._generations(workers, position, 1, [], timeouts, messages.append)
        ]
        alive = [process.is_alive() for process in processes]
    assert len({process.pid for process in processes}) == 3
    assert alive == [True, False, False]  # another one went on, and is gone in its turn
    assert not processes[0].is_alive()
    for ran in (short, long):
        assert [(each.name, each.mode) for each in ran] == [
            ("retnet_viz", "parallel"),
            ("retnet_viz", "chunkwise"),
            ("torchscale", "chunkwise"),
        ]
    assert timeouts == [
        results.Timeout("torchscale", "parallel", 16, 16),  # and not tried at 24
        results.Timeout("torchscale", results.STEP, 3, 1),  # nor behind 9
    ]
    assert [(each.name, each.position) for each in steps] == [("retnet_viz", 3), ("retnet_viz", 9)]
    assert [line for line in messages if "given up" in line] == [
        "torchscale, parallel: more than 1 s, given up",
        "torchscale, step: more than 1 s, given up",
    ]
    table = speed_table(
        replace(
            speed, forwards=(*short, *long), timeouts=tuple(timeouts), limit=1.0, generations=steps
        )
    )
    assert "what takes more than 1 s is given up" in table
    (row,) = (line for line in table.splitlines() if "> 1,000" in line)
    assert row.split() == ["torchscale", "parallel", ">", "1,000", *["-"] * 5]
    assert "torchscale, parallel, is left out: 16 tokens took more than 1 s" in table
    assert "torchscale: 25 tokens behind 3 take more than 1 s" in table
    (row,) = (line for line in table.splitlines() if "> 40" in line)
    assert row.split() == ["torchscale", ">", "40", "-"]


def slow_answer(question: str, *arguments: object) -> object:
    """What a contender answers that never does anything in time."""
    if question in ("modes", "chunk_sizes"):
        return {"modes": ("parallel", "chunkwise"), "chunk_sizes": (8,)}[question]
    raise worker.AnswerTimeout("more than 1 s")


def test_a_table_comes_out_where_nothing_is_in_time(speed, monkeypatch) -> None:
    @contextmanager
    def workers(names, threads, limit):
        asks = dict.fromkeys(names, slow_answer)
        yield asks | {"machine": lambda *_: speed.machine}

    monkeypatch.setattr(benchmark, "start_workers", workers)
    none = measure_speed((8, 16), (3, 9), compiled=True, limit=1.0)
    assert not none.forwards
    assert not none.generations
    assert {(each.mode, each.length) for each in none.timeouts} == {
        ("parallel", 8),
        ("chunkwise", 8),
        (results.STEP, 3),
    }
    table = speed_table(none)
    assert "matrix products inside a chunkwise pass of 16 tokens: counting them takes more" in table
    assert "bfloat16: reading to compare its logits takes more than 1 s" in table
    lines = table.splitlines()
    (row,) = (line for line in lines if line.startswith("retnet_viz  ") and "chunk 8" in line)
    assert row.split()[-7:] == [">", "1,000", *["-"] * 5]
    (compiled,) = (line for line in lines if line.startswith("retnet_viz, compiled:"))
    assert compiled.endswith("25 tokens behind 3 take more than 10 s")  # a compiler had ten times


def test_a_shorter_text_is_tried_after_a_longer_one_took_too_long() -> None:
    def ask(question: str, *arguments: object) -> object:
        if question == "first" and arguments[-1] == 8:
            return 7, 8, 9.0
        return slow_answer(question, *arguments)

    timeouts: list[results.Timeout] = []
    forwards = [
        (each.mode, each.length)
        for length in (16, 8)
        for each in benchmark._forwards({"retnet_viz": ask}, length, 1, ["chunkwise"], [], timeouts)
    ]
    assert forwards == [("chunkwise", 8)]
    assert timeouts == [results.Timeout("retnet_viz", "chunkwise", 16, 8)]


def test_a_text_that_would_take_too_long_is_not_tried(speed, monkeypatch) -> None:
    """Four times the tokens take four times as long, or more."""
    tried = []

    def ask(question: str, *arguments: object) -> object:
        if question == "first":
            tried.append((*arguments[:1], arguments[-1]))
            return 7, 8, {"parallel": 6.0, "chunkwise": 2.0}[arguments[0]] * arguments[-1] / 8
        if question == "forward":
            return 1.0
        answers = {"modes": ("parallel", "chunkwise"), "chunk_sizes": (8,), "profile": (1.0, 1.0)}
        return {**answers, "begin": None, "steps": [0.1], "rounding": 0.5}[question]

    @contextmanager
    def workers(names, threads, limit):
        yield {"retnet_viz": ask, contenders.HALF: slow_answer, "machine": lambda *_: speed.machine}

    monkeypatch.setattr(benchmark, "start_workers", workers)
    result = measure_speed((8, 16, 32, 64), (3,), repeat=1, limit=20.0)
    assert tried == [
        (mode, length)
        for length, modes in ((8, 2), (16, 2), (32, 1), (64, 1))
        for mode in ("parallel", "chunkwise")[2 - modes :]
    ]
    timeouts = [each for each in result.timeouts if each.name == "retnet_viz"]
    assert timeouts == [results.Timeout("retnet_viz", "parallel", 32, 16, 24.0)]
    lines = speed_table(result).splitlines()
    messages = "retnet_viz, parallel, is left out: by what fewer tokens took, 32 take 24 s or more"
    assert lines.count(messages) == 2  # under 32 and under 64
    assert not any("> 20,000" in line and line.startswith("retnet_viz  ") for line in lines)


def test_where_one_chunk_size_takes_long_the_others_are_not_tried() -> None:
    tried = []

    def ask(question: str, *arguments: object) -> object:
        if question == "first":
            tried.append(arguments[1])
            return 7, 8, 16.0
        return {"modes": ("chunkwise",), "chunk_sizes": (64, 128)}[question]

    (forward,) = benchmark._forwards({"retnet_viz": ask}, 512, 5, ["chunkwise"], [], [])
    assert tried == [64]
    assert (forward.chunk_size, forward.seconds) == (64, 16.0)


def test_the_table_says_which_chunk_size_took_too_long(speed) -> None:
    forward = Forward("retnet_viz", "chunkwise", 512, 64, 0.9, 10, 10)
    timeout = results.Timeout("retnet_viz", "chunkwise", 512, 256)
    table = speed_table(replace(speed, forwards=(forward,), timeouts=(timeout,), limit=1.0))
    times = [line.split()[:6] for line in table.splitlines() if "chunkwise, chunk" in line]
    assert [each[3:] for each in times] == [["64", "900.0", "569"], ["256", ">", "1,000"]]


def test_the_rounding_is_left_open_where_bfloat16_reads_nothing_in_time(speed) -> None:
    forward = Forward(contenders.HALF, "chunkwise", 64, 64, 1, 1, 1)
    value, tokens = benchmark._rounding(slow_answer, [forward])
    assert math.isnan(value)
    assert tokens == 64
    assert math.isnan(benchmark._rounding(lambda *_: 0.5, [])[0])
    # As many tokens as it read, 2,048 at most.
    for length, expected in ((64, 64), (9000, 2048)):
        reads = [forward, replace(forward, length=length)]
        assert benchmark._rounding(lambda _question, tokens: tokens / 4096, reads) == (
            expected / 4096,
            expected,
        )
    table = speed_table(replace(speed, rounding=0.125, rounded=64))
    assert "bfloat16, 64 tokens: logits differ by up to 12.5 % of the largest one" in table


def test_the_table_says_where_parallel_is_left_out(speed) -> None:
    forwards = [
        Forward("retnet_viz", "chunkwise", length, 64, 1.0, 10, 10) for length in (8192, 32768)
    ]
    short, long = (
        speed_table(replace(speed, forwards=(each,), generations=())) for each in forwards
    )
    assert "left out" not in short
    assert "parallel mode are left out: 3 arrays of T x T numbers per head are 48 GiB" in long


# -- torch.compile -------------------------------------------------------------------------------


def untranslated(function):
    return function


def unable(_function):
    def call(*_arguments, **_named):
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nin a long message")

    return call


@torch.inference_mode()
def test_the_compiled_contender_computes_what_ours_does() -> None:
    """The compiler sees the forward pass and the step, each once; here it is one that does nothing.

    What it gives back is called: a compiler that adds to the logits is felt.
    """
    ids = torch.arange(70)[None]
    plain, compiled = build("retnet_viz"), build_compiled(untranslated)
    expected = plain.forward(ids, "chunkwise", 32)
    assert torch.equal(compiled.forward(ids, "chunkwise", 32), expected)
    assert torch.equal(compiled.plain(ids, "chunkwise", 32), expected)
    functions = []
    contender = build_compiled(lambda function: functions.append(function) or function)
    for position in (30, 2000, 5):
        contender.begin(position, 3)
        contender.step(3)
        assert contender.stepper.position == position + 1
    assert len(functions) == 2


def build_compiled(compiler) -> contenders.Compiled:
    torch.manual_seed(0)
    return contenders.Compiled(compiler)


def serve(contender: contenders.Contender):
    """The contender in this process, asked and answering like one in a process of its own."""
    answers = worker.ContenderAnswers(contender)

    def ask(question: str, *arguments: object) -> object:
        try:
            with torch.inference_mode():
                return getattr(answers, question)(*arguments)
        except Exception as error:
            raise RuntimeError(f"{error}") from error

    return ask


def test_where_compiling_fails_the_rest_goes_on_and_the_table_says_why(speed) -> None:
    workers = {
        "retnet_viz": serve(build("retnet_viz")),
        contenders.COMPILED: serve(build_compiled(unable)),
    }
    failures: list[str] = []
    forwards = tuple(benchmark._forwards(workers, 48, 1, ["chunkwise"], failures, []))
    generations = tuple(benchmark._generations(workers, 4, 1, failures, []))
    assert [each.name for each in forwards] == [each.name for each in generations] == ["retnet_viz"]
    assert failures == ["InvalidCxxCompiler: No working C++ compiler found"]
    table = speed_table(
        replace(speed, forwards=forwards, generations=generations, failure=failures[0])
    )
    assert f"torch.compile could not be used: {failures[0]}" in table.splitlines()[-1]


def test_what_compiling_brings_is_left_open_where_ours_was_given_up(speed) -> None:
    """There is no time to compare with."""
    forwards = (Forward(contenders.COMPILED, "chunkwise", 4096, 128, 4.0, 10, 10, 45.3),)
    generations = (results.Generation(contenders.COMPILED, 9, 0.8, 1.0, 6.24),)
    table = speed_table(replace(speed, forwards=forwards, generations=generations))
    assert "retnet_viz, compiled" in table
    assert "torch.compile, " not in table


def test_where_only_the_compiled_step_fails_the_others_still_step(speed) -> None:
    workers = {
        "retnet_viz": serve(build("retnet_viz")),
        contenders.COMPILED: serve(build_compiled(unable)),
    }
    failures: list[str] = []
    generations = list(benchmark._generations(workers, 4, 1, failures, []))
    assert [each.name for each in generations] == ["retnet_viz"]
    assert len(failures) == 1


def test_a_failure_of_any_other_contender_is_not_passed_over() -> None:
    workers = {"retnet_viz": serve(build_compiled(unable))}
    with pytest.raises(RuntimeError, match="No working"):
        list(benchmark._forwards(workers, 48, 1, ["chunkwise"], [], []))


def test_the_table_says_what_compiling_took_and_what_it_brought(speed) -> None:
    forwards = (
        Forward("retnet_viz", "chunkwise", 4096, 64, 2.0, 10, 10),
        Forward(contenders.COMPILED, "chunkwise", 4096, 128, 4.0, 10, 10, 45.3),
    )
    generations = (
        results.Generation("retnet_viz", 9, 1.0, 1.0),
        results.Generation(contenders.COMPILED, 9, 0.8, 1.0, 6.24),
    )
    lines = speed_table(replace(speed, forwards=forwards, generations=generations)).splitlines()
    assert lines[-2].endswith(
        "4,096 tokens: 45 s for the first pass, then 0.50 times as fast as without"
    )
    assert lines[-1].endswith("6.2 s for the first 25, then 1.25 times as fast as without")
    assert sum(line.startswith(contenders.COMPILED) for line in lines) == 2


def test_a_peer_that_is_not_there_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(contenders, "_PACKAGES", {"torchscale": "no_such_package"})
    assert missing("torchscale")
    assert not missing("retnet_viz")


def test_the_command_refuses_what_cannot_be_run(capsys) -> None:
    assert main(["bench", "--repeat", "0"]) == 2
    assert "repeat must be 1 or more" in capsys.readouterr().err
    assert main(["bench", "--lengths", "0"]) == 2
    assert "lengths must be 1 or more" in capsys.readouterr().err
    for limit in ("0", "-3", "nan", "inf", "1e9"):
        assert main(["bench", "--limit", limit]) == 2
        assert "limit must be above 0 seconds and at most 86,400" in capsys.readouterr().err
