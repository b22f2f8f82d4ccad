"""The figures of what generating costs, checked by their numbers and their words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from retnet_viz.baselines import MambaConfig, TransformerConfig
from retnet_viz.experiments.cost_model import (
    CARDS,
    KINDS,
    PRECISIONS,
    SIZES,
    TRANSFORMER,
    estimate,
    precision_of,
    state_bytes,
)
from retnet_viz.experiments.generation_cost import Point
from retnet_viz.figures.base.captions import data_size
from retnet_viz.figures.base.theme import MODEL_COLORS
from retnet_viz.figures.experiments.context_memory import CONTEXTS, longest_context, memory
from retnet_viz.figures.experiments.generation_cost import NOTHING, state_size, step_time
from retnet_viz.model import RetNetConfig
from tests.support.figures import is_inside, sentence_of

CONFIGS = {"RetNet": RetNetConfig(), "Transformer": TransformerConfig(), "Mamba": MambaConfig()}
TIMES = {
    "RetNet": (2.0, 2.5, 2.0, 2.25),
    "Transformer": (1.0, 2.25, 4.0, 8.5),
    "Mamba": (5.0, 5.0, 5.0, 5.0),
}
POSITIONS = (32, 64, 128, 256)
FLOAT32 = precision_of(torch.float32)
SETTINGS = (SIZES["6.7B"], 8192, 8, PRECISIONS["bfloat16"], CARDS["A100 80 GB"])


def measurements(count: int = len(POSITIONS)) -> dict[str, list[Point]]:
    return {
        name: [
            Point(position, time, 32, state_bytes(CONFIGS[name], position, FLOAT32))
            for position, time in list(zip(POSITIONS, times, strict=True))[:count]
        ]
        for name, times in TIMES.items()
    }


# -- measured -----------------------------------------------------------------------------------


def test_every_model_has_its_line_of_milliseconds() -> None:
    figure = step_time(measurements(), 1024)
    assert [line.name for line in figure.data] == list(KINDS)
    for line in figure.data:
        assert tuple(line.x) == POSITIONS
        assert tuple(line.y) == TIMES[line.name]
        assert line.line.color == line.marker.color == MODEL_COLORS[line.name]
        assert all(is_inside(x, figure.layout.xaxis) for x in line.x)
        assert all(is_inside(y, figure.layout.yaxis) for y in line.y)
        assert "measured" in line.hovertemplate
    assert len({line.marker.symbol for line in figure.data}) == 3  # not by colour alone
    assert is_inside(1024, figure.layout.xaxis)  # it does not move while it is measured
    assert figure.layout.yaxis.title.text == "ms per token"
    assert "tokens" in figure.layout.xaxis.title.text


def test_the_crossovers_are_marked_where_they_were_measured() -> None:
    figure = step_time(measurements(), 1024)
    marks = {line.x0: line.label.text.split("<br>") for line in figure.layout.shapes}
    assert marks == {
        128: ["more than RetNet: 128", "&nbsp;"],  # above the other's label
        256: ["more than Mamba: 256"],
    }
    # No line runs through a label: they stand on the lines, and these all end at one height.
    assert {line.label.yanchor for line in figure.layout.shapes} == {"bottom"}
    (top,) = {line.y1 for line in figure.layout.shapes}
    assert top <= 0.8
    assert sentence_of(figure) == (
        "At position 256: RetNet 2.25 ms, Transformer 8.5 ms, Mamba 5 ms. The Transformer stays "
        "slower than RetNet from 128 on and than Mamba from 256 on."
    )


def test_without_a_crossover_none_is_marked() -> None:
    figure = step_time(measurements(2), 1024)
    assert not figure.layout.shapes
    assert sentence_of(figure).endswith("Up to here no crossover with RetNet or Mamba.")
    figure = step_time(measurements(3), 1024)
    assert [line.x0 for line in figure.layout.shapes] == [128]
    assert sentence_of(figure).endswith("from 128 on. Up to here no crossover with Mamba.")


def test_before_anything_is_measured_the_figure_is_empty_and_says_so() -> None:
    for nothing in ({}, {name: [] for name in KINDS}):
        figure = step_time(nothing, 1024)
        assert sentence_of(figure) == NOTHING
        assert all(not line.x for line in figure.data)


@pytest.mark.parametrize("reach", [32, 1024, 16384, 32768])
def test_the_state_has_marks_that_are_measured_on_dashes_of_the_formula(reach: int) -> None:
    figure = state_size(measurements(), CONFIGS, torch.float32, reach)
    dashes, marks = figure.data[:3], figure.data[3:]
    for line in dashes:
        name = line.name.removesuffix(", formula")
        assert line.line.dash == "dash"
        assert line.x[-1] == reach
        assert list(line.y) == [state_bytes(CONFIGS[name], x, FLOAT32) for x in line.x]
        assert all(is_inside(y, figure.layout.yaxis) for y in line.y)
    for line in marks:
        assert line.mode == "markers"
        assert list(line.y) == [point.state_bytes for point in measurements()[line.name]]
    for tick, text in zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True):
        assert text == data_size(tick)


def test_the_states_crossovers_are_those_of_the_formula() -> None:
    figure = state_size({}, CONFIGS, torch.float32, 16384)
    assert [line.x0 for line in figure.layout.shapes] == [65, 34]
    assert sentence_of(figure) == (
        "The Transformer's keys and values take more than RetNet's state (524 kB at any length) "
        "from 65 tokens on and Mamba's state (272 kB at any length) from 34 tokens on; at 16,384, "
        "134 MB."
    )
    assert [line.x0 for line in state_size({}, CONFIGS, torch.float32, 48).layout.shapes] == [34]


# -- calculated ---------------------------------------------------------------------------------


def test_the_memory_is_that_of_the_estimates() -> None:
    figure = memory(*SETTINGS)
    size, _, batch, precision, card = SETTINGS
    assert [line.name for line in figure.data] == list(KINDS)
    for line in figure.data:
        assert tuple(line.x) == CONTEXTS
        assert list(line.y) == [
            estimate(size.configs[line.name], x, batch, precision, card).held_bytes for x in line.x
        ]
        assert all(is_inside(y, figure.layout.yaxis) for y in line.y)
    limit, context_line = figure.layout.shapes
    assert limit.y0 == limit.y1 == card.memory
    assert is_inside(card.memory, figure.layout.yaxis)
    assert "80 GB" in limit.label.text
    assert context_line.x0 == context_line.x1 == 8192
    assert sentence_of(figure) == (
        "At 8,192 tokens and 8 rows: RetNet 14.4 GB, Transformer 47.7 GB, Mamba 14.1 GB. The "
        "Transformer fits into the card up to 15,903 tokens."
    )


def test_a_context_between_the_marks_gets_one_of_its_own() -> None:
    size, _, *rest = SETTINGS
    assert 12288 in memory(size, 12288, *rest).data[0].x


def test_what_does_not_fit_is_said() -> None:
    size, _, _, precision, card = SETTINGS
    sentence = sentence_of(memory(size, 2**20, 1, precision, card))
    assert "1 row:" in sentence
    assert "Transformer 563 GB (too much)" in sentence
    assert "Mamba 13.9 GB. " in sentence


def test_the_longest_context_fits_and_one_more_token_does_not() -> None:
    size, _, batch, precision, card = SETTINGS
    most = longest_context(size, TRANSFORMER, batch, precision, card)
    assert most is not None
    config = size.configs[TRANSFORMER]
    assert estimate(config, most, batch, precision, card).fits
    assert not estimate(config, most + 1, batch, precision, card).fits
    assert longest_context(size, "RetNet", batch, precision, card) is None
    assert longest_context(size, TRANSFORMER, 10**7, precision, card) is None


# -- all ----------------------------------------------------------------------------------------


def test_figures_are_plain_json_in_light_and_dark_with_the_same_data() -> None:
    draws: list[Callable[[str], dict[str, Any]]] = [
        lambda theme: step_time.spec(measurements(), 1024, theme=theme),
        lambda theme: state_size.spec(measurements(), CONFIGS, torch.float32, 1024, theme=theme),
        lambda theme: memory.spec(*SETTINGS, theme=theme),
    ]
    for draw in draws:
        light, dark = draw("light"), draw("dark")
        json.dumps(light, allow_nan=False)
        assert light["data"] == dark["data"]
        assert light["layout"]["template"] != dark["layout"]["template"]
        assert "<" not in light["layout"]["meta"]["sentence"]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (12, "12 B"),
        (1000, "1 kB"),
        (524_288, "524 kB"),
        (999_499, "999 kB"),
        (999_999, "1 MB"),
        (134_217_728, "134 MB"),
        (47_657_653_248, "47.7 GB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_an_amount_of_bytes_has_three_digits_and_a_unit(count: float, text: str) -> None:
    assert data_size(count) == text
