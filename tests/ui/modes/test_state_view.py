"""The state view of the modes at work against computations of its own."""

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.model import MODES
from tests.support.modes_widget import STATE, TEXT, data, failed


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
        assert f"S after n = {n} " in widget.state_view.compare_text.value
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
    widget.state_view.compare_token.value = (
        4  # moves nothing while there is nothing to compare with
    )
    assert widget.state.compare is None
    alone = data(widget.state_view.state_map)[0]["z"]
    widget.state_view.compare_switch.value = True
    assert widget.state.compare == 4
    for m in (4, 0, 10):
        widget.state_view.compare_token.value = m
        difference = (trace.state(0, 10)[0].double() - trace.state(0, m)[0].double()).numpy()
        drawn_difference = np.array(data(widget.state_view.state_map)[0]["z"])
        assert drawn_difference == pytest.approx(difference, rel=1e-4, abs=1e-12)
        assert f"minus S after m = {m} " in widget.state_view.compare_text.value
    widget.state_view.compare_switch.value = False
    assert data(widget.state_view.state_map)[0]["z"] == alone
    assert "minus" not in widget.state_view.compare_text.value


def test_a_comparison_ends_with_its_text(open_modes):
    widget = open_modes(view=STATE, compare=9)
    widget.text.value = "A fox"
    assert widget.state.compare is None
    assert not widget.state_view.compare_switch.value
    assert widget.state_view.compare_token.max == widget.trace.length - 1
    assert not failed(widget)
