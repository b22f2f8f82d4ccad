"""The modes at work without a browser: every view against computations of its own."""

import math
import threading

import numpy as np
import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import retnet_viz as rv
from retnet_viz.experiments import variant
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import MODES
from retnet_viz.ui.core import link
from retnet_viz.ui.core.page_state import CLOCKS, PRECISIONS, SWITCHES, VIEWS, ExplorerState
from retnet_viz.ui.pages import side_view
from retnet_viz.ui.pages.modes import MAX_TOKENS
from retnet_viz.ui.pages.presets import PRESETS
from retnet_viz.ui.pages.text_page import TextPage

STEPS, SIDE, STATE, PARTS = VIEWS
TEXT = "The fox had a red kite, and the kite had a long tail."
WAIT = 60  # seconds, at most, for a thread


@pytest.fixture(scope="module")
def reader(tiny_model, tiny_tokenizer):
    """A small float32 model that reads text."""
    model = tiny_model(dtype=torch.float32)
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture(autouse=True)
def no_thread_measures_beside_a_test(monkeypatch):
    monkeypatch.setattr(TextPage, "job_pause", 600.0)


@pytest.fixture
def open_modes(reader):
    """Opens the widget; all that were opened are closed after the test."""
    opened = []

    def make(text=TEXT, **chosen):
        opened.append(rv.modes(reader, text, **chosen))
        return opened[-1]

    yield make
    for widget in opened:
        widget.stop()
        widget.close_all()


def found(widget, name):
    """A control or a panel of the page, or of one of its views."""
    parts = (widget, widget.side, widget.state_view, widget.parts)
    return next(getattr(part, name) for part in parts if hasattr(part, name))


def data(plot):
    return plot.figure["data"]


def title(plot):
    return plot.figure["layout"]["title"]["text"]


def failed(widget):
    return "could not" in widget.notice.value or "could not" in widget.side.doing.value


# -- step by step -------------------------------------------------------------------------------


def test_the_views_are_shown_one_at_a_time(open_modes):
    widget = open_modes()
    seen = set()
    for view in VIEWS:
        widget.view.value = view
        (shown,) = widget._shown_view.children
        seen.add(id(shown))
        assert widget.state.view == view
    assert len(seen) == len(VIEWS)


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_and_the_chunk_size_are_really_run(open_modes, reader, mode):
    widget = open_modes()
    widget.mode.value = mode
    widget.chunk.value = 5
    expected = rv.trace(reader, TEXT, mode, 5)
    assert torch.equal(widget.trace.logits, expected.logits)
    assert (widget.trace.mode, widget.trace.chunk_size) == (mode, 5)
    assert widget.strip.tokens == [visible(token) for token in expected.tokens]


def test_the_strip_is_shaded_by_the_chosen_head(open_modes, reader):
    widget = open_modes(scale="linear")
    widget.head.value = 1
    widget.strip.selected = 9
    row = rv.trace(reader, TEXT, "recurrent", 8).retention(0)[1, 9, :10].numpy()
    shades = np.frombuffer(widget.strip.shades, np.uint8).astype(int)
    expected = 1 + 254 * (row / np.abs(row).max() + 1) / 2
    assert np.abs(shades[:10] - expected).max() <= 1
    assert (shades[10:] == 0).all()


def test_a_stage_that_was_out_of_sight_follows_when_it_is_seen_again(open_modes):
    widget = open_modes()
    widget.view.value = STATE
    widget.mode.value = "chunkwise"
    widget.head.value = 1
    widget.strip.selected = 3
    widget.view.value = STEPS
    assert widget.stage.meta["mode"] == "chunkwise"
    assert (widget.stage.head, widget.stage.token) == (1, 3)


