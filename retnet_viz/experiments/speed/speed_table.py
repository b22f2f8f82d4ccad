"""The table of `retnet-viz bench`, in plain text."""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Iterable, Sequence
from operator import attrgetter

from retnet_viz.experiments.speed.benchmark import PLANE_BUDGET, PLANES, RUN_BUDGET, fits
from retnet_viz.experiments.speed.contenders import COMPILED, CONFIG, CONTENDERS
from retnet_viz.experiments.speed.machine import LARGEST
from retnet_viz.experiments.speed.results import STEP, STEPS, Forward, Speed, Timeout
from retnet_viz.experiments.speed.worker import COMPILE_FACTOR

OURS = "retnet_viz"
_PEERS = ("yet-another-retnet", "torchscale")


def speed_table(speed: Speed) -> str:
    """Everything that was measured, with the ratios to the peers that ran beside it."""
    lengths = {each.length for each in speed.forwards}
    lengths |= {each.length for each in speed.timeouts if each.mode != STEP}
    parts = [
        _machine(speed),
        *(_reading(length, speed) for length in sorted(lengths)),
        _generating(speed),
        _summary(speed),
    ]
    return "\n\n".join(parts)


def _machine(speed: Speed) -> str:
    machine = speed.machine
    megabytes = machine.weight_bytes / 1e6
    lines = [
        f"{platform.machine()}, Python {platform.python_version()}, {machine.threads} threads",
        f"a time is the median of {speed.repeat} runs, or of as many as begin within "
        f"{RUN_BUDGET:.0f} s; what takes more than {speed.limit:g} s is given up",
        f"matrix product: {_format_giga(machine.matmul_flops)} GFLOP/s in float32"
        f"{_size_note(machine.matmul_size)}, {_format_giga(machine.bfloat16_flops)} in bfloat16"
        f"{_size_note(machine.bfloat16_size)}",
        f"memory: {machine.bytes_second / 1e9:.1f} GB/s copied; the {megabytes:.1f} MB of weights "
        f"times a vector: {1e3 * machine.weight_seconds:.2f} ms",
    ]
    lines += [
        f"{name} is not installed: pip install --no-deps -r requirements-peers.txt"
        for name in speed.absent
    ]
    return "\n".join(lines)


def _size_note(size: int) -> str:
    """A note on matrices that are smaller than LARGEST."""
    return "" if size == LARGEST else f" (of {size:,} x {size:,} numbers: larger ones take long)"


def _format_giga(rate: float) -> str:
    """Billions a second. Below one, where 16-bit numbers are emulated, two digits say how many."""
    return f"{rate / 1e9:,.0f}" if rate >= 1e9 else f"{rate / 1e9:.2g}"


def _format_mode(each: Forward | Timeout) -> str:
    return each.mode + (f", chunk {each.chunk_size}" if each.mode == "chunkwise" else "")


def _reading(length: int, speed: Speed) -> str:
    forwards = [each for each in speed.forwards if each.length == length]
    best = min((each.seconds for each in forwards if each.name in _PEERS), default=math.nan)
    rows = [
        (
            each.name,
            _format_mode(each),
            f"{1e3 * each.seconds:,.1f}",
            f"{each.length / each.seconds:,.0f}",
            _format_giga(each.flops / each.seconds),
            f"{100 * each.flops / each.seconds / speed.machine.matmul_flops:.0f} %",
            "-" if each.peak_bytes is None else f"{each.peak_bytes / 1e6:,.0f}",
            "-" if math.isnan(best) else f"{best / each.seconds:.2f}",
        )
        for each in forwards
    ]
    timeouts = [each for each in speed.timeouts if each.mode != STEP]
    rows += [
        (each.name, _format_mode(each), f"> {1e3 * _limit(each, speed):,.0f}", *"-----")
        for each in timeouts
        if each.length == length and math.isnan(each.expected)
    ]
    header = ("T = " + f"{length:,}", "mode", "ms", "tokens/s", "GFLOP/s", "of peak")
    table = _align_columns([(*header, "peak MB", "x fastest peer"), *rows])
    for each in timeouts:
        if not math.isnan(each.expected) and each.length <= length:
            table += (
                f"\n{each.name}, {each.mode}, is left out: by what fewer tokens took, "
                f"{each.length:,} take {each.expected:,.0f} s or more"
            )
        elif each.length < length:
            table += (
                f"\n{each.name}, {each.mode}, is left out: {each.length:,} tokens took more than "
                f"{_limit(each, speed):g} s"
            )
    if not fits(OURS, "parallel", length):
        planes = PLANES * CONFIG.n_heads * length**2 * 4
        table += (
            f"\nRetNets in parallel mode are left out: {PLANES} arrays of T x T numbers per head "
            f"are {planes / 2**30:,.0f} GiB, more than {PLANE_BUDGET / 2**30:.0f}"
        )
    return table


