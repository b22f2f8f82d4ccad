"""Long texts in the explorer: files, planes that pan and zoom, thinned curves, what is left out."""

import importlib

import numpy as np
import pytest
import torch

import retnet_viz as rv
from retnet_viz.figures import state_norm
from retnet_viz.figures.base.tokens import visible
from retnet_viz.trace import TextFileError, read_text
from retnet_viz.trace.passes import incremental
from retnet_viz.ui.core import runner
from retnet_viz.ui.core.state import link
from retnet_viz.ui.pages import reading_page
from retnet_viz.ui.pages.explorer import explorer
from retnet_viz.ui.panels import token_strip

WORDS = "the king said to the old man that he would go down to the river and see what was there "


@pytest.fixture
def small_limits(monkeypatch):
    """Texts count as long from 60 tokens on, and the strip shows 32 of them."""
    monkeypatch.setattr(explorer, "MOST_CELLS", 60)
    monkeypatch.setattr(token_strip, "WINDOW", 32)
    monkeypatch.setattr(reading_page, "MOST_IN_BOX", 300)
    monkeypatch.setattr(reading_page, "IN_BOX", 100)
    monkeypatch.setattr(runner, "QUICK", 200)


@pytest.fixture
def long_explorer(small_limits, shipped_model):
    page = rv.explore(shipped_model, "", mode="chunkwise", chunk_size=16)
    yield page
    page.stop()


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(WORDS * 10)
    return path


def open_file(page, path):
    page.open_file(read_text(path))
    page.settle()
    return page


def test_a_file_is_read_whole_and_its_end_stands_in_the_box(long_explorer, file, shipped_model):
    page = open_file(long_explorer, file)
    fresh = rv.trace(shipped_model, WORDS * 10, "chunkwise", 64)
    assert torch.equal(page.trace.ids, fresh.ids)
    assert page.trace.chunk_size == page.chunk.value == 64  # 16 would be slow at 131,072 tokens
    assert page.text.value == (WORDS * 10)[-100:]
    assert page.state.before + page.state.text == WORDS * 10
    assert "story.txt" in page.notice.value


def test_typing_goes_on_from_the_end_of_the_file(long_explorer, file, shipped_model):
    page = open_file(long_explorer, file)
    page.text.value += "and the moon"
    page.settle()
    fresh = rv.trace(shipped_model, WORDS * 10 + "and the moon", "chunkwise", 64)
    assert torch.equal(page.trace.ids, fresh.ids)
    assert torch.allclose(page.trace.logits_after(-1), fresh.logits[-1], rtol=1e-4, atol=1e-4)
    assert f"of {fresh.length:,} tokens; the states before them were kept" in page.notice.value


def test_the_plane_of_a_long_text_is_that_of_its_trace(long_explorer, file):
    page = open_file(long_explorer, file)
    page.layer.value = 2
    page.settle()
    matrix = page.long.weights
    assert page._weights_place.children == (matrix,)
    assert matrix.ready == [0, 1, 2, 3]
    expected = page.trace.retention(2)
    for n, m in ((0, 0), (90, 3), (190, 188)):
        cell = matrix._drawing.plane.cell(1, n, m)
        assert cell.weight == pytest.approx(expected[1, n, m].item(), rel=1e-4, abs=1e-5)
    matrix.cell = [1, 90, 3]
    assert page.state.cell == (1, 90, 3)
    assert page.selected == 90
    assert "n 90" in matrix.readout


def test_the_decay_of_a_long_text_is_shown_for_its_first_tokens(long_explorer, file):
    page = open_file(long_explorer, file)
    assert page.decay.meta["length"] == 60
    assert "first 60 tokens" in page.decay.meta["origin"]
    places = np.frombuffer(page.decay.cells, np.uint8).reshape(4, 60)
    expected = 1 + np.round(254 * page.trace.decay(0, cols=slice(0, 1))[:, :60, 0].numpy())
    assert np.array_equal(places, expected)
    assert page.decay.selected == -1  # the selected token is not among them
    page.strip.selected = 20
    assert page.decay.selected == page.long.weights.selected == 20


