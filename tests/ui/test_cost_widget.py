"""The cost dashboard without a browser: what it measures, its end, its calculator, its links."""

from __future__ import annotations

import re
import sys
import threading
import time
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import retnet_viz as rv
from retnet_viz.baselines import Mamba, MambaConfig, Transformer, TransformerConfig
from retnet_viz.checkpoints import load_shipped
from retnet_viz.experiments.cost_model import (
    CARDS,
    KINDS,
    PRECISIONS,
    SIZES,
    TRANSFORMER,
    Card,
    estimate,
    largest_batch,
    precision_of,
    state_bytes,
)
from retnet_viz.experiments.generation_cost import positions
from retnet_viz.experiments.speed.machine import THIS_MACHINE
from retnet_viz.figures.base.captions import data_size, number
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.ui.core.state import link
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.cost.cost_state import CONTEXTS, MOST_ROWS, REACHES, THESE, CostState

module = sys.modules[rv.cost.__module__]
SHAPE = {"vocab_size": 11, "d_model": 8, "n_layers": 1}
REACH = REACHES[0]
WAIT = 60  # seconds, at most, for a thread


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {
        "RetNet": RetNet(RetNetConfig(**SHAPE, n_heads=2)).eval(),
        "Transformer": Transformer(TransformerConfig(**SHAPE, n_heads=2)).eval(),
        "Mamba": Mamba(MambaConfig(**SHAPE)).eval(),
    }


@pytest.fixture
def open_cost(models, opened):
    """Opens the widget; all that were opened are closed after the test."""

    def make(**fields: Any):
        return opened(rv.cost(models, **{"reach": REACH} | fields))

    return make


@pytest.fixture
def held_back(monkeypatch):
    """Lets the models generate only as far as a test says, with `release`; `went` is how far."""
    measure = module.generation_cost

    class Gate:
        may, went = threading.Semaphore(0), threading.Semaphore(0)
        ended = threading.Event()

        def release(self, count: int) -> None:
            for _ in range(count):
                self.may.release()
            for _ in range(count):
                assert self.went.acquire(timeout=WAIT)

    gate = Gate()

    def slowly(models, reach, progress):
        try:
            for points in measure(models, reach, progress):
                while not gate.may.acquire(timeout=0.01):
                    progress(0, 1)  # which ends it once it is stopped
                yield points
                gate.went.release()
        finally:
            gate.ended.set()

    monkeypatch.setattr(module, "generation_cost", slowly)
    return gate


def rows_of(table: str) -> dict[str, list[str]]:
    """The rows of an HTML table, by their header."""
    rows = {}
    for row in re.findall("<tr>(.*?)</tr>", table):
        name, *cells = [re.sub("<[^>]*>", "", cell) for cell in re.split("</t[hd]>", row)][:-1]
        rows[name] = cells
    return rows


# -- measuring ----------------------------------------------------------------------------------


def test_nothing_is_shown_before_it_is_measured(open_cost):
    widget = open_cost()
    assert all(not points for points in widget.points.values())
    assert "Nothing measured" in widget.times.figure["layout"]["meta"]["sentence"]
    table = rows_of(widget.now.value)
    assert table["ms at 32"] == table["ms now"] == table["state now"] == ["–"] * 3
    assert not widget.is_running


def test_start_measures_every_model_at_every_position(open_cost, models):
    widget = open_cost()
    widget.run.click()
    assert widget.is_running
    widget.settle(WAIT)
    assert not widget.is_running
    assert "measured up to position 1,024" in widget.activity.value
    for name, points in widget.points.items():
        assert [point.position for point in points] == list(positions(REACH))
        precision = precision_of(torch.float32)
        for point in points:
            expected = state_bytes(models[name].config, point.position, precision)
            assert point.state_bytes == expected
    for line in widget.times.figure["data"]:
        points = widget.points[line["name"]]
        assert line["x"] == [point.position for point in points]
        assert line["y"] == [point.milliseconds for point in points]
    for line in widget.sizes.figure["data"][3:]:
        assert line["y"] == [point.state_bytes for point in widget.points[line["name"]]]
    table = rows_of(widget.now.value)
    series = widget.points.values()
    assert table["ms at 32"] == [f"{points[0].milliseconds:.3g}" for points in series]
    assert table["ms now"] == [f"{points[-1].milliseconds:.3g}" for points in series]
    assert table["state now"] == [data_size(points[-1].state_bytes) for points in series]
    assert table["a token adds"] == ["nothing", data_size(2 * 8 * 4), "nothing"]
    far = [
        state_bytes(model.config, 2**20, precision_of(torch.float32)) for model in models.values()
    ]
    assert table["state at 1M"] == [data_size(each) for each in far]


