"""The explorer without a browser: set a trait as the front end does, read what would be drawn."""

import asyncio
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import retnet_viz as rv
from retnet_viz.figures.base.theme import DIVERGING, color_table
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import MODES
from retnet_viz.trace.passes.live import Live
from retnet_viz.ui.core.app_page import LINK_PAUSE
from retnet_viz.ui.core.state import link
from retnet_viz.ui.pages.presets import PRESETS
from retnet_viz.ui.pages.training.training_state import TrainingState
from retnet_viz.ui.panels import view_models
from tests.support.examples import examples


def cells_of(matrix):
    """The places in the colour table that a matrix shows, (heads, T, T)."""
    length, heads = matrix.meta["length"], len(matrix.meta["heads"])
    places = np.frombuffer(matrix.cells, np.uint8)
    if not matrix.meta["diagonal"]:
        return places.reshape(heads, length, length)
    distance = np.subtract.outer(np.arange(length), np.arange(length))
    return np.where(distance >= 0, places.reshape(heads, length)[:, distance.clip(0)], 0)


def ask(matrix, *cell):
    """What the matrix answers when the pointer is on a cell (head, n, m)."""
    answers = []
    matrix.send = lambda content, buffers=None: answers.append(content)
    matrix._handle_custom_msg({"question": 1, "ask": "cell", "about": list(cell)}, [])
    return answers[0]["text"]


def test_typing_shows_the_trace_of_the_new_text(explorer, shipped_model):
    explorer.text.value = "Once upon a time there was"
    expected = rv.trace(shipped_model, "Once upon a time there was", "parallel")
    assert explorer.strip.tokens == [visible(token) for token in expected.tokens]
    assert torch.equal(explorer.trace.logits, expected.logits)
    assert explorer.strip.selected == expected.length - 1
    assert cells_of(explorer.weights).shape == (4, expected.length, expected.length)


@pytest.mark.parametrize("mode", MODES)
def test_the_mode_is_really_run_and_said_to_compute_or_derive(explorer, mode):
    explorer.mode.value = mode
    assert explorer.trace.mode == mode
    assert explorer.weights.meta["origin"] == explorer.trace.origin("retention")
    computed = {"parallel": "all", "recurrent": "none", "chunkwise": "blocks"}
    assert explorer.weights.meta["computed"] == computed[mode]
    assert explorer.norms.figure["layout"]["annotations"][0]["text"] == explorer.trace.origin(
        "state_norm"
    )


@pytest.mark.parametrize("mode", MODES)
def test_what_is_drawn_is_what_the_trace_holds(explorer, mode):
    explorer.mode.value = mode
    explorer.layer.value = 2
    trace = explorer.trace
    places = cells_of(explorer.weights).astype(int)
    weights = trace.retention(2).numpy()
    causal = np.tri(trace.length, dtype=bool)
    assert (places[:, ~causal] == 0).all()
    limit = np.abs(weights[:, causal]).max()
    expected = 1 + np.round((weights / limit + 1) / 2 * 254)
    assert np.abs(places - expected)[:, causal].max() <= 1
    decay = 1 + np.round(trace.decay(2).numpy() * 254)
    assert np.array_equal(cells_of(explorer.decay), np.where(causal, decay, 0))
    lines = explorer.norms.figure["data"]
    assert len(lines) == trace.n_heads
    for head, line in enumerate(lines):
        assert line["y"] == pytest.approx(trace.state_norm(2)[head].tolist())
    top = trace.logits[-1].double().softmax(-1).topk(10)
    assert explorer.next.figure["data"][0]["x"] == pytest.approx(top.values.tolist())


def test_the_readout_of_a_cell_has_the_numbers_of_that_cell(explorer):
    trace = explorer.trace
    cell = trace.cell(0, 1, 7, 3)
    text = ask(explorer.weights, 1, 7, 3)
    assert f"q·k {cell.score:.3g} × γ⁴ {cell.decay:.3g} = {cell.weight:.3g}" in text
    assert cell.score * cell.decay == pytest.approx(cell.weight, rel=1e-5)
    assert "cannot read" in ask(explorer.weights, 1, 3, 7)
    assert f"= {cell.decay:.4g}" in ask(explorer.decay, 1, 7, 3)


@pytest.mark.parametrize("cell", [[9, 0, 0], [0, 999, 0], [0, 0, -1], [0], "x", None])
def test_a_question_about_no_cell_is_harmless(explorer, cell):
    explorer.weights._handle_custom_msg({"question": 1, "ask": "cell", "about": cell}, [])


