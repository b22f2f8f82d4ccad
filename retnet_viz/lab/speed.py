"""How fast RetNets and a Transformer run on this machine, against its own limits.

Each contender has a process of its own, so that one's memory is not another's, and all run in
turn: what else the machine does meanwhile falls on all alike. Times are medians.
"""

from __future__ import annotations

import gc
import math
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from retnet_viz.lab.contenders import (
    ATTENTION,
    COMPILED,
    CONFIG,
    CONTENDERS,
    Compiled,
    Contender,
    build,
    missing,
)
from retnet_viz.model import MODES

LENGTHS = (128, 512, 2048, 8192, 32768)
POSITIONS = (10, 1000, 30000)
PLANES = 3  # arrays of T x T numbers that a parallel pass may need: scores, decay and weights
PLANE_BUDGET = 4 * 2**30  # bytes that they may take
RUN_BUDGET = 5.0  # seconds of runs after which there is no other one
WARMED = 2048  # tokens up to which a pass is preceded by one that is not timed
STEPS = 25  # that are timed one after the other
_MATMULS = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm"}
_REPORT = Callable[[str], None]


@dataclass(frozen=True)
class Forward:
    """One way to read a text: the median seconds, and how much memory and arithmetic it took.

    peak_bytes  resident memory at its highest in the first pass, beyond that before it; None where
                it cannot be read
    flops       of the matrix products
    first       seconds of the first pass, which torch.compile needs to translate
    """

    name: str
    mode: str
    length: int
    chunk_size: int
    seconds: float
    peak_bytes: int | None
    flops: int
    first: float = math.nan


@dataclass(frozen=True)
class Generation:
    """Median and 95th percentile of the seconds that one more token takes behind `position`.

    first  seconds of the first STEPS tokens together
    """

    name: str
    position: int
    seconds: float
    p95: float
    first: float = math.nan


@dataclass(frozen=True)
class Machine:
    """The limits of this machine, measured with the same threads, now and then during the run.

    matmul_flops   floating-point operations a second, product of two 2,048 x 2,048 matrices in
                   float32; bfloat16_flops in bfloat16
    bytes_second   bytes read and written a second, copying 256 MB
    weight_seconds time to multiply each weight matrix of the model once by a vector
    weight_bytes   bytes of those matrices
    """

    threads: int
    matmul_flops: float
    bfloat16_flops: float
    bytes_second: float
    weight_seconds: float
    weight_bytes: int


@dataclass(frozen=True)
class Speed:
    """All that `measure_speed` found.

    matmul_rate  floating-point operations a second inside the matrix products of a chunkwise pass
                 over `profiled` tokens
    matmul_time  their share of the time of that pass
    rounding     max |difference| of bfloat16 logits, relative to the largest float32 logit
    absent       names of the contenders that are not installed
    repeat       runs of which a time is the median, if RUN_BUDGET lets there be as many
    failure      why torch.compile could not be used; empty where it could, or was not asked for
    """

    machine: Machine
    forwards: tuple[Forward, ...]
    generations: tuple[Generation, ...]
    matmul_rate: float
    matmul_time: float
    profiled: int
    rounding: float
    absent: tuple[str, ...]
    repeat: int
    failure: str = ""


def measure_speed(
    lengths: Sequence[int] = LENGTHS,
    positions: Sequence[int] = POSITIONS,
    repeat: int = 5,
    threads: int = 2,
    modes: Sequence[str] = MODES,
    report: _REPORT = lambda _: None,
    compiled: bool = False,
) -> Speed:
    """Run all contenders that are installed in those of `modes` that they have.

    The Transformer knows one way to read, which is there whatever the modes. `report` is told what
    is being done. `compiled` adds ours through torch.compile; where that fails, the rest goes on.

    Raises ValueError where a length, a position, `repeat` or `threads` is below 1.
    """
    for name, values in {
        "lengths": lengths,
        "positions": positions,
        "repeat": [repeat],
        "threads": [threads],
    }.items():
        if not values or min(values) < 1:
            raise ValueError(f"{name} must be 1 or more, not {', '.join(map(str, values))}")
    names = [name for name in CONTENDERS if not missing(name)]
    names += [COMPILED] if compiled else []
    failures: list[str] = []
    with _workers(["machine", *names], threads) as workers:
        ask_machine = workers.pop("machine")
        for ask in workers.values():
            ask("modes")  # once it answers it is there, and takes no time of the others
        limits: list[Machine] = []

        def find_limits() -> None:
            report("the machine's own limits")
            limits.append(ask_machine("machine", threads))

        forwards: list[Forward] = []
        for length in lengths:
            find_limits()
            report(f"reading {length:,} tokens")
            forwards += _forwards(workers, length, repeat, modes, failures)
        generations: list[Generation] = []
        for position in positions:
            find_limits()
            report(f"generating after {position:,} tokens")
            generations += _generations(workers, position, repeat, failures)
        profiled = min(8192, max(lengths))
        report(f"where the time goes, and bfloat16 against float32, at {profiled:,} tokens")
        rate, share = workers["retnet_viz"]("profile", profiled)
        rounding = workers["retnet_viz, bfloat16"]("rounding", min(2048, profiled))
    absent = tuple(name for name in CONTENDERS if missing(name))
    return Speed(
        _typical(limits),
        tuple(forwards),
        tuple(generations),
        rate,
        share,
        profiled,
        rounding,
        absent,
        repeat,
        failures[0] if failures else "",
    )


