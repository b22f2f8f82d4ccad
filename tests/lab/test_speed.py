"""The benchmark's own promises: same work, honest ratios, absence said. Never a time."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
import torch

from retnet_viz.cli import main
from retnet_viz.lab import contenders, speed
from retnet_viz.lab.contenders import CONFIG, CONTENDERS, build, missing
from retnet_viz.lab.speed import Forward, measure_speed, peak_bytes
from retnet_viz.lab.speed_table import slope, speed_table

INSTALLED = [name for name in CONTENDERS if not missing(name)]
OWN = ["retnet_viz", "retnet_viz, bfloat16", "Transformer, KV cache"]


@pytest.fixture(scope="module")
def found() -> speed.Speed:
    said: list[str] = []
    result = measure_speed((64, 130), (5, 40), repeat=1, threads=1, report=said.append)
    assert len(said) >= 6
    return result


def test_every_contender_ran_in_all_its_modes(found) -> None:
    assert set(OWN) <= set(INSTALLED)
    wanted = [(n, mode) for n in INSTALLED for mode in build(n).modes]
    for length in (64, 130):
        ran = [(each.name, each.mode) for each in found.forwards if each.length == length]
        assert ran == wanted
    assert found.absent == tuple(name for name in CONTENDERS if missing(name))
    assert [(g.name, g.position) for g in found.generations] == [
        (name, position) for position in (5, 40) for name in INSTALLED
    ]
    for each in (*found.forwards, *found.generations):
        assert each.seconds > 0


def test_the_arithmetic_is_that_of_the_products_in_the_network(found) -> None:
    """Written out for recurrent mode: each weight matrix once a token, and q S for each head."""
    weights = sum(p.numel() for p in build("retnet_viz").model.parameters() if p.dim() == 2)
    reads = CONFIG.n_layers * CONFIG.n_heads * CONFIG.head_dim * CONFIG.value_dim
    (recurrent,) = (
        each
        for each in found.forwards
        if (each.name, each.mode, each.length) == ("retnet_viz", "recurrent", 64)
    )
    assert recurrent.flops == 64 * 2 * (weights + reads)


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


def test_the_table_says_what_is_absent_and_what_the_ratios_are_to(found) -> None:
    table = speed_table(replace(found, absent=("torchscale",)))
    assert "torchscale is not installed: pip install --no-deps" in table
    forwards = (
        Forward("retnet_viz", "chunkwise", 4096, 64, 2.0, 10**6, 10**9),
        Forward("yet-another-retnet", "chunkwise", 4096, 64, 3.0, 10**6, 10**9),
        Forward("torchscale", "chunkwise", 4096, 64, 4.0, None, 10**9),
    )
    lines = speed_table(replace(found, forwards=forwards)).splitlines()
    ratios = [line.split()[-1] for line in lines if "chunk 64" in line]
    assert ratios == ["1.50", "1.00", "0.75"]
    alone = speed_table(replace(found, forwards=forwards[:1])).splitlines()
    assert [line.split()[-1] for line in alone if "chunk 64" in line] == ["-"]


def test_only_the_modes_that_were_asked_for_run(monkeypatch) -> None:
    with speed._workers(["retnet_viz", contenders.ATTENTION], 1, 60) as workers:
        found = list(speed._forwards(workers, 32, 1, ["chunkwise"], [], []))
    assert [(each.name, each.mode, each.chunk_size) for each in found] == [
        ("retnet_viz", "chunkwise", 32),
        (contenders.ATTENTION, "parallel", 32),
    ]


def test_the_slope_of_a_power_is_its_exponent() -> None:
    points = [Forward("a", "b", t, 1, 3e-9 * t**1.5, None, 0) for t in (10, 70, 900)]
    assert math.isclose(slope(points), 1.5)


def test_the_peak_is_what_a_run_held_at_most() -> None:
    size = 64 * 2**20
    peak = peak_bytes(lambda: torch.ones(size // 4).sum())
    if peak is None:  # not a Linux system: the table shows a dash
        return
    assert 0.98 * size <= peak < 1.2 * size  # the system counts pages in batches


def test_a_plane_that_would_not_fit_is_left_out() -> None:
    assert speed.fits("retnet_viz", "parallel", 8192)
    assert not speed.fits("retnet_viz", "parallel", 32768)
    assert speed.fits("retnet_viz", "chunkwise", 32768)
    assert speed.fits("Transformer, KV cache", "parallel", 32768)


def test_a_failure_in_a_process_says_whose(monkeypatch) -> None:
    with (
        speed._workers(["retnet_viz"], 1, 60) as workers,
        pytest.raises(RuntimeError, match="retnet_viz, forward: mode must be one of"),
    ):
        workers["retnet_viz"]("forward", "sideways", 8, 8)


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

    (found,) = speed._forwards({"retnet_viz": ask}, 512, 5, ["chunkwise"], [], [])
    # After RUN_BUDGET, 5 s, no other one begins; a first pass that took longer is not run again.
    assert runs == {64: 3, 128: 0, 256: 5}
    assert found == Forward("retnet_viz", "chunkwise", 512, 256, 0.1, 7, 8, 1.0)


# -- what takes too long -------------------------------------------------------------------------


class Slow(contenders.Ours):
    """Ours, but that it takes minutes in parallel mode, and for a step."""

    def forward(self, ids, mode, chunk_size):
        if mode == "parallel":
            time.sleep(600)
        return super().forward(ids, mode, chunk_size)

    def step(self, token):
        time.sleep(600)


def serve_slow(connection, name, threads):
    """The process of a contender of which one is slow."""
    contenders.CONTENDERS["torchscale"] = Slow
    speed._serve(connection, name, threads)


def test_what_takes_too_long_is_given_up_and_the_rest_goes_on(found, monkeypatch) -> None:
    monkeypatch.setattr(speed, "_serve", serve_slow)
    beyond: list[speed.Beyond] = []
    with speed._workers(["retnet_viz", "torchscale"], 1, 2.0) as workers:
        first = workers["torchscale"].process
        short, long = (
            list(speed._forwards(workers, length, 1, ["parallel", "chunkwise"], [], beyond))
            for length in (16, 24)
        )
        second = workers["torchscale"].process
        steps = list(speed._generations(workers, 3, 1, [], beyond))
        processes = [worker.process for worker in workers.values()]
    assert not first.is_alive()
    assert first.pid != second.pid  # another one goes on
    assert [(each.name, each.mode) for each in short] == [
        ("retnet_viz", "parallel"),
        ("retnet_viz", "chunkwise"),
        ("torchscale", "chunkwise"),
    ]
    assert [(each.name, each.mode) for each in long] == [(each.name, each.mode) for each in short]
    assert beyond == [
        speed.Beyond("torchscale", "parallel", 16),  # and not tried at 24
        speed.Beyond("torchscale", speed.STEP, 3),
    ]
    assert [each.name for each in steps] == ["retnet_viz"]
    assert not any(process.is_alive() for process in processes)
    table = speed_table(
        replace(found, forwards=(*short, *long), beyond=tuple(beyond), limit=2.0, generations=())
    )
    assert "what takes more than 2 s is given up" in table
    (row,) = (line for line in table.splitlines() if "> 2,000" in line)
    assert row.split() == ["torchscale", "parallel", ">", "2,000", *["-"] * 5]
    assert "torchscale, parallel, is left out: 16 tokens took more than 2 s" in table
    assert "torchscale: 25 tokens behind 3 take more than 2 s" in table


def test_the_rounding_is_left_open_where_bfloat16_reads_nothing_in_time(found) -> None:
    def overdue(*question):
        raise speed.Overdue("late")

    reads = [Forward(contenders.HALF, "chunkwise", length, 64, 1, 1, 1) for length in (64, 9000)]
    assert math.isnan(speed._rounding(overdue, reads))
    assert math.isnan(speed._rounding(lambda *_: 0.5, []))
    asked = []
    assert speed._rounding(lambda *question: asked.append(question) or 0.5, reads) == 0.5
    assert asked == [("rounding", 64)]
    assert "bfloat16: nothing is read within" in speed_table(replace(found, rounding=math.nan))


def test_the_machine_is_measured_in_seconds_whatever_it_multiplies(monkeypatch) -> None:
    """A product of 2,048 x 2,048 numbers of 16 bits takes 20 s where it is emulated."""
    sizes: list[int] = []
    product = torch.Tensor.__matmul__

    def slow(a, b):
        sizes.append(len(a))
        clock.now += (len(a) / 2048) ** 3 * 20
        return product(a[:2, :2], b[:2, :2])

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)
    monkeypatch.setattr(torch.Tensor, "__matmul__", slow)
    assert speed._matmul(torch.bfloat16) == pytest.approx(2 * 2048**3 / 20)
    assert clock.now < 5
    assert max(sizes) <= 512


def test_the_table_says_where_parallel_is_left_out(found) -> None:
    forwards = [
        Forward("retnet_viz", "chunkwise", length, 64, 1.0, 10, 10) for length in (8192, 32768)
    ]
    short, long = (
        speed_table(replace(found, forwards=(each,), generations=())) for each in forwards
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
    wanted = plain.forward(ids, "chunkwise", 32)
    assert torch.equal(compiled.forward(ids, "chunkwise", 32), wanted)
    assert torch.equal(compiled.plain(ids, "chunkwise", 32), wanted)
    seen = []
    counted = build_compiled(lambda function: seen.append(function) or function)
    for position in (30, 2000, 5):
        counted.begin(position, 3)
        counted.step(3)
        assert counted.stepper.position == position + 1
    assert len(seen) == 2


def build_compiled(compiler) -> contenders.Compiled:
    torch.manual_seed(0)
    return contenders.Compiled(compiler)


def serve(contender: contenders.Contender):
    """The contender in this process, asked and answering like one in a process of its own."""
    answers = speed._Answers(contender)

    def ask(question: str, *arguments: object) -> object:
        try:
            with torch.inference_mode():
                return getattr(answers, question)(*arguments)
        except Exception as error:
            raise RuntimeError(f"{error}") from error

    return ask


def test_where_compiling_fails_the_rest_goes_on_and_the_table_says_why(found) -> None:
    workers = {
        "retnet_viz": serve(build("retnet_viz")),
        contenders.COMPILED: serve(build_compiled(unable)),
    }
    failures: list[str] = []
    forwards = tuple(speed._forwards(workers, 48, 1, ["chunkwise"], failures, []))
    generations = tuple(speed._generations(workers, 4, 1, failures, []))
    assert [each.name for each in forwards] == [each.name for each in generations] == ["retnet_viz"]
    assert failures == ["InvalidCxxCompiler: No working C++ compiler found"]
    table = speed_table(
        replace(found, forwards=forwards, generations=generations, failure=failures[0])
    )
    assert f"torch.compile could not be used: {failures[0]}" in table.splitlines()[-1]


def test_where_only_the_compiled_step_fails_the_others_still_step(found) -> None:
    workers = {
        "retnet_viz": serve(build("retnet_viz")),
        contenders.COMPILED: serve(build_compiled(unable)),
    }
    failures: list[str] = []
    generations = list(speed._generations(workers, 4, 1, failures, []))
    assert [each.name for each in generations] == ["retnet_viz"]
    assert len(failures) == 1


def test_a_failure_of_any_other_contender_is_not_passed_over() -> None:
    workers = {"retnet_viz": serve(build_compiled(unable))}
    with pytest.raises(RuntimeError, match="No working"):
        list(speed._forwards(workers, 48, 1, ["chunkwise"], [], []))


def test_the_table_says_what_compiling_took_and_what_it_brought(found) -> None:
    forwards = (
        Forward("retnet_viz", "chunkwise", 4096, 64, 2.0, 10, 10),
        Forward(contenders.COMPILED, "chunkwise", 4096, 128, 4.0, 10, 10, 45.3),
    )
    generations = (
        speed.Generation("retnet_viz", 9, 1.0, 1.0),
        speed.Generation(contenders.COMPILED, 9, 0.8, 1.0, 6.24),
    )
    lines = speed_table(replace(found, forwards=forwards, generations=generations)).splitlines()
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
    assert main(["bench", "--limit", "0"]) == 2
    assert "limit must be above 0 seconds" in capsys.readouterr().err