def test_one_selection_everywhere(explorer):
    def everywhere():
        title = explorer.next.figure["layout"]["title"]["text"]
        return {
            explorer.selected,
            explorer.strip.selected,
            explorer.weights.selected,
            explorer.decay.selected,
            explorer.norms.cursor,
            explorer.stage.token,
            int(re.search(r"n = (\d+)", title)[1]),
        }

    explorer.strip.selected = 4
    assert everywhere() == {4}
    explorer.norms.clicked = 2
    assert everywhere() == {2}
    explorer.weights.cell = [1, 6, 3]
    assert everywhere() == {6}
    assert explorer.decay.cell == [1, 6, 3]
    explorer.text.value += " more"
    assert everywhere() == {explorer.trace.length - 1}
    assert explorer.weights.cell == []


def test_the_strip_is_shaded_by_the_weights_of_the_shown_heads(explorer):
    explorer.heads[0].value = explorer.heads[2].value = False
    explorer.strip.selected = 6
    assert explorer.shown_heads == [1, 3]
    mean = explorer.trace.retention(0)[[1, 3], 6].mean(0).numpy()
    shades = np.frombuffer(explorer.strip.shades, np.uint8).astype(int)
    assert len(shades) == 7  # what comes later is not read
    expected = 1 + np.round((mean / np.abs(mean[:7]).max() + 1) / 2 * 254)
    assert np.abs(shades - expected[:7]).max() <= 1
    assert np.array_equal(np.frombuffer(explorer.strip.weights, np.float32), mean[:7])


def test_heads_can_be_hidden_but_not_all(explorer):
    for toggle in explorer.heads:
        toggle.value = False
    assert explorer.shown_heads == [3]
    assert explorer.heads[3].value
    assert [head["index"] for head in explorer.weights.meta["heads"]] == [3]


def test_a_log_scale_spreads_a_slow_decay_over_all_colours(explorer):
    flat = cells_of(explorer.decay)[3]
    explorer.scale.value = "log"
    spread = cells_of(explorer.decay)[3]
    causal = np.tri(explorer.trace.length, dtype=bool)
    assert np.ptp(spread[causal].astype(int)) > 2 * np.ptp(flat[causal].astype(int))


def test_zero_is_white_on_the_signed_scale(explorer):
    red, green, blue = color_table(DIVERGING)[128]
    assert min(red, green, blue) > 240
    assert np.array_equal(
        np.frombuffer(explorer.weights.colors, np.uint8).reshape(256, 3), color_table(DIVERGING)
    )