def test_it_is_drawn_while_it_is_measured(open_cost, held_back, monkeypatch):
    monkeypatch.setattr(module.Cost, "redraw_pause", 0.0)
    widget = open_cost()
    widget.start()
    held_back.release(3)
    assert [len(line["x"]) for line in widget.times.figure["data"]] == [3, 3, 3]
    assert widget.is_running
    assert "at position 64" in widget.now.value


def test_cancel_keeps_what_was_measured_and_nothing_is_drawn_after_it(open_cost, held_back):
    widget = open_cost()
    widget.start()
    held_back.release(2)
    widget.run.click()
    assert not widget.is_running
    assert "cancelled" in widget.activity.value
    assert [len(line["x"]) for line in widget.times.figure["data"]] == [2, 2, 2]
    changes = []
    for part in (
        widget.times,
        widget.sizes,
        widget.now,
        widget.activity,
        widget.progress,
        widget.run,
    ):
        part.observe(changes.append)
    assert held_back.ended.wait(WAIT)
    time.sleep(0.05)
    assert changes == []
    assert [len(points) for points in widget.points.values()] == [2, 2, 2]


def test_it_can_be_started_again_after_a_cancel(open_cost):
    widget = open_cost()
    for _ in range(3):
        widget.run.click()
        widget.run.click()
    assert not widget.is_running
    widget.run.click()
    widget.settle(WAIT)
    assert [len(points) for points in widget.points.values()] == [len(positions(REACH))] * 3


def test_two_pages_do_not_disturb_each_other(open_cost):
    one, other = open_cost(), open_cost()
    one.start()
    other.start()
    other.stop("cancelled")
    one.settle(WAIT)
    assert [len(points) for points in one.points.values()] == [len(positions(REACH))] * 3
    assert "cancelled" in other.activity.value


def test_what_goes_wrong_while_measuring_is_said(open_cost, monkeypatch):
    def broken(*_arguments):
        raise RuntimeError("<no> memory")
        yield

    monkeypatch.setattr(module, "generation_cost", broken)
    widget = open_cost()
    widget.start()
    widget.settle(WAIT)
    assert not widget.is_running
    assert (
        "Generating could not be measured (RuntimeError: &lt;no&gt; memory)"
        in widget.activity.value
    )


def test_the_reach_is_that_of_the_run_until_the_next_one(open_cost):
    widget = open_cost()
    before = widget.times.figure
    widget.reach_buttons.value = REACHES[1]
    assert widget.times.figure == before
    assert widget.state.reach == REACHES[1]


def test_the_theme_reaches_every_figure(open_cost):
    widget = open_cost()
    light = [plot.figure for plot in (widget.times, widget.sizes, widget.memory)]
    widget.page.shown = "dark"
    for plot, figure in zip((widget.times, widget.sizes, widget.memory), light, strict=True):
        assert plot.figure["data"] == figure["data"]
        assert plot.figure["layout"]["template"] != figure["layout"]["template"]


# -- the models ---------------------------------------------------------------------------------


def test_the_shipped_retnet_meets_models_of_its_size():
    models = load_shipped()
    assert tuple(models) == KINDS
    sizes = [model.n_parameters for model in models.values()]
    assert max(sizes) < 1.05 * min(sizes)


