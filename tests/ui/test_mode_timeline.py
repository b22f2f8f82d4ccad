"""Side by side without a browser: what is played, its totals, its sentence, its moment."""

import json
import re
from dataclasses import replace

import pytest
import torch
import traitlets

import retnet_viz as rv
from retnet_viz.figures.base.theme import MODE_COLORS
from retnet_viz.model import MODES
from retnet_viz.model.retention import retain
from retnet_viz.trace.views.pass_cost import measure
from retnet_viz.ui.panels.timeline.mode_timeline import ModeTimeline, run_of, sentence

LENGTH, CHUNK = 11, 4
STEPS = {"parallel": 1, "recurrent": 11, "chunkwise": 3}


@pytest.fixture(scope="module")
def traces(tiny_model):
    model = tiny_model(dtype=torch.float32)
    ids = torch.arange(LENGTH)
    return {mode: rv.trace(model, ids, mode, CHUNK) for mode in MODES}


@pytest.fixture(scope="module")
def runs(traces):
    """Runs without times."""
    return {
        mode: run_of(rv.schedule(trace, 1, 0), trace.n_heads, None)
        for mode, trace in traces.items()
    }


@pytest.fixture(scope="module")
def timed(runs):
    """The same, where every step takes a millisecond, and parallel mode's one step five."""
    return {
        mode: replace(run, milliseconds=(5.0,) if mode == "parallel" else (1.0,) * len(run))
        for mode, run in runs.items()
    }


def timeline_of(runs, length=LENGTH):
    race = ModeTimeline()
    race.show(runs, length)
    return race


@pytest.mark.parametrize("mode", MODES)
def test_a_run_has_the_steps_of_the_schedule(traces, mode):
    schedule = rv.schedule(traces[mode], 0, 1)
    times = [0.5 + i for i in range(STEPS[mode])]
    run = run_of(schedule, 7, times)
    assert run.mode == mode
    assert len(run) == STEPS[mode]
    for i, step in enumerate(schedule.steps):
        assert range(run.first_token[i], run.stop_token[i]) == step.tokens
        assert range(run.first_cell[i], run.stop_cell[i]) == step.cells
        assert run.flops[i] == 7 * step.flops
        assert run.held_bytes[i] == 7 * step.held_bytes
        assert run.carried_bytes[i] == 7 * step.carried_bytes
        assert run.milliseconds[i] == times[i]


@pytest.mark.parametrize("mode", MODES)
def test_the_operations_of_a_run_are_those_of_the_layer_with_all_its_heads(traces, runs, mode):
    trace = traces[mode]
    q, k, v = trace.q(1)[None], trace.k(1)[None], trace.v(1)[None]
    gamma = trace.gamma(1)
    counted, _ = measure(lambda: retain(q, k, v, gamma, None, mode, CHUNK))
    assert sum(runs[mode].flops) == counted


@pytest.mark.parametrize("mode", MODES)
def test_the_last_step_carries_the_states_of_all_heads(traces, runs, mode):
    state = traces[mode].state(1, LENGTH - 1)
    assert runs[mode].carried_bytes[-1] == state.numel() * state.element_size()


def test_as_many_times_as_steps(traces):
    schedule = rv.schedule(traces["chunkwise"], 0, 0)
    with pytest.raises(ValueError, match="2 times were given for 3 steps"):
        run_of(schedule, 2, [1.0, 1.0])


def test_the_page_gets_the_modes_in_the_order_of_their_colours(timed):
    race = timeline_of({mode: timed[mode] for mode in reversed(MODES)})
    sent = json.loads(json.dumps(race.race))
    assert [run["mode"] for run in sent["runs"]] == list(MODE_COLORS)
    assert [run["color"] for run in sent["runs"]] == list(MODE_COLORS.values())
    assert sent["length"] == LENGTH
    for run in sent["runs"]:
        assert tuple(run["flops"]) == timed[run["mode"]].flops
        assert tuple(run["milliseconds"]) == timed[run["mode"]].milliseconds


def test_the_sentence_has_the_totals(runs, timed):
    text = sentence(timed)
    steps, memory, computed, needed = text.rstrip(".").split("; ")
    assert steps == "Parallel takes 1 step, recurrent 11, chunkwise 3"
    assert needed == "parallel needs 5 ms, recurrent 11 ms, chunkwise 3 ms"
    for part, unit, totals in (
        (memory, "kB", [max(run.held_bytes) / 1e3 for run in runs.values()]),
        (computed, "MFLOP", [sum(run.flops) / 1e6 for run in runs.values()]),
    ):
        numbers = [float(n) for n in re.findall(rf"([\d.]+) {unit}", part)]
        assert numbers == pytest.approx(totals, rel=0.01)
    assert memory.endswith(" at most")
    assert "ms" not in sentence(runs)  # not measured yet
    assert sentence({}) == ""


def test_a_large_text_is_told_in_large_units(runs):
    large = {
        mode: replace(run, held_bytes=tuple(1000 * n for n in run.held_bytes))
        for mode, run in runs.items()
    }
    most = max(large["parallel"].held_bytes)
    assert most < 1e7
    assert " kB" in sentence(large)
    large = {
        mode: replace(run, held_bytes=tuple(10_000 * n for n in run.held_bytes))
        for mode, run in runs.items()
    }
    assert " kB" not in sentence(large)
    assert f"{max(large['parallel'].held_bytes) / 1e6:.1f} MB" in sentence(large)


def test_a_new_race_shows_its_end_and_an_end_stays_one(runs, timed):
    race = timeline_of(runs)
    assert race.position == race.ticks == 11
    assert race.duration == race.elapsed == 0
    race.show(timed, LENGTH)
    assert race.position == 11
    assert race.elapsed == race.duration == 11.0


def test_a_moment_in_the_middle_stays_and_never_lies_beyond_the_end(traces, timed):
    race = timeline_of(timed)
    race.position, race.elapsed = 6, 6.5
    race.show(timed, LENGTH)
    assert (race.position, race.elapsed) == (6, 6.5)
    short = rv.trace(traces["recurrent"].model, torch.arange(3), "recurrent")
    race.show({"recurrent": run_of(rv.schedule(short, 0, 0), 2, [1.0, 1.0, 2.0])}, 3)
    assert (race.position, race.elapsed) == (3, 4.0)


def test_an_empty_text_is_an_empty_race(timed):
    race = timeline_of(timed)
    race.show({}, 0)
    assert race.race["runs"] == []
    assert (race.position, race.elapsed, race.ticks) == (0, 0, 0)
    race.show(timed, LENGTH)
    assert race.position == 11


def test_a_run_of_another_text_is_refused_and_what_is_shown_stays(runs):
    race = timeline_of(runs)
    before = race.race
    with pytest.raises(ValueError, match=r"do not give tokens 0 \.\. 11 in order"):
        race.show(runs, LENGTH + 1)
    torn = replace(runs["chunkwise"], first_token=(0, 5, 8))
    with pytest.raises(ValueError, match="chunkwise run"):
        race.show({"chunkwise": torn}, LENGTH)
    assert race.race is before


def test_only_the_two_clocks(runs):
    race = timeline_of(runs)
    race.clock = "measured time"
    with pytest.raises(traitlets.TraitError):
        race.clock = "sundial"