# -- the state ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_state_view_draws_the_state_after_the_selected_token(open_modes, reader, mode):
    widget = open_modes(view=STATE, mode=mode, chunk_size=5, layer=1, head=1)
    trace = rv.trace(reader, TEXT, mode, 5)
    for n in (0, 7, trace.length - 1):
        widget.strip.selected = n
        states = trace.state(1, n)
        assert np.array(data(widget.state_view.state_map)[0]["z"]) == pytest.approx(
            states[1].double().numpy(), rel=1e-4
        )
        values = torch.linalg.svdvals(states.double())
        for head, line in enumerate(data(widget.state_view.spectrum)):
            assert line["y"] == pytest.approx(values[head].tolist(), rel=1e-6, abs=1e-9)
        k, v = trace.k(1)[1, : n + 1].double(), trace.v(1)[1, : n + 1].double()
        cosines = torch.cosine_similarity(k @ states[1].double(), v, dim=-1)
        assert data(widget.state_view.remembered)[0]["y"] == pytest.approx(
            cosines.tolist(), abs=1e-9
        )
        assert f"S after n = {n} " in widget.state_view.compared.value
        assert widget.state_view.norms.cursor == n
    for head, line in enumerate(data(widget.state_view.norms)[:2]):
        norms = [trace.state(1, n)[head].norm().item() for n in range(trace.length)]
        assert line["y"] == pytest.approx(norms, rel=1e-4)
    for head, line in enumerate(data(widget.state_view.norms)[2:]):
        norms = trace.k(1)[head].norm(dim=-1) * trace.v(1)[head].norm(dim=-1)
        bound = norms.max().item() / (1 - trace.gamma(1)[head].item())
        assert line["y"] == pytest.approx([bound] * len(line["y"]), rel=1e-5)


def test_the_difference_of_two_states(open_modes, reader):
    widget = open_modes(view=STATE)
    trace = rv.trace(reader, TEXT, "recurrent", 8)
    widget.strip.selected = 10
    widget.state_view.compare.value = 4  # moves nothing while there is nothing to compare with
    assert widget.state.compare is None
    alone = data(widget.state_view.state_map)[0]["z"]
    widget.state_view.comparing.value = True
    assert widget.state.compare == 4
    for m in (4, 0, 10):
        widget.state_view.compare.value = m
        difference = (trace.state(0, 10)[0].double() - trace.state(0, m)[0].double()).numpy()
        found = np.array(data(widget.state_view.state_map)[0]["z"])
        assert found == pytest.approx(difference, rel=1e-4, abs=1e-12)
        assert f"minus S after m = {m} " in widget.state_view.compared.value
    widget.state_view.comparing.value = False
    assert data(widget.state_view.state_map)[0]["z"] == alone
    assert "minus" not in widget.state_view.compared.value


def test_a_comparison_ends_with_its_text(open_modes):
    widget = open_modes(view=STATE, compare=9)
    widget.text.value = "A fox"
    assert widget.state.compare is None
    assert not widget.state_view.comparing.value
    assert widget.state_view.compare.max == widget.trace.length - 1
    assert not failed(widget)


# -- the model's parts --------------------------------------------------------------------------

CHANGES = {
    "rotation": {"rotation": "none"},
    "decay": {"decay": (1.0, 1.0)},
    "head norm": {"head_norm": "none"},
}


def top(trace, n):
    best = trace.logits[n].double().softmax(-1).topk(10)
    return best.values.tolist(), best.indices.tolist()


@pytest.mark.parametrize(
    "without", [(), ("rotation",), ("decay",), ("head norm",), ("rotation", "decay", "head norm")]
)
def test_the_copy_is_the_model_without_what_is_switched_off(open_modes, reader, without):
    widget = open_modes(view=PARTS, mode="chunkwise", layer=1, head=1, scale="linear")
    for name in without:
        widget.parts.switches[name].value = False
    assert widget.state.without == without
    changes = {key: value for name in without for key, value in CHANGES[name].items()}
    traces = [
        rv.trace(model, TEXT, "chunkwise", 8)
        for model in (reader, variant(reader, **changes) if without else reader)
    ]
    widget.strip.selected = 7
    for trace, plot in zip(traces, (widget.parts.model_next, widget.parts.copy_next), strict=True):
        values, ids = top(trace, 7)
        assert data(plot)[0]["x"] == pytest.approx(values, rel=1e-5)
        assert data(plot)[0]["customdata"] == [visible(trace.piece(i)) for i in ids]
    length = traces[0].length
    weights = np.stack([trace.retention(1)[1].numpy() for trace in traces])
    causal = np.tri(length, dtype=bool)
    expected = 1 + 254 * (weights / np.abs(weights).max() + 1) / 2
    places = np.frombuffer(widget.parts.pair.cells, np.uint8).reshape(2, length, length).astype(int)
    assert np.abs(places - expected)[:, causal].max() <= 1
    assert (places[:, ~causal] == 0).all()
    for which, trace in enumerate(traces):
        cell = trace.cell(1, 1, 9, 3)
        said = widget.parts._describe((which, 9, 3))
        assert f"= {cell.weight:.3g}" in said
        assert "head 1" in said
    named = " and ".join(without)
    assert (f"without {named};" in widget.parts.copy.value) == bool(without)
    assert (f"Without {named}:" in title(widget.parts.copy_next)) == bool(without)