def test_the_strip_shows_the_tokens_around_the_selected_one(long_explorer, file):
    page = open_file(long_explorer, file)
    length = page.trace.length
    for selected in (0, 5, 40, 100, length - 1):
        page.strip.selected = selected
        strip = page.strip
        assert strip.length == length
        assert len(strip.tokens) <= 32
        assert strip.first <= selected < strip.first + len(strip.tokens)
        window = slice(strip.first, strip.first + len(strip.tokens))
        assert strip.tokens == [visible(token) for token in page.trace.tokens[window]]
        mean = page.trace.retention(0)[:, selected, strip.first : selected + 1].mean(0).numpy()
        weights = np.frombuffer(strip.weights, np.float32)
        assert np.allclose(weights, mean, rtol=1e-3, atol=1e-5)


def test_a_step_of_the_selection_moves_no_token_of_the_strip(long_explorer, file):
    page = open_file(long_explorer, file)
    page.strip.selected = 100
    first = page.strip.first
    n_moves = 0
    for selected in range(101, 117):
        page.strip.selected = selected
        n_moves += page.strip.first != first
        first = page.strip.first
    assert n_moves <= 1


def test_what_is_not_done_for_a_long_text_is_said(long_explorer, file):
    page = open_file(long_explorer, file)
    assert page.stage.meta["length"] == 0
    assert "up to 60 tokens" in page.stage.meta["whyNot"]
    assert "up to 60 tokens" in page.comparison.agree.value
    assert page.costs == {}


def test_back_to_a_short_text_everything_is_as_ever(long_explorer, file):
    page = open_file(long_explorer, file)
    page.preset.value = 0
    page.settle()
    assert page.state.before == ""
    assert page._weights_place.children == (page.weights,)
    assert page.weights.meta["length"] == page.trace.length == len(page.strip.tokens)
    assert page.long.weights.meta["length"] == 0
    assert page.stage.meta["length"] == page.trace.length
    assert page.costs


def test_a_file_too_long_for_parallel_mode_is_read_chunkwise(long_explorer, file, monkeypatch):
    page = long_explorer
    page.mode.value = "parallel"
    monkeypatch.setattr(runner, "MOST_PLANES", 10**6)
    open_file(page, file)
    assert page.trace.mode == page.mode.value == page.state.mode == "chunkwise"
    assert "Parallel mode would hold 32 planes" in page.notice.value
    page.mode.value = "parallel"  # asked for again it is refused again
    page.settle()
    assert page.mode.value == "chunkwise"
    assert "Parallel mode would hold" in page.notice.value
    page.mode.value = "recurrent"
    page.settle()
    assert page.trace.mode == "recurrent"
    assert "would hold" not in page.notice.value


def test_a_lean_record_shows_the_same(long_explorer, file, monkeypatch):
    monkeypatch.setattr(incremental, "ROW_BUDGET", 0)
    page = open_file(long_explorer, file)
    page.layer.value = 3
    page.settle()
    fresh = rv.trace(page.model, WORDS * 10, "chunkwise", 64)
    assert page.trace.origin("q") == "replayed"
    cell = page.long.weights._drawing.plane.cell(2, 150, 140)
    assert cell.weight == pytest.approx(fresh.retention(3)[2, 150, 140].item(), rel=1e-3)
    line = page.norms.figure["data"][1]["y"]
    assert line == pytest.approx(fresh.state_norm(3)[1].tolist(), rel=1e-4)


