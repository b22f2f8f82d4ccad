"""The comparison without a browser: every column against its model's own numbers."""

import json
import math
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

import retnet_viz as rv
from retnet_viz.baselines import Mamba, MambaConfig, Transformer, TransformerConfig
from retnet_viz.experiments.token_reads import TokenReads, read
from retnet_viz.figures import state_decay
from retnet_viz.figures.base.tokens import visible
from retnet_viz.training.data import read_held_out
from retnet_viz.training.recall import measure_recall, recall_by_noise
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.compare import Compare
from retnet_viz.ui.panels import recall_panel
from retnet_viz.ui.panels.recall_panel import RecallPanel

module = sys.modules[rv.compare.__module__]
SHAPE = {"vocab_size": 300, "d_model": 16, "n_layers": 2}
TEXT = "The fox had a red kite, and the kite had a long tail."


@pytest.fixture(scope="module")
def models(tiny_model, tiny_tokenizer):
    """One of each kind, with the same tokenizer."""
    torch.manual_seed(0)
    others = [Transformer(TransformerConfig(**SHAPE, n_heads=2)), Mamba(MambaConfig(**SHAPE))]
    for other in others:
        for name, parameter in other.eval().named_parameters():
            if parameter.dim() > 1 and "A_log" not in name:
                nn.init.normal_(parameter, std=0.3)
    loaded = dict(
        zip(
            ("RetNet", "Transformer", "Mamba"),
            (tiny_model(dtype=torch.float32), *others),
            strict=True,
        )
    )
    for model in loaded.values():
        model.tokenizer = tiny_tokenizer
    return loaded


@pytest.fixture(autouse=True)
def no_thread_reads_beside_a_test(monkeypatch):
    monkeypatch.setattr(Compare, "job_pause", 600.0)


@pytest.fixture
def open_compare(models, opened):
    """Opens the widget, read to its end; all that were opened are closed after the test."""

    def make(text=TEXT, **fields):
        widget = opened(rv.compare(text, models, **fields))
        widget.settle()
        return widget

    return make


def bars(plot):
    return plot.figure["data"][0]["x"]


def expect_columns(widget, models, text, n):
    """Every column shows what its model reads at token n of the text."""
    for column, model in zip(widget.columns, models.values(), strict=True):
        reading = read(model, text)
        layer, plane = column.layer.value, column.plane.value
        weights = reading.weights(layer)[plane].numpy()
        assert column.strip.tokens == [
            visible(piece) for piece in reading.pieces(0, reading.length)
        ]
        strip_weights = np.frombuffer(column.strip.weights, np.float32)
        assert np.allclose(strip_weights, weights[n, : n + 1], atol=1e-5)
        assert column.strip.selected == column.matrix.selected == n
        cells = np.frombuffer(column.matrix.cells, np.uint8).reshape(weights.shape)
        assert ((cells > 0) == np.tri(reading.length, dtype=bool)).all()
        largest = np.abs(weights).argmax()
        assert cells.flat[largest] in (1, 255)
        assert column.matrix.meta["title"] == reading.kind.capitalize()
        expected = reading.logits[n].double().softmax(-1).topk(5).values.tolist()
        assert bars(column.next) == pytest.approx(expected, rel=1e-3)
        assert not column.next.stale


def test_every_column_shows_what_its_model_reads(open_compare, models):
    widget = open_compare()
    n = len(models["RetNet"].tokenizer.encode(TEXT)) - 1
    expect_columns(widget, models, TEXT, n)
    softmax, hidden = widget.columns[1], widget.columns[2]
    assert "sum to 1, none below 0" in softmax.matrix.readout
    assert hidden.matrix.meta["heads"][0]["label"] == "channel mean"


