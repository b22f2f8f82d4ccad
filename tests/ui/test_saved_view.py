"""What a notebook keeps of a page where no kernel runs: a text and a picture of what it showed."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

import retnet_viz as rv
from retnet_viz.figures.base.theme import DIVERGING, color_table
from retnet_viz.ui.export.saved_weights import MOST_TOKENS, SIDE, weights_png
from retnet_viz.ui.panels.quiz import Question

TEXT = "the cat <b>and</b> the dog"
WIDGET = "application/vnd.jupyter.widget-view+json"


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def test_an_explorer_leaves_its_text_and_its_weights(shipped_model, opened) -> None:
    page = opened(rv.explore(shipped_model, TEXT, mode="recurrent", layer=2, heads=(0, 3)))
    bundle = page._repr_mimebundle_()
    assert bundle.keys() == {WIDGET, "text/plain", "text/html"}
    assert bundle["text/plain"] == f"Explorer({page.trace.length} tokens in recurrent mode)"
    html = bundle["text/html"]
    assert "live where a kernel runs" in html
    assert "layer 2, heads 0, 3" in html
    assert "<b>and</b>" not in html
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    expected = weights_png(rv.trace(shipped_model, TEXT), 2, [0, 3], "linear")
    assert np.abs(picture(base64.b64decode(encoded)).astype(int) - picture(expected)).max() <= 4


def test_each_pixel_is_a_weight_in_the_colours_of_the_explorer(shipped_model) -> None:
    trace = rv.trace(shipped_model, TEXT)
    weights = trace.retention(1)[[2]]
    pixels = picture(weights_png(trace, 1, [2], "linear"))
    factor = pixels.shape[0] // trace.length
    assert pixels.shape == (factor * trace.length, factor * trace.length, 4)
    assert pixels.shape[0] >= SIDE
    cells = pixels[::factor, ::factor]
    assert np.array_equal(cells.repeat(factor, 0).repeat(factor, 1), pixels)
    read = torch.ones(trace.length, trace.length, dtype=torch.bool).tril().numpy()
    assert (cells[..., 3] == np.where(read, 255, 0)).all()
    place = 128 + np.rint(127 * (weights[0] / weights.abs().max()).numpy()).astype(int)
    assert (cells[read][:, :3] == color_table(DIVERGING)[place[read]]).all()


@pytest.mark.parametrize("text", ["", "a " * (MOST_TOKENS + 1)], ids=["empty", "long"])
def test_no_text_and_a_long_one_leave_no_picture(text: str, shipped_model, opened) -> None:
    page = opened(rv.explore(shipped_model, text, mode="chunkwise"))
    bundle = page._repr_mimebundle_()
    assert "<img" not in bundle["text/html"]
    assert len(bundle["text/html"]) < 20_000


def test_a_question_leaves_what_it_asks_and_no_answer() -> None:
    question = Question("Is 1 < 2?", {"<yes>": 1, "no": 2}, lambda: 1, "As one sees.")
    data, _ = question._repr_mimebundle_()
    assert data["text/plain"] == "Question('Is 1 < 2?')"
    assert "Is 1 &lt; 2?" in data["text/html"]
    assert "<li>&lt;yes&gt;</li><li>no</li>" in data["text/html"]
    assert "As one sees" not in str(data)


@pytest.mark.parametrize(
    "make", [rv.cost, rv.modes, rv.practice], ids=["cost", "modes", "practice"]
)
def test_every_page_says_in_a_line_what_it_is(make, opened) -> None:
    bundle = opened(make())._repr_mimebundle_()
    assert re.fullmatch(r"\w+\(.*\)", bundle["text/plain"])
    assert "object at 0x" not in str(bundle)
    assert "live where a kernel runs" in bundle["text/html"]