def _typical(limits: Sequence[Machine]) -> Machine:
    """The median of each limit: they drift with what else the machine does."""
    medians = {
        name: statistics.median(getattr(each, name) for each in limits)
        for name in ("matmul_flops", "bfloat16_flops", "bytes_second", "weight_seconds")
    }
    return replace(limits[0], **medians)


_Ask = Callable[..., Any]


class _Case(NamedTuple):
    name: str
    mode: str
    chunk_size: int


def _forwards(
    workers: dict[str, _Ask],
    length: int,
    repeat: int,
    modes: Sequence[str],
    failures: list[str],
) -> Iterator[Forward]:
    """Every contender in every mode, in turn; of the chunk sizes the fastest."""
    cases = []
    for name, ask in workers.items():
        for mode in ask("modes"):
            sizes = [size for size in ask("chunk_sizes") if size <= length] or [length]
            wanted = mode in modes or name == ATTENTION
            if wanted and fits(name, mode, length):
                chosen = sizes if mode == "chunkwise" else [length]
                cases += [_Case(name, mode, size) for size in chosen]
    first = {}
    for case in cases:
        with _unless_compiled(case.name, workers, failures):
            first[case] = workers[case.name]("first", case.mode, case.chunk_size, length)
    times: dict[_Case, list[float]] = {case: [] for case in first}
    for _ in range(repeat):
        for case, found in times.items():
            if sum(found) < RUN_BUDGET:
                ask = workers[case.name]
                found.append(ask("forward", case.mode, case.chunk_size, length))
    medians = {case: statistics.median(found) for case, found in times.items()}
    for way in dict.fromkeys(case[:2] for case in medians):
        best = min((case for case in medians if case[:2] == way), key=medians.__getitem__)
        yield Forward(*way, length, best.chunk_size, medians[best], *first[best])


@contextmanager
def _unless_compiled(name: str, workers: dict[str, _Ask], failures: list[str]) -> Iterator[None]:
    """What fails inside is raised, but where it is torch.compile: it runs no more, which is noted.

    A machine needs a C++ compiler for it, and it knows only some versions of Python.
    """
    try:
        yield
    except RuntimeError as error:
        if name != COMPILED:
            raise
        workers.pop(name)
        failures.append(str(error).strip().splitlines()[0])


def fits(name: str, mode: str, length: int) -> bool:
    """Whether the T x T arrays of a parallel pass fit into PLANE_BUDGET; attention makes none."""
    if mode != "parallel" or name == ATTENTION:
        return True
    return PLANES * CONFIG.n_heads * length**2 * 4 <= PLANE_BUDGET


def _generations(
    workers: dict[str, _Ask], position: int, repeat: int, failures: list[str]
) -> Iterator[Generation]:
    rounds = 4 * repeat
    first: dict[str, float] = {}
    for name, ask in list(workers.items()):
        with _unless_compiled(name, workers, failures):
            ask("begin", position, (rounds + 1) * STEPS)
            first[name] = sum(ask("steps"))
    times: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, ask in workers.items():
            times[name] += ask("steps")
    for name, found in times.items():
        ordered = sorted(found)
        p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
        yield Generation(name, position, statistics.median(found), p95, first[name])


# -- the processes -------------------------------------------------------------------------------


@contextmanager
def _workers(names: list[str], threads: int) -> Iterator[dict[str, _Ask]]:
    """A process per name, each as a function that asks it something and waits for the answer."""
    context = multiprocessing.get_context("spawn")
    started = []

    def ask_through(connection: Connection) -> _Ask:
        def ask(*question: Any) -> Any:
            connection.send(question)
            failed, answer = connection.recv()
            if failed:
                raise RuntimeError(answer)
            return answer

        return ask

    try:
        asks = {}
        for name in names:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, name, threads), daemon=True)
            process.start()
            started.append((process, here))
            asks[name] = ask_through(here)
        yield asks
    finally:
        for process, connection in started:
            connection.close()
            process.terminate()
            process.join()