def test_one_token_is_selected_everywhere(open_compare, models):
    widget = open_compare()
    widget.columns[2].strip.selected = 4
    assert widget.state.token == 4
    expect_columns(widget, models, TEXT, 4)
    widget.decays.clicked = 7
    expect_columns(widget, models, TEXT, 7)
    assert widget.decays.cursor == 7
    widget.columns[1].matrix.cell = [0, 6, 2]
    expect_columns(widget, models, TEXT, 6)
    for column in widget.columns:
        assert column.matrix.cell == [column.plane.value, 6, 2]
        assert column.matrix.readout.startswith("n 6")
        weight = np.frombuffer(column.strip.weights, np.float32)[2]
        assert f"weight {weight:.3g}" in column.matrix.readout


def test_an_edit_is_read_by_all_and_drawn_at_home(open_compare, models):
    widget = open_compare()
    widget.text.value = "A grey owl sat in the tree."
    assert [column.next.stale for column in widget.columns] == [True, True, True]
    widget.settle()
    n = len(models["RetNet"].tokenizer.encode("A grey owl sat in the tree.")) - 1
    expect_columns(widget, models, "A grey owl sat in the tree.", n)


def test_a_layer_and_a_head_are_chosen_for_each_model(open_compare, models):
    widget = open_compare()
    n = widget.selected
    widget.columns[0].layer.value = 1
    widget.columns[1].plane.value = 1
    widget.columns[2].layer.value = 1
    widget.settle()
    expect_columns(widget, models, TEXT, n)
    state = widget.state
    assert (state.layer, state.head, state.layers, state.planes) == (1, 0, (0, 1), (1, 0))
    again = open_compare("")
    again.open_link(state.query())
    again.settle()
    assert again.state == state
    expect_columns(again, models, TEXT, n)


@pytest.mark.parametrize("layers", [(9, 9), (), (1,), (0, 1, 7)])
def test_places_that_a_model_lacks_become_ones_it_has(open_compare, models, layers):
    widget = open_compare(layers=layers, planes=layers)
    expect_columns(widget, models, TEXT, widget.selected)


def test_the_decays_are_those_of_the_state(open_compare, models):
    widget = open_compare()
    lines = {line["name"]: line["y"] for line in widget.decays.figure["data"]}
    reading = read(models["Mamba"], TEXT)

    def half_lives(shares):
        return pytest.approx([math.log(0.5) / math.log(share) for share in shares], rel=1e-4)

    median = reading.decay(0).median(dim=1).values.tolist()
    assert lines["Mamba, median"] == half_lives(median)
    low, high = (
        reading.decay(0).quantile(q, dim=1, interpolation="lower").tolist() for q in (0.1, 0.9)
    )
    assert lines["Mamba, 10 %"] == half_lives(low)
    assert lines["Mamba, 10 to 90 % of its state"] == half_lives(high)
    for head, gamma in enumerate(models["RetNet"].config.gammas().tolist()):
        assert lines[f"RetNet, head {head}"] == half_lives([gamma] * reading.length)
    assert not any("Transformer" in name for name in lines)
    sentence = widget.decays.figure["layout"]["meta"]["sentence"]
    assert "whatever the token" in sentence
    assert "leaves least" in sentence


def test_a_state_that_loses_nothing_or_all_has_no_half_life_to_draw(models):
    def reading_of(kind, shares):
        ids = torch.tensor([1, 2])
        return TokenReads(models["RetNet"], kind, ("head 0",), ids, None, None, lambda _: shares)

    readings = {
        "RetNet": reading_of("retention", torch.ones(2, 1)),
        "Mamba": reading_of("hidden attention", torch.tensor([[0.0], [0.5]])),
    }
    spec = state_decay.spec(readings, dict.fromkeys(readings, 0))
    lines = {line["name"]: line["y"] for line in spec["data"]}
    assert lines["RetNet, head 0"] == [None, None]
    assert lines["Mamba, median"] == [None, 1.0]
    assert "half-life ∞ whatever the token" in spec["layout"]["meta"]["sentence"]
    json.dumps(spec, allow_nan=False)  # a browser reads no other numbers


def test_an_empty_text_is_an_empty_page_that_keeps_working(open_compare, models):
    widget = open_compare("")
    assert all(column.strip.tokens == [] for column in widget.columns)
    widget.text.value = TEXT
    widget.settle()
    expect_columns(widget, models, TEXT, widget.selected)
    widget.text.value = ""
    widget.settle()
    assert all(column.matrix.meta["length"] == 0 for column in widget.columns)
    assert widget.columns[0]._tables() == []


