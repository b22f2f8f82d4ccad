"""How fast RetNets and a Transformer run on this machine, compared with the machine's limits.

Each contender has its own process, so that their memory is separate. All run in turn, so that other
load on the machine affects all of them alike. Times are medians.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from retnet_viz.experiments.speed.contenders import (
    ATTENTION,
    COMPILED,
    CONFIG,
    CONTENDERS,
    HALF,
    missing,
)
from retnet_viz.experiments.speed.results import (
    LIMIT,
    STEP,
    STEPS,
    Forward,
    Generation,
    MachineLimits,
    Speed,
    Timeout,
)
from retnet_viz.experiments.speed.worker import (
    MACHINE,
    MAX_WARMUP,
    AnswerTimeout,
    Ask,
    start_workers,
)
from retnet_viz.model import MODES

LENGTHS = (128, 512, 2048, 8192, 32768)
POSITIONS = (10, 1000, 30000)
PLANES = 3  # arrays of T x T numbers that a parallel pass may need: scores, decay and weights
PLANE_BUDGET = 4 * 2**30  # bytes that they may take
RUN_BUDGET = 5.0  # seconds of runs after which no further run starts
LONG_PASS = 15.0  # seconds of a pass after which no other chunk size is tried
LONGEST_LIMIT = 86_400  # a day; the system refuses to wait for a month
_Report = Callable[[str], None]


def measure_speed(
    lengths: Sequence[int] = LENGTHS,
    positions: Sequence[int] = POSITIONS,
    repeat: int = 5,
    threads: int = 2,
    modes: Sequence[str] = MODES,
    report: _Report = lambda _: None,
    compiled: bool = False,
    limit: float = LIMIT,
) -> Speed:
    """Run all contenders that are installed in those of `modes` that they have.

    The Transformer has one way to read, which runs whatever the modes. `report` is called with a
    description of each activity. `compiled` adds ours through torch.compile; where that fails, the
    others go on. A measurement longer than `limit` seconds is given up, and not tried on longer
    texts; nor is one that would take longer, estimated from a shorter text.

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
    timeouts: list[Timeout] = []
    with start_workers([MACHINE, *names], threads, limit) as workers:
        ask_machine = workers.pop(MACHINE)
        for ask in workers.values():
            ask("modes")  # waits until it has started, so that it takes no time from the others
        limits: list[MachineLimits] = []

        def measure_limits() -> None:
            report("the machine's own limits")
            limits.append(ask_machine("machine", threads))

        forwards: list[Forward] = []
        for length in lengths:
            measure_limits()
            new = list(_forwards(workers, length, repeat, modes, failures, timeouts, report))
            forwards += new
            longer = [other for other in lengths if other > length]
            if longer:
                timeouts += _expected_timeouts(new, min(longer), limit)
        generations: list[Generation] = []
        for position in positions:
            measure_limits()
            report(f"generating after {position:,} tokens")
            generations += _generations(workers, position, repeat, failures, timeouts, report)
        profiled = min(8192, max(lengths))
        report(f"where the time goes, and bfloat16 against float32, at {profiled:,} tokens")
        rate, share = math.nan, math.nan
        with suppress(AnswerTimeout):
            rate, share = workers["retnet_viz"]("profile", profiled)
        rounding, rounded = _rounding(workers[HALF], forwards)
    absent = tuple(name for name in CONTENDERS if missing(name))
    return Speed(
        _median_limits(limits),
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
        tuple(timeouts),
        limit,
    )


def _rounding(ask: Ask, forwards: Sequence[Forward]) -> tuple[float, int]:
    """The rounding of bfloat16, on as many tokens as it has read within the limit; their number."""
    lengths = (forward.length for forward in forwards if forward.name == HALF)
    tokens = min(MAX_WARMUP, max(lengths, default=0))
    with suppress(AnswerTimeout):
        return (float(ask("rounding", tokens)) if tokens else math.nan), tokens
    return math.nan, tokens


def _median_limits(limits: Sequence[MachineLimits]) -> MachineLimits:
    """The median of each limit: they drift with other load on the machine."""
    medians = {
        name: statistics.median(getattr(machine, name) for machine in limits)
        for name in ("matmul_flops", "bfloat16_flops", "bytes_second", "weight_seconds")
    }
    smallest = {
        name: min(getattr(machine, name) for machine in limits)
        for name in ("matmul_size", "bfloat16_size")
    }
    return replace(limits[0], **medians, **smallest)


class _Case(NamedTuple):
    name: str
    mode: str
    chunk_size: int