def test_agreement_and_cost_are_measured_on_the_shown_text(explorer):
    explorer.mode.value = "chunkwise"
    assert explorer.comparison.cost.stale
    explorer.settle()
    assert not explorer.comparison.cost.stale
    assert explorer.agreement == explorer.trace.agreement()
    assert f"{explorer.agreement.worst:.1e}" in explorer.comparison.agree.value
    steps = explorer.comparison.cost.figure["data"][0]
    assert steps["x"] == [1, explorer.trace.length, -(-explorer.trace.length // 8)]


@pytest.mark.parametrize("questions", [0, 1, 5])
def test_an_outdated_comparison_gives_way_at_once(explorer, questions):
    calls = []

    def current():
        calls.append(True)
        return len(calls) <= questions

    explorer._run_work(current)
    assert len(calls) == questions + 1  # it did not go on once it was told
    assert explorer.agreement is None
    assert explorer.comparison.cost.stale


def test_the_gammas_are_told_with_half_life_and_horizon(explorer):
    for gamma, half, horizon in ((0.96875, 22, 145), (0.984375, 44, 292)):
        assert f"<td>{gamma}</td><td>{half}</td><td>{horizon}</td>" in explorer.gammas.value


def test_an_empty_text_shows_a_sentence_and_keeps_working(explorer):
    explorer.text.value = ""
    assert explorer.trace is None
    assert explorer.strip.tokens == []
    assert "type a sentence" in explorer.strip.empty
    explorer.layer.value = 1
    explorer.mode.value = "recurrent"
    explorer.settle()
    explorer.text.value = "a"
    assert explorer.trace.length == 1
    assert explorer.trace.mode == "recurrent"


def test_a_text_of_too_many_tokens_is_cut_with_a_notice(explorer, monkeypatch):
    monkeypatch.setattr(explorer._reader._source, "_max_tokens", 100)
    explorer.text.value = "word " * 300
    assert explorer.trace.length == 100
    assert "Only the first" in explorer.notice.value
    explorer.text.value = "short"
    assert "Only" not in explorer.notice.value


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "\U0001f600\U0001f468‍\U0001f469‍\U0001f467",
        "שלום עולם مرحبا",
        "a\x00b\x01c",
        "e" + "\u0301" * 5_000,  # one word, too long to be read at once
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "\u202eabc\u2066",
        "%{x} <b>bold</b> &amp; $x$",
        "\ud800 lone",
    ],
)
def test_any_text_is_shown_as_text(explorer, text):
    explorer.text.value = text
    explorer.settle()
    explorer.strip.selected = 0
    texts = [explorer.notice.value, explorer.comparison.agree.value, explorer.gammas.value]
    titles = [explorer.next.figure["layout"]["title"]["text"]]
    assert not any("<script" in part or "<img" in part for part in texts + titles)
    for piece in explorer.strip.tokens:
        assert not re.search(r"[\x00-\x1f\u202a-\u202e\u2066-\u2069]", piece)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("text"), st.text(max_size=30)),
            st.tuples(st.just("mode"), st.sampled_from(MODES)),
            st.tuples(st.just("chunk"), st.integers(-5, 100)),
            st.tuples(st.just("layer"), st.integers(-5, 9)),
            st.tuples(st.just("scale"), st.sampled_from(("linear", "log", "arcsinh"))),
            st.tuples(st.just("strip"), st.integers(0, 12)),
            st.tuples(st.just("cell"), st.lists(st.integers(0, 12), min_size=3, max_size=3)),
            st.tuples(st.just("heads"), st.integers(0, 3)),
            st.tuples(st.just("preset"), st.integers(-1, 3)),
        ),
        max_size=6,
    )
)
@settings(deadline=None, max_examples=examples(25))
def test_any_order_of_actions_leaves_a_state_that_fits_what_is_shown(actions):
    explorer = rv.explore(MODEL, "one two three")
    for control, value in actions:
        if control == "strip":
            explorer.strip.selected = value
        elif control == "cell":
            explorer.weights.cell = value
        elif control == "heads":
            explorer.heads[value].value = not explorer.heads[value].value
        else:
            getattr(explorer, control).value = value
    state = explorer.state
    assert explorer.text.value == state.text
    assert explorer.mode.value == state.mode
    assert explorer.chunk.value == state.chunk_size
    assert explorer.layer.value == state.layer
    if explorer.trace is not None:
        assert explorer.trace.mode == state.mode
        expected = MODEL.tokenizer.encode(state.text)
        assert explorer.trace.ids.tolist() == expected
        assert 0 <= explorer.selected < explorer.trace.length
    explorer.stop()
    explorer.close_all()


MODEL = rv.load()


def test_a_link_reopens_the_same_view(explorer, shipped_model):
    explorer.text.value = "A link keeps <all> & more"
    explorer.mode.value = "chunkwise"
    explorer.chunk.value = 3
    explorer.layer.value = 1
    explorer.heads[2].value = False
    explorer.strip.selected = 1
    again = rv.explore(shipped_model)
    again.open_link(explorer.page.query)
    assert again.state == explorer.state
    assert again.strip.shades == explorer.strip.shades
    again.stop()


def test_a_link_keeps_what_the_other_apps_hold(explorer):
    text = explorer.text.value
    theirs = TrainingState("recall", 3, theme="dark")
    explorer.open_link(theirs.query())
    assert explorer.text.value == text  # the link had none
    assert explorer.theme.value == "dark"
    explorer.layer.value = 1
    saved_link = link.read_link(explorer.page.query)
    assert TrainingState().with_fields(saved_link.fields("training")) == (theirs, [])
    assert saved_link.fields("explorer")["layer"] == 1


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"chunk_size": 0}, "chunk_size"),
        ({"chunk_size": -3}, "chunk_size"),
        ({"chunk_size": 10**9}, "chunk_size"),
        ({"layer": 4}, "layer"),
        ({"heads": (1, 4)}, "heads"),
        ({"mode": "serial"}, "mode"),
        ({"scale": "cubic"}, "scale"),
        ({"theme": "pink"}, "theme"),
    ],
)
def test_the_api_refuses_what_no_control_can_choose(shipped_model, fields, name):
    with pytest.raises(ValueError, match=name):
        rv.explore(shipped_model, "text", **fields)


@pytest.mark.parametrize("value", [0, -1, 10**6])
def test_the_control_clamps_the_chunk_size(explorer, value):
    explorer.chunk.value = value
    assert 1 <= explorer.state.chunk_size <= 64
    assert explorer.trace.chunk_size == explorer.state.chunk_size


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_each_preset_shows_its_text_and_its_point(explorer, preset):
    explorer.preset.value = PRESETS.index(preset)
    assert explorer.text.value == preset.state.text
    assert explorer.mode.value == preset.state.mode
    assert explorer.trace.length > 10
    assert preset.point.split(":")[0] in explorer.notice.value
    explorer.text.value += "!"
    assert explorer.preset.value == -1


