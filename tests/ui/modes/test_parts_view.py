"""The view of the model's parts against computations of its own."""

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.experiments import ablate
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import MODES
from retnet_viz.ui.core.state.page_state import SWITCHES
from tests.support.modes_widget import PARTS, STATE, TEXT, data, part_of, title

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
        for model in (reader, ablate(reader, **changes) if without else reader)
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
        text = widget.parts._describe((which, 9, 3))
        assert f"= {cell.weight:.3g}" in text
        assert "head 1" in text
    names = " and ".join(without)
    assert (f"without {names};" in widget.parts.copy.value) == bool(without)
    assert (f"Without {names}:" in title(widget.parts.copy_next)) == bool(without)


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
    part_of(widget, plot).clicked = 6
    assert widget.state.token == widget.strip.selected == 6
    part_of(widget, plot).clicked = 2
    part_of(widget, plot).clicked = 2
    assert widget.selected == 2


def test_a_row_of_the_pair_selects_its_token(open_modes):
    widget = open_modes(view=PARTS)
    widget.parts.pair.selected = 5
    assert widget.selected == widget.strip.selected == 5