def test_switches_leave_the_model_as_it_is(open_modes, reader):
    parameters = {name: value.clone() for name, value in reader.state_dict().items()}
    gammas = [rv.trace(reader, TEXT).gamma(layer) for layer in range(2)]
    logits = rv.trace(reader, TEXT, "recurrent").logits
    widget = open_modes(view=PARTS)
    for mode in MODES:
        widget.mode.value = mode
        for name in SWITCHES:
            widget.parts.switches[name].value = False
        widget.parts.gain.value = 20.0
        for name in SWITCHES:
            widget.parts.switches[name].value = True
    assert widget.state.without == ()
    for name, value in reader.state_dict().items():
        assert torch.equal(value, parameters[name]), name
    again = rv.trace(reader, TEXT, "recurrent")
    assert torch.equal(again.logits, logits)
    assert all(torch.equal(again.gamma(layer), gammas[layer]) for layer in range(2))
    assert all(parameter.requires_grad for parameter in reader.parameters())


def test_a_gain_scales_what_comes_before_the_normalisation(open_modes, reader):
    widget = open_modes(view=PARTS, layer=1)
    trace = rv.trace(reader, TEXT, "recurrent", 8)
    before = trace.head_output(1).double().square().mean(-1).sqrt()
    solid = data(widget.parts.before_after)
    assert len(solid) == 4
    for head in range(2):
        assert solid[head]["y"] == pytest.approx(before[head].tolist(), rel=1e-4)
    widget.parts.gain.value = 10.0
    assert widget.state.gain == 10.0
    dashed = [line for line in data(widget.parts.before_after) if line["line"]["dash"] == "dash"]
    assert len(dashed) == 4
    for head in range(2):
        assert dashed[head]["y"] == pytest.approx((10 * before[head]).tolist(), rel=1e-4)


def test_the_gates_of_every_head(open_modes, reader):
    widget = open_modes(view=PARTS, layer=1)
    gate = rv.trace(reader, TEXT, "recurrent", 8).gate(1).double()
    for head, line in enumerate(data(widget.parts.gates)):
        opening = gate.unflatten(-1, (2, -1))[:, head].abs().mean(-1)
        assert line["y"] == pytest.approx(opening.tolist(), rel=1e-4)


@pytest.mark.parametrize("plot", ["before_after", "gates", "norms"])
def test_a_click_on_a_curve_selects_its_token(open_modes, plot):
    widget = open_modes(view=STATE if plot == "norms" else PARTS)
    found(widget, plot).clicked = 6
    assert widget.state.token == widget.strip.selected == 6
    found(widget, plot).clicked = 2
    found(widget, plot).clicked = 2
    assert widget.selected == 2


def test_a_row_of_the_pair_selects_its_token(open_modes):
    widget = open_modes(view=PARTS)
    widget.parts.pair.selected = 5
    assert widget.selected == widget.strip.selected == 5


