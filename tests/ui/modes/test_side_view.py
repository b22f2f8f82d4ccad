"""The three modes side by side: what is measured, when, and how it is cancelled."""

import threading

import pytest
import torch

import retnet_viz as rv
from retnet_viz.model import MODES
from retnet_viz.ui.core.state.page_state import CLOCKS, PRECISIONS
from retnet_viz.ui.pages.modes import side_view
from retnet_viz.ui.pages.text_page import TextPage
from tests.support.modes_widget import SIDE, STATE, STEPS, TEXT, WAIT, data


@pytest.fixture
def counted(monkeypatch):
    """How often each measurement was made."""
    counts = {"step_times": 0, "rounding": 0, "chunk_curve": 0}

    def count(name):
        measure = getattr(side_view, name)

        def counting(*args, **kwargs):
            counts[name] += 1
            return measure(*args, **kwargs)

        monkeypatch.setattr(side_view, name, counting)

    for name in counts:
        count(name)
    return counts


def measured(widget, counts):
    """What is measured once the pause after an edit is over."""
    before = dict(counts)
    widget.settle()
    assert widget.side.measure_button.description == "Measure again"
    assert not widget.side.sizes.stale
    assert not widget.side.rounding_plot.stale
    return {name for name in counts if counts[name] > before[name]}