def test_the_table_holds_what_the_selected_token_reads(open_compare, models):
    widget = open_compare(token=3)
    for column, model in zip(widget.columns, models.values(), strict=True):
        ((caption, header, rows),) = column._tables()
        assert "token 3" in caption
        assert header[-1] == read(model, TEXT).kind
        assert [row[0] for row in rows] == ["0", "1", "2", "3"]
        weights = np.frombuffer(column.strip.weights, np.float32)
        assert [float(row[2].replace(",", "")) for row in rows] == pytest.approx(weights, rel=0.01)


def test_models_that_do_not_go_together_are_refused(models, tiny_tokenizer):
    with pytest.raises(ValueError, match="first model must be a RetNet, not a Mamba"):
        Compare({"Mamba": models["Mamba"]}, ExplorerState(text="a"))
    stranger = Transformer(TransformerConfig(**SHAPE, n_heads=2))
    with pytest.raises(ValueError, match="Stranger has another tokenizer"):
        Compare({"RetNet": models["RetNet"], "Stranger": stranger}, ExplorerState(text="a"))


# -- recall ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_recall_is_measured_when_asked_for_and_is_that_of_the_models(models, monkeypatch):
    lags, shares = (8, 64), (0.0, 1.0)  # the longest ones take most of the time
    assert set(lags) < set(recall_panel.LAGS)
    assert set(shares) < set(recall_panel.NOISES)
    monkeypatch.setattr(recall_panel, "LAGS", lags)
    monkeypatch.setattr(recall_panel, "NOISES", shares)
    panel = RecallPanel(models, lambda: "light", samples=1)
    assert panel.run.description == "Measure"
    panel.start()
    assert panel.is_running
    panel.settle()
    assert not panel.is_running
    tokenizer = models["RetNet"].tokenizer
    ids = read_held_out(tokenizer)[0]
    for name, model in models.items():
        recall = measure_recall(model, ids, 1, lags=lags)
        expected = [word for word in recall.words if word.kind == "thing"]
        assert [(w.lag, w.accuracy) for w in panel.lag_results[name]] == [
            (w.lag, w.accuracy) for w in expected
        ]
        for result, word in zip(panel.lag_results[name], expected, strict=True):
            assert result.probability == pytest.approx(word.probability)
        assert panel.noise_results[name] == list(recall_by_noise(model, ids, 1, shares=shares))
    sentence = panel.by_lag.figure["layout"]["meta"]["sentence"]
    assert "recalls half" in sentence


def test_a_measurement_can_be_cancelled_and_keeps_what_it_found(models, monkeypatch):
    panel = RecallPanel(models, lambda: "light", samples=1)
    reached, go_on = threading.Event(), threading.Event()
    ask = recall_panel.word_recall

    def wait_at_the_fourth(*arguments):
        if sum(map(len, panel.lag_results.values())) == 3:
            reached.set()
            go_on.wait(10)
        return ask(*arguments)

    monkeypatch.setattr(recall_panel, "word_recall", wait_at_the_fourth)
    panel.start()
    assert reached.wait(30)
    panel.run.click()
    go_on.set()
    assert not panel.is_running
    assert "cancelled" in panel.activity.value
    assert sum(map(len, panel.lag_results.values())) == 3


def test_a_measurement_that_fails_says_so(models, monkeypatch):
    def fail(*_given):
        raise RuntimeError("out of <memory>")

    monkeypatch.setattr(recall_panel, "word_recall", fail)
    panel = RecallPanel(models, lambda: "light", samples=1)
    panel.start()
    panel.settle()
    assert "out of &lt;memory&gt;" in panel.activity.value
    assert panel.run.description == "Measure"


def test_closing_the_comparison_ends_the_measurement(open_compare):
    board = open_compare()
    board.recall.samples = 1
    board.recall.start()
    board.stop()
    assert not board.recall.is_running