def test_it_says_whose_weights_are_random(open_cost, models, tiny_tokenizer):
    assert "RetNet, Transformer and Mamba have random weights" in open_cost().now.value
    models["RetNet"].tokenizer = tiny_tokenizer
    try:
        html = open_cost().now.value
    finally:
        models["RetNet"].tokenizer = None
    assert "RetNet is trained; Transformer and Mamba have random weights" in html


@pytest.mark.parametrize("names", [(), ("RWKV",), ("RetNet", "RWKV")])
def test_models_of_other_names_are_refused(models, names):
    with pytest.raises(ValueError, match="models must be some of RetNet, Transformer, Mamba"):
        rv.cost(dict.fromkeys(names, models["RetNet"]))


@pytest.mark.parametrize("name", KINDS)
def test_one_model_alone_can_be_measured(models, name):
    widget = rv.cost({name: models[name]}, reach=REACH, size=THESE)
    widget.start()
    widget.settle(WAIT)
    assert "measured up to" in widget.activity.value
    sentences = [p.figure["layout"]["meta"]["sentence"] for p in (widget.times, widget.memory)]
    assert all(name in sentence for sentence in sentences)
    widget.close_all()


# -- the calculator -----------------------------------------------------------------------------


def expect_estimates(widget, size, card):
    state = widget.state
    inputs = (state.context, state.batch, PRECISIONS[state.precision], card)
    estimates = [estimate(config, *inputs) for config in size.configs.values()]
    table = rows_of(widget.estimates.value)
    assert table["weights"] == [data_size(each.weight_bytes) for each in estimates]
    assert table["state, all rows"] == [data_size(each.state_bytes) for each in estimates]
    memory = [data_size(each.held_bytes) + ("" if each.fits else " ✗") for each in estimates]
    assert table["memory"] == memory
    assert table["moved per step"] == [data_size(each.moved_bytes) for each in estimates]
    assert table["ms per step"] == [number(1000 * each.seconds) for each in estimates]
    assert table["limited by"] == [each.limit for each in estimates]
    assert table["tokens / s"] == [number(each.tokens_second) for each in estimates]
    context, _, precision, _ = inputs
    assert table["largest batch"] == [
        f"{largest_batch(config, context, precision, card):,}" for config in size.configs.values()
    ]
    line = next(line for line in widget.memory.figure["data"] if line["name"] == TRANSFORMER)
    at = line["x"].index(state.context)
    assert line["y"][at] == estimates[1].held_bytes


@pytest.mark.parametrize("name", SIZES)
def test_the_calculator_shows_the_estimates_of_what_is_chosen(open_cost, name):
    widget = open_cost()
    widget.size.value = name
    for context in (2048, 12288, 2**20):
        widget.context.value = context
        expect_estimates(widget, SIZES[name], CARDS[widget.state.card])
    widget.batch.value = 64
    for precision in PRECISIONS:
        widget.precision.value = precision
        expect_estimates(widget, SIZES[name], CARDS[widget.state.card])
    for card in CARDS:
        widget.card.value = card
        expect_estimates(widget, SIZES[name], CARDS[card])


def test_the_models_of_the_page_can_be_calculated_too(open_cost, models):
    widget = open_cost(size=THESE)
    table = rows_of(widget.estimates.value)
    assert table["parameters"] == [f"{m.n_parameters / 1e6:.2f} M" for m in models.values()]


def test_this_machine_is_measured_once_and_then_calculated_with(open_cost, monkeypatch):
    card = Card(THIS_MACHINE, 1e10, 8e9, 1e11, 1e11)
    runs = []

    def measure():
        runs.append(1)
        return card

    monkeypatch.setattr(module, "measured_card", measure)
    widget = open_cost()
    widget.card.value = THIS_MACHINE
    widget.settle(WAIT)
    expect_estimates(widget, SIZES[widget.state.size], card)
    widget.card.value = "L4 24 GB"
    widget.card.value = THIS_MACHINE
    expect_estimates(widget, SIZES[widget.state.size], card)
    assert runs == [1]