# -- side by side -------------------------------------------------------------------------------


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
    assert widget.side.again.description == "Measure again"
    assert not widget.side.sizes.stale
    assert not widget.side.rounds.stale
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
    found = widget.side.rounding
    assert found.dtype == precision
    assert f"{found.between:.1e}" in widget.side.meter.value
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
    assert found.between >= apart * (1 - 1e-9)
    for line in data(widget.side.rounds):
        assert line["y"] == pytest.approx([*found.modes[line["name"]], found.logits[line["name"]]])


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
    assert not widget.side.rounds.stale
    assert measured(widget, counted) == {"step_times", "chunk_curve"}
    widget.side.precision.value = "bfloat16"
    assert widget.side.rounds.stale
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
    widget.side.again.click()
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
    assert widget.side.again.description == "Cancel"
    assert "measuring chunk sizes" in widget.side.doing.value
    widget.side.again.click()
    end(thread)
    assert widget.side.curve is None
    assert widget.side.race.race["runs"]  # what was measured before stays
    widget.side.again.click()
    monkeypatch.undo()
    monkeypatch.setattr(TextPage, "job_pause", 600.0)
    widget.settle()
    assert widget.side.curve is not None
    assert widget.side.again.description == "Measure again"


def test_a_cancelled_measurement_says_so(open_modes, endless):
    widget = open_modes(view=SIDE)
    thread = run_job(widget)
    assert endless.wait(WAIT)
    widget.side.again.click()
    end(thread)
    assert "cancelled" in widget.side.doing.value
    assert widget.side.again.description == "Measure again"
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
        widget.side.again.click()
    widget.side.precision.value = first
    found, said = widget.side.rounding, widget.side.doing.value
    assert "cancelled" not in said
    go.set()
    end(thread)
    assert widget.side.doing.value == said
    assert widget.side.rounding is found
    assert widget.side.again.description == "Measure again"
    assert not widget.side.rounds.stale


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
        found = measure(*args, **kwargs)
        if not edited:
            edited.append(True)
            widget.text.value += " The owl"
            widget.stop()
        return found

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
    assert "could not be measured" in widget.side.doing.value
    assert widget.side.again.description == "Measure again"
    assert widget.side.race.race["runs"]


# -- any text, any order ------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_text_is_an_empty_page_that_keeps_working(open_modes, view):
    widget = open_modes(view=view)
    widget.settle()
    widget.text.value = ""
    widget.settle()
    assert widget.trace is None
    assert "0 tokens" in widget.notice.value
    assert widget.strip.tokens == []
    assert widget.stage.meta.get("length", 0) == 0
    assert widget.side.race.race.get("runs", []) == [] or view != SIDE
    shown = {
        STEPS: [],
        SIDE: [widget.side.sizes, widget.side.rounds],
        STATE: [
            widget.state_view.state_map,
            widget.state_view.spectrum,
            widget.state_view.norms,
            widget.state_view.remembered,
        ],
        PARTS: [
            widget.parts.before_after,
            widget.parts.gates,
            widget.parts.phases,
            widget.parts.model_next,
        ],
    }
    assert all(data(plot) == [] for plot in shown[view])
    if view == PARTS:
        assert (widget.parts.pair.meta["length"], widget.parts.pair.cells) == (0, b"")
        assert widget.parts._tables() == []
    for other in VIEWS:
        widget.view.value = other
    for control, value in (("mode", "parallel"), ("layer", 1), ("head", 1), ("gain", 5.0)):
        found(widget, control).value = value
    widget.state_view.comparing.value = True
    widget.parts.switches["decay"].value = False
    assert not failed(widget)
    widget.text.value = "a"
    widget.settle()
    assert widget.trace.length == 1
    assert not failed(widget)


@pytest.mark.parametrize("view", [STEPS, STATE])
def test_a_text_beyond_the_limit_is_cut_and_says_so(open_modes, view):
    widget = open_modes("", view=view, chunk_size=64)
    widget.text.value = "fox " * MAX_TOKENS
    widget._reader.wait()  # settle() would measure all modes too, which neither view shows
    assert widget.trace.length == widget.strip.length == MAX_TOKENS == 2048
    assert "Only the first 2,048 tokens are shown" in widget.notice.value
    widget.strip.selected = 2047
    assert not failed(widget)
    widget.text.value = "fox " * 20
    assert "Only" not in widget.notice.value


