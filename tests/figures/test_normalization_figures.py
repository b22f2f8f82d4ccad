"""Figures of what happens around retention: normalisation, gate, and rotation beside decay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.experiments.ablations import ablate
from retnet_viz.figures.base.theme import HEAD_COLORS
from retnet_viz.figures.reading.gate import gate
from retnet_viz.figures.reading.normalization import normalization
from retnet_viz.figures.reading.phase import phase, phase_factor
from retnet_viz.model import RetNet, RetNetConfig
from retnet_viz.trace import Trace, trace
from tests.support.figures import sentence_of

ModelFactory = Callable[..., RetNet]
TEXT = "Once <b>\n&\u202e upon"


@pytest.fixture(scope="module")
def without(model: RetNet) -> Trace:
    return trace(ablate(model, rotation="none"), TEXT)


def rms(x: np.ndarray) -> np.ndarray:
    return np.sqrt((x**2).mean(-1))


def by_axis(figure, axis: str) -> dict[str, list[float]]:  # type: ignore[no-untyped-def]
    return {line.name: list(line.y) for line in figure.data if line.yaxis == axis}


# -- normalisation ----------------------------------------------------------------------------


def test_lines_are_the_sizes_of_each_head_before_and_after(sample: Trace) -> None:
    figure = normalization(sample, 1)
    before, after = by_axis(figure, "y"), by_axis(figure, "y2")
    outputs, normed = sample.head_output(1).numpy(), sample.normed(1).numpy()
    for head in range(4):
        assert np.allclose(before[f"head {head}"], rms(outputs[head]), rtol=1e-4)
        part = normed[:, 16 * head : 16 * head + 16]  # the heads side by side
        assert np.allclose(after[f"head {head}"], rms(part), rtol=1e-4)
    assert {line.line.dash for line in figure.data} == {"solid"}
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.yaxis2.range[0] == 0


@pytest.mark.parametrize("factor", [0.01, 10.0])
def test_a_factor_shifts_what_comes_before_and_not_what_comes_after(
    factor: float, sample: Trace
) -> None:
    figure = normalization(sample, 1, factor=factor)
    dashed = [line for line in figure.data if line.line.dash == "dash"]
    assert len(dashed) == 8
    before, after = by_axis(figure, "y"), by_axis(figure, "y2")
    for head in range(4):
        name = f"head {head}, weights × {factor:g}"
        assert np.allclose(before[name], factor * np.array(before[f"head {head}"]), rtol=1e-4)
        scaled = factor * sample.head_output(1)[head].numpy()
        centred = scaled - scaled.mean(-1, keepdims=True)
        expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        assert np.allclose(after[name], rms(expected), rtol=1e-4)
    low, high = (10**edge for edge in figure.layout.yaxis.range)
    assert all(low < value < high for values in before.values() for value in values)
    assert f"weights × {factor:g}" in figure.layout.annotations[0].text


def test_the_sentence_tells_the_largest_difference_under_the_factor(sample: Trace) -> None:
    outputs = sample.head_output(1)[2].numpy()

    def normed(x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)

    expected = np.abs(normed(outputs * 0.01) - normed(outputs)).max()
    assert expected > 1e-5, "the epsilon is felt where the outputs are small"
    sentence = normalization(sample, 1, factor=0.01, heads=[2]).layout.meta["sentence"]
    difference = float(sentence.split("at most ")[1].rstrip("."))
    assert difference == pytest.approx(expected, rel=0.05)
    assert "at most" not in normalization(sample, 1).layout.meta["sentence"]


def test_the_models_own_normalisation_is_used(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(head_norm="rms", norm_eps=0.25)
    model.tokenizer = tiny_tokenizer
    bare_sample = trace(model, TEXT)
    after = by_axis(normalization(bare_sample, 0, factor=3), "y2")
    scaled = 3 * bare_sample.head_output(0)[1].numpy()
    expected = rms(scaled / np.sqrt((scaled**2).mean(-1, keepdims=True) + 0.25))
    assert np.allclose(after["head 1, weights × 3"], expected, rtol=1e-4)


def test_without_a_normalisation_nothing_is_evened_out(model: RetNet) -> None:
    bare_sample = trace(ablate(model, head_norm="none"), TEXT)
    figure = normalization(bare_sample, 1, factor=10)
    before, after = by_axis(figure, "y"), by_axis(figure, "y2")
    assert after == before
    assert figure.layout.yaxis2.range[1] > max(max(values) for values in after.values())


@pytest.mark.parametrize("factor", [0, -1, float("nan"), float("inf")])
def test_a_factor_that_makes_no_sense_is_refused(factor: float, sample: Trace) -> None:
    with pytest.raises(ValueError, match="factor must be a finite number above 0"):
        normalization(sample, 0, factor=factor)


def test_a_factor_that_overflows_is_refused(tiny_model: ModelFactory) -> None:
    bare_sample = trace(tiny_model(dtype=torch.float32), torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="overflow; take a smaller factor"):
        normalization(bare_sample, 0, factor=1e39)


# -- gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("heads", [None, [2], [3, 1]])
def test_a_line_per_head_is_its_mean_opening(heads: list[int] | None, sample: Trace) -> None:
    figure = gate(sample, 1, heads=heads)
    visible_heads = heads or [0, 1, 2, 3]
    values = sample.gate(1).numpy()
    assert [line.name for line in figure.data] == [f"head {head}" for head in visible_heads]
    for line, head in zip(figure.data, visible_heads, strict=True):
        expected = np.abs(values[:, 16 * head : 16 * head + 16]).mean(-1)
        assert np.allclose(line.y, expected, rtol=1e-4)
        assert line.line.color == HEAD_COLORS[head]
        assert len(line.customdata) == sample.length
    assert "mean |swish" in figure.layout.yaxis.title.text
    assert [note.text for note in figure.layout.annotations] == [sample.origin("gate")]


def test_cursors_stand_at_the_selected_token(sample: Trace) -> None:
    assert len(gate(sample, 0).layout.shapes) == 0
    (line,) = gate(sample, 0, selected=2).layout.shapes
    assert (line.x0, line.x1) == (2, 2)
    first, second = normalization(sample, 0, 2).layout.shapes
    assert (first.xref, second.xref) == ("x", "x2")
    assert first.x0 == second.x0 == 2


# -- phase ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 5, -1])
def test_weights_and_scores_stand_over_their_distance(
    n: int, sample: Trace, without: Trace
) -> None:
    figure = phase(sample, without, 1, 2, n)
    last = n % sample.length
    lines = {
        (line.name, line.line.dash, line.showlegend): line
        for line in figure.data
        if line.yaxis == "y2"
    }
    for read, weight, score in (
        (sample, ("weight", "solid", None), ("score q·k", "solid", None)),
        (
            without,
            ("without rotation", "dash", None),
            ("score without rotation", "dot", False),
        ),
    ):
        q, k = read.q(1)[2].numpy(), read.k(1)[2].numpy()
        for d in range(last + 1):
            dot = q[last] @ k[last - d]
            assert lines[score].x[d] == lines[weight].x[d] == d
            assert lines[score].y[d] == pytest.approx(dot, rel=1e-4)
            assert lines[weight].y[d] == pytest.approx(dot * 0.99**d, rel=1e-4)
            assert lines[weight].customdata[d].startswith(f"m = {last - d} “")


def test_decay_and_phase_are_functions_of_the_distance(sample: Trace, without: Trace) -> None:
    figure = phase(sample, without, 1, 1, -1)
    decay, rotated = (line for line in figure.data if line.yaxis == "y")
    distance = np.arange(sample.length)
    theta = 10000.0 ** -(np.arange(4) / 3)
    assert np.allclose(decay.y, 0.9**distance, rtol=1e-4)
    assert np.allclose(rotated.y, np.cos(np.outer(distance, theta)).mean(-1), atol=1e-4)
    low, high = figure.layout.yaxis.range
    assert all(low < value < high for line in (decay, rotated) for value in line.y)


@pytest.mark.parametrize("layout", ["interleaved", "half"])
def test_the_phase_is_what_the_models_rotation_gives_equal_q_and_k(layout: str) -> None:
    from retnet_viz.model.position import rotate, rotation_angles

    config = RetNetConfig(d_model=24, n_heads=1, rotation=layout, rotation_base=50.0)
    # all pairs equally long, none in the same direction as its neighbour
    angle = torch.arange(12, dtype=torch.float64)
    a, b = angle.cos(), angle.sin()
    x = torch.stack((a, b), -1).flatten() if layout == "interleaved" else torch.cat((a, b))
    rotated = rotate(x.repeat(40, 1), *rotation_angles(24, 0, 40, 50.0), layout=layout)
    expected = (rotated[-1] @ rotated.flip(0).mT) / 12
    assert torch.allclose(phase_factor(config, 40), expected)
    assert torch.equal(phase_factor(replace(config, rotation="none"), 3), torch.ones(3).double())


def test_the_trace_without_must_be_of_the_same_text_and_not_turn(
    model: RetNet, sample: Trace, without: Trace
) -> None:
    with pytest.raises(ValueError, match="a trace of the same text"):
        phase(sample, trace(without.model, "Other"), 0, 0, 0)
    with pytest.raises(ValueError, match="without rotation, not with 'interleaved'"):
        phase(sample, trace(model, TEXT), 0, 0, 0)


# -- all of them ------------------------------------------------------------------------------


def draw_all(sample: Trace, without: Trace, theme: str = "light") -> list:
    return [
        normalization(sample, 1, 0, theme=theme),
        normalization(sample, 1, 0, factor=10, theme=theme),
        gate(sample, 1, selected=0, theme=theme),
        phase(sample, without, 1, 2, -1, theme=theme),
    ]


def test_light_and_dark_show_the_same_numbers(sample: Trace, without: Trace) -> None:
    light, dark = draw_all(sample, without, "light"), draw_all(sample, without, "dark")
    for a, b in zip(light, dark, strict=True):
        assert [line.y for line in a.data] == [line.y for line in b.data]
        assert a.layout.template != b.layout.template
    with pytest.raises(ValueError, match="theme must be one of"):
        draw_all(sample, without, "auto")


def test_one_token_and_300_make_figures(model: RetNet) -> None:
    bare = ablate(model, rotation="none")
    generator = torch.Generator().manual_seed(1)
    for length in (1, 2, 300):
        ids = torch.randint(300, (length,), generator=generator)
        for figure in draw_all(trace(model, ids, "chunkwise", 64), trace(bare, ids)):
            text = figure.to_json()
            assert "NaN" not in text
            assert "Infinity" not in text
            assert sentence_of(figure)
            if length == 1:
                assert all("markers" in line.mode for line in figure.data)


def test_tokens_are_escaped_wherever_they_stand(model: RetNet) -> None:
    bare_sample, bare = (trace(m, "<b>&\n<") for m in (model, ablate(model, rotation="none")))
    for figure in draw_all(bare_sample, bare):
        labels = [label for line in figure.data for label in line.customdata or ()]
        assert any("&lt;" in label for label in labels)
        assert not any("<" in label or "\n" in label for label in labels)
    title = phase(bare_sample, bare, 0, 0, -1).layout.title.text
    assert "“&lt;”" in title


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_smaller_floats_make_figures(
    dtype: torch.dtype, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(dtype=dtype, n_heads=4)
    model.tokenizer = tiny_tokenizer
    for figure in draw_all(trace(model, TEXT), trace(ablate(model, rotation="none"), TEXT)):
        json.loads(figure.to_json())


def test_what_there_is_not_is_refused(sample: Trace, without: Trace) -> None:
    sentence = f"position {sample.length} is outside a text of {sample.length} tokens"
    for draw in (
        lambda: normalization(sample, 0, sample.length),
        lambda: gate(sample, 0, selected=sample.length),
        lambda: phase(sample, without, 0, 0, sample.length),
    ):
        with pytest.raises(IndexError, match=sentence):
            draw()
    for draw in (
        lambda: normalization(sample, 0, heads=[4]),
        lambda: gate(sample, 0, heads=[4]),
        lambda: phase(sample, without, 0, 4, 0),
    ):
        with pytest.raises(IndexError, match=r"head 4 is outside 0 \.\. 3"):
            draw()
    for draw in (
        lambda: normalization(sample, 2),
        lambda: gate(sample, 2),
        lambda: phase(sample, without, 2, 0, 0),
    ):
        with pytest.raises(IndexError, match="layer 2 is outside"):
            draw()
