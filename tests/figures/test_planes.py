"""Heatmaps of the T x T planes, checked by the numbers that they hold."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plotly.colors import sample_colorscale

from retnet_viz import figures
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.figures.base.scale import SCALES, color_scale
from retnet_viz.figures.base.theme import HEAD_COLORS
from retnet_viz.figures.reading.planes import plane_values
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, trace

ModelFactory = Callable[..., RetNet]
PLANES = ("decay", "scores", "retention")
SIGNED = ("scores", "retention")
NASTY = "a <b>\n\t<script>&amp; \u202e\x00"


@pytest.fixture(scope="module")
def model(tiny_model: ModelFactory, tiny_tokenizer: Tokenizer) -> RetNet:
    model = tiny_model(n_heads=8, d_model=32, decay=(0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.999, 1.0))
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture(scope="module", params=MODES)
def sample(request: pytest.FixtureRequest, model: RetNet) -> Trace:
    return trace(model, "Once " + NASTY, request.param, 4)


def color_at(heatmap, share: float) -> tuple[float, float, float]:  # type: ignore[no-untyped-def]
    """Red, green and blue at a share of a heatmap's colour scale, each in [0, 1]."""
    colors = [list(pair) for pair in heatmap.colorscale]
    return sample_colorscale(colors, [share], colortype="tuple")[0]


def cells(heatmap) -> np.ndarray:  # type: ignore[no-untyped-def]
    """The values that hovering shows, (T, T)."""
    return np.array(heatmap.customdata)[..., 0].astype(float)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", PLANES)
def test_every_cell_is_the_number_of_the_trace_at_its_place_on_the_scale(
    name: str, scale: str, sample: Trace
) -> None:
    layer, heads = 1, [3, 0, 7]
    figure = getattr(figures, name)(sample, layer, heads=heads, scale=scale)
    assert [heatmap.type for heatmap in figure.data] == ["heatmap"] * 3
    exact = getattr(sample, name)(layer).numpy()
    causal = np.tri(sample.length, dtype=bool)
    visible_values = exact[heads][:, causal]
    largest = 1.0 if name == "decay" else np.abs(visible_values).max()
    for heatmap, head in zip(figure.data, heads, strict=True):
        values, positions = cells(heatmap), np.array(heatmap.z, dtype=float)
        assert np.isnan(values[~causal]).all()
        assert np.isnan(positions[~causal]).all()
        assert np.allclose(values[causal], exact[head][causal], rtol=1e-6, atol=1e-7)
        scaled = values[causal] / largest
        sign, size = np.sign(scaled), np.abs(scaled)
        if scale == "linear":
            position = size
        elif scale == "arcsinh":
            position = np.arcsinh(size / 0.05) / np.arcsinh(1 / 0.05)
        else:
            floor = 1e-4
            if name == "decay":  # starts at the smallest decay in the plane
                floor = max(floor, visible_values[visible_values > 0].min())
            position = np.clip(1 - np.log(np.maximum(size, 1e-30)) / np.log(floor), 0, 1)
        expected = sign * position if name in SIGNED else position
        assert np.allclose(positions[causal], expected, atol=1e-5)
        assert heatmap.hovertemplate.startswith(f"head {head}<br>n = %{{y}}")


@pytest.mark.parametrize("name", PLANES)
def test_all_heads_share_one_scale_with_zero_at_its_centre(name: str, sample: Trace) -> None:
    figure = getattr(figures, name)(sample, 0)
    assert len(figure.data) == 8
    ranges = {(heatmap.zmin, heatmap.zmax) for heatmap in figure.data}
    assert ranges == {(-1, 1) if name in SIGNED else (0, 1)}
    scales = {json.dumps(heatmap.colorscale) for heatmap in figure.data}
    assert len(scales) == 1
    assert [heatmap.showscale for heatmap in figure.data] == [True] + [False] * 7
    middle = color_at(figure.data[0], 0.5)
    if name in SIGNED:
        assert max(middle) - min(middle) < 0.01  # a grey, near white
        assert min(middle) > 0.95
    # the strongest weight of the plane reaches the end of the scale
    positions = np.array([heatmap.z for heatmap in figure.data], dtype=float)
    assert np.nanmax(np.abs(positions)) == pytest.approx(1)


def test_blue_is_negative_and_red_is_positive(sample: Trace) -> None:
    heatmap = figures.retention(sample, 0).data[0]
    low, high = color_at(heatmap, 0), color_at(heatmap, 1)
    assert low[2] > low[0]
    assert high[0] > high[2]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", PLANES)
def test_the_legend_names_the_value_at_each_place(name: str, scale: str, sample: Trace) -> None:
    figure = getattr(figures, name)(sample, 0, scale=scale)
    bar = figure.data[0].colorbar
    values = np.concatenate([cells(h)[np.tri(sample.length, dtype=bool)] for h in figure.data])
    largest = 1.0 if name == "decay" else np.abs(values).max()
    assert float(bar.ticktext[-1]) == pytest.approx(largest, rel=0.05)
    assert bar.tickvals[-1] == 1
    if name in SIGNED:
        assert list(bar.tickvals) == [-1, -0.5, 0, 0.5, 1]
        assert bar.ticktext[2] == "0"
        assert [float(t) for t in bar.ticktext] == [-float(t) for t in reversed(bar.ticktext)]
    else:
        assert list(bar.tickvals) == [0, 0.5, 1]


