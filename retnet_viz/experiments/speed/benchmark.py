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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from retnet_viz.experiments.speed.contenders import (
    ATTENTION,
    COMPILED,
    CONFIG,
    CONTENDERS,
    HALF,
    MIDDLE_CHUNK,
    Compiled,
    Contender,
    build,
    missing,
)
from retnet_viz.experiments.speed.machine import median_seconds, product_flops
from retnet_viz.model import MODES

LENGTHS = (128, 512, 2048, 8192, 32768)
POSITIONS = (10, 1000, 30000)
PLANES = 3  # arrays of T x T numbers that a parallel pass may need: scores, decay and weights
PLANE_BUDGET = 4 * 2**30  # bytes that they may take
RUN_BUDGET = 5.0  # seconds of runs after which there is no other one
LIMIT = 60.0  # seconds after which a measurement is given up
LONG_PASS = 15.0  # seconds of a pass after which no other chunk size is tried
LONGEST_LIMIT = 86_400  # a day; the system refuses to wait for a month
COMPILING = 10  # times that limit, where a compiler works first
WARMED = 2048  # tokens up to which a pass is preceded by one that is not timed
STEP = "step"  # in place of a mode, where tokens are generated
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
class Beyond:
    """What was given up: the mode that a contender read `length` tokens in, or a step behind them.

    `mode` is STEP where tokens are generated.

    expected  seconds that it would take at least, by what a shorter text took: it was not tried;
              nan where it was
    """

    name: str
    mode: str
    length: int
    chunk_size: int
    expected: float = math.nan


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

    matmul_flops   floating-point operations a second, product of two square matrices in float32;
                   bfloat16_flops in bfloat16
    matmul_size    their rows and columns, LARGEST or less where that takes long; bfloat16_size
    bytes_second   bytes read and written a second, copying 256 MB
    weight_seconds time to multiply each weight matrix of the model once by a vector
    weight_bytes   bytes of those matrices
    """

    threads: int
    matmul_flops: float
    bfloat16_flops: float
    matmul_size: int
    bfloat16_size: int
    bytes_second: float
    weight_seconds: float
    weight_bytes: int


@dataclass(frozen=True)
class Speed:
    """All that `measure_speed` found.

    matmul_rate  floating-point operations a second inside the matrix products of a chunkwise pass
                 over `profiled` tokens; nan where that takes longer than the limit
    matmul_time  their share of the time of that pass; nan likewise
    rounding     max |difference| of bfloat16 logits over `rounded` tokens, relative to the largest
                 float32 logit; nan where that takes longer than the limit
    absent       names of the contenders that are not installed
    repeat       runs of which a time is the median, if RUN_BUDGET lets there be as many
    failure      why torch.compile could not be used; empty where it could, or was not asked for
    beyond       what took longer than `limit` seconds and was given up
    """

    machine: Machine
    forwards: tuple[Forward, ...]
    generations: tuple[Generation, ...]
    matmul_rate: float
    matmul_time: float
    profiled: int
    rounding: float
    rounded: int
    absent: tuple[str, ...]
    repeat: int
    failure: str = ""
    beyond: tuple[Beyond, ...] = ()
    limit: float = LIMIT


def measure_speed(
    lengths: Sequence[int] = LENGTHS,
    positions: Sequence[int] = POSITIONS,
    repeat: int = 5,
    threads: int = 2,
    modes: Sequence[str] = MODES,
    report: _REPORT = lambda _: None,
    compiled: bool = False,
    limit: float = LIMIT,
) -> Speed:
    """Run all contenders that are installed in those of `modes` that they have.

    The Transformer knows one way to read, which is there whatever the modes. `report` is told what
    is being done. `compiled` adds ours through torch.compile; where that fails, the rest goes on.
    What takes longer than `limit` seconds is given up, and not tried on longer texts; nor is what
    would take longer, by the time of a shorter text.

    Raises ValueError where a length, a position, `repeat` or `threads` is below 1, or `limit` not
    above 0 or above LONGEST_LIMIT.
    """
    if not 0 < limit <= LONGEST_LIMIT:
        raise ValueError(
            f"limit must be above 0 seconds and at most {LONGEST_LIMIT:,}, not {limit:g}"
        )
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
    beyond: list[Beyond] = []
    with _workers(["machine", *names], threads, limit) as workers:
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
            read = list(_forwards(workers, length, repeat, modes, failures, beyond, report))
            forwards += read
            longer = [each for each in lengths if each > length]
            if longer:
                beyond += _foreseen(read, min(longer), limit)
        generations: list[Generation] = []
        for position in positions:
            find_limits()
            report(f"generating after {position:,} tokens")
            generations += _generations(workers, position, repeat, failures, beyond, report)
        profiled = min(8192, max(lengths))
        report(f"where the time goes, and bfloat16 against float32, at {profiled:,} tokens")
        rate, share = math.nan, math.nan
        with suppress(Overdue):
            rate, share = workers["retnet_viz"]("profile", profiled)
        rounding, rounded = _rounding(workers[HALF], forwards)
    absent = tuple(name for name in CONTENDERS if missing(name))
    return Speed(
        _typical(limits),
        tuple(forwards),
        tuple(generations),
        rate,
        share,
        profiled,
        rounding,
        rounded,
        absent,
        repeat,
        failures[0] if failures else "",
        tuple(beyond),
        limit,
    )


def _rounding(ask: _Ask, forwards: Sequence[Forward]) -> tuple[float, int]:
    """The rounding of bfloat16, on as many tokens as it has read within the limit, and those."""
    tokens = max((min(WARMED, each.length) for each in forwards if each.name == HALF), default=0)
    with suppress(Overdue):
        return (float(ask("rounding", tokens)) if tokens else math.nan), tokens
    return math.nan, tokens


def _typical(limits: Sequence[Machine]) -> Machine:
    """The median of each limit: they drift with what else the machine does."""
    medians = {
        name: statistics.median(getattr(each, name) for each in limits)
        for name in ("matmul_flops", "bfloat16_flops", "bytes_second", "weight_seconds")
    }
    smallest = {
        name: min(getattr(each, name) for each in limits)
        for name in ("matmul_size", "bfloat16_size")
    }
    return replace(limits[0], **medians, **smallest)


_Ask = Callable[..., Any]


class Overdue(RuntimeError):
    """An answer that did not come within the limit."""


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
    beyond: list[Beyond],
    report: _REPORT = lambda _: None,
) -> Iterator[Forward]:
    """Every contender in every mode, in turn; of the chunk sizes the fastest.

    What is given up is added to `beyond`; what is there for a shorter text is not tried.
    """
    cases = []
    for name, ask in workers.items():
        for mode in ask("modes"):
            sizes = [size for size in ask("chunk_sizes") if size <= length] or [length]
            wanted = mode in modes or name == ATTENTION
            if wanted and fits(name, mode, length):
                chosen = sizes if mode == "chunkwise" else [length]
                cases += [_Case(name, mode, size) for size in chosen]
    first: dict[_Case, tuple[int | None, int, float]] = {}
    said = ""
    for case in cases:
        slow = any(
            other[:2] == case[:2] and seconds > LONG_PASS
            for other, (_, _, seconds) in first.items()
        )
        if slow or _is_beyond(case, length, beyond):
            continue
        if case.name != said:
            said = case.name
            report(f"reading {length:,} tokens: {said}")
        with (
            _unless_compiled(case.name, workers, failures),
            _unless_overdue(case, length, beyond, report),
        ):
            first[case] = workers[case.name]("first", case.mode, case.chunk_size, length)
    # A pass that takes long is not run again: the first one tells.
    times = {
        case: [seconds] if seconds > RUN_BUDGET and case.name != COMPILED else []
        for case, (_, _, seconds) in first.items()
    }
    report(f"reading {length:,} tokens: all again, for the medians")
    for _ in range(repeat):
        for case, found in times.items():
            if sum(found) < RUN_BUDGET and not _is_beyond(case, length, beyond):
                with _unless_overdue(case, length, beyond, report):
                    ask = workers[case.name]
                    found.append(ask("forward", case.mode, case.chunk_size, length))
    medians = {case: statistics.median(found) for case, found in times.items() if found}
    for way in dict.fromkeys(case[:2] for case in medians):
        best = min((case for case in medians if case[:2] == way), key=medians.__getitem__)
        peak, flops, seconds = first[best]
        yield Forward(*way, length, best.chunk_size, medians[best], peak, flops, seconds)


def _foreseen(forwards: Sequence[Forward], length: int, limit: float) -> Iterator[Beyond]:
    """What takes too long at `length`, the next longer one: time grows at least as the length.

    Where a compiler works first, nothing is foreseen.
    """
    for each in forwards:
        expected = each.seconds * length / each.length
        if expected > limit and each.name != COMPILED:
            yield Beyond(each.name, each.mode, length, each.chunk_size, expected)


def _is_beyond(case: _Case, length: int, beyond: list[Beyond]) -> bool:
    """Whether a text of that length, or a shorter one, took the contender too long."""
    return any((each.name, each.mode) == case[:2] and each.length <= length for each in beyond)


@contextmanager
def _unless_overdue(
    case: _Case, length: int, beyond: list[Beyond], report: _REPORT
) -> Iterator[None]:
    """What takes longer than the limit is noted and said, and the rest goes on."""
    try:
        yield
    except Overdue as late:
        beyond.append(Beyond(case.name, case.mode, length, case.chunk_size))
        report(f"{case.name}, {case.mode}: {late}, given up")


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
    workers: dict[str, _Ask],
    position: int,
    repeat: int,
    failures: list[str],
    beyond: list[Beyond],
    report: _REPORT = lambda _: None,
) -> Iterator[Generation]:
    """Every contender's next tokens behind `position`, in turn."""
    rounds = 4 * repeat
    first: dict[str, float] = {}
    for name, ask in list(workers.items()):
        step = _Case(name, STEP, 1)
        if _is_beyond(step, position, beyond):
            continue
        with (
            _unless_compiled(name, workers, failures),
            _unless_overdue(step, position, beyond, report),
        ):
            ask("begin", position, (rounds + 1) * STEPS)
            first[name] = sum(ask("steps"))
    times: dict[str, list[float]] = {name: [] for name in first}
    for _ in range(rounds):
        for name, found in times.items():
            step = _Case(name, STEP, 1)
            if sum(found) < RUN_BUDGET and not _is_beyond(step, position, beyond):
                with _unless_overdue(step, position, beyond, report):
                    found += workers[name]("steps")
    for name, found in times.items():
        if found:
            ordered = sorted(found)
            p95 = ordered[math.ceil(0.95 * len(ordered)) - 1]
            yield Generation(name, position, statistics.median(found), p95, first[name])