def test_the_race_runs_the_schedules_of_all_heads(open_modes, reader):
    widget = open_modes(view=SIDE, chunk_size=5, layer=1)
    assert widget.side.race.race == {}
    widget.settle()
    traces = {mode: rv.trace(reader, TEXT, mode, 5) for mode in MODES}
    assert [run["mode"] for run in widget.side.race.race["runs"]] == list(MODES)
    assert widget.side.race.race["length"] == widget.trace.length
    for run in widget.side.race.race["runs"]:
        steps = rv.schedule(traces[run["mode"]], 1, 0).steps
        assert list(run["flops"]) == [2 * step.flops for step in steps]
        assert list(run["held_bytes"]) == [2 * step.held_bytes for step in steps]
        assert list(run["carried_bytes"]) == [2 * step.carried_bytes for step in steps]
        assert list(run["first_token"]) == [step.tokens.start for step in steps]
        assert len(run["milliseconds"]) == len(steps)
        assert min(run["milliseconds"]) > 0
    assert "layer 1" in widget.side.race.race["note"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_meter_tells_how_far_the_modes_are_apart(open_modes, reader, precision):
    widget = open_modes(view=SIDE)
    widget.side.precision.value = precision
    widget.settle()
    rounding = widget.side.rounding
    assert rounding.dtype == precision
    assert f"{rounding.between:.1e}" in widget.side.meter.value
    assert precision in widget.side.meter.value
    dtype = getattr(torch, precision)
    logits = []
    for mode in MODES:
        rounded = rv.load.__globals__["RetNet"](reader.config)
        rounded.load_state_dict({k: v.to(dtype) for k, v in reader.state_dict().items()})
        logits.append(rounded.to(dtype).eval()(widget.trace.ids[None], mode=mode, chunk_size=8))
    apart = max(
        (a.logits.double() - b.logits.double()).abs().max().item() for a in logits for b in logits
    )
    assert rounding.between >= apart * (1 - 1e-9)
    for line in data(widget.side.rounding_plot):
        assert line["y"] == pytest.approx(
            [*rounding.modes[line["name"]], rounding.logits[line["name"]]]
        )


def test_the_curve_of_chunk_sizes_is_that_of_the_text(open_modes):
    widget = open_modes(view=SIDE, layer=1)
    assert widget.side.sizes.stale
    widget.settle()
    assert (widget.side.curve.layer, widget.side.curve.length) == (1, widget.trace.length)
    assert {1, 8, widget.trace.length} <= set(widget.side.curve.sizes)
    line = data(widget.side.sizes)[0]
    assert line["x"] == list(widget.side.curve.sizes)
    assert line["y"] == pytest.approx(widget.side.curve.milliseconds)


def test_only_what_has_changed_is_measured_again(open_modes, counted):
    widget = open_modes(view=SIDE)
    assert measured(widget, counted) == {"step_times", "rounding", "chunk_curve"}
    assert measured(widget, counted) == set()
    widget.layer.value = 1
    assert widget.side.sizes.stale
    assert not widget.side.rounding_plot.stale
    assert measured(widget, counted) == {"step_times", "chunk_curve"}
    widget.side.precision.value = "bfloat16"
    assert widget.side.rounding_plot.stale
    assert not widget.side.sizes.stale
    assert measured(widget, counted) == {"rounding"}
    for control, value in ((widget.head, 1), (widget.scale, "log"), (widget.mode, "parallel")):
        control.value = value
        assert measured(widget, counted) == set()
    widget.side.race.clock = CLOCKS[1]
    widget.strip.selected = 3
    widget.page.shown = "dark"
    assert measured(widget, counted) == set()
    widget.chunk.value = 3
    assert measured(widget, counted) >= {"step_times", "rounding"}
    widget.text.value = "Another fox"
    assert measured(widget, counted) == {"step_times", "rounding", "chunk_curve"}
    widget.side.measure_button.click()
    assert measured(widget, counted) == {"step_times", "rounding", "chunk_curve"}


def test_nothing_is_measured_where_nobody_sees_it(open_modes, counted):
    widget = open_modes(view=STATE)
    widget.text.value += " The end."
    assert widget._job._timer is None
    widget.view.value = SIDE
    assert measured(widget, counted) == {"step_times", "rounding", "chunk_curve"}
    widget.view.value = STEPS
    widget.view.value = SIDE
    assert measured(widget, counted) == set()


def run_job(widget):
    """Run what waits for a pause, in its thread, at once; the thread."""
    timer = widget._job._timer
    timer.interval = 0
    timer.finished.set()
    thread = threading.Thread(target=timer.function, args=timer.args)
    thread.start()
    return thread


@pytest.fixture
def endless(monkeypatch):
    """Makes the measuring of chunk sizes go on until somebody ends it; set once it has begun."""
    begun = threading.Event()

    def chunk_curve(trace, layer, progress):
        for done in range(10**9):
            progress(done, 10**9)
            begun.set()

    monkeypatch.setattr(side_view, "chunk_curve", chunk_curve)
    return begun


def end(thread):
    thread.join(WAIT)
    assert not thread.is_alive()


def test_measuring_can_be_cancelled_and_begun_again(open_modes, endless, monkeypatch):
    widget = open_modes(view=SIDE)
    thread = run_job(widget)
    assert endless.wait(WAIT)
    assert widget.side.measure_button.description == "Cancel"
    assert "measuring chunk sizes" in widget.side.activity.value
    widget.side.measure_button.click()
    end(thread)
    assert widget.side.curve is None
    assert widget.side.race.race["runs"]  # what was measured before stays
    widget.side.measure_button.click()
    monkeypatch.undo()
    monkeypatch.setattr(TextPage, "job_pause", 600.0)
    widget.settle()
    assert widget.side.curve is not None
    assert widget.side.measure_button.description == "Measure again"


def test_a_cancelled_measurement_says_so(open_modes, endless):
    widget = open_modes(view=SIDE)
    thread = run_job(widget)
    assert endless.wait(WAIT)
    widget.side.measure_button.click()
    end(thread)
    assert "cancelled" in widget.side.activity.value
    assert widget.side.measure_button.description == "Measure again"
    assert widget.side.progress.layout.visibility == "hidden"


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_nobody_waits_for_shows_nothing_once_it_ends(open_modes, monkeypatch, cancelled):
    """It may be in the middle of something while the user goes on to what needs no measuring."""
    widget = open_modes(view=SIDE)
    widget.settle()
    begun, go = threading.Event(), threading.Event()

    def slow(*_args, **_kwargs):
        begun.set()
        assert go.wait(WAIT)

    monkeypatch.setattr(side_view, "rounding", slow)
    first = widget.side.precision.value
    widget.side.precision.value = next(
        name for name in widget.side.precision.options if name != first
    )
    thread = run_job(widget)
    assert begun.wait(WAIT)
    if cancelled:
        widget.side.measure_button.click()
    widget.side.precision.value = first
    rounding, activity = widget.side.rounding, widget.side.activity.value
    assert "cancelled" not in activity
    go.set()
    end(thread)
    assert widget.side.activity.value == activity
    assert widget.side.rounding is rounding
    assert widget.side.measure_button.description == "Measure again"
    assert not widget.side.rounding_plot.stale


def test_another_view_ends_the_measuring(open_modes, endless):
    widget = open_modes(view=SIDE)
    thread = run_job(widget)
    assert endless.wait(WAIT)
    widget.view.value = STATE
    try:
        end_by_itself = threading.Thread(target=thread.join, args=[5])
        end_by_itself.start()
        end_by_itself.join()
        assert not thread.is_alive()
    finally:
        widget.stop()
        end(thread)


@pytest.mark.parametrize("name", ["rounding", "chunk_curve", "step_times"])
def test_what_was_measured_on_an_earlier_text_is_measured_again(open_modes, monkeypatch, name):
    """The text may change in the moment in which a measurement is over and not yet shown."""
    widget = open_modes(view=SIDE)
    measure = getattr(side_view, name)
    edited = []

    def overtaken(*args, **kwargs):
        result = measure(*args, **kwargs)
        if not edited:
            edited.append(True)
            widget.text.value += " The owl"
            widget.stop()
        return result

    monkeypatch.setattr(side_view, name, overtaken)
    widget._run_work(lambda: not edited)
    monkeypatch.undo()
    monkeypatch.setattr(TextPage, "job_pause", 600.0)
    widget.settle()
    length = widget.trace.length
    assert (
        widget.side.race.race["length"]
        == widget.side.rounding.length
        == widget.side.curve.length
        == length
    )
    assert f"{widget.side.rounding.between:.1e}" in widget.side.meter.value


def test_a_measurement_that_fails_is_told(open_modes, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("no <memory>")

    widget = open_modes(view=SIDE)
    monkeypatch.setattr(side_view, "rounding", fail)
    widget.settle()
    assert "no &lt;memory&gt;" in widget.notice.value
    assert "could not be measured" in widget.side.activity.value
    assert widget.side.measure_button.description == "Measure again"
    assert widget.side.race.race["runs"]