@pytest.mark.parametrize("name", PLANES)
def test_the_title_says_whether_the_mode_computed_it(name: str, sample: Trace) -> None:
    title = getattr(figures, name)(sample, 1).layout.title.text
    assert "layer 1" in title
    assert title.endswith(f"{sample.mode}: {sample.origin(name)}")
    word = {"parallel": "computed", "recurrent": "derived", "chunkwise": "computed inside chunks"}
    assert word[sample.mode] in title


def test_hover_names_the_reading_and_the_read_token(sample: Trace) -> None:
    heatmap = figures.retention(sample, 0).data[0]
    data = np.array(heatmap.customdata)
    labels = [data[n, 0, 1] for n in range(sample.length)]
    for n in range(sample.length):
        for m in range(sample.length):
            assert (data[n, m, 1], data[n, m, 2]) == (labels[n], labels[m])
    assert labels[0].startswith("O")
    assert "customdata[1]}” reads m = %{x} “%{customdata[2]}" in heatmap.hovertemplate
    joined = "".join(labels)
    assert "<" not in joined
    assert "&lt;" in joined
    assert "⏎" in joined


def test_heads_are_named_in_their_colours_with_their_gamma(sample: Trace) -> None:
    notes = figures.decay(sample, 0, heads=[6, 1]).layout.annotations
    assert [note.text for note in notes] == ["<b>head 6</b> γ 0.999", "<b>head 1</b> γ 0.5"]
    assert [note.font.color for note in notes] == [HEAD_COLORS[6], HEAD_COLORS[1]]


def test_reading_goes_down_and_panels_do_not_overlap(sample: Trace) -> None:
    layout = figures.scores(sample, 0).layout
    boxes = []
    for i in range(8):
        axis = "" if i == 0 else str(i + 1)
        x, y = layout[f"xaxis{axis}"], layout[f"yaxis{axis}"]
        assert y.autorange == "reversed"
        assert y.scaleanchor == f"x{axis}"
        boxes.append((*x.domain, *y.domain))
        assert 0 <= x.domain[0] < x.domain[1] <= 1
        assert 0 <= y.domain[0] < y.domain[1] <= 1
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert a[0] >= b[1] or b[0] >= a[1] or a[2] >= b[3] or b[2] >= a[3]


@given(
    ids=st.lists(st.integers(0, 299), min_size=1, max_size=6),
    name=st.sampled_from(PLANES),
    scale=st.sampled_from(SCALES),
    theme=st.sampled_from(["light", "dark"]),
    dtype=st.sampled_from([torch.float64, torch.bfloat16]),
)
def test_any_text_makes_a_figure_that_json_can_hold(
    ids: list[int], name: str, scale: str, theme: str, dtype: torch.dtype, tiny_model: ModelFactory
) -> None:
    model = tiny_model(d_model=8, n_layers=1, dtype=dtype)
    sample = trace(model, torch.tensor(ids))
    figure = getattr(figures, name)(sample, 0, scale=scale, theme=theme)
    text = figure.to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    data = json.loads(text)
    assert len(data["data"]) == 2
    first = data["data"][0]["customdata"]
    assert first[0][0][0] == pytest.approx(getattr(sample, name)(0)[0, 0, 0].item(), rel=1e-6)
    if len(ids) > 1:
        assert first[0][1][0] is None  # above the diagonal


def test_the_colours_of_the_data_are_the_same_in_light_and_dark(sample: Trace) -> None:
    light, dark = (figures.retention(sample, 0, theme=theme) for theme in ("light", "dark"))
    for a, b in zip(light.data, dark.data, strict=True):
        assert a.colorscale == b.colorscale
        assert np.array_equal(a.z, b.z, equal_nan=True)
    papers = [figure.layout.template.layout.paper_bgcolor for figure in (light, dark)]
    assert papers[0] != papers[1]


@pytest.mark.parametrize("name", PLANES)
def test_what_cannot_be_shown_is_refused(name: str, sample: Trace) -> None:
    draw = getattr(figures, name)
    with pytest.raises(ValueError, match=r"heads names no head.* 0 \.\. 7"):
        draw(sample, 0, heads=[])
    for head in (8, -1):
        with pytest.raises(IndexError, match=rf"head {head} is outside 0 \.\. 7"):
            draw(sample, 0, heads=[0, head])
    with pytest.raises(IndexError, match=r"layer 2 is outside 0 \.\. 1"):
        draw(sample, 2)
    with pytest.raises(ValueError, match=r"scale must be one of .*arcsinh.*not 'cubic'"):
        draw(sample, 0, scale="cubic")
    with pytest.raises(ValueError, match=r"theme must be one of .*not 'auto'"):
        draw(sample, 0, theme="auto")


def test_an_unknown_plane_is_refused(sample: Trace) -> None:
    with pytest.raises(ValueError, match=r"plane must be one of .*not 'state'"):
        plane_values(sample, "state", 0, [0], "linear")


def test_plane_values_are_the_same_numbers_as_the_figure(sample: Trace) -> None:
    values, scale = plane_values(sample, "retention", 1, [2, 5], "arcsinh")
    figure = figures.retention(sample, 1, heads=[2, 5], scale="arcsinh")
    for i, heatmap in enumerate(figure.data):
        assert np.array_equal(values[i].astype(float), cells(heatmap), equal_nan=True)
        assert np.array_equal(scale.position(values[i]), np.array(heatmap.z), equal_nan=True)
    causal = np.tri(sample.length, dtype=bool)
    assert scale == color_scale(values[:, causal], "arcsinh", signed=True)


def test_heads_may_be_any_sequence(sample: Trace) -> None:
    for heads in ((1, 2), range(1, 3)):
        figure = figures.retention(sample, 0, heads=heads)
        expected = figures.retention(sample, 0, heads=[1, 2])
        assert figure.to_json() == expected.to_json()