# -- the processes -------------------------------------------------------------------------------


class _Worker:
    """A process that answers questions about one contender.

    One that takes too long is ended; the next question starts another, so that none starts while
    others are timed.
    """

    def __init__(self, name: str, threads: int, limit: float) -> None:
        self.name, self.threads = name, threads
        self.limit: float | None = limit * (COMPILING if name == COMPILED else 1)
        if name == "machine":  # it ends by itself
            self.limit = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        target = (there, self.name, self.threads)
        self.process = context.Process(target=_serve, args=target, daemon=True)
        self.process.start()
        there.close()
        self._is_ready = False

    def __call__(self, *question: Any) -> Any:
        """The answer. Raises RuntimeError where there is none, Overdue where it takes too long."""
        if self._connection.closed:
            self._start()
        try:
            if not self._is_ready:  # what Python's start takes is not the contender's
                self._connection.recv()
                self._is_ready = True
            self._connection.send(question)
            if not self._connection.poll(self.limit):
                self.end()
                raise Overdue(f"more than {self.limit:g} s")
            failed, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise RuntimeError(f"{self.name}, {question[0]}: its process ended") from error
        if failed:
            raise RuntimeError(answer)
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        self._connection.close()
        self.process.kill()
        self.process.join()


@contextmanager
def _workers(names: list[str], threads: int, limit: float) -> Iterator[dict[str, _Ask]]:
    """A process per name, each as a function that asks it something and waits for the answer."""
    started: dict[str, _Ask] = {}
    workers = []
    try:
        for name in names:
            workers.append(_Worker(name, threads, limit))
            started[name] = workers[-1]
        yield started
    finally:
        for worker in workers:
            worker.end()


