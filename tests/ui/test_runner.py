"""The reading of a page's text: at once or behind, the newest only, cut, refused, cancelled."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import retnet_viz as rv
from retnet_viz.model import RetNet
from retnet_viz.trace.passes.budget import NotEnoughMemory
from retnet_viz.trace.passes.live import Live
from retnet_viz.ui.core import runner as module
from retnet_viz.ui.core.background import MainThread, OutdatedError
from retnet_viz.ui.core.runner import LiveText, Request, Runner
from tests.support.examples import examples


class Page:
    """A reader, and what it reported."""

    def __init__(self, model, max_tokens=10_000, quick=200):
        self.readings, self.errors, self.reports = [], [], []
        self.threads = set()
        self.model = model
        self.reader = Runner(LiveText(model, max_tokens, quick), self.report, MainThread())

    def report(self, done, total):
        self.reports.append((done, total))
        self.threads.add(threading.current_thread())

    def read(self, text, mode="chunkwise", chunk_size=8):
        request = Request(text, mode, chunk_size, self.readings.append, self.errors.append)
        return self.reader.read(request)


@pytest.fixture
def page(tiny_model, tiny_tokenizer):
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    return Page(model)


LONG = "the old fox went down to the river and saw a boat " * 20


def test_a_short_text_is_read_at_once(page):
    assert page.read("the old fox")
    (reading,) = page.readings
    assert reading.trace.length == reading.recomputed.tokens == reading.recomputed.of
    assert reading.dropped == 0
    assert page.reports == []
    assert not page.reader.is_busy


def test_a_long_text_is_read_behind_and_tells_how_far(page):
    assert not page.read(LONG)
    page.reader.wait()
    (reading,) = page.readings
    assert page.reports[-1] == (reading.trace.length, reading.trace.length)
    assert threading.current_thread() not in page.threads


def test_what_is_said_of_a_long_text_is_said_at_home(page):
    heard = []
    here = threading.current_thread
    page.reader.read(Request(LONG, "chunkwise", 8, lambda _: heard.append(here()), print))
    page.reader.wait()
    assert heard == [here()]


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_an_edit_at_the_end_of_a_long_text_is_quick_and_recomputes_little(page, mode):
    page.read(LONG, mode)
    page.reader.wait()
    assert page.read(LONG + "again", mode)
    before, after = page.readings
    assert after.recomputed.of == after.trace.length > before.trace.length
    assert after.recomputed.tokens <= 8 + 3
    fresh = rv.trace(page.model, LONG + "again", mode, 8)
    assert torch.allclose(after.trace.logits, fresh.logits, rtol=1e-4, atol=1e-5)


@settings(max_examples=examples(15), deadline=None)
@given(texts=st.lists(st.text("the fox\n", max_size=400), min_size=1, max_size=5))
def test_of_texts_that_follow_fast_the_last_one_is_shown(tiny_model, tiny_tokenizer, texts):
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    page = Page(model, quick=100)
    for text in texts:
        page.read(text)
    page.reader.wait()
    assert not page.errors
    trace = page.readings[-1].trace
    ids = model.tokenizer.encode(texts[-1])
    assert (trace.ids.tolist() if trace else []) == ids
    quick = sum(len(text) <= 100 for text in texts)
    assert len(page.readings) <= quick + 1 + sum(len(text) > 100 for text in texts[:-1])


def holding(monkeypatch):
    """Make the next runs wait until the second event; the first tells that one is waiting."""
    running, go_on = threading.Event(), threading.Event()
    prepare = Live.prepare

    def slow(self, text, progress=None):
        running.set()
        assert go_on.wait(30)
        return prepare(self, text, progress)

    monkeypatch.setattr(Live, "prepare", slow)
    return running, go_on


def test_one_text_at_most_waits_while_another_is_read(page, monkeypatch):
    running, go_on = holding(monkeypatch)
    page.read(LONG)
    assert running.wait(30)
    for i in range(5):
        page.read(LONG + str(i))
    go_on.set()
    page.reader.wait()
    (reading,) = page.readings  # neither the first nor those between
    assert reading.trace.tokens[-1].endswith("4")


def test_a_cancelled_text_changes_nothing(page, monkeypatch):
    page.read("the old fox")
    running, go_on = holding(monkeypatch)
    page.read(LONG)
    assert running.wait(30)
    page.reader.cancel()
    assert not page.reader.is_busy
    go_on.set()
    page.reader.wait()
    assert len(page.readings) == 1
    assert page.readings[0].trace.logits.shape[0] == page.readings[0].trace.length  # still valid
    assert not page.errors


def test_a_text_of_too_many_tokens_is_cut(tiny_model, tiny_tokenizer, monkeypatch):
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    monkeypatch.setattr(module, "_TOKENIZED_AT_ONCE", 40)
    page = Page(model, max_tokens=100, quick=50)
    page.read(LONG)
    page.reader.wait()
    (reading,) = page.readings
    assert reading.trace.ids.tolist() == model.tokenizer.encode(LONG)[:100]
    assert LONG[: -reading.dropped] == "".join(reading.trace.tokens)


def test_a_text_is_never_cut_inside_a_character(tiny_model, tiny_tokenizer):
    model = tiny_model()
    model.tokenizer = tiny_tokenizer
    for most in range(20, 30):
        page = Page(model, max_tokens=most)
        page.read("😀" * 40)
        (reading,) = page.readings
        assert 0 < reading.trace.length <= most
        assert set("".join(model.tokenizer.decode(reading.trace.ids.tolist()))) == {"😀"}


def test_planes_too_large_for_the_page_are_refused_with_the_reason(page, monkeypatch):
    page.read("the old fox", "parallel")
    monkeypatch.setattr(module, "MOST_PLANES", 10_000)
    page.read(LONG, "parallel")
    page.reader.wait()
    (error,) = page.errors
    assert isinstance(error, NotEnoughMemory)
    length = len(page.model.tokenizer.encode(LONG))
    assert f"{length:,} × {length:,}" in str(error)
    assert "Chunkwise mode gives the same" in str(error)
    assert len(page.readings) == 1


def test_an_error_is_told_and_the_text_before_stays(page, monkeypatch):
    page.read("the old fox")
    with monkeypatch.context() as patch:
        patch.setattr(Live, "prepare", lambda *_: 1 / 0)
        page.read("the old fox ran")
    assert [type(error) for error in page.errors] == [ZeroDivisionError]
    assert page.readings[0].trace.length > 0  # still valid: asked for data it would raise
    assert page.readings[0].trace.logits.isfinite().all()
    page.read("the old fox ran home")
    assert page.readings[-1].recomputed.of == page.readings[-1].trace.length


# -- the other modes -----------------------------------------------------------------------------


@pytest.fixture
def passes(monkeypatch):
    """The modes in which a model read a text, in the order of the passes."""
    modes = []
    forward = RetNet.forward

    def counted(self, ids, state=None, mode="parallel", chunk_size=64):
        modes.append(mode)
        return forward(self, ids, state, mode, chunk_size)

    monkeypatch.setattr(RetNet, "forward", counted)
    return modes


def test_a_mode_that_was_run_already_is_not_run_again(page, passes):
    source = LiveText(page.model, 100)
    reader = Runner(source, page.report, MainThread())
    request = ["the old fox", "parallel", 8, page.readings.append, page.errors.append]
    reader.read(Request(*request))
    (first,) = page.readings
    others = {mode: source.other_mode(first.trace, mode) for mode in ("recurrent", "chunkwise")}
    assert passes == ["parallel", "recurrent", "chunkwise"]
    assert source.other_mode(first.trace, "chunkwise") is others["chunkwise"]
    for mode in ("chunkwise", "parallel", "recurrent"):
        request[1] = mode
        reader.read(Request(*request))
        assert page.readings[-1].recomputed.tokens == 0
        assert page.readings[-1].trace is {**others, "parallel": first.trace}[mode]
    assert passes == ["parallel", "recurrent", "chunkwise"]
    reader.read(Request("the old fox ran", *request[1:]))  # from where the recurrent pass was
    assert page.readings[-1].recomputed.tokens < page.readings[-1].recomputed.of
    again = rv.trace(page.model, "the old fox ran", "recurrent", 8)
    assert torch.allclose(page.readings[-1].trace.logits, again.logits, rtol=1e-9)
    assert not page.errors


def test_a_pass_over_another_text_or_in_other_chunks_is_not_taken(page, passes):
    source = LiveText(page.model, 100)
    reader = Runner(source, page.report, MainThread())

    def read(text, mode, chunk_size):
        reader.read(Request(text, mode, chunk_size, page.readings.append, page.errors.append))
        return page.readings[-1].trace

    trace = read("the old fox", "parallel", 8)
    assert source.other_mode(trace, "chunkwise").chunk_size == 8
    trace = read("the old fox", "parallel", 3)
    assert source.other_mode(trace, "chunkwise").chunk_size == 3
    edited = read("a boat", "parallel", 3)
    other = source.other_mode(edited, "chunkwise")
    assert other.ids.tolist() == edited.ids.tolist()
    with pytest.raises(RuntimeError):
        trace.ids  # noqa: B018 - it is of an earlier text
    read("", "parallel", 3)
    with pytest.raises(OutdatedError):
        source.other_mode(other, "recurrent")


def test_of_a_long_text_one_pass_is_kept(page, monkeypatch):
    monkeypatch.setattr(module, "SHORT", 5)
    source = LiveText(page.model, 100)
    reader = Runner(source, page.report, MainThread())
    for mode in ("parallel", "recurrent"):
        request = Request("the old fox ran to a boat", mode, 8, page.readings.append, print)
        reader.read(request)
    assert len(source._lives) == 1