def test_the_pair_of_planes_is_a_window_of_a_long_text(open_modes):
    widget = open_modes("fox " * 600, view=PARTS)
    assert widget.trace.length > 512
    assert widget.parts.pair.meta["length"] == 512
    assert len(widget.parts.pair.cells) == 2 * 512 * 512
    assert f"first 512 of {widget.trace.length:,} tokens" in widget.parts.pair.readout
    widget.strip.selected = 600
    assert widget.parts.pair.selected == -1
    assert not failed(widget)


CHOSEN = {
    "mode": "chunkwise",
    "chunk_size": 5,
    "layer": 1,
    "head": 1,
    "token": 6,
    "compare": 2,
    "view": STATE,
    "precision": "bfloat16",
    "clock": CLOCKS[1],
    "without": ("rotation", "head norm"),
    "gain": 2.5,
    "scale": "log",
    "theme": "dark",
}


def test_a_link_brings_back_all_that_was_chosen(open_modes):
    widget = open_modes("A link keeps <all> & more")
    widget.mode.value = CHOSEN["mode"]
    widget.chunk.value = CHOSEN["chunk_size"]
    widget.layer.value = CHOSEN["layer"]
    widget.head.value = CHOSEN["head"]
    widget.strip.selected = CHOSEN["token"]
    widget.state_view.comparing.value = True
    widget.state_view.compare.value = CHOSEN["compare"]
    widget.view.value = CHOSEN["view"]
    widget.side.precision.value = CHOSEN["precision"]
    widget.side.race.clock = CHOSEN["clock"]
    for name in CHOSEN["without"]:
        widget.parts.switches[name].value = False
    widget.parts.gain.value = CHOSEN["gain"]
    widget.scale.value = CHOSEN["scale"]
    widget.theme.value = CHOSEN["theme"]
    assert widget.state == ExplorerState("A link keeps <all> & more", **CHOSEN)
    given = link.read(widget.page.query).given("explorer")
    assert ExplorerState().taking(given, widget.model.config) == (widget.state, [])
    again = open_modes("something else")
    again.open_link(widget.page.query)
    assert again.state == widget.state
    assert shown_by(again) == shown_by(widget)
    for view in VIEWS:
        again.view.value = widget.view.value = view
        assert shown_by(again) == shown_by(widget)
        for name in ("state_map", "before_after", "copy_next", "norms"):
            assert found(again, name).figure == found(widget, name).figure


def shown_by(widget):
    """What the controls of a board say."""
    return {
        "text": widget.text.value,
        "mode": widget.mode.value,
        "chunk_size": widget.chunk.value,
        "layer": widget.layer.value,
        "head": widget.head.value,
        "token": widget.strip.selected,
        "compare": widget.state_view.compare.value if widget.state_view.comparing.value else None,
        "view": widget.view.value,
        "precision": widget.side.precision.value,
        "clock": widget.side.race.clock,
        "without": tuple(
            name for name, toggle in widget.parts.switches.items() if not toggle.value
        ),
        "gain": widget.parts.gain.value,
        "scale": widget.scale.value,
        "theme": widget.theme.value,
    }


@pytest.mark.parametrize(
    ("chosen", "named"),
    [
        ({"view": "upside down"}, "view"),
        ({"precision": "float8"}, "precision"),
        ({"clock": "sundial"}, "clock"),
        ({"head": 2}, "head"),
        ({"head": -1}, "head"),
        ({"token": -1}, "token"),
        ({"without": ("gate",), "view": PARTS}, "without"),
        ({"gain": 1e9}, "gain"),
        ({"gain": math.nan}, "gain"),
    ],
)
def test_the_api_refuses_what_no_control_can_choose(open_modes, chosen, named):
    with pytest.raises(ValueError, match=named):
        open_modes(**chosen)


