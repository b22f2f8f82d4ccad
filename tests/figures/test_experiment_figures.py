"""The figures of the laboratory, checked by the numbers that they hold and the words they say."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from retnet_viz.experiments import ChunkCurve, Rounding, chunk_curve, rounding
from retnet_viz.figures.base.theme import MODE_COLORS, THEMES
from retnet_viz.figures.experiments.chunk_sizes import chunk_sizes
from retnet_viz.figures.experiments.rounding import rounding as draw_rounding
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import trace
from tests.support.figures import is_inside, sentence_of

ModelFactory = Callable[..., RetNet]

CURVE = ChunkCurve(
    sizes=(1, 2, 4, 8, 16, 24),
    milliseconds=(6.0, 3.0, 1.5, 1.25, 1.9, 2.5),
    peak_bytes=(150_000, 160_000, 180_000, 400_000, 900_000, 2_100_000),
    predicted_milliseconds=(6.0, 3.1, 1.8, 1.5, 1.95, 2.5),
    predicted_bytes=(151_000, 161_000, 181_000, 401_000, 901_000, 2_101_000),
    layer=3,
    length=24,
    step_milliseconds=0.25,
    flops_per_second=1e9,
)
ROUNDING = Rounding(
    dtype="bfloat16",
    modes={"parallel": (0.5, 0.25), "recurrent": (0.125, 0.0), "chunkwise": (0.0, 0.0)},
    logits={"parallel": 2e-4, "recurrent": 0.0, "chunkwise": 0.03},
    between=0.625,
    scale=12.5,
    same_top={"parallel": 1.0, "recurrent": 0.9375, "chunkwise": 0.5},
    length=16,
    chunk_size=4,
)


# -- chunk sizes ------------------------------------------------------------------------------


def test_markers_are_measured_and_dashes_predicted() -> None:
    time, time_predicted, memory, memory_predicted = chunk_sizes(CURVE, 4).data
    for line in (time, time_predicted, memory, memory_predicted):
        assert list(line.x) == [1, 2, 4, 8, 16, 24]
        assert all(isinstance(x, int) for x in line.x)  # a click gives the chunk size
    assert list(time.y) == list(CURVE.milliseconds)
    assert list(time_predicted.y) == list(CURVE.predicted_milliseconds)
    assert list(memory.y) == pytest.approx([0.15, 0.16, 0.18, 0.4, 0.9, 2.1])
    assert list(memory_predicted.y) == pytest.approx([0.151, 0.161, 0.181, 0.401, 0.901, 2.101])
    for line in (time, memory):
        assert line.mode == "markers+text"
        assert line.marker.color == MODE_COLORS["chunkwise"]
        assert "measured" in line.hovertemplate
        steps = ["24 steps", "12 steps", "6 steps", "3 steps", "2 steps", "1 step"]
        assert list(line.customdata) == steps
    for line in (time_predicted, memory_predicted):
        assert (line.mode, line.line.dash) == ("lines", "dash")
        assert "predicted" in line.hovertemplate
    names = [line.name for line in (time, time_predicted, memory, memory_predicted)]
    assert names == ["time, ms", "predicted, ms", "memory, MB", "predicted, MB"]


def test_time_and_memory_stand_side_by_side_on_logarithmic_axes() -> None:
    figure = chunk_sizes(CURVE, 4)
    layout = figure.layout
    assert layout.xaxis.domain[1] < layout.xaxis2.domain[0]
    for line, x, y in zip(
        figure.data,
        [layout.xaxis] * 2 + [layout.xaxis2] * 2,
        [layout.yaxis] * 2 + [layout.yaxis2] * 2,
        strict=True,
    ):
        assert x.type == y.type == "log"
        assert all(is_inside(value, x) for value in line.x)
        assert all(is_inside(value, y) for value in line.y)
        assert len(y.tickvals) >= 3
        assert all(is_inside(tick, y) for tick in y.tickvals)
        for tick, text in zip(y.tickvals, y.ticktext, strict=True):
            assert float(text.replace(",", "")) == pytest.approx(tick)
    assert figure.data[0].xaxis == "x"
    assert figure.data[2].xaxis == "x2"
    assert "layer 3" in layout.title.text


@pytest.mark.parametrize(("length", "has_name"), [(24, True), (30, False)])
def test_the_ends_are_named_after_the_modes_that_they_are(length: int, has_name: bool) -> None:
    for line in chunk_sizes(replace(CURVE, length=length), 4).data[::2]:
        last = "parallel" if has_name else ""  # a curve that ends before the text is long
        assert list(line.text) == ["recurrent", "", "", "", "", last]
    (line, *_) = chunk_sizes(replace(CURVE, sizes=(3, 4, 6, 8, 16, 24)), 4).data
    assert line.text[0] == ""


@pytest.mark.parametrize(("current", "place"), [(1, 1), (4, 4), (5, 5), (24, 24), (64, 24)])
def test_the_current_chunk_size_is_marked_in_both_plots(current: int, place: int) -> None:
    figure = chunk_sizes(CURVE, current)
    assert len(figure.layout.shapes) == 2
    for line, axis in zip(figure.layout.shapes, ("", "2"), strict=True):
        assert (line.x0, line.x1) == (place, place)  # a shape takes values, on this axis too
        assert (line.xref, line.yref) == (f"x{axis}", f"y{axis} domain")
        assert line.line.dash == "dot"
        assert line.label.text == f"chunk size {current}"
        x = figure.layout[f"xaxis{axis}"]
        assert f"<b>{place}</b>" in x.ticktext
        assert x.ticktext.index(f"<b>{place}</b>") == x.tickvals.index(place)
        # The label lies on that side of the line where there is room.
        right_half = math.log10(place) > sum(x.range) / 2
        assert line.label.xanchor == ("right" if right_half else "left")


@pytest.mark.parametrize("length", [1, 2, 3, 65, 1000, 1024, 131072])
@pytest.mark.parametrize("current", [1, 7, 64, 1000])
def test_labels_of_chunk_sizes_have_room(length: int, current: int) -> None:
    sizes = sorted({*(2**i for i in range(length.bit_length())), length, min(current, length)})
    values = tuple(1.0 + i for i in range(len(sizes)))
    counts = tuple(1000 + i for i in range(len(sizes)))
    curve = replace(
        CURVE, sizes=tuple(sizes), length=length, milliseconds=values, peak_bytes=counts,
        predicted_milliseconds=values, predicted_bytes=counts,
    )  # fmt: skip
    axis = chunk_sizes(curve, current).layout.xaxis
    places = [math.log10(tick) for tick in axis.tickvals]
    assert list(axis.tickvals) == sorted(set(axis.tickvals))
    assert min(current, length) in axis.tickvals
    width = axis.range[1] - axis.range[0]
    pixels = (600 - 46 - 14) * 0.45
    for left, right in zip(axis.tickvals, axis.tickvals[1:], strict=False):
        gap = pixels * math.log10(right / left) / width
        assert gap >= 3.5 * (len(str(left)) + len(str(right))) or gap >= 25
    assert places[0] >= axis.range[0]
    assert places[-1] <= axis.range[1]


def test_a_single_size_still_makes_a_figure(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=50)
    curve = chunk_curve(trace(model, torch.tensor([3])), 1)
    figure = chunk_sizes(curve, 8)
    assert sentence_of(figure).startswith("Chunk size 1 is the only one measured: ")
    layout = figure.layout
    for axis in (layout.xaxis, layout.yaxis, layout.yaxis2):
        assert axis.range[1] - axis.range[0] > 0.2
        assert len(axis.tickvals) >= 1
    assert figure.data[0].text == ("parallel",)


def test_small_memory_is_given_in_kilobytes() -> None:
    curve = replace(CURVE, peak_bytes=(*CURVE.predicted_bytes[:5], 999_000))
    memory = chunk_sizes(curve, 4).data[2]
    assert memory.name == "memory, kB"
    assert memory.y[0] == 151
    assert "kB measured" in memory.hovertemplate


def test_the_sentence_names_the_fastest_size_with_its_numbers() -> None:
    assert sentence_of(chunk_sizes(CURVE, 8)) == (
        "Chunk size 8 is the fastest of 6 measured: 1.25 ms, 4.8 times as fast as chunk size 1 and "
        "2.0 times as fast as chunk size 24; it needs 400 kB at its peak. The time predicted from "
        "the two ends is furthest off at chunk size 4: 20% too long."
    )
    assert " The current chunk size 16 takes 1.9 ms and 900 kB. " in sentence_of(
        chunk_sizes(CURVE, 16)
    )
    assert " The current chunk size 99 takes 2.5 ms and 2.1 MB. " in sentence_of(
        chunk_sizes(CURVE, 99)
    )
    assert "current" not in sentence_of(chunk_sizes(CURVE, 5))  # not measured: nothing to say
    short = replace(CURVE, predicted_milliseconds=(6.0, 3.0, 0.75, 1.25, 1.9, 2.5))
    assert sentence_of(chunk_sizes(short, 8)).endswith("at chunk size 4: 50% too short.")
    exact = replace(CURVE, predicted_milliseconds=CURVE.milliseconds)
    assert "predicted" not in sentence_of(chunk_sizes(exact, 8))


def test_the_sentence_compares_the_fastest_end_with_the_other_one_only() -> None:
    curve = replace(CURVE, milliseconds=(6.0, 5.0, 4.0, 3.0, 2.5, 2.0))
    sentence = sentence_of(chunk_sizes(curve, 24))
    assert "2 ms, 3.0 times as fast as chunk size 1; it needs 2.1 MB at its peak." in sentence


# -- rounding ---------------------------------------------------------------------------------


def test_each_mode_shows_its_differences_by_layer_and_of_the_logits() -> None:
    figure = draw_rounding(ROUNDING)
    assert [line.name for line in figure.data] == list(MODES)
    assert list(figure.data[0].y) == [0.5, 0.25, 2e-4]
    assert list(figure.data[1].y) == [0.125, 0.0, 0.0]
    assert list(figure.data[2].y) == [0.0, 0.0, 0.03]
    for line, mode in zip(figure.data, MODES, strict=True):
        assert list(line.x) == [0, 1, 2]
        assert line.line.color == line.marker.color == MODE_COLORS[mode]
        assert list(line.customdata) == ["output of layer 0", "output of layer 1", "logits"]
    markers = [(line.marker.symbol, line.marker.size) for line in figure.data]
    assert len({symbol for symbol, _ in markers}) == 3  # not told apart by colour alone
    sizes = [size for _, size in markers]
    assert sizes == sorted(sizes, reverse=True)  # the last drawn is the smallest: none is hidden
    assert list(figure.layout.xaxis.ticktext) == ["0", "1", "logits"]
    assert list(figure.layout.xaxis.tickvals) == [0, 1, 2]
    assert "bfloat16" in figure.layout.title.text


def test_what_is_exactly_zero_stands_on_a_line_of_its_own() -> None:
    figure = draw_rounding(ROUNDING)
    axis = figure.layout.yaxis
    assert axis.type == "log"
    assert axis.ticktext[0] == "0"
    zero = axis.tickvals[0]
    assert zero < 2e-4
    assert is_inside(zero, axis)
    small_print, *zeros = figure.layout.annotations
    assert "largest |logit| 12.5" in small_print.text
    assert [(note.x, note.hovertext) for note in zeros] == [
        (0, "chunkwise: output of layer 0<br>exactly 0"),
        (1, "recurrent, chunkwise: output of layer 1<br>exactly 0"),
        (2, "recurrent: logits<br>exactly 0"),
    ]
    for note in zeros:
        assert 10.0**note.y == pytest.approx(zero)  # a note takes the power of 10
        for mode in MODES:
            assert (MODE_COLORS[mode] in note.text) == (mode in note.hovertext)
    for line in figure.data:
        assert all(is_inside(value, axis) for value in line.y if value > 0)
    assert axis.ticktext[1] == "10<sup>−4</sup>"


def test_without_zeros_there_is_no_line_for_them() -> None:
    result = replace(
        ROUNDING,
        modes=dict.fromkeys(MODES, (3e-7, 4e-6)),
        logits=dict.fromkeys(MODES, 2e-5),
    )
    figure = draw_rounding(result)
    assert len(figure.layout.annotations) == 1
    axis = figure.layout.yaxis
    assert list(axis.ticktext) == ["10<sup>−7</sup>", "10<sup>−6</sup>", "10<sup>−5</sup>",
                                   "10<sup>−4</sup>"]  # fmt: skip
    assert list(axis.tickvals) == pytest.approx([1e-7, 1e-6, 1e-5, 1e-4])
    assert is_inside(3e-7, axis)
    assert is_inside(2e-5, axis)


def test_nothing_but_zeros_still_makes_a_figure() -> None:
    nothing = replace(
        ROUNDING, dtype="float64", modes=dict.fromkeys(MODES, (0.0,)),
        logits=dict.fromkeys(MODES, 0.0), between=0.0, same_top=dict.fromkeys(MODES, 1.0),
    )  # fmt: skip
    figure = draw_rounding(nothing)
    assert len(figure.layout.annotations) == 3
    assert figure.layout.yaxis.range[0] < figure.layout.yaxis.range[1]
    assert sentence_of(figure) == (
        "In float64 the modes differ from the parallel pass by up to 0 in a layer's output and 0 "
        "in the logits, which reach 12.5; any two modes are at most 0 apart. All three name the "
        "same likeliest next token as that pass, at every token."
    )


@pytest.mark.parametrize("layers", [1, 13, 14, 25, 80])
def test_many_layers_do_not_crowd_the_axis(layers: int) -> None:
    result = replace(ROUNDING, modes=dict.fromkeys(MODES, (0.5,) * layers))
    axis = draw_rounding(result).layout.xaxis
    assert len(axis.tickvals) <= 15
    assert axis.tickvals[-1] == layers
    assert axis.ticktext[-1] == "logits"
    assert list(axis.ticktext[:-1]) == [str(layer) for layer in axis.tickvals[:-1]]
    pixels = (600 - 68) / (axis.range[1] - axis.range[0])
    assert (axis.tickvals[-1] - axis.tickvals[-2]) * pixels >= 30


def test_the_sentence_says_how_far_and_how_often() -> None:
    assert sentence_of(draw_rounding(ROUNDING)) == (
        "In bfloat16 the modes differ from a parallel pass in float64 by up to 0.5 in a layer's "
        "output and 0.03 in the logits, which reach 12.5; any two modes are at most 0.625 apart. "
        "The likeliest next token is that pass's own at 100.0 % in parallel, 93.8 % in recurrent "
        "and 50.0 % in chunkwise mode."
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_is_said_not_drawn(value: float) -> None:
    logits = {"parallel": 0.1, "recurrent": value, "chunkwise": 0.2}
    figure = draw_rounding(replace(ROUNDING, logits=logits))
    assert [line.y[2] for line in figure.data] == [0.1, None, 0.2]
    assert "not finite in the logits" in sentence_of(figure)


# -- both -------------------------------------------------------------------------------------


def draw_all(theme: str) -> list[dict[str, Any]]:
    return [chunk_sizes.spec(CURVE, 4, theme=theme), draw_rounding.spec(ROUNDING, theme=theme)]


def test_figures_are_plain_json_in_light_and_dark_with_the_same_data() -> None:
    for light, dark in zip(draw_all("light"), draw_all("dark"), strict=True):
        json.dumps(light, allow_nan=False)
        y = [line["y"] for line in light["data"]]
        assert y == [line["y"] for line in dark["data"]]
        assert light["layout"]["template"] != dark["layout"]["template"]
        assert light["layout"]["meta"] == dark["layout"]["meta"]
        sentence = light["layout"]["meta"]["sentence"]
        assert "<" not in sentence
        assert sentence.endswith(".")


def test_an_unknown_theme_is_refused() -> None:
    for draw in (lambda: chunk_sizes(CURVE, 4, theme="auto"),
                 lambda: draw_rounding(ROUNDING, theme="auto")):  # fmt: skip
        with pytest.raises(ValueError, match="theme must be one of"):
            draw()


def test_what_the_laboratory_finds_can_be_drawn(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=50)
    ids = torch.arange(9) * 7 % 50
    for theme in THEMES:
        curve = chunk_curve(trace(model, ids), 0)
        assert list(chunk_sizes(curve, 4, theme=theme).data[0].y) == list(curve.milliseconds)
        for dtype in ("float64", "float32", "bfloat16"):
            result = rounding(model, ids, dtype, 4)
            (parallel, *_) = draw_rounding(result, theme=theme).data
            assert list(parallel.y) == [*result.modes["parallel"], result.logits["parallel"]]
