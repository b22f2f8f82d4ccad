"""The figures of recall hold what was measured, and say it in words."""

from __future__ import annotations

import pytest

from retnet_viz import figures
from retnet_viz.figures.base.theme import MODEL_COLORS, THEMES
from retnet_viz.training.recall import WordRecall
from tests.support.figures import sentence_of


def word(lag: int, accuracy: float, noise: float = 1.0, kind: str = "thing") -> WordRecall:
    return WordRecall(kind, lag, accuracy, accuracy / 2, accuracy / 10, 0.01, 8, noise)


LAGS = {
    "RetNet": [word(8, 1.0), word(64, 0.5), word(256, 0.0), word(8, 0.9, kind="name")],
    "Mamba": [word(8, 0.25), word(64, 0.125), word(256, 0.0)],
}
NOISE = {
    "RetNet": [word(64, 0.75, 0.0), word(64, 0.5, 1.0)],
    "Mamba": [word(64, 1.0, 0.0), word(64, 0.9, 1.0)],
}


@pytest.mark.parametrize("theme", THEMES)
def test_a_line_for_each_model_and_its_control(theme: str) -> None:
    figure = figures.recall_by_lag(LAGS, theme=theme)
    assert [trace.name for trace in figure.data] == [
        "RetNet", "RetNet, control", "Mamba", "Mamba, control",
    ]  # fmt: skip
    retnet, control = figure.data[:2]
    assert list(retnet.x) == list(control.x) == [8, 64, 256]
    assert list(retnet.y) == [1.0, 0.5, 0.0]
    assert list(control.y) == pytest.approx([0.1, 0.05, 0.0])
    assert retnet.line.color == MODEL_COLORS["RetNet"]
    assert control.line.dash == "dot"
    assert len({trace.marker.symbol for trace in figure.data[::2]}) == 2


def test_the_sentence_says_how_far_each_model_recalls() -> None:
    sentence = figures.recall_by_lag.spec(LAGS)["layout"]["meta"]["sentence"]
    assert sentence == (
        "RetNet recalls half or more up to 64 tokens; Mamba recalls half at no lag."
    )
    assert (
        "Nothing measured yet"
        in (figures.recall_by_lag.spec({"RetNet": []})["layout"]["meta"]["sentence"])
    )


def test_names_and_things_are_drawn_apart() -> None:
    figure = figures.recall_by_lag(LAGS, "name")
    assert list(figure.data[0].x) == [8]
    assert figure.layout.title.text == "Names recalled, by lag"


def test_recall_by_noise() -> None:
    figure = figures.recall_by_noise(NOISE)
    assert list(figure.data[0].x) == [0.0, 1.0]
    assert list(figure.data[2].y) == [1.0, 0.9]
    assert "64 tokens" in figure.layout.title.text
    sentence = sentence_of(figure)
    assert (
        sentence == "From empty lines to a story between: RetNet 75 % to 50 %, Mamba 100 % to 90 %."
    )
    empty = figures.recall_by_noise.spec({"RetNet": []})
    assert "Nothing measured yet" in empty["layout"]["meta"]["sentence"]
