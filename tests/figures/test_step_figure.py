"""The still figure of a step shows the tensors of that step."""

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.figures.steps.step_figure import stage
from retnet_viz.model import MODES
from tests.support.figures import sentence_of


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model(dtype=torch.float32)


def values_of(figure, name):
    return next(np.array(item.z) for item in figure.data if item.name == name)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_a_figure_in_every_theme(model, mode, theme):
    trace = rv.trace(model, torch.arange(10), mode, 4)
    figure = rv.figures.stage(trace, 1, 1, 6, theme=theme)
    assert mode in figure.layout.title.text.lower()
    assert sentence_of(figure)


def test_the_recurrent_figure_holds_the_states(model):
    trace = rv.trace(model, torch.arange(10), "recurrent")
    figure = stage(trace, 0, 1, 6)
    assert np.array_equal(values_of(figure, "S₅"), trace.state(0, 5)[1].numpy())
    assert np.array_equal(values_of(figure, "S₆"), trace.state(0, 6)[1].numpy())
    bars = next(item for item in figure.data if item.type == "bar")
    assert bars.y == pytest.approx(rv.terms(trace, 0, 1, 6).contributions.tolist())
    states = [item for item in figure.data if item.name in ("S₅", "γ S₅", "S₆")]
    assert len({(item.zmin, item.zmax) for item in states}) == 1  # one scale for all of them


def test_the_chunkwise_parts_add_up(model):
    figure = stage(rv.trace(model, torch.arange(10), "chunkwise", 4), 0, 0, 6)
    total = values_of(figure, "inner") + values_of(figure, "cross")
    assert np.allclose(total, values_of(figure, "O₁"), atol=1e-5)


def test_tokens_are_escaped(model, tiny_tokenizer):
    model.tokenizer = tiny_tokenizer
    trace = rv.trace(model, "<b>&</b>", "recurrent")
    figure = stage(trace, 0, 0, trace.length - 1)
    bars = next(item for item in figure.data if item.type == "bar")
    assert "".join(bars.customdata) == "&lt;b&gt;&amp;&lt;/b&gt;"