def _forwards(
    workers: dict[str, Ask],
    length: int,
    repeat: int,
    modes: Sequence[str],
    failures: list[str],
    timeouts: list[Timeout],
    report: _Report = lambda _: None,
) -> Iterator[Forward]:
    """Every contender in every mode, in turn; of the chunk sizes the fastest.

    A measurement that is given up is added to `timeouts`; one that timed out on a shorter text is
    not tried.
    """
    cases = []
    for name, ask in workers.items():
        for mode in ask("modes"):
            sizes = [size for size in ask("chunk_sizes") if size <= length] or [length]
            is_requested = mode in modes or name == ATTENTION
            if is_requested and fits(name, mode, length):
                chunk_sizes = sizes if mode == "chunkwise" else [length]
                cases += [_Case(name, mode, size) for size in chunk_sizes]
    first: dict[_Case, tuple[int | None, int, float]] = {}
    reported_name = ""
    for case in cases:
        is_slow = any(
            other[:2] == case[:2] and seconds > LONG_PASS
            for other, (_, _, seconds) in first.items()
        )
        if is_slow or _has_timed_out(case, length, timeouts):
            continue
        if case.name != reported_name:
            reported_name = case.name
            report(f"reading {length:,} tokens: {reported_name}")
        with (
            _record_failure(case.name, workers, failures),
            _record_timeout(case, length, timeouts, report),
        ):
            first[case] = workers[case.name]("first", case.mode, case.chunk_size, length)
    # A pass that takes long is not run again: the first one tells.
    times = {
        case: [seconds] if seconds > RUN_BUDGET and case.name != COMPILED else []
        for case, (_, _, seconds) in first.items()
    }
    report(f"reading {length:,} tokens: all again, for the medians")
    for _ in range(repeat):
        for case, samples in times.items():
            if sum(samples) < RUN_BUDGET and not _has_timed_out(case, length, timeouts):
                with _record_timeout(case, length, timeouts, report):
                    ask = workers[case.name]
                    samples.append(ask("forward", case.mode, case.chunk_size, length))
    medians = {case: statistics.median(samples) for case, samples in times.items() if samples}
    for key in dict.fromkeys(case[:2] for case in medians):
        best = min((case for case in medians if case[:2] == key), key=medians.__getitem__)
        peak, flops, seconds = first[best]
        yield Forward(*key, length, best.chunk_size, medians[best], peak, flops, seconds)


def _expected_timeouts(forwards: Sequence[Forward], length: int, limit: float) -> Iterator[Timeout]:
    """What takes too long at `length`, the next longer one: time grows at least as the length.

    There is no such expectation where a compiler works first.
    """
    for forward in forwards:
        expected = forward.seconds * length / forward.length
        if expected > limit and forward.name != COMPILED:
            yield Timeout(forward.name, forward.mode, length, forward.chunk_size, expected)


def _has_timed_out(case: _Case, length: int, timeouts: list[Timeout]) -> bool:
    """Whether a text of that length, or a shorter one, took the contender too long."""
    return any((each.name, each.mode) == case[:2] and each.length <= length for each in timeouts)


@contextmanager
def _record_timeout(
    case: _Case, length: int, timeouts: list[Timeout], report: _Report
) -> Iterator[None]:
    """Record and report an AnswerTimeout instead of raising it."""
    try:
        yield
    except AnswerTimeout as error:
        timeouts.append(Timeout(case.name, case.mode, length, case.chunk_size))
        report(f"{case.name}, {case.mode}: {error}, given up")


@contextmanager
def _record_failure(name: str, workers: dict[str, Ask], failures: list[str]) -> Iterator[None]:
    """Record a failure of torch.compile, and end its worker; other failures are raised.

    torch.compile needs a C++ compiler, and supports only some versions of Python.
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
    workers: dict[str, Ask],
    position: int,
    repeat: int,
    failures: list[str],
    timeouts: list[Timeout],
    report: _Report = lambda _: None,
) -> Iterator[Generation]:
    """Every contender's next tokens behind `position`, in turn."""
    rounds = 4 * repeat
    first: dict[str, float] = {}
    for name, ask in list(workers.items()):
        step = _Case(name, STEP, 1)
        if _has_timed_out(step, position, timeouts):
            continue
        with (
            _record_failure(name, workers, failures),
            _record_timeout(step, position, timeouts, report),
        ):
            ask("begin", position, (rounds + 1) * STEPS)
            first[name] = sum(ask("steps"))
    times: dict[str, list[float]] = {name: [] for name in first}
    for _ in range(rounds):
        for name, seconds in times.items():
            step = _Case(name, STEP, 1)
            if sum(seconds) < RUN_BUDGET and not _has_timed_out(step, position, timeouts):
                with _record_timeout(step, position, timeouts, report):
                    seconds += workers[name]("steps")
    for name, seconds in times.items():
        if seconds:
            sorted_seconds = sorted(seconds)
            p95 = sorted_seconds[math.ceil(0.95 * len(sorted_seconds)) - 1]
            yield Generation(name, position, statistics.median(seconds), p95, first[name])
