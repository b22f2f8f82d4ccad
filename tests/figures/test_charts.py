"""Lines and bars: state norms, next tokens and costs, checked by the numbers that they hold."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

import retnet_viz as rv
from retnet_viz import figures
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.figures.base.theme import (
    HEAD_COLORS,
    MODE_COLORS,
    PAPER,
    SEQUENTIAL,
    THEMES,
    color_table,
    head_color,
    template,
)
from retnet_viz.figures.reading.mode_costs import cost_bars
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Cost, Trace, trace

ModelFactory = Callable[..., RetNet]
TEXT = "Once <b>\n&\u202e"


@pytest.fixture(scope="module")
def model(tiny_model: ModelFactory, tiny_tokenizer: Tokenizer) -> RetNet:
    model = tiny_model(n_heads=4, decay=(0.5, 0.9, 0.99, 1.0))
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture(scope="module", params=MODES)
def sample(request: pytest.FixtureRequest, model: RetNet) -> Trace:
    return trace(model, TEXT, request.param, 4)


# -- state norms ------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [None, [2], [3, 1]])
def test_a_line_per_head_holds_its_state_norms(heads: list[int] | None, sample: Trace) -> None:
    figure = figures.state_norm(sample, 1, heads=heads)
    visible_heads = heads or [0, 1, 2, 3]
    assert [line.name for line in figure.data] == [f"head {head}" for head in visible_heads]
    for line, head in zip(figure.data, visible_heads, strict=True):
        states = [sample.state(1, n)[head] for n in range(sample.length)]
        expected = [float((state**2).sum().sqrt()) for state in states]
        assert np.allclose(line.y, expected, rtol=1e-6)
        assert line.x is None  # token n stands at n
        assert line.line.color == HEAD_COLORS[head]
        gamma = sample.gamma(1)[head].item()
        assert line.hovertemplate.startswith(f"head {head} (γ {gamma:.4g})")
        assert len(line.customdata) == sample.length
        assert "<" not in "".join(line.customdata)
        assert "&lt;" in "".join(line.customdata)
    assert figure.layout.showlegend is True


def test_the_norms_say_whether_the_mode_computed_them(sample: Trace) -> None:
    notes = [note.text for note in figures.state_norm(sample, 0).layout.annotations]
    assert notes == [sample.origin("state_norm")]


def test_the_cursor_stands_at_the_selected_token(sample: Trace) -> None:
    assert len(figures.state_norm(sample, 0).layout.shapes) == 0
    for selected in (0, 3):
        (line,) = figures.state_norm(sample, 0, selected=selected).layout.shapes
        assert (line.x0, line.x1, line.y0, line.y1) == (selected, selected, 0, 1)


def test_a_single_token_is_a_visible_point(model: RetNet) -> None:
    (line,) = figures.state_norm(trace(model, "O"), 0, heads=[0]).data
    assert "markers" in line.mode
    assert len(line.y) == 1


def test_a_head_has_one_colour_in_every_figure(sample: Trace) -> None:
    lines = figures.state_norm(sample, 0).data
    notes = figures.retention(sample, 0).layout.annotations
    assert [line.line.color for line in lines] == [note.font.color for note in notes]
    assert len({head_color(head) for head in range(8)}) == 8
    assert head_color(8) == head_color(0)


# -- next token -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 10, 299, 1000])
@pytest.mark.parametrize("position", [-1, 0, 3])
def test_bars_are_the_likeliest_tokens_with_their_probabilities(
    position: int, count: int, sample: Trace, tiny_tokenizer: Tokenizer
) -> None:
    figure = figures.next_token(sample, position, count=count)
    (bars,) = figure.data
    logits = sample.logits[position].numpy()
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    order = np.argsort(-shares)[:count]
    assert np.allclose(bars.x, shares[order], rtol=1e-9)
    assert list(bars.y) == list(range(len(order)))
    for name, tick, share in zip(
        bars.customdata, figure.layout.yaxis.ticktext, shares[order], strict=True
    ):
        assert tick.startswith(name)
        assert tick[len(name) :].strip("\u00a0") == f"{100 * share:.1f}\u00a0%"
    for label, token_id in zip(bars.customdata, order, strict=True):
        piece = tiny_tokenizer.piece(int(token_id))
        if piece.isalnum():
            assert label == piece
        assert "<" not in label


def test_the_likeliest_token_stands_on_top_beside_its_name(sample: Trace) -> None:
    figure = figures.next_token(sample)
    axis = figure.layout.yaxis
    assert axis.range[0] > axis.range[1]
    # The shares stand below each other, so that all names end at one place.
    assert (
        len(
            {len(t) - len(n) for t, n in zip(axis.ticktext, figure.data[0].customdata, strict=True)}
        )
        == 1
    )
    assert list(axis.tickvals) == list(figure.data[0].y)
    assert figure.layout.xaxis.range[1] > figure.data[0].x[0]


def test_names_of_tokens_and_the_title_are_escaped(
    sample: Trace, tiny_tokenizer: Tokenizer, tiny_model: ModelFactory
) -> None:
    nasty = tiny_tokenizer.encode("<")[0]
    model = tiny_model(tie_embeddings=False)
    model.tokenizer = tiny_tokenizer
    with torch.no_grad():  # so that "<" is the likeliest token after anything
        model.norm.bias[0] = 100.0
        model.head.weight.zero_()
        model.head.weight[nasty, 0] = 1.0
    figure = figures.next_token(trace(model, "a<"), count=3)
    assert figure.data[0].customdata[0] == "&lt;"
    assert figure.layout.yaxis.ticktext[0] == "&lt;\u00a0100.0\u00a0%\u00a0"
    assert figure.data[0].x[0] == pytest.approx(1)
    assert figure.layout.title.text == "Next after n = 1 “&lt;”"


def test_a_position_from_the_end_is_named_from_the_start(sample: Trace) -> None:
    by_end = figures.next_token(sample, -2)
    by_start = figures.next_token(sample, sample.length - 2)
    assert by_end == by_start
    assert f"n = {sample.length - 2} " in by_end.layout.title.text


def test_next_token_refuses_what_there_is_not(sample: Trace) -> None:
    for position in (sample.length, -sample.length - 1):
        sentence = f"position {position} is outside a text of {sample.length} tokens"
        with pytest.raises(IndexError, match=sentence):
            figures.next_token(sample, position)
    for count in (0, -3):
        with pytest.raises(ValueError, match=f"count must be 1 or more, not {count}"):
            figures.next_token(sample, count=count)


# -- cost -------------------------------------------------------------------------------------

COSTS = {
    "parallel": Cost(1.5, 2_000_000, 64_000, 4096, 1),
    "recurrent": Cost(12.25, 1_000_000, 8_000, 4096, 64),
    "chunkwise": Cost(3.0, 1_500_000, 16_000, 4096, 8),
}


def test_bars_are_the_costs_of_each_mode() -> None:
    figure = cost_bars(COSTS, "recurrent")
    steps, milliseconds, flops, peak = figure.data
    assert list(steps.x) == [1, 64, 8]
    assert list(milliseconds.x) == [1.5, 12.25, 3.0]
    assert list(flops.x) == [2, 1, 1.5]
    assert list(peak.x) == [64, 8, 16]
    assert list(steps.text) == ["1", "64", "8"]
    for bars in figure.data:
        assert list(bars.y) == ["parallel", "<b>recurrent</b>", "chunkwise"]
        assert list(bars.marker.color) == [MODE_COLORS[mode] for mode in MODES]
    labels = [note.text for note in figure.layout.annotations]
    assert labels == ["sequential steps", "time, ms", "arithmetic, MFLOP", "peak memory, kB"]
    for i, bars in enumerate(figure.data):
        axis = figure.layout[f"xaxis{'' if i == 0 else i + 1}"]
        assert axis.range[0] == 0
        assert axis.range[1] > max(bars.x)


def test_in_a_narrow_panel_the_costs_stand_in_two_rows() -> None:
    layout = cost_bars(COSTS, "recurrent").layout
    narrow = go.Layout(layout.meta["narrow"]["layout"])
    names = ["", "2", "3", "4"]
    for wide_or_narrow, columns in ((layout, 4), (narrow, 2)):
        boxes = [
            (wide_or_narrow[f"xaxis{n}"].domain, wide_or_narrow[f"yaxis{n}"].domain) for n in names
        ]
        assert len({x for x, _ in boxes}) == columns
        for i, (x, y) in enumerate(boxes):
            assert 0 <= x[0] < x[1] <= 1
            assert 0 <= y[0] < y[1] <= 1
            note = wide_or_narrow.annotations[i]
            assert (note.x, note.y) == (x[0], y[1])
            below = [other for other in boxes[i + 1 :] if other[0] == x]
            assert all(other_y[1] < y[0] for _, other_y in below)
    assert narrow.annotations[2].text == layout.annotations[2].text
    assert narrow.xaxis2.range == layout.xaxis2.range


def test_the_costs_of_a_trace_are_those_of_its_modes(sample: Trace) -> None:
    figure = figures.cost(sample)
    for i, mode in enumerate(MODES):
        cost = sample.in_mode(mode).cost
        x = [float(bars.x[i]) for bars in figure.data]
        expected = [cost.steps, cost.milliseconds, cost.flops / 1e6, cost.peak_bytes / 1e3]
        assert x == pytest.approx(expected)
        assert ("<b>" in figure.data[0].y[i]) is (mode == sample.mode)


def test_costs_of_nothing_still_make_a_figure() -> None:
    nothing = {mode: Cost(0.0, 0, 0, 0, 0) for mode in MODES}
    json.loads(cost_bars(nothing, "parallel").to_json())


# -- all of them ------------------------------------------------------------------------------


def draw(sample: Trace, theme: str) -> list:
    return [
        figures.state_norm(sample, 0, selected=1, theme=theme),
        figures.next_token(sample, theme=theme),
        cost_bars(COSTS, sample.mode, theme=theme),
    ]


def test_figures_serialise_in_light_and_dark_with_the_same_data(sample: Trace) -> None:
    light, dark = draw(sample, "light"), draw(sample, "dark")
    for a, b in zip(light, dark, strict=True):
        first, second = json.loads(a.to_json()), json.loads(b.to_json())
        assert first["data"] == second["data"]
        assert first["layout"]["template"] != second["layout"]["template"]


@pytest.mark.parametrize("theme", ["", "auto", "Light", None])
def test_an_unknown_theme_is_refused(theme: str, sample: Trace) -> None:
    draws = [
        lambda: figures.state_norm(sample, 0, selected=1, theme=theme),
        lambda: figures.next_token(sample, theme=theme),
        lambda: cost_bars(COSTS, "parallel", theme=theme),
        lambda: template(theme),
    ]
    for draw in draws:
        with pytest.raises(ValueError, match="theme must be one of"):
            draw()


def test_state_norm_refuses_heads_and_layers_that_there_are_not(sample: Trace) -> None:
    with pytest.raises(ValueError, match="heads names no head"):
        figures.state_norm(sample, 0, heads=[])
    for head in (4, -1):
        with pytest.raises(IndexError, match=rf"head {head} is outside 0 \.\. 3"):
            figures.state_norm(sample, 0, heads=[head])
    with pytest.raises(IndexError, match="layer 2 is outside"):
        figures.state_norm(sample, 2)


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two colours."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_one_setting_is_the_theme_of_all_figures_that_are_given_none(sample: Trace) -> None:
    assert rv.theme() == "light"
    try:
        assert rv.theme("dark") == rv.theme() == "dark"
        drawn = [
            figures.state_norm.spec(sample, 0),
            figures.next_token.spec(sample),
            figures.retention.spec(sample, 0),
        ]
        paper = {spec["layout"]["template"]["layout"]["paper_bgcolor"] for spec in drawn}
        assert paper == {PAPER["dark"]}
        light = figures.retention.spec(sample, 0, theme="light")
        assert light["layout"]["template"]["layout"]["paper_bgcolor"] == PAPER["light"]
        with pytest.raises(ValueError, match="theme must be one of"):
            rv.theme("auto")
        assert rv.theme() == "dark"
    finally:
        rv.theme("light")


@pytest.mark.parametrize("theme", THEMES)
def test_text_can_be_read_in_both_themes(theme: str) -> None:
    layout = template(theme)["layout"]
    paper = layout["paper_bgcolor"]
    assert contrast(layout["font"]["color"], paper) >= 7
    assert contrast(layout["xaxis"]["tickfont"]["color"], paper) >= 4.5


def test_a_colour_table_has_the_colours_of_its_scale_in_order() -> None:
    table = color_table(SEQUENTIAL)
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert table[0].tolist() == [68, 1, 84]
    assert table[255].tolist() == [253, 231, 37]
    light = table.astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > -0.5).all()  # a larger magnitude is a lighter colour