@pytest.mark.parametrize(
    ("content", "size", "sentence"),
    [
        (b"", 0, "is empty"),
        (b"", 10 * 2**30, "10,240.0 MB"),
        (b"\x00\x01\x02" * 40, 120, "bytes that no text has"),
        (b"\x89PNG\r\n\x1a\n", 8, "PNG"),
        ("é".encode("latin-1") + "é".encode(), 3, "not valid UTF-8 at byte 0"),
    ],
)
def test_a_bad_file_gets_a_sentence_and_the_text_stays(long_explorer, content, size, sentence):
    page = long_explorer
    page.text.value = "the old man"
    message = {"file": {"name": "<b>x", "size": size, "error": ""}}
    page.picker._handle_custom_msg(message, [content])
    page.settle()
    assert sentence in page.notice.value
    assert "&lt;b&gt;x" in page.notice.value
    assert page.text.value == "the old man"
    assert page.trace.length == 3
    page.text.value = "the old man ran"
    assert sentence not in page.notice.value


def test_a_file_that_the_page_could_not_read_is_named(long_explorer):
    message = {"file": {"name": "folder", "size": 4096, "error": "NotFoundError"}}
    long_explorer.picker._handle_custom_msg(message, [b""])
    assert "folder could not be read: NotFoundError" in long_explorer.notice.value


@pytest.mark.parametrize("message", [{}, {"file": 3}, {"file": {"name": 1, "size": "x"}}, [], None])
def test_a_strange_message_of_the_page_is_harmless(long_explorer, message):
    before = long_explorer.notice.value
    long_explorer.picker._handle_custom_msg(message, [])
    assert long_explorer.notice.value == before


def test_a_cancelled_file_leaves_the_text_and_the_picture(long_explorer, file, monkeypatch):
    page = long_explorer
    page.text.value = "the old man"
    trace, cells = page.trace, page.weights.cells
    monkeypatch.setattr(page._reader, "_report", lambda done, total: page.cancel_reading())
    open_file(page, file)
    assert (page.trace, page.weights.cells, page.text.value) == (trace, cells, "the old man")
    assert page.trace.logits.isfinite().all()
    assert page.reading.layout.display == "none"


@pytest.mark.slow
def test_a_path_or_the_name_of_a_file_opens_it(file, shipped_model):
    for text in (file, str(file)):
        page = rv.explore(shipped_model, text)
        page.settle()
        assert page.state.before + page.state.text == WORDS * 10
        page.stop()
    page = rv.explore(shipped_model, "story.txt")  # there is no such file: it is a text
    assert page.state.text == "story.txt"
    page.stop()
    with pytest.raises(TextFileError, match="no file"):
        rv.explore(shipped_model, file.with_name("none.txt"))


def test_a_text_that_the_box_does_not_hold_goes_as_a_file(long_explorer, file, shipped_model):
    page = open_file(long_explorer, file)
    assert link.read_link(page.page.query).fields("explorer")["text"] == page.state.text
    assert page.shared_link()[0] == ""  # it would open with another text
    assert "file" in page.shared_link()[1]
    content = page._state_file().encode()
    again = rv.explore(shipped_model, "something else")
    again._on_file("state.json", len(content), content)
    again.settle()
    assert again.state == page.state
    assert again.trace.tokens == page.trace.tokens
    again.history.undo()
    assert again.state.text == "something else"
    again.stop()


norms_module = importlib.import_module(
    "retnet_viz.figures.states.state_norm"
)  # its name is a function


def test_the_curve_of_a_long_text_keeps_its_spikes(tiny_model, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(norms_module, "MOST_POINTS", 50)
    monkeypatch.setattr(norms_module, "_STRETCHES", 10)
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    trace = rv.trace(model, WORDS * 4, "chunkwise", 8)
    norms = trace.state_norm(1)
    figure = state_norm.spec(trace, 1, bound=True)
    lines = [line for line in figure["data"] if "bound" not in line["name"]]
    for head, line in enumerate(lines):
        assert len(line["x"]) == len(line["y"]) == len(line["customdata"]) <= 40
        assert np.allclose(line["y"], norms[head][line["x"]], rtol=1e-6)
        assert max(line["y"]) == pytest.approx(norms[head].max().item())
        assert min(line["y"]) == pytest.approx(norms[head].min().item())
        assert line["x"][0] == 0
        assert line["x"][-1] == trace.length - 1
    assert "smallest and the largest norm of every" in figure["layout"]["meta"]["sentence"]
