"""What a notebook shows of a trace: text for its reader, in the notebook's own colours."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace import Trace, live, trace

ModelFactory = Callable[..., RetNet]


class Reader(HTMLParser):
    """Reads HTML as a page does: what is text, what is in which element, whether all are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tokens, self.rows = "", [], []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._open[-2:] == ["bdi", "code"]:
            self.tokens.append(data)
        elif self._open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def model(tiny_model: ModelFactory, tiny_tokenizer: Tokenizer) -> RetNet:
    model = tiny_model(decay=(0.5, 1.0))
    model.tokenizer = tiny_tokenizer
    return model


@pytest.mark.parametrize("mode", MODES)
def test_it_says_what_was_read_how_and_what_comes_next(mode: str, model: RetNet) -> None:
    sample = trace(model, "a red\nkite", mode, 3)
    shown = Reader(sample._repr_html_())
    weights = sum(weight.numel() for weight in model.parameters())
    chunks = {"chunkwise": ", 3 tokens a chunk"}.get(mode, "")
    assert shown.text.startswith(
        f"Trace of {sample.length} tokens, {mode} mode{chunks}; "
        f"RetNet of 2 layers of 2 heads, d_model 16, {weights:,} parameters"
    )
    chances = (sample.logits[-1].exp() / sample.logits[-1].exp().sum()).tolist()
    likeliest = max(range(300), key=lambda token_id: chances[token_id])
    assert shown.tokens == [visible(piece) for piece in (*sample.tokens, sample.piece(likeliest))]
    assert f" {100 * chances[likeliest]:.1f} %" in shown.text
    assert shown.rows == [
        ["head", "0", "1"],
        ["γ, all layers", "0.5", "1"],
        ["half-life in tokens, all layers", "1.0", "∞"],
    ]
    assert "trace.to_pandas()" in shown.text


@given(st.lists(st.text(), min_size=1, max_size=6))
def test_no_token_is_more_than_text(tokens: list[str]) -> None:
    tokens = [*tokens, "<script>alert(1)</script>", '"&amp;', "שלום", "\u202e"]
    q = torch.ones(1, len(tokens), 2)
    shown = Reader(Trace.from_tensors(q, q, q, 0.5, tokens=tokens)._repr_html_())
    assert shown.tokens == [visible(token) for token in tokens if token]
    assert shown.tags <= {"div", "b", "bdi", "code", "table", "tbody", "tr", "th", "td"}


def test_its_colours_are_those_around_it(model: RetNet) -> None:
    page = trace(model, "a red kite")._repr_html_()
    for word in ("color", "background", "#", "rgb", "<style", "<script", "src=", "url("):
        assert word not in page


def test_a_long_text_and_many_heads_and_layers_are_cut_with_a_notice(
    tiny_model: ModelFactory,
) -> None:
    shown = Reader(trace(tiny_model(n_heads=1), [7] * 100)._repr_html_())
    assert shown.tokens == ["7"] * 48 + shown.tokens[48:]
    assert len(shown.tokens) == 48 + 1  # and the likeliest next one
    assert " … and 52 more" in shown.text
    q = torch.ones(6, 20, 1, 2)
    gamma = torch.linspace(0.1, 0.9, 6)[:, None].expand(6, 20)
    rows = Reader(Trace.from_tensors(q, q, q, gamma)._repr_html_()).rows
    assert rows[0] == ["head", *map(str, range(16)), "…"]
    assert [row[0] for row in rows[1::2]] == [f"γ, layer {layer}" for layer in range(4)]
    text = Reader(Trace.from_tensors(q, q, q, gamma)._repr_html_()).text
    assert "and 2 layers more" in text


def test_nothing_runs_and_no_plane_is_made_for_it(
    model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = trace(model, "a red kite", "recurrent")
    long = live(model, "a red kite " * 200, "recurrent", keep_logits=1).trace
    assert long is not None

    def refuse(*_: object) -> None:
        raise AssertionError("a plane was made, or the model ran")

    for name in ("decay", "scores", "retention", "state", "state_norm", "logits", "tokens"):
        monkeypatch.setattr(Trace, name, property(refuse))
    monkeypatch.setattr(type(model), "forward", refuse)
    published: list[str] = []
    with listening(lambda name, _: published.append(name)):
        assert "likeliest next token" in sample._repr_html_()
        assert len(long._repr_html_()) < 4000
    assert published == []


def test_a_trace_without_a_model_says_what_it_is_of(model: RetNet, tmp_path: Path) -> None:
    q = torch.ones(3, 2, 4, 6)
    shown = Reader(Trace.from_tensors(q, q, q[..., :5], 0.9)._repr_html_())
    assert "tensors of 3 layers of 2 heads, d_k 6, d_v 5" in shown.text
    assert "likeliest" not in shown.text
    sample = trace(model, "a red kite")
    sample.save(tmp_path / "kite.safetensors")
    loaded = Reader(Trace.load(tmp_path / "kite.safetensors")._repr_html_())
    assert "RetNet of 2 layers of 2 heads, d_model 16" in loaded.text
    assert "parameters" not in loaded.text
    assert loaded.tokens == Reader(sample._repr_html_()).tokens


def test_a_trace_that_an_edit_made_outdated_says_so(model: RetNet) -> None:
    text = live(model, "a red kite", "recurrent")
    sample = text.trace
    assert sample is not None
    text.append(" and a fox")
    shown = Reader(sample._repr_html_()).text
    assert shown.startswith("<Trace of ")
    assert "was edited since" in shown