def test_dark_figures_follow_the_page(explorer):
    light = explorer.norms.figure["layout"]["template"]["layout"]["paper_bgcolor"]
    explorer.page.shown = "dark"
    dark = explorer.norms.figure["layout"]["template"]["layout"]["paper_bgcolor"]
    assert light != dark
    explorer.theme.value = "dark"
    assert explorer.page.theme == "dark"


@pytest.mark.parametrize(("control", "value"), [("text", "something else"), ("preset", 3)])
def test_what_cannot_be_shown_is_said_and_the_picture_stays(explorer, monkeypatch, control, value):
    def fail(*_):
        raise RuntimeError("no <memory>")

    cells, tokens = explorer.weights.cells, explorer.strip.tokens
    monkeypatch.setattr(Live, "prepare", fail)
    getattr(explorer, control).value = value
    assert "could not be shown" in explorer.notice.value
    assert "no &lt;memory&gt;" in explorer.notice.value
    assert (explorer.weights.cells, explorer.strip.tokens) == (cells, tokens)
    monkeypatch.undo()
    explorer.text.value = "works again"
    assert "could not" not in explorer.notice.value
    assert explorer.trace.length == len(explorer.strip.tokens)


# -- done once -----------------------------------------------------------------------------------


def test_modes_that_were_compared_are_not_run_again_when_one_is_chosen(explorer, forward_passes):
    explorer.settle()
    costs, worst = explorer.costs, explorer.agreement.worst
    forward_passes.clear()
    for mode in ("recurrent", "chunkwise", "parallel"):
        explorer.mode.value = mode
        explorer.settle()
        assert explorer.trace.mode == mode
        assert explorer.costs == costs
        assert explorer.agreement.outputs.keys() == set(MODES) - {mode}
        assert explorer.agreement.worst <= 2 * worst
    assert forward_passes == []
    assert f"recomputed 0 of {explorer.trace.length} tokens" in explorer.notice.value
    explorer.text.value += " again"
    assert len(forward_passes) == 1


def test_the_decay_is_drawn_where_gamma_or_the_length_is_new_and_not_at_each_key(
    explorer, monkeypatch
):
    drawings = []
    plane = view_models.plane

    def counted(trace, name, *options):
        drawings.append(name)
        return plane(trace, name, *options)

    monkeypatch.setattr(view_models, "plane", counted)

    def draws(name):
        count = drawings.count(name)
        drawings.clear()
        return count

    length = explorer.trace.length
    for old, new in (("the boy said", "the man said"), ("old man", "old boy")):
        explorer.text.value = explorer.text.value.replace(old, new)
        assert explorer.trace.length == length
        assert (draws("retention"), draws("decay")) == (1, 0)
    explorer.strip.selected = 2
    assert draws("decay") == 0
    for choose in (
        lambda: setattr(explorer.scale, "value", "log"),
        lambda: setattr(explorer.heads[0], "value", False),
        lambda: setattr(explorer.layer, "value", 1),
        lambda: setattr(explorer.mode, "value", "chunkwise"),
        lambda: setattr(explorer.text, "value", "A shorter text"),
        lambda: setattr(explorer.text, "value", ""),
        lambda: setattr(explorer.text, "value", "A shorter text"),
    ):
        choose()
        if explorer.trace is not None:
            assert draws("decay") == 1
            expected = plane(
                explorer.trace,
                "decay",
                explorer.state.layer,
                explorer.shown_heads,
                explorer.state.scale,
                1024,
            )
            assert (explorer.decay.cells, explorer.decay.meta) == (
                expected["cells"],
                expected["meta"],
            )
        else:
            assert explorer.decay.cells == b""


def test_the_link_is_made_once_for_keys_that_follow_fast(shipped_model, monkeypatch):
    calls = []
    query_of = link.query_of

    def counted(parts):
        calls.append(parts)
        return query_of(parts)

    monkeypatch.setattr(link, "query_of", counted)

    async def type_a_word():
        explorer = rv.explore(shipped_model, "a")
        for letter in "word":
            explorer.text.value += letter
        assert calls == []
        await asyncio.sleep(LINK_PAUSE + 0.2)
        assert len(calls) == 1
        first = link.read_link(explorer.page.query).fields("explorer")["text"]
        explorer.text.value += "s"
        explorer.page._handle_custom_msg({"do": "opened"}, [])  # now, for a page that opens
        assert len(calls) == 2
        second = link.read_link(explorer.page.query).fields("explorer")["text"]
        await asyncio.sleep(LINK_PAUSE + 0.2)
        assert len(calls) == 2
        explorer.stop()
        explorer.close_all()
        return first, second

    assert asyncio.run(type_a_word()) == ("aword", "awords")
