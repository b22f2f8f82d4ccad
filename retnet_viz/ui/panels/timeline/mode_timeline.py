"""The same text in all three modes at once: their schedules play side by side on one clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import anywidget
import traitlets as t

from retnet_viz.figures.base.captions import number, pluralize
from retnet_viz.figures.base.theme import MODE_COLORS
from retnet_viz.trace import Schedule
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.ui.core.assets import module, style
from retnet_viz.ui.core.state.page_state import CLOCKS


@dataclass(frozen=True)
class Run:
    """The steps of one mode over a text, in the order they run; every field has one entry a step.

    first_token, stop_token  positions n whose outputs the step gives: first .. stop - 1
    first_cell, stop_cell    positions m of the cells (n, m) that it computes; none where equal
    flops                    floating-point operations, all heads
    held_bytes               bytes of what the step builds and of the states around it, all heads
    carried_bytes            bytes of the state that it hands on, all heads
    milliseconds             measured time, all heads; None while it is not measured
    """

    mode: str
    first_token: tuple[int, ...]
    stop_token: tuple[int, ...]
    first_cell: tuple[int, ...]
    stop_cell: tuple[int, ...]
    flops: tuple[int, ...]
    held_bytes: tuple[int, ...]
    carried_bytes: tuple[int, ...]
    milliseconds: tuple[float, ...] | None

    def __len__(self) -> int:
        return len(self.flops)


def run_of(schedule: Schedule, n_heads: int, times: Sequence[float] | None) -> Run:
    """The run of one layer's retention, from the schedule of one of its `n_heads` heads.

    All heads do the same work, so the counts are one head's times `n_heads`. `times` are the
    measured milliseconds of each step with all heads, or None where they are not measured yet.
    Raises ValueError where there are not as many times as steps.
    """
    steps = schedule.steps
    if times is not None and len(times) != len(steps):
        raise ValueError(f"{len(times)} times were given for {pluralize(len(steps), 'step')}")
    return Run(
        mode=schedule.mode,
        first_token=tuple(step.tokens.start for step in steps),
        stop_token=tuple(step.tokens.stop for step in steps),
        first_cell=tuple(step.cells.start for step in steps),
        stop_cell=tuple(step.cells.stop for step in steps),
        flops=tuple(n_heads * step.flops for step in steps),
        held_bytes=tuple(n_heads * step.held_bytes for step in steps),
        carried_bytes=tuple(n_heads * step.carried_bytes for step in steps),
        milliseconds=None if times is None else tuple(times),
    )


def sentence(runs: Mapping[str, Run]) -> str:
    """What each mode takes in all: steps, memory, arithmetic, and time where it is measured."""
    ordered = _in_order(runs)
    if not ordered:
        return ""
    memory = [max(run.held_bytes) for run in ordered]
    flops = [sum(run.flops) for run in ordered]
    steps = [f"{len(run):,}" for run in ordered]
    steps[0] = pluralize(len(ordered[0]), "step")
    parts = [
        _join_runs(ordered, "takes", steps),
        _join_runs(ordered, "holds", _in_one_unit(memory, 1e7, (1e3, "kB"), (1e6, "MB")))
        + " at most",
        _join_runs(ordered, "computes", _in_one_unit(flops, 1e10, (1e6, "MFLOP"), (1e9, "GFLOP"))),
    ]
    if _are_measured(ordered):
        times = [f"{number(sum(run.milliseconds or ()))} ms" for run in ordered]
        parts.append(_join_runs(ordered, "needs", times))
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."


def _join_runs(runs: Sequence[Run], verb: str, values: Sequence[str]) -> str:
    first, *others = [f"{run.mode} {value}" for run, value in zip(runs, values, strict=True)]
    return ", ".join([first.replace(" ", f" {verb} ", 1), *others])


def _in_one_unit(
    values: Sequence[float], limit: float, small: tuple[float, str], large: tuple[float, str]
) -> list[str]:
    """The values in the small unit, or all in the large one where any of them reaches `limit`."""
    factor, unit = large if max(values) >= limit else small
    return [f"{number(value / factor)} {unit}" for value in values]


def _in_order(runs: Mapping[str, Run]) -> list[Run]:
    return [runs[mode] for mode in FORMS if mode in runs]


def _are_measured(runs: Sequence[Run]) -> bool:
    return bool(runs) and all(run.milliseconds is not None for run in runs)


class ModeTimeline(anywidget.AnyWidget):
    """Plays the runs that `show` was given.

    race      what is played: length, note, sentence, and the runs with their colours
    clock     "steps": a tick is one step of every mode. "measured time": every step takes as long
              as it was measured, in slow motion; plays in steps until all runs are measured
    position  ticks done of the steps clock, 0 .. the steps of the longest run
    elapsed   milliseconds done of the measured clock, 0 .. those of the slowest run

    The page writes `position` and `elapsed`, both of one moment, where playing pauses or ends and
    after every step and scrub; not while it plays.
    """

    _esm = module("panels/timeline/mode_timeline.js")
    _css = style("styles/panels.css", "panels/timeline/mode_timeline.css")
    race = t.Dict().tag(sync=True)
    clock = t.Enum(CLOCKS, CLOCKS[0]).tag(sync=True)
    position = t.Int(0).tag(sync=True)
    elapsed = t.Float(0.0).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._runs: list[Run] = []

    def show(self, runs: Mapping[str, Run], length: int, note: str = "") -> None:
        """Play `runs`, by mode, over a text of `length` tokens, in place of those shown.

        The moment stays, and one at the end, as at the first call, goes to the new end. `note` says
        what was run, in a few words. No runs at all are an empty text.
        Raises ValueError where the steps of a run do not give the outputs of all tokens in order.
        """
        for run in runs.values():
            _check_tokens(run, length)
        at_end = self.position >= self.ticks
        with self.hold_sync():
            self._runs = _in_order(runs)
            self.race = {
                "length": length,
                "note": note,
                "sentence": sentence(runs),
                "runs": [{**asdict(run), "color": MODE_COLORS[run.mode]} for run in self._runs],
            }
            self.position = self.ticks if at_end else min(self.position, self.ticks)
            self.elapsed = self.duration if at_end else min(self.elapsed, self.duration)

    @property
    def ticks(self) -> int:
        """Steps of the longest run."""
        return max((len(run) for run in self._runs), default=0)

    @property
    def duration(self) -> float:
        """Milliseconds of the slowest run, 0 where not all are measured."""
        if not _are_measured(self._runs):
            return 0.0
        return max(sum(run.milliseconds or ()) for run in self._runs)


def _check_tokens(run: Run, length: int) -> None:
    stops = [0, *(stop for stop in run.stop_token)]
    is_in_order = all(first == stop for first, stop in zip(run.first_token, stops, strict=False))
    if stops[-1] != length or not is_in_order or any(b <= a for a, b in pairwise(stops)):
        raise ValueError(
            f"the steps of the {run.mode} run do not give tokens 0 .. {length - 1} in order"
        )
