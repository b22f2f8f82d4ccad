"""The figures that say why a token is predicted, and how surprising the text was."""

from __future__ import annotations

import numpy as np
import pytest

import retnet_viz as rv
from retnet_viz.figures.base import captions
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import RetNet

TEXT = "the cat and the dog, the cat and the dog, the cat and the"


@pytest.fixture(scope="module")
def trace(shipped_model: RetNet) -> rv.Trace:
    return rv.trace(shipped_model, TEXT)


def test_the_rows_of_an_attribution_add_up_to_the_logit(trace: rv.Trace) -> None:
    cells, totals = rv.figures.attribution(trace, token=" dog").data
    found = trace.attribution(" dog")
    assert sum(totals.x) == pytest.approx(found.logit, abs=1e-4)
    heads = [i for i, name in enumerate(totals.customdata) if "head" in name]
    assert len(heads) == trace.n_layers * trace.n_heads
    rows = np.asarray(cells.z, dtype=float)
    np.testing.assert_allclose(rows[heads].sum(1), np.asarray(totals.x)[heads])
    assert np.isnan(np.delete(rows, heads, 0)).all()
    layer, head, source = (int(i) for i in np.unravel_index(found.heads.argmax(), (4, 4, 16)))
    row = list(totals.customdata).index(f"layer {layer}, head {head}")
    assert rows[row].argmax() == source
    assert cells.zmax == -cells.zmin == pytest.approx(np.nanmax(np.abs(rows)))


def test_an_attribution_ends_at_its_position(trace: rv.Trace) -> None:
    cells, _ = rv.figures.attribution(trace, 4).data
    assert np.asarray(cells.z).shape[1] == 5
    sentence = rv.figures.attribution.spec(trace, 4)["layout"]["meta"]["sentence"]
    token = visible(trace.piece(int(trace.logits[4].argmax())))
    assert sentence.startswith(f"The logit of “{token}” is ")


def test_what_speaks_for_and_against_is_told(trace: rv.Trace) -> None:
    spec = rv.figures.attribution.spec(trace, token=" dog", against=" cat")
    assert spec["layout"]["title"]["text"].startswith("Why “·dog” less “·cat”: the logit 2.01 ")
    sentence = spec["layout"]["meta"]["sentence"]
    assert sentence.startswith("The logit of “·dog” less “·cat” is 2.01. Most comes from layer ")
    assert "which reads token 10 “·dog”" in sentence or "which reads token 4 “·dog”" in sentence
    assert "Most is taken by layer " in sentence


def test_the_text_of_a_token_is_no_markup(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    figure = rv.figures.attribution(rv.trace(model, "<b>a"), token="<")
    assert "Why “&lt;”" in figure.layout.title.text


def test_surprise_is_the_loss_of_each_token(trace: rv.Trace) -> None:
    figure = rv.figures.surprise(trace, selected=-1)
    (line,) = figure.data
    assert list(line.x) == list(range(1, trace.length))
    np.testing.assert_allclose(line.y, trace.loss, rtol=1e-4)
    assert figure.layout.shapes[0].x0 == trace.length - 1
    sentence = figure.layout.meta["sentence"]
    assert sentence.startswith("Token 1 “·cat” was most surprising (7.81 nats); the mean of all is")


def test_a_text_of_one_token_surprises_nobody(shipped_model: RetNet) -> None:
    figure = rv.figures.surprise(rv.trace(shipped_model, [5]))
    assert figure.layout.meta["sentence"] == "A text of one token has nothing that could surprise."


def test_the_lens_says_what_each_layer_would_predict(trace: rv.Trace) -> None:
    figure = rv.figures.lens(trace, count=5)
    (cells,) = figure.data
    assert list(cells.x) == [11, 12, 13, 14, 15]
    for layer in range(trace.n_layers):
        shares, ids = trace.lens(layer, slice(11, 16)).double().softmax(-1).max(-1)
        np.testing.assert_allclose(cells.z[layer], shares)
        assert list(cells.text[layer]) == [visible(trace.piece(i)) for i in ids.tolist()]
    assert cells.text[-1][-1] == "·dog"
    before = rv.figures.lens(trace, last=4).data[0]
    assert list(before.x) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="count must be 1 or more"):
        rv.figures.lens(trace, count=0)


def test_the_lens_tells_since_when_the_prediction_stands(trace: rv.Trace) -> None:
    words = [row[-1] for row in rv.figures.lens(trace).data[0].text]
    since = next(i for i in range(4) if set(words[i:]) == {words[-1]})
    sentence = rv.figures.lens.spec(trace)["layout"]["meta"]["sentence"]
    assert sentence.startswith("After token 15 “·the” the model says “·dog”, and ")
    assert f"from layer {since} on" in sentence
    assert captions.lens(trace, 15, [1, 2, 1, 3]).endswith("and only its last layer would.")
