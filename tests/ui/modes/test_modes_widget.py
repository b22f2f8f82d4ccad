"""The modes at work without a browser: views, texts, links, and actions in any order."""

import math

import numpy as np
import pytest
import torch
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import retnet_viz as rv
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import MODES
from retnet_viz.ui.core.state import link
from retnet_viz.ui.core.state.page_state import CLOCKS, PRECISIONS, SWITCHES, VIEWS, ExplorerState
from retnet_viz.ui.pages.modes.modes import MAX_TOKENS
from retnet_viz.ui.pages.presets import PRESETS
from tests.support.examples import examples
from tests.support.modes_widget import PARTS, SIDE, STATE, STEPS, TEXT, data, failed, part_of


def test_the_views_are_shown_one_at_a_time(open_modes):
    widget = open_modes()
    views = set()
    for view in VIEWS:
        widget.view.value = view
        (panel,) = widget._view_box.children
        views.add(id(panel))
        assert widget.state.view == view
    assert len(views) == len(VIEWS)


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
    panels = {
        STEPS: [],
        SIDE: [widget.side.sizes, widget.side.rounding_plot],
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
    assert all(data(plot) == [] for plot in panels[view])
    if view == PARTS:
        assert (widget.parts.pair.meta["length"], widget.parts.pair.cells) == (0, b"")
        assert widget.parts._tables() == []
    for other in VIEWS:
        widget.view.value = other
    for control, value in (("mode", "parallel"), ("layer", 1), ("head", 1), ("gain", 5.0)):
        part_of(widget, control).value = value
    widget.state_view.compare_switch.value = True
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
    widget.state_view.compare_switch.value = True
    widget.state_view.compare_token.value = CHOSEN["compare"]
    widget.view.value = CHOSEN["view"]
    widget.side.precision.value = CHOSEN["precision"]
    widget.side.race.clock = CHOSEN["clock"]
    for name in CHOSEN["without"]:
        widget.parts.switches[name].value = False
    widget.parts.gain.value = CHOSEN["gain"]
    widget.scale.value = CHOSEN["scale"]
    widget.theme.value = CHOSEN["theme"]
    assert widget.state == ExplorerState("A link keeps <all> & more", **CHOSEN)
    fields = link.read_link(widget.page.query).fields("explorer")
    assert ExplorerState().with_fields(fields, widget.model.config) == (widget.state, [])
    again = open_modes("something else")
    again.open_link(widget.page.query)
    assert again.state == widget.state
    assert shown_by(again) == shown_by(widget)
    for view in VIEWS:
        again.view.value = widget.view.value = view
        assert shown_by(again) == shown_by(widget)
        for name in ("state_map", "before_after", "copy_next", "norms"):
            assert part_of(again, name).figure == part_of(widget, name).figure


def shown_by(widget):
    """What the controls of a board say."""
    return {
        "text": widget.text.value,
        "mode": widget.mode.value,
        "chunk_size": widget.chunk.value,
        "layer": widget.layer.value,
        "head": widget.head.value,
        "token": widget.strip.selected,
        "compare": widget.state_view.compare_token.value
        if widget.state_view.compare_switch.value
        else None,
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
    ("fields", "name"),
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
def test_the_api_refuses_what_no_control_can_choose(open_modes, fields, name):
    with pytest.raises(ValueError, match=name):
        open_modes(**fields)


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
    st.tuples(st.just("compare_switch"), st.booleans()),
    st.tuples(st.just("compare_token"), st.integers(0, 90)),
    st.tuples(st.just("strip"), st.integers(0, 90)),
    st.tuples(st.just("stage"), st.integers(0, 90)),
    st.tuples(st.just("stage head"), st.integers(0, 1)),
    st.tuples(st.just("click"), st.integers(-1, 90)),
    st.tuples(st.just("row"), st.integers(-1, 90)),
    st.tuples(st.just("preset"), st.integers(-1, len(PRESETS) - 1)),
    st.tuples(st.just("shown"), st.sampled_from(("light", "dark"))),
    st.tuples(st.just("measure_button"), st.none()),
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
    elif name == "measure_button":
        widget.side.measure_button.click()
    elif name == "settle":
        widget.settle()
    else:
        part_of(widget, name).value = value


@given(actions=st.lists(ACTIONS, min_size=4, max_size=12))
@example(actions=[("view", PARTS), ("row", 30), ("text", "a"), ("text", ""), ("stage", 0)])
@example(
    actions=[
        ("view", SIDE),
        ("settle", None),
        ("text", ""),
        ("measure_button", None),
        ("text", "a"),
    ]
)
@settings(max_examples=examples(20), phases=(Phase.explicit, Phase.generate))
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
