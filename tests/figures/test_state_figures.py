"""Figures of a state: its numbers, its singular values, its bound, what it remembers."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.figures.base.theme import HEAD_COLORS
from retnet_viz.figures.states.singular_values import singular_values
from retnet_viz.figures.states.state import state
from retnet_viz.figures.states.state_norm import state_norm
from retnet_viz.figures.states.token_memory import recall
from retnet_viz.model import RetNet
from retnet_viz.trace import Trace, trace
from tests.support.figures import sentence_of

ModelFactory = Callable[..., RetNet]
GAMMAS = (0.5, 0.9, 0.99, 1.0)
TEXT = "Once <b>\n&\u202e upon"


def sum_state(sample: Trace, layer: int, head: int, n: int) -> np.ndarray:
    """S_n as equation 6 written out: the sum of gamma^(n-m) k_m^T v_m."""
    k, v = sample.k(layer)[head].double().numpy(), sample.v(layer)[head].double().numpy()
    return sum(GAMMAS[head] ** (n - m) * np.outer(k[m], v[m]) for m in range(n + 1))


def draw_all(sample: Trace, theme: str = "light") -> list:
    last = sample.length - 1
    return [
        state(sample, 1, 2, last, theme=theme),
        state(sample, 1, 2, last, compare=0, theme=theme),
        singular_values(sample, 1, last, theme=theme),
        state_norm(sample, 1, selected=last, bound=True, theme=theme),
        recall(sample, 1, 2, last, theme=theme),
    ]


# -- the state --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 3, 6, -1])
def test_the_heatmap_is_the_state_with_a_row_per_key_component(n: int, sample: Trace) -> None:
    figure = state(sample, 1, 2, n)
    (heatmap,) = figure.data
    expected = sum_state(sample, 1, 2, n % sample.length)
    assert np.shape(heatmap.z) == (8, 16)
    assert np.allclose(np.array(heatmap.z, float), expected, rtol=1e-4, atol=1e-9)
    assert "d<sub>k</sub> = 8" in figure.layout.yaxis.title.text
    assert "d<sub>v</sub> = 16" in figure.layout.xaxis.title.text
    assert figure.layout.yaxis.autorange == "reversed"  # row 0 on top
    assert heatmap.hovertemplate.startswith("row %{y}, column %{x}<br>%{z}")


def test_the_difference_is_taken_from_the_state_compared_with(sample: Trace) -> None:
    figure = state(sample, 0, 3, 5, compare=2)
    expected = sum_state(sample, 0, 3, 5) - sum_state(sample, 0, 3, 2)
    assert np.allclose(np.array(figure.data[0].z, float), expected, rtol=1e-4, atol=1e-9)
    assert figure.layout.title.text.startswith("Difference S<sub>5</sub> − S<sub>2</sub>")
    assert state(sample, 0, 3, 5, compare=-1).layout.title.text.startswith(
        f"Difference S<sub>5</sub> − S<sub>{sample.length - 1}</sub>"
    )


def test_zero_is_white_and_the_largest_magnitude_ends_the_scale(sample: Trace) -> None:
    for figure in (state(sample, 1, 2, 4), state(sample, 1, 2, 4, compare=1)):
        (heatmap,) = figure.data
        assert heatmap.zmin == -heatmap.zmax
        assert heatmap.zmax == np.abs(np.array(heatmap.z, float)).max()
        colors = dict(heatmap.colorscale)
        assert colors[0.5] == "rgb(247,247,247)"
        assert colors[0.0].endswith(",97)"), "blue below zero"
        assert colors[1.0] == "rgb(103,0,31)", "red above zero"


def test_a_specification_names_no_colours_that_a_browser_knows_differently(sample: Trace) -> None:
    assert not isinstance(state.spec(sample, 0, 0, 0)["data"][0]["colorscale"], str)


def test_a_state_compared_with_itself_still_makes_a_figure(sample: Trace) -> None:
    figure = state(sample, 0, 0, 3, compare=3)
    assert not np.array(figure.data[0].z, float).any()
    assert figure.data[0].zmax > 0


def test_a_large_state_stays_light_and_keeps_four_digits(model: RetNet) -> None:
    figure = state.spec(trace(model, TEXT), 1, 1, 5)
    numbers = [value for row in figure["data"][0]["z"] for value in row]
    assert max(len(repr(value)) for value in numbers) <= 11
    expected = trace(model, TEXT).state(1, 5)[1].flatten().tolist()
    assert numbers == pytest.approx(expected, rel=5e-5)


def test_the_state_says_whether_the_mode_computed_it(sample: Trace) -> None:
    for figure in (state(sample, 0, 0, 0), state(sample, 0, 0, 2, compare=0)):
        assert [note.text for note in figure.layout.annotations] == [sample.origin("state")]


# -- singular values --------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [None, [2], [3, 1]])
def test_a_line_per_head_holds_its_singular_values_and_rank(
    heads: list[int] | None, sample: Trace
) -> None:
    figure = singular_values(sample, 1, 5, heads=heads)
    visible_heads = heads or [0, 1, 2, 3]
    assert len(figure.data) == len(visible_heads)
    for line, head in zip(figure.data, visible_heads, strict=True):
        expected = np.linalg.svd(sum_state(sample, 1, head, 5), compute_uv=False)
        assert np.allclose(line.y, expected, rtol=1e-5, atol=1e-9)
        shares = expected[expected > 1e-12] / expected.sum()
        rank = np.exp(-(shares * np.log(shares)).sum())
        assert line.name == f"head {head}, effective rank {rank:.1f}"
        assert line.line.color == HEAD_COLORS[head]
    assert "log" in figure.layout.yaxis.title.text
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.showlegend is True


def test_a_legend_of_many_heads_stands_beside_the_lines(tiny_model: ModelFactory) -> None:
    text_sample = trace(tiny_model(n_heads=8, d_model=32), torch.tensor([1, 2, 3]))
    legend = singular_values(text_sample, 0, 2).layout.legend
    assert (legend.xanchor, legend.title.text) == ("left", "effective rank")
    few = singular_values(text_sample, 0, 2, heads=[0, 7])
    assert few.layout.legend.xanchor == "right"
    assert few.data[1].name.startswith("head 7, effective rank ")


def test_the_axis_shows_what_is_no_rounding(sample: Trace) -> None:
    figure = singular_values(sample, 1, 2)  # 3 tokens: 3 values above zero, and 5 of rounding
    low, high = (10**edge for edge in figure.layout.yaxis.range)
    for line in figure.data:
        assert all(low < value < high for value in line.y[:3])
        assert all(value < low for value in line.y[3:])


# -- the bound --------------------------------------------------------------------------------


def test_every_norm_stays_below_its_heads_bound(sample: Trace) -> None:
    figure = state_norm(sample, 1, bound=True)
    lines = {line.name: line for line in figure.data}
    assert "head 3, bound" not in lines, "γ is 1: nothing bounds it"
    for head in range(3):
        norm, bound = lines[f"head {head}"], lines[f"head {head}, bound"]
        k, v = sample.k(1)[head].numpy(), sample.v(1)[head].numpy()
        largest = max(np.sqrt((k[m] ** 2).sum() * (v[m] ** 2).sum()) for m in range(sample.length))
        expected = largest / (1 - GAMMAS[head])
        assert np.allclose(bound.y, expected)
        assert max(norm.y) < expected
        assert bound.line.dash == "dash"
        assert bound.line.color == norm.line.color == HEAD_COLORS[head]
        assert f"{expected:.4g}" in bound.hovertemplate
        assert set(range(sample.length)) <= set(bound.x), "it can be pointed at on every token"


def test_the_log_axis_of_the_bound_holds_all_lines(sample: Trace) -> None:
    figure = state_norm(sample, 1, heads=[0, 2], bound=True)
    low, high = (10**edge for edge in figure.layout.yaxis.range)
    assert figure.layout.yaxis.type == "log"
    assert all(low < value < high for line in figure.data for value in line.y)
    assert {line.name for line in figure.data} == {
        "head 0", "head 0, bound", "head 2", "head 2, bound",
    }  # fmt: skip


def test_without_the_bound_the_axis_starts_at_zero(sample: Trace) -> None:
    figure = state_norm(sample, 1)
    assert figure.layout.yaxis.type is None
    assert figure.layout.yaxis.rangemode == "tozero"
    assert len(figure.data) == 4


# -- recall -----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 4, -1])
def test_bars_are_the_cosines_of_what_each_key_reads_and_its_value(n: int, sample: Trace) -> None:
    for head in range(4):
        (bars,) = recall(sample, 1, head, n).data
        last = n % sample.length
        memory = sum_state(sample, 1, head, last)
        k, v = sample.k(1)[head].numpy(), sample.v(1)[head].numpy()
        expected = [
            (k[m] @ memory) @ v[m] / np.linalg.norm(k[m] @ memory) / np.linalg.norm(v[m])
            for m in range(last + 1)
        ]
        assert np.allclose(bars.y, expected, atol=1e-9)
        assert bars.x is None  # token m stands at m
        assert len(bars.customdata) == last + 1
        assert bars.marker.color == HEAD_COLORS[head]


def test_the_axis_of_a_recall_is_the_same_for_every_token(sample: Trace) -> None:
    ranges = {recall(sample, 0, 0, n).layout.yaxis.range for n in range(sample.length)}
    ((low, high),) = ranges
    assert low <= -1
    assert high >= 1


def test_few_tokens_are_named_on_the_axis_and_many_are_numbered(model: RetNet) -> None:
    few = recall(trace(model, TEXT), 0, 0, 4)
    assert len(few.layout.xaxis.ticktext) == 5
    assert list(few.layout.xaxis.tickvals) == [0, 1, 2, 3, 4]
    many = trace(model, TEXT * 4)
    assert many.length > 24
    assert recall(many, 0, 0, 23).layout.xaxis.ticktext is not None
    assert recall(many, 0, 0, 24).layout.xaxis.ticktext is None


def test_a_label_fits_into_the_margin_below(tiny_tokenizer: Tokenizer, model: RetNet) -> None:
    class Long:
        def piece(self, token_id: int) -> str:
            return "<" * 40

    text_sample = trace(model, torch.tensor([1, 2, 3]))
    text_sample.model = type("Model", (), {"tokenizer": Long()})()
    layout = recall(text_sample, 0, 0, 2).layout
    assert layout.xaxis.ticktext[0] == "&lt;" * 7 + "…"
    assert layout.margin.b >= 8 * 7 + 20


# -- all of them ------------------------------------------------------------------------------


def test_tokens_are_escaped_wherever_they_stand(model: RetNet) -> None:
    text_sample = trace(model, "<b>&\n<i>")
    for figure in draw_all(text_sample):
        for n in range(text_sample.length):
            assert text_sample.tokens[n] in ("<", "&", "\n", "b", ">", "i")
        body = figure.to_dict()
        labels = [*(body["layout"]["xaxis"].get("ticktext") or ())]
        for drawn in body["data"]:
            labels += [*(drawn.get("customdata") or ())]
        for label in labels:
            assert "<" not in label
            assert "\n" not in label
    for figure in (
        state(text_sample, 0, 0, 0),
        recall(text_sample, 0, 0, 0),
        singular_values(text_sample, 0, 0),
    ):
        assert "“&lt;”" in figure.layout.title.text
    assert "“⏎”" in state(text_sample, 0, 0, 4).layout.title.text
    assert "&amp;" in recall(text_sample, 0, 0, 4).layout.xaxis.ticktext


def test_light_and_dark_show_the_same_data(sample: Trace) -> None:
    for a, b in zip(draw_all(sample, "light"), draw_all(sample, "dark"), strict=True):
        first, second = json.loads(a.to_json()), json.loads(b.to_json())
        assert first["data"] == second["data"]
        assert first["layout"]["template"] != second["layout"]["template"]
    with pytest.raises(ValueError, match="theme must be one of"):
        draw_all(sample, "auto")


def test_one_token_and_300_make_figures(model: RetNet) -> None:
    generator = torch.Generator().manual_seed(1)
    for length in (1, 2, 300):
        ids = torch.randint(300, (length,), generator=generator)
        for figure in draw_all(trace(model, ids, "chunkwise", 64)):
            text = figure.to_json()
            assert "NaN" not in text
            assert "Infinity" not in text
            assert sentence_of(figure)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smaller_floats_make_figures(
    dtype: torch.dtype, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(dtype=dtype)
    model.tokenizer = tiny_tokenizer
    text_sample = trace(model, TEXT)
    json.loads(state(text_sample, 0, 1, 3, compare=1).to_json())
    json.loads(singular_values(text_sample, 0, 3).to_json())
    json.loads(recall(text_sample, 0, 1, 3).to_json())
    json.loads(state_norm(text_sample, 0, bound=True).to_json())


def test_what_there_is_not_is_refused(sample: Trace) -> None:
    for head in (4, -1):
        for draw in (state, recall):
            with pytest.raises(IndexError, match=rf"head {head} is outside 0 \.\. 3"):
                draw(sample, 0, head, 0)
    for n in (sample.length, -sample.length - 1):
        sentence = f"position {n} is outside a text of {sample.length} tokens"
        with pytest.raises(IndexError, match=sentence):
            state(sample, 0, 0, n)
        with pytest.raises(IndexError, match=sentence):
            state(sample, 0, 0, 0, compare=n)
        with pytest.raises(IndexError, match=sentence):
            recall(sample, 0, 0, n)
        with pytest.raises(IndexError, match=sentence):
            singular_values(sample, 0, n)
        with pytest.raises(IndexError, match=sentence):
            state_norm(sample, 0, selected=n)
    for draw in (lambda: state(sample, 2, 0, 0), lambda: singular_values(sample, 2, 0)):
        with pytest.raises(IndexError, match="layer 2 is outside"):
            draw()
    with pytest.raises(ValueError, match="heads names no head"):
        singular_values(sample, 0, 0, heads=[])