def test_a_machine_that_cannot_be_measured_is_said(open_cost, monkeypatch):
    def measure():
        raise MemoryError("too small")

    monkeypatch.setattr(module, "measured_card", measure)
    widget = open_cost()
    widget.card.value = THIS_MACHINE
    widget.settle(WAIT)
    assert "This machine could not be measured (MemoryError: too small)" in widget.estimates.value
    widget.card.value = "L4 24 GB"
    expect_estimates(widget, SIZES[widget.state.size], CARDS["L4 24 GB"])


def test_the_claims_stand_beside_what_the_formulas_give(open_cost):
    table = rows_of(open_cost().claims.value)
    assert table["the paper"] == ["70%", "8.4 ×"]
    assert table["formulas, 1 row"] == ["24%", "1.3 ×"]
    assert table["formulas, 8 rows each"] == ["70%", "3.09 ×"]
    assert table["card full: 496 rows against 15"] == ["none", "17.6 ×"]


# -- links --------------------------------------------------------------------------------------

STATES = st.builds(
    CostState,
    reach=st.sampled_from(REACHES),
    size=st.sampled_from((*SIZES, THESE)),
    context=st.sampled_from(CONTEXTS),
    batch=st.integers(1, MOST_ROWS),
    precision=st.sampled_from(list(PRECISIONS)),
    card=st.sampled_from((*CARDS, THIS_MACHINE)),
    theme=st.sampled_from(("auto", "light", "dark")),
)


@given(STATES)
def test_a_link_holds_the_whole_state(state: CostState):
    saved_link = link.read_link(state.query())
    assert CostState().with_fields(saved_link.fields("cost")) == (state, [])
    assert saved_link.other_parts("cost") == {}


def test_the_other_apps_find_their_own_state_in_the_link(open_cost):
    theirs = ExplorerState("A fox", "chunkwise", 4, layer=1, token=2, theme="dark")
    widget = open_cost()
    widget.open_link(theirs.query())
    assert widget.state.theme == "dark"
    widget.batch.value = 5
    saved_link = link.read_link(widget.page.query)
    assert ExplorerState().with_fields(saved_link.fields("explorer"), RetNetConfig()) == (
        theirs,
        [],
    )
    assert CostState().with_fields(saved_link.fields("cost"))[0].batch == 5


@pytest.mark.parametrize(
    "part",
    [
        {"batch": 0, "context": 5, "card": 7, "reach": True},
        {"batch": 1e99, "precision": None, "text": "A fox", "theme": "pink"},
    ],
)
def test_what_a_link_cannot_mean_is_left_out_and_told(open_cost, part):
    widget = open_cost()
    widget.open_link(link.query_of({"cost": part}))
    assert widget.state == CostState()
    for name in part:
        assert f"“{name}”" in widget.activity.value


def test_a_link_that_is_cut_off_changes_nothing(open_cost):
    widget = open_cost(batch=7)
    widget.open_link(CostState(batch=9).query()[:-4])
    assert widget.state.batch == 7
    assert "incomplete" in widget.activity.value


@pytest.mark.parametrize(
    ("field", "value"),
    [("batch", 0), ("batch", MOST_ROWS + 1), ("context", 5), ("size", "9B"), ("card", "abacus")],
)
def test_a_state_that_no_control_can_have_is_refused(open_cost, field, value):
    with pytest.raises(ValueError, match=f"{field} must"):
        open_cost(**{field: value})


def test_an_opened_link_moves_every_control(open_cost):
    state = CostState(REACHES[1], "1.3B", 2**20, 3, "float32", "L4 24 GB", "dark")
    widget = open_cost()
    widget.open_link(state.query())
    assert widget.state == state
    assert (widget.reach_buttons.value, widget.size.value) == (state.reach, state.size)
    assert (widget.context.value, widget.batch.value) == (state.context, state.batch)
    assert (widget.precision.value, widget.card.value) == (state.precision, state.card)
    assert widget.page.theme == widget.theme.value == "dark"
    expect_estimates(widget, SIZES["1.3B"], CARDS["L4 24 GB"])