def _serve(connection: Connection, name: str, threads: int) -> None:
    """Answer questions until the other end closes."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        answers = _Machine() if name == "machine" else _Answers(build(name))
        while True:
            try:
                question, *arguments = connection.recv()
            except EOFError:
                return
            try:
                connection.send((False, getattr(answers, question)(*arguments)))
            except Exception as error:  # said where somebody reads it
                connection.send((True, f"{name}, {question}: {error}"))


class _Answers:
    """What the process of a contender can be asked."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender

    def _ids(self, length: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randint(CONFIG.vocab_size, (1, length), generator=generator)

    def modes(self) -> tuple[str, ...]:
        """The modes in which it reads."""
        return self.contender.modes

    def chunk_sizes(self) -> tuple[int, ...]:
        """Those that it is tried with."""
        return self.contender.chunk_sizes

    def first(self, mode: str, chunk_size: int, length: int) -> tuple[int | None, int, float]:
        """(peak bytes, flops, seconds) of a pass; it warms what the next ones use."""
        ids = self._ids(length)
        piece = min(length, 64)
        few = self._flops(ids[:, :piece], mode, min(chunk_size, piece))  # gets libraries ready
        counted = few * length // piece

        def read() -> None:
            nonlocal counted
            # In recurrent mode the counter would take minutes, and each token costs the same. A
            # compiled pass cannot be counted, and does what ours does.
            if mode == "recurrent" or isinstance(self.contender, Compiled):
                self.contender.forward(ids, mode, chunk_size)
            else:
                counted = self._flops(ids, mode, chunk_size)

        start = time.perf_counter()
        peak = peak_bytes(read)
        seconds = time.perf_counter() - start
        if isinstance(self.contender, Compiled):
            counted = self._flops(ids, mode, chunk_size)
            peak = peak_bytes(lambda: self.contender.forward(ids, mode, chunk_size))
        return peak, counted, seconds

    def _flops(self, ids: torch.Tensor, mode: str, chunk_size: int) -> int:
        counter: Any = FlopCounterMode(display=False)
        with counter:
            self.contender.plain(ids, mode, chunk_size)
        return int(counter.get_total_flops())

    def forward(self, mode: str, chunk_size: int, length: int) -> float:
        """Seconds of a pass. A short one runs once more before: the caches were another's."""
        ids = self._ids(length)
        if length <= WARMED:
            self.contender.forward(ids, mode, chunk_size)
        start = time.perf_counter()
        self.contender.forward(ids, mode, chunk_size)
        return time.perf_counter() - start

    def begin(self, position: int, steps: int) -> None:
        """Stand behind `position` tokens."""
        self.contender.begin(position, steps)

    def steps(self) -> list[float]:
        """Seconds of each of STEPS tokens."""
        times = []
        for token in range(STEPS):
            start = time.perf_counter()
            self.contender.step(token)
            times.append(time.perf_counter() - start)
        return times

    def profile(self, length: int) -> tuple[float, float]:
        """Of a chunkwise pass: flops a second inside its matrix products, their share of time."""
        ids = self._ids(length)
        flops = self._flops(ids, "chunkwise", 128)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            self.contender.forward(ids, "chunkwise", 128)
        events = profiled.key_averages()
        total = sum(event.self_cpu_time_total for event in events)
        products = sum(event.self_cpu_time_total for event in events if event.key in _MATMULS)
        return flops / (products / 1e6), products / total

    def rounding(self, length: int) -> float:
        """max |logit difference| to the same weights in float32, relative to the largest."""
        ids = self._ids(length)
        exact = build("retnet_viz").forward(ids, "chunkwise", 128)
        found = self.contender.forward(ids, "chunkwise", 128).float()
        return ((found - exact).abs().max() / exact.abs().max()).item()


class _Machine:
    """The process that measures what the machine itself can do."""

    def machine(self, threads: int) -> Machine:
        """Its limits."""
        weights = [p for p in build("retnet_viz").model.parameters() if p.dim() == 2]
        vectors = [torch.randn(weight.shape[1]) for weight in weights]
        source = torch.ones(2**26)
        target = torch.empty_like(source)

        def read_weights() -> None:
            for weight, vector in zip(weights, vectors, strict=True):
                torch.mv(weight, vector)

        return Machine(
            threads=threads,
            matmul_flops=_matmul(torch.float32),
            bfloat16_flops=_matmul(torch.bfloat16),
            bytes_second=2 * source.nbytes / _median(lambda: target.copy_(source), 7),
            weight_seconds=_median(read_weights, 200),
            weight_bytes=sum(weight.nbytes for weight in weights),
        )


def _matmul(dtype: torch.dtype, size: int = 2048) -> float:
    a, b = torch.randn(2, size, size).to(dtype)
    return 2 * size**3 / _median(lambda: a @ b, 9)


def _median(run: Callable[[], Any], times: int) -> float:
    run()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def peak_bytes(run: Callable[[], Any]) -> int | None:
    """Resident memory of this process at its highest during `run()`, beyond that before it.

    None where the system does not tell (it is Linux that does).
    """
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    gc.collect()
    _trim()
    try:
        reset.write_text("5")
        before = _kilobytes(status, "VmRSS")
        run()
        return 1024 * (_kilobytes(status, "VmHWM") - before)
    except (OSError, LookupError):
        run()
        return None


def _kilobytes(status: Path, field: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise LookupError(field)


def _trim() -> None:
    """Give freed memory back, so that it is not counted as held before."""
    import ctypes

    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)
