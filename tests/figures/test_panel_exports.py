"""The panels that only files have: the strip of tokens and the agreement as figures."""

from __future__ import annotations

import numpy as np
import pytest

import retnet_viz as rv
from retnet_viz.figures.base.scale import color_scale
from retnet_viz.trace import Agreement, Trace
from tests.support.figures import sentence_of


@pytest.fixture(scope="module")
def sample(shipped_model: rv.RetNet) -> Trace:
    return rv.trace(shipped_model, "the cat and the dog, the cat and the <b>dog</b>")


def test_the_strip_has_each_token_once_shaded_by_the_mean_weight(sample):
    selected, heads = 9, [1, 3]
    strip = rv.figures.token_strip(sample, 2, selected, heads=heads).data[0]
    weights = sample.retention(2)[heads, selected].mean(0).numpy()
    scale = color_scale(weights[: selected + 1], "linear", signed=True)
    places = [z for row in strip.z for z in row][: sample.length]
    assert np.allclose([float(z) for z in places[: selected + 1]], scale.position(weights)[:10])
    assert all(z is None for z in places[selected + 1 :])
    texts = [text for row in strip.text for text in row][: sample.length]
    assert texts[selected].startswith("<b>")
    assert "&lt;b" in "".join(texts)
    hovers = [text for row in strip.customdata for text in row]
    assert hovers[4] == f"n = 4: {weights[4]:.4g}"
    assert hovers[selected + 1] == f"n = {selected + 1}: not read"


def test_the_strip_of_one_token(sample):
    one = rv.trace(sample.model, "a")
    assert rv.figures.token_strip(one, 0).data[0].z == ((1.0,),) or one.length == 1


def test_the_strip_refuses_a_token_that_there_is_not(sample):
    with pytest.raises(IndexError, match="position 99"):
        rv.figures.token_strip(sample, 0, 99)


def test_agreement_has_a_bar_for_each_difference(sample):
    differences = Agreement(
        logits={"recurrent": 1e-6, "chunkwise": 0.0},
        outputs={"recurrent": 3e-6, "chunkwise": 2e-7},
        scale=12.5,
    )
    figure = rv.figures.agreement(differences, "parallel")
    assert [list(bar.x) for bar in figure.data] == [[1e-6, 0.0], [3e-6, 2e-7]]
    assert list(figure.data[0].text) == ["1.0e-06", "0"]
    assert "3.0e-06" in sentence_of(figure)
    assert figure.layout.xaxis.type == "log"