def _serve(connection: Connection, name: str, threads: int) -> None:
    """Answer questions until the other end closes."""
    torch.set_num_threads(threads)
    with torch.inference_mode():
        answers = _Machine() if name == "machine" else _Answers(build(name))
        if name != "machine":
            with FlopCounterMode(display=False):  # its libraries take seconds to load
                torch.zeros(1, 1) @ torch.zeros(1, 1)
        connection.send("ready")
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
        flops = self._flops(ids, "chunkwise", MIDDLE_CHUNK)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            self.contender.forward(ids, "chunkwise", MIDDLE_CHUNK)
        events = profiled.key_averages()
        total = sum(event.self_cpu_time_total for event in events)
        products = sum(event.self_cpu_time_total for event in events if event.key in _MATMULS)
        return flops / (products / 1e6), products / total

    def rounding(self, length: int) -> float:
        """max |logit difference| to the same weights in float32, relative to the largest."""
        ids = self._ids(length)
        exact = build("retnet_viz").forward(ids, "chunkwise", MIDDLE_CHUNK)
        found = self.contender.forward(ids, "chunkwise", MIDDLE_CHUNK).float()
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

        flops, size = product_flops(torch.float32)
        half_flops, half_size = product_flops(torch.bfloat16)
        return Machine(
            threads=threads,
            matmul_flops=flops,
            bfloat16_flops=half_flops,
            matmul_size=size,
            bfloat16_size=half_size,
            bytes_second=2 * source.nbytes / median_seconds(lambda: target.copy_(source), 7),
            weight_seconds=median_seconds(read_weights, 200),
            weight_bytes=sum(weight.nbytes for weight in weights),
        )


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
