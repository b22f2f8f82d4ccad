"""The explorer over a trace: of tensors, of a file, of a model; driven without a browser."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.model import MODES
from retnet_viz.trace.files.text_file import FileText
from retnet_viz.ui.core import runner
from retnet_viz.ui.core.state.link import read_link
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.explorer import trace_explorer
from retnet_viz.ui.pages.explorer.explorer import MAX_TOKENS
from retnet_viz.ui.pages.explorer.trace_explorer import TraceExplorer

T = 23
WORDS = [f"w{n}" for n in range(T)]
GAMMAS = [[0.5, 0.9, 1.0], [0.25, 0.75, 0.96875]]
NOTE = "there is no model to read another text"


def tensors(length=T, layers=2):
    random = np.random.default_rng(0)
    return [random.normal(size=(layers, 3, length, d)) for d in (4, 4, 5)]


def recurrence(q, k, v, gamma):
    """Outputs (T, d_v) and the norms of the states (T,) of one head, token by token."""
    state, outputs, norms = np.zeros((k.shape[-1], v.shape[-1])), [], []
    for q_n, k_n, v_n in zip(q, k, v, strict=True):
        state = gamma * state + np.outer(k_n, v_n)
        outputs.append(q_n @ state)
        norms.append(np.sqrt((state**2).sum()))
    return np.array(outputs), np.array(norms)


@pytest.fixture
def open_trace(opened):
    return lambda trace, **fields: opened(rv.explore(trace, **fields))


@pytest.fixture
def explorer(open_trace):
    return open_trace(rv.Trace.from_tensors(*tensors(), GAMMAS, WORDS, "chunkwise", 8))


def cells_of(matrix):
    """The places in the colour table that a matrix of weights shows, (heads, T, T)."""
    length, heads = matrix.meta["length"], len(matrix.meta["heads"])
    return np.frombuffer(matrix.cells, np.uint8).reshape(heads, length, length)


def test_the_explorer_shows_the_trace_in_its_mode(explorer):
    assert (explorer.mode.value, explorer.chunk.value, explorer.trace.mode) == (
        "chunkwise",
        8,
        "chunkwise",
    )
    assert explorer.strip.tokens == WORDS
    assert explorer.layer.max == 1
    assert len(explorer.heads) == 3
    assert "tensors without a model: 2 layers, 3 heads" in explorer.brand.value


def test_the_text_can_be_read_and_not_edited(explorer):
    trace = explorer.trace
    assert explorer.text.value == " ".join(WORDS)
    assert explorer.text.disabled
    assert NOTE in explorer.notice.value
    explorer.strip.selected = 4
    explorer.text.value = "another"
    assert explorer.text.value == " ".join(WORDS)
    assert explorer.selected == 4
    assert explorer.trace is trace
    placed = [explorer]
    for widget in placed:
        placed += getattr(widget, "children", ())
    assert explorer.text in placed
    assert explorer.preset not in placed
    assert explorer.picker not in placed


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (None, "0 1 2"),
        (["Once", " upon", " a"], "Once upon a"),
        (["a\n", "b", "c"], "a\nbc"),
        (["", "", ""], "  "),
        (["<b>", "\ud800", "\x00"], "<b> \ud800 \x00"),
    ],
)
def test_the_box_holds_the_tokens_as_a_text(open_trace, tokens, text):
    explorer = open_trace(rv.Trace.from_tensors(*tensors(3), 0.9, tokens))
    assert explorer.text.value == text
    assert len(explorer.strip.tokens) == 3
    assert "<b>" not in explorer.next.figure["layout"]["title"]["text"]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_drawn_is_what_the_recurrence_gives(explorer, mode):
    explorer.mode.value = mode
    explorer.layer.value = 1
    assert explorer.trace.mode == mode
    assert explorer.weights.meta["origin"] == explorer.trace.origin("retention")
    q, k, v = (x[1] for x in tensors())
    distance = np.subtract.outer(np.arange(T), np.arange(T))
    for head, line in enumerate(explorer.norms.figure["data"]):
        gamma = GAMMAS[1][head]
        assert line["y"] == pytest.approx(recurrence(q[head], k[head], v[head], gamma)[1], rel=1e-4)
    decay = np.where(distance >= 0, np.array(GAMMAS[1])[:, None, None] ** distance.clip(0), 0)
    weights = np.einsum("hnd,hmd->hnm", q, k) * decay
    places = cells_of(explorer.weights).astype(int)
    causal = distance >= 0
    limit = np.abs(weights[:, causal]).max()
    expected = 1 + np.round((weights / limit + 1) / 2 * 254)
    assert np.abs(places - expected)[:, causal].max() <= 1
    mean = weights[:, 6, :7].mean(0)
    explorer.strip.selected = 6
    assert np.frombuffer(explorer.strip.weights, np.float32) == pytest.approx(mean, abs=1e-6)


def test_the_gammas_are_those_of_the_layer(explorer):
    assert "<td>0.5</td><td>1</td><td>7</td>" in explorer.gammas.value
    assert "<td>1</td><td>never</td><td>never</td>" in explorer.gammas.value
    explorer.layer.value = 1
    assert "<td>0.96875</td><td>22</td><td>145</td>" in explorer.gammas.value
    assert "never" not in explorer.gammas.value


@pytest.mark.parametrize("mode", MODES)
def test_agreement_and_cost_are_measured(explorer, mode):
    explorer.mode.value = mode
    explorer.settle()
    assert explorer.agreement.logits == {}
    assert 0 < explorer.agreement.worst < 1e-12
    assert f"{explorer.agreement.worst:.1e}" in explorer.comparison.agree.value
    assert "head outputs reach" in explorer.comparison.agree.value
    assert "logits" not in explorer.comparison.agree.value
    assert explorer.comparison.cost.figure["data"][0]["x"] == [1, T, 3]
    assert "could not" not in explorer.notice.value


def test_there_is_no_next_token_and_the_panel_says_why(explorer):
    for mode in MODES:
        explorer.mode.value = mode
        explorer.strip.selected = 4
        figure = explorer.next.figure
        assert figure["data"] == []
        assert "without a model nothing is predicted" in figure["layout"]["annotations"][0]["text"]


def test_chunk_size_heads_and_stage_are_chosen_as_ever(explorer):
    explorer.chunk.value = 5
    assert (explorer.trace.mode, explorer.trace.chunk_size) == ("chunkwise", 5)
    assert len(rv.schedule(explorer.trace, 0, 0)) == 5
    explorer.heads[1].value = False
    assert [head["index"] for head in explorer.weights.meta["heads"]] == [0, 2]
    explorer.strip.selected = 3
    assert explorer.stage.token == 3
    explorer.stage.head = 2
    assert explorer.state.head == 2
    explorer.chunk.value, explorer.heads[1].value = 8, True
    assert explorer.trace.chunk_size == 8
    explorer.weights.cell = [1, 6, 3]
    cell = explorer.trace.cell(0, 1, 6, 3)
    assert f"q·k {cell.score:.3g} × γ³ {cell.decay:.3g}" in explorer.weights.readout
    assert explorer.selected == explorer.stage.token == 6


def test_back_in_its_own_mode_it_is_the_trace_itself(explorer):
    trace = explorer.trace
    explorer.mode.value = "parallel"
    assert explorer.trace is not trace
    explorer.mode.value = "chunkwise"
    assert explorer.trace is trace


@pytest.mark.parametrize(
    "state",
    [
        ExplorerState("A text from a link", layer=1, heads=(1,), token=3),
        ExplorerState("x" * 5000, mode="recurrent", head=1, token=10**6, cell=(1, 9, 9)),
        ExplorerState("the", mode="chunkwise", chunk_size=3, scale="log", theme="dark"),
    ],
)
def test_a_link_chooses_all_but_the_text(explorer, state):
    explorer.open_link(state.query())
    assert explorer.state == replace(state.fitted(explorer.model.config), text="")
    assert explorer.text.value == " ".join(WORDS)
    assert (explorer.trace.mode, explorer.trace.length) == (state.mode, T)
    assert explorer.selected == min(state.token or T, T - 1)
    assert "text" not in read_link(explorer.page.query).fields("explorer")


@pytest.mark.parametrize(
    "query", ["", "state=%7B", "state=[1]&text=a", "preset=2", "model=/etc/passwd"]
)
def test_a_link_that_holds_nothing_changes_nothing(explorer, query):
    before = explorer.state, explorer.trace
    explorer.open_link(query)
    assert (explorer.state, explorer.trace) == before


def test_presets_files_and_other_texts_leave_it_as_it_is(explorer):
    explorer.preset.value = 1
    explorer.open_file(FileText("A story", "story.txt", 7, cut=False))
    assert NOTE in explorer.notice.value
    assert "The text is as before" in explorer.notice.value
    explorer.apply_state(ExplorerState("other", layer=1))
    assert explorer.layer.value == 1
    assert explorer.text.value == " ".join(WORDS)
    assert explorer.strip.tokens == WORDS
    assert explorer.state.text == ""


def test_fields_can_be_chosen_with_the_trace(open_trace):
    trace = rv.Trace.from_tensors(*tensors(), GAMMAS, chunk_size=10**6)
    explorer = open_trace(trace, mode="recurrent", layer=1, token=3, theme="dark")
    assert (explorer.trace.mode, explorer.layer.value, explorer.selected) == ("recurrent", 1, 3)
    with pytest.raises(ValueError, match=r"layer must lie in 0 \.\. 1"):
        rv.explore(trace, layer=2)
    with pytest.raises(ValueError, match="a trace has its own text"):
        rv.explore(trace, "a text")


# -- long -----------------------------------------------------------------------------------------


def test_many_tokens_are_run_behind_and_planes_too_large_are_refused(open_trace, monkeypatch):
    monkeypatch.setattr(trace_explorer, "QUICK", 10)
    explorer = open_trace(rv.Trace.from_tensors(*tensors(), GAMMAS, mode="recurrent"))
    trace = explorer.trace
    explorer.mode.value = "chunkwise"
    assert explorer.trace is trace  # until the other one is there
    explorer.settle()
    assert explorer.trace.mode == "chunkwise"
    monkeypatch.setattr(runner, "MOST_PLANES", 1000)
    explorer.mode.value = "parallel"
    explorer.settle()
    assert explorer.trace.mode == explorer.mode.value == "chunkwise"
    assert "Parallel mode would hold" in explorer.notice.value


def test_a_long_run_is_cancelled_in_the_middle(open_trace, monkeypatch):
    monkeypatch.setattr(trace_explorer, "QUICK", 10)
    monkeypatch.setattr(trace_explorer, "_REPORT_EVERY", 1)
    explorer = open_trace(rv.Trace.from_tensors(*tensors(), GAMMAS))
    trace, reports = explorer.trace, []

    def tell(done, total):
        reports.append((done, total))
        if done:
            explorer._reader.cancel()

    monkeypatch.setattr(explorer._reader, "_report", tell)
    explorer.mode.value = "recurrent"
    explorer._reader.wait()
    assert reports[0] == (0, T)
    assert reports[-1] == (T // 2, T)  # the first of two layers is done; no more was run
    assert explorer.trace is trace


def test_tensors_of_more_than_a_thousand_tokens_are_shown(open_trace):
    explorer = open_trace(rv.Trace.from_tensors(*tensors(1500), GAMMAS, mode="chunkwise"))
    explorer.settle()
    assert explorer.weights not in explorer._weights_place.children
    assert "up to 1,024 tokens" in explorer.comparison.agree.value
    assert explorer.strip.tokens == [str(n) for n in range(1024, 1500)]
    explorer.mode.value = "recurrent"
    explorer.settle()
    assert explorer.trace.mode == "recurrent"
    assert "could not" not in explorer.notice.value


def test_more_tokens_than_the_explorer_shows_are_refused(monkeypatch):
    monkeypatch.setattr(TraceExplorer, "max_tokens", T - 1)
    assert MAX_TOKENS == 131_072
    with pytest.raises(ValueError, match=f"up to {T - 1} tokens; this trace has {T}"):
        rv.explore(rv.Trace.from_tensors(*tensors(), GAMMAS))


# -- traces of models, and of files ---------------------------------------------------------------


def test_a_trace_of_a_model_opens_the_model_with_its_text(shipped_model, open_trace):
    trace = rv.trace(shipped_model, "The old man said", "chunkwise", 4)
    explorer = open_trace(trace, layer=2)
    assert not isinstance(explorer, TraceExplorer)
    assert (explorer.text.value, explorer.mode.value, explorer.chunk.value) == (
        "The old man said",
        "chunkwise",
        4,
    )
    assert torch.allclose(explorer.trace.logits, trace.logits)
    explorer.text.value += " to"
    assert explorer.trace.length == trace.length + 1


def test_ids_that_are_no_text_are_shown_as_they_are(shipped_model, tiny_model, open_trace):
    ids = torch.tensor([7, 200, 7])
    explorer = open_trace(rv.trace(tiny_model(), ids))
    assert explorer.text.value == "7 200 7"
    assert "token ids are fixed" in explorer.notice.value
    assert explorer.next.figure["data"]  # its model predicts
    explorer.settle()
    assert explorer.agreement.logits
    # and where the model reads their text as other tokens
    tokenizer = shipped_model.tokenizer
    apart = [*tokenizer.encode("th"), *tokenizer.encode("e")]
    assert tokenizer.encode("the") != apart
    explorer = open_trace(rv.trace(shipped_model, torch.tensor(apart)))
    assert explorer.trace.ids.tolist() == apart
    assert isinstance(explorer, TraceExplorer)


def test_a_loaded_trace_is_shown_with_what_its_model_said(shipped_model, open_trace, tmp_path):
    expected = rv.trace(shipped_model, "The old man said to the boy", "chunkwise", 4)
    expected.save(tmp_path / "trace.safetensors")
    explorer = open_trace(rv.Trace.load(tmp_path / "trace.safetensors"))
    assert "a saved trace without its model: 4 layers, 4 heads" in explorer.brand.value
    assert explorer.text.value == "The old man said to the boy"
    assert NOTE in explorer.notice.value
    top = expected.logits[-1].double().softmax(-1).topk(10)
    assert explorer.next.figure["data"][0]["x"] == pytest.approx(top.values.tolist())
    assert explorer.next.figure["data"][0]["customdata"][0] == expected.piece(int(top.indices[0]))
    explorer.settle()
    assert explorer.agreement.logits == {}
    explorer.mode.value = "recurrent"
    assert explorer.next.figure["data"] == []
    assert np.frombuffer(explorer.strip.weights, np.float32) == pytest.approx(
        expected.retention(0)[:, -1].mean(0).numpy(), abs=1e-4
    )
    with_model = open_trace(rv.Trace.load(tmp_path / "trace.safetensors", shipped_model))
    assert not isinstance(with_model, TraceExplorer)
    assert with_model.text.value == "The old man said to the boy"
