"""The table of `retnet-viz bench`, in plain text."""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Iterable, Sequence
from operator import attrgetter

from retnet_viz.lab.contenders import COMPILED, CONFIG, CONTENDERS
from retnet_viz.lab.speed import PLANE_BUDGET, PLANES, RUN_BUDGET, STEP, STEPS, Forward, Speed, fits

OURS = "retnet_viz"
_PEERS = ("yet-another-retnet", "torchscale")


def speed_table(speed: Speed) -> str:
    """Everything that was measured, with the ratios to the peers that ran beside it."""
    parts = [
        _machine(speed),
        *(
            _reading([each for each in speed.forwards if each.length == length], speed)
            for length in dict.fromkeys(each.length for each in speed.forwards)
        ),
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
        f"matrix product: {machine.matmul_flops / 1e9:,.0f} GFLOP/s in float32, "
        f"{machine.bfloat16_flops / 1e9:,.0f} in bfloat16",
        f"memory: {machine.bytes_second / 1e9:.1f} GB/s copied; the {megabytes:.1f} MB of weights "
        f"times a vector: {1e3 * machine.weight_seconds:.2f} ms",
    ]
    lines += [
        f"{name} is not installed: pip install --no-deps -r requirements-peers.txt"
        for name in speed.absent
    ]
    return "\n".join(lines)


def _reading(forwards: Sequence[Forward], speed: Speed) -> str:
    best = min((each.seconds for each in forwards if each.name in _PEERS), default=math.nan)
    rows = [
        (
            each.name,
            each.mode + (f", chunk {each.chunk_size}" if each.mode == "chunkwise" else ""),
            f"{1e3 * each.seconds:,.1f}",
            f"{each.length / each.seconds:,.0f}",
            f"{each.flops / each.seconds / 1e9:.0f}",
            f"{100 * each.flops / each.seconds / speed.machine.matmul_flops:.0f} %",
            "-" if each.peak_bytes is None else f"{each.peak_bytes / 1e6:,.0f}",
            "-" if math.isnan(best) else f"{best / each.seconds:.2f}",
        )
        for each in forwards
    ]
    length = forwards[0].length
    rows += [
        (each.name, each.mode, f"> {1e3 * speed.limit:,.0f}", "-", "-", "-", "-", "-")
        for each in speed.beyond
        if each.mode != STEP and each.length == length
    ]
    header = ("T = " + f"{forwards[0].length:,}", "mode", "ms", "tokens/s", "GFLOP/s", "of peak")
    table = _aligned([(*header, "peak MB", "x fastest peer"), *rows])
    longer = [each for each in speed.beyond if each.mode != STEP and each.length < length]
    for each in longer:
        table += (
            f"\n{each.name}, {each.mode}, is left out: {each.length:,} tokens took more than "
            f"{speed.limit:g} s"
        )
    if not fits(OURS, "parallel", length):
        planes = PLANES * CONFIG.n_heads * length**2 * 4
        table += (
            f"\nRetNets in parallel mode are left out: {PLANES} arrays of T x T numbers per head "
            f"are {planes / 2**30:,.0f} GiB, more than {PLANE_BUDGET / 2**30:.0f}"
        )
    return table


def _generating(speed: Speed) -> str:
    positions = list(dict.fromkeys(each.position for each in speed.generations))
    rows = [("one more token, ms (p95)", *(f"at {position:,}" for position in positions))]
    for name in (*CONTENDERS, COMPILED):
        found = [each for each in speed.generations if each.name == name]
        if found:
            rows.append((name, *(f"{1e3 * g.seconds:.2f} ({1e3 * g.p95:.2f})" for g in found)))
    return _aligned(rows)


def _summary(speed: Speed) -> str:
    machine = speed.machine
    share = speed.matmul_rate / machine.matmul_flops
    rounding = "bfloat16: nothing is read within the limit"
    if not math.isnan(speed.rounding):
        percent = 100 * speed.rounding
        rounding = f"bfloat16: logits differ by up to {percent:.1f} % of the largest one"
    lines = [
        f"matrix products inside a chunkwise pass of {speed.profiled:,} tokens: "
        f"{speed.matmul_rate / 1e9:.0f} GFLOP/s, {100 * share:.0f} % of the peak, "
        f"in {100 * speed.matmul_time:.0f} % of the time",
        rounding,
    ]
    lines += [
        f"{each.name}: {STEPS} tokens behind {each.length:,} take more than {speed.limit:g} s"
        for each in speed.beyond
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
    """What torch.compile takes and what it brings; nothing where it was not asked for."""
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
        if each.name == COMPILED
    ]
    steps = [each for each in speed.generations if each.name == COMPILED]
    if steps:
        (plain,) = (
            each.seconds
            for each in speed.generations
            if (each.name, each.position) == (OURS, steps[-1].position)
        )
        lines.append(
            f"torch.compile, one more token: {steps[0].first:.1f} s for the first {STEPS}, then "
            f"{plain / steps[-1].seconds:.2f} times as fast as without"
        )
    return lines


def slope(forwards: Iterable[Forward]) -> float:
    """The slope of log seconds over log tokens, by least squares; 1 is linear."""
    points = [(math.log(each.length), math.log(each.seconds)) for each in forwards]
    x, y = zip(*points, strict=True)
    return statistics.linear_regression(x, y).slope


def _aligned(rows: Sequence[Sequence[str]]) -> str:
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
