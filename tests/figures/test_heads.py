"""All heads at once: pictures against a loop over the cells, shares against the attribution."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.figures.base.scale import color_scale, raster
from retnet_viz.figures.reading import heads as module
from retnet_viz.figures.reading.heads import pictures, places, pool, shares_of, tokens_per_pixel
from retnet_viz.model import MODES, RetNet

TEXT = "the cat and the dog, the cat and the dog, the cat and the"


@pytest.fixture(scope="module")
def trace(shipped_model: RetNet) -> rv.Trace:
    return rv.trace(shipped_model, TEXT)


def farthest(weights: np.ndarray, step: int) -> np.ndarray:
    """(H, P, P): the weight farthest from zero of each block of a (H, T, T) plane, one by one."""
    side = -(-weights.shape[-1] // step)
    found = np.zeros((len(weights), side, side), np.float32)
    for head, i, j in np.ndindex(*found.shape):
        block = weights[head, i * step : (i + 1) * step, j * step : (j + 1) * step].ravel()
        found[head, i, j] = block[np.abs(block).argmax()]
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("most", [48, 5, 3, 1])
def test_a_pixel_is_the_weight_farthest_from_zero(
    tiny_model: Callable[..., RetNet], mode: str, most: int
) -> None:
    found = rv.trace(tiny_model(), torch.arange(13), mode, chunk_size=4)
    step = tokens_per_pixel(13, most)
    drawn = pictures(found, most)
    assert drawn.shape[-1] <= most
    for layer in range(found.n_layers):
        np.testing.assert_array_equal(drawn[layer], farthest(found.retention(layer).numpy(), step))


def test_a_long_text_is_pooled_in_bands(trace: rv.Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pictures(trace, 5)
    monkeypatch.setattr(module, "_BAND", 1)
    np.testing.assert_allclose(pictures(trace, 5), whole, rtol=1e-5)


def test_the_sign_of_the_farthest_weight_is_kept() -> None:
    weights = torch.tensor([[[1.0, 0.0, 0.0], [-3.0, 2.0, 0.0], [0.5, -0.1, -0.25]]])
    assert pool(weights, 2).tolist() == [[[-3.0, 0.0], [0.5, -0.25]]]


@pytest.mark.parametrize("scale", ["linear", "log", "arcsinh"])
def test_each_head_has_a_color_scale_of_its_own(trace: rv.Trace, scale: str) -> None:
    values = pictures(trace)
    drawn = places(values, scale)
    mask = np.tri(values.shape[-1], dtype=bool)
    for layer, head in np.ndindex(*values.shape[:2]):
        alone = values[layer, head]
        expected = raster(alone, color_scale(alone, scale, signed=True), mask=mask)
        assert np.abs(drawn[layer, head].astype(int) - expected).max() <= 1  # of rounding
    with pytest.raises(ValueError, match="scale must be one of"):
        places(values, "square")


def test_the_figure_shows_every_head_and_its_share(trace: rv.Trace) -> None:
    figure = rv.figures.heads(trace, " dog")
    mosaic, bars = figure.data
    found = trace.attribution(" dog")
    cells, hovers = np.asarray(mosaic.z, dtype=float), np.asarray(mosaic.customdata)
    side = trace.length
    assert cells.shape == (4 * (side + 1) - 1, 4 * (side + 1) - 1)
    assert len(mosaic.x) == cells.shape[1] + 1
    for layer, head in np.ndindex(4, 4):
        weights = trace.retention(layer)[head].numpy()
        top, left = layer * (side + 1), head * (side + 1)
        shown = cells[top : top + side, left : left + side]
        causal = np.tri(side, dtype=bool)
        np.testing.assert_allclose(shown[causal], (weights / np.abs(weights).max())[causal], 1e-5)
        assert np.isnan(shown[~causal]).all()
        assert hovers[top + 7, left + 3] == (
            f"layer {layer}, head {head}<br>n = 7 reads m = 3<br>{weights[7, 3]:.4g}"
        )
    assert np.isnan(cells[side]).all()
    named = dict(bars.customdata)
    for layer, head in np.ndindex(4, 4):
        share = found.heads[layer, head].sum().item()
        assert named[f"layer {layer}, head {head}"] == pytest.approx(share, rel=1e-4)
    lengths = np.asarray(bars.x, dtype=float)
    np.testing.assert_allclose(
        lengths / np.abs(lengths).max(),
        shares_of(found).ravel() / np.abs(shares_of(found)).max(),
        rtol=1e-3,
    )
    texts = [note.text for note in figure.layout.annotations]
    assert texts.count("½ 22 tokens") == 4
    assert f"{shares_of(found)[0, 0]:+.2f}" in texts


def test_the_sentence_names_who_brings_and_who_takes_most(trace: rv.Trace) -> None:
    figure = rv.figures.heads(trace, " dog", position=4)
    shares = shares_of(trace.attribution(" dog", 4))
    most = divmod(int(shares.argmax()), 4)
    assert f"Layer {most[0]}, head {most[1]} brings most" in figure.layout.meta["sentence"]
    assert "after token 4 “·dog”" in figure.layout.meta["sentence"]


def test_many_heads_have_smaller_pictures(tiny_model: Callable[..., RetNet]) -> None:
    found = rv.trace(tiny_model(n_layers=33), torch.arange(30))
    assert found.n_layers * found.n_heads > 64
    (mosaic, _) = rv.figures.heads(found).data
    assert len(mosaic.z) == 33 * 16 - 1  # two tokens a pixel
    assert "n = 28 to 29 reads m = 0 to 1" in str(np.asarray(mosaic.customdata)[14, 0])