ACTIONS = st.one_of(
    st.tuples(st.just("text"), st.sampled_from(["", "a", TEXT, "fox " * 40, "\ud800 <b>&\x00"])),
    st.tuples(st.just("mode"), st.sampled_from(MODES)),
    st.tuples(st.just("chunk"), st.integers(-1, 70)),
    st.tuples(st.just("layer"), st.integers(0, 1)),
    st.tuples(st.just("head"), st.integers(0, 1)),
    st.tuples(st.just("scale"), st.sampled_from(("linear", "log", "arcsinh"))),
    st.tuples(st.just("view"), st.sampled_from(VIEWS)),
    st.tuples(st.just("precision"), st.sampled_from(PRECISIONS)),
    st.tuples(st.just("clock"), st.sampled_from(CLOCKS)),
    st.tuples(st.just("gain"), st.sampled_from([0.01, 0.3, 1.0, 100.0])),
    st.tuples(st.just("switch"), st.sampled_from(SWITCHES)),
    st.tuples(st.just("comparing"), st.booleans()),
    st.tuples(st.just("compare"), st.integers(0, 90)),
    st.tuples(st.just("strip"), st.integers(0, 90)),
    st.tuples(st.just("stage"), st.integers(0, 90)),
    st.tuples(st.just("stage head"), st.integers(0, 1)),
    st.tuples(st.just("click"), st.integers(-1, 90)),
    st.tuples(st.just("row"), st.integers(-1, 90)),
    st.tuples(st.just("preset"), st.integers(-1, len(PRESETS) - 1)),
    st.tuples(st.just("shown"), st.sampled_from(("light", "dark"))),
    st.tuples(st.just("again"), st.none()),
    st.tuples(st.just("settle"), st.none()),
)


def act(widget, name, value):
    """Do what a person can do on the page."""
    if name == "switch":
        widget.parts.switches[value].value = not widget.parts.switches[value].value
    elif name == "strip":
        if widget.trace is not None:  # an empty strip has nothing to click
            widget.strip.selected = min(value, widget.trace.length - 1)
    elif name in ("stage", "stage head"):
        setattr(widget.stage, "token" if name == "stage" else "head", value)
    elif name == "click":
        widget.state_view.norms.clicked = value
    elif name == "row":
        widget.parts.pair.selected = value
    elif name == "clock":
        widget.side.race.clock = value
    elif name == "shown":
        widget.page.shown = value
    elif name == "again":
        widget.side.again.click()
    elif name == "settle":
        widget.settle()
    else:
        found(widget, name).value = value


@given(actions=st.lists(ACTIONS, min_size=4, max_size=12))
@example(actions=[("view", PARTS), ("row", 30), ("text", "a"), ("text", ""), ("stage", 0)])
@example(actions=[("view", SIDE), ("settle", None), ("text", ""), ("again", None), ("text", "a")])
@settings(max_examples=20, phases=(Phase.explicit, Phase.generate))
def test_any_order_of_actions_shows_what_was_chosen(reader, actions):
    widget = rv.modes(reader, TEXT)
    for name, value in actions:
        act(widget, name, value)
        assert not failed(widget), (name, value)
    state = widget.state
    expected = {name: getattr(state, name) for name in shown_by(widget)}
    expected["token"] = widget.selected
    length = widget.trace.length if widget.trace else 0
    if state.compare is not None:
        expected["compare"] = min(state.compare, max(0, length - 1))
    assert shown_by(widget) == expected
    assert widget.strip.selected == widget.selected <= length - 1
    if widget.trace is not None:
        assert widget.selected >= 0
        assert widget.trace.mode == state.mode
        assert widget.trace.ids.tolist() == reader.tokenizer.encode(state.text)
        if state.view == STEPS:
            assert widget.stage.shows(widget.trace, state.layer, state.head, state.scale)
            assert widget.stage.token == widget.selected
    reopened = rv.modes(reader, "else")
    reopened.open_link(widget.page.query)
    assert reopened.state == state
    for each in (widget, reopened):
        each.stop()
        each.close_all()


def test_the_modes_that_raced_are_not_run_again_when_one_is_chosen(open_modes, forward_passes):
    widget = open_modes(view=SIDE)
    widget.settle()
    forward_passes.clear()
    for mode in ("parallel", "chunkwise", "recurrent"):
        widget.mode.value = mode
        widget.settle()
        assert widget.trace.mode == mode
    assert forward_passes == []