def _limit(each: Timeout, speed: Speed) -> float:
    """The limit of a measurement in seconds."""
    return speed.limit * (COMPILE_FACTOR if each.name == COMPILED else 1)


def _generating(speed: Speed) -> str:
    timeouts = [each for each in speed.timeouts if each.mode == STEP]
    positions = sorted(
        {each.position for each in speed.generations} | {each.length for each in timeouts}
    )
    rows = [("one more token, ms (p95)", *(f"at {position:,}" for position in positions))]
    for name in (*CONTENDERS, COMPILED):
        cells = {
            each.position: f"{1e3 * each.seconds:.2f} ({1e3 * each.p95:.2f})"
            for each in speed.generations
            if each.name == name
        }
        for each in timeouts:
            if each.name == name:
                least = 1e3 * _limit(each, speed) / STEPS
                cells.setdefault(each.length, f"> {least:,.0f}")
        if cells:
            rows.append((name, *(cells.get(position, "-") for position in positions)))
    return _align_columns(rows)


def _summary(speed: Speed) -> str:
    machine = speed.machine
    rounding = f"bfloat16: reading to compare its logits takes more than {speed.limit:g} s"
    if not math.isnan(speed.rounding):
        percent = 100 * speed.rounding
        rounding = (
            f"bfloat16, {speed.rounded:,} tokens: logits differ by up to {percent:.1f} % of the "
            "largest one"
        )
    products = f"matrix products inside a chunkwise pass of {speed.profiled:,} tokens: "
    if math.isnan(speed.matmul_rate):
        products += f"counting them takes more than {speed.limit:g} s"
    else:
        products += (
            f"{_format_giga(speed.matmul_rate)} GFLOP/s, "
            f"{100 * speed.matmul_rate / machine.matmul_flops:.0f} % of the peak, "
            f"in {100 * speed.matmul_time:.0f} % of the time"
        )
    lines = [products, rounding]
    lines += [
        f"{each.name}: {STEPS} tokens behind {each.length:,} take more than "
        f"{_limit(each, speed):g} s"
        for each in speed.timeouts
        if each.mode == STEP
    ]
    chunkwise = {
        each.length: each
        for each in speed.forwards
        if each.name == OURS and each.mode == "chunkwise" and each.length >= 2048
    }
    if len(chunkwise) > 1:
        lines.append(
            f"time against length, {min(chunkwise):,} to {max(chunkwise):,} tokens: "
            f"slope {slope(chunkwise.values()):.2f} on log-log axes"
        )
    ours = [each for each in speed.generations if each.name == OURS]
    if ours:
        last, first = ours[-1], ours[0]
        lines.append(
            f"one more token: {last.seconds / machine.weight_seconds:.2f} times the weights alone; "
            f"position {last.position:,} takes {last.seconds / first.seconds:.2f} times as long as "
            f"position {first.position:,}"
        )
        peers = [g for g in speed.generations if g.position == last.position and g.name in _PEERS]
        if peers:
            fastest = min(peers, key=attrgetter("seconds"))
            ratio = fastest.seconds / last.seconds
            lines.append(f"one more token: {ratio:.2f} times as fast as {fastest.name}")
    return "\n".join(lines + _compiling(speed))


def _compiling(speed: Speed) -> list[str]:
    """The time that torch.compile takes and its speed-up; nothing where it was not requested."""
    if speed.failure:
        return [f"torch.compile could not be used: {speed.failure}"]
    eager = {
        each.length: each.seconds
        for each in speed.forwards
        if (each.name, each.mode) == (OURS, "chunkwise")
    }
    lines = [
        f"torch.compile, {each.length:,} tokens: {each.first:.0f} s for the first pass, then "
        f"{eager[each.length] / each.seconds:.2f} times as fast as without"
        for each in speed.forwards
        if each.name == COMPILED and each.length in eager
    ]
    plain = {each.position: each.seconds for each in speed.generations if each.name == OURS}
    steps = [each for each in speed.generations if each.name == COMPILED]
    if steps and steps[-1].position in plain:
        lines.append(
            f"torch.compile, one more token: {steps[0].first:.1f} s for the first {STEPS}, then "
            f"{plain[steps[-1].position] / steps[-1].seconds:.2f} times as fast as without"
        )
    return lines


def slope(forwards: Iterable[Forward]) -> float:
    """The slope of log seconds over log tokens, by least squares; 1 is linear."""
    points = [(math.log(each.length), math.log(each.seconds)) for each in forwards]
    x, y = zip(*points, strict=True)
    return statistics.linear_regression(x, y).slope


def _align_columns(rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side: the words to the left, the numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    words = [not any(c.isdigit() for c in "".join(col[1:])[:1]) for col in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if is_word else cell.rjust(width)
            for cell, width, is_word in zip(row, widths, words, strict=True)
        ).rstrip()
        for row in rows
    )
