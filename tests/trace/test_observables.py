"""Every accessor of a trace, in every mode, against the network written out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from literal import literal
from torch import Tensor

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, trace, traces
from retnet_viz.trace.views.pass_cost import Meter

ModelFactory = Callable[..., RetNet]
PLANES = ("decay", "scores", "retention")


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[int], int]:
    """The fields of a RetNetConfig, the ids of a text, and a chunk size, often not a divisor."""
    heads = draw(st.integers(1, 3))
    decays = st.lists(st.sampled_from([0.3, 0.9, 0.99, 1.0]), min_size=heads, max_size=heads)
    fields = {
        "seed": draw(st.integers(0, 99)),
        "vocab_size": 19,
        "n_heads": heads,
        "d_model": heads * draw(st.sampled_from([2, 4, 6])),
        "n_layers": draw(st.integers(1, 2)),
        "value_factor": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "decay": draw(st.one_of(st.sampled_from(["paper", "torchscale"]), decays.map(tuple))),
        "rotation": draw(st.sampled_from(["interleaved", "half", "none"])),
        "norm": draw(st.sampled_from(["layer", "rms"])),
        "head_norm": draw(st.sampled_from(["layer", "rms"])),
        "feed_forward": draw(st.sampled_from(["gelu", "swiglu"])),
        "tie_embeddings": draw(st.booleans()),
    }
    ids = draw(st.lists(st.integers(0, 18), min_size=1, max_size=11))
    return fields, ids, draw(st.integers(1, 14))


def close(actual: Tensor, expected: np.ndarray) -> bool:
    """Equal in shape, and to 1e-10 in value."""
    assert tuple(actual.shape) == expected.shape
    return bool(np.abs(actual.double().numpy() - expected).max(initial=0.0) <= 1e-10)


@pytest.mark.parametrize("mode", MODES)
@given(case=cases())
def test_every_accessor_gives_what_the_network_written_out_gives(
    mode: str, case: tuple[dict[str, Any], list[int], int], tiny_model: ModelFactory
) -> None:
    fields, ids, chunk_size = case
    model = tiny_model(**fields)
    expected = literal(model, ids)
    sample = trace(model, torch.tensor(ids), mode, chunk_size)
    assert len(sample) == sample.length == len(ids)
    assert (sample.mode, sample.chunk_size) == (mode, chunk_size)
    assert (sample.n_layers, sample.n_heads) == (fields["n_layers"], fields["n_heads"])
    assert sample.ids.tolist() == ids
    assert sample.ids.dtype == torch.int64
    assert close(sample.logits, expected.logits)
    for layer, by_hand in enumerate(expected.layers):
        names = (*PLANES, "gamma", "q", "k", "v", "head_output", "normed", "gate", "output")
        for name in names:
            assert close(getattr(sample, name)(layer), getattr(by_hand, name)), name
        assert sample.gamma(layer).dtype == torch.float64
        assert close(sample.inner(layer), by_hand.inner(chunk_size))
        assert close(sample.cross(layer), by_hand.cross(chunk_size))
        for position, state in enumerate(by_hand.states):
            assert close(sample.state(layer, position), state)
            assert close(sample.state(layer, position - len(ids)), state)
        norms = np.sqrt((by_hand.states**2).sum(axis=(2, 3))).T
        assert close(sample.state_norm(layer), norms)


@pytest.mark.parametrize("mode", MODES)
@given(case=cases(), data=st.data())
def test_a_cell_is_taken_apart_into_its_score_and_its_decay(
    mode: str,
    case: tuple[dict[str, Any], list[int], int],
    data: st.DataObject,
    tiny_model: ModelFactory,
) -> None:
    fields, ids, chunk_size = case
    model = tiny_model(**fields)
    layer = data.draw(st.integers(0, fields["n_layers"] - 1))
    head = data.draw(st.integers(0, fields["n_heads"] - 1))
    n, m = (data.draw(st.integers(0, len(ids) - 1)) for _ in range(2))
    by_hand = literal(model, ids).layers[layer]
    cell = trace(model, torch.tensor(ids), mode, chunk_size).cell(layer, head, n, m)
    gamma = by_hand.gamma[head]
    decay = gamma ** (n - m) if n >= m else 0.0
    score = float(by_hand.q[head, n] @ by_hand.k[head, m])
    assert cell.distance == n - m
    assert cell.gamma == pytest.approx(gamma, abs=1e-15)
    assert cell.score == pytest.approx(score, abs=1e-10)
    assert cell.decay == pytest.approx(decay, abs=1e-10)
    assert cell.weight == pytest.approx(score * decay, abs=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_the_loss_is_what_the_model_gave_each_token_that_came(
    mode: str, tiny_model: ModelFactory
) -> None:
    sample = trace(tiny_model(), [7, 3, 3, 250, 0], mode, 2)
    chances = sample.logits.exp() / sample.logits.exp().sum(1, keepdim=True)
    expected = [-math.log(chances[n, token]) for n, token in enumerate([3, 3, 250, 0])]
    assert sample.loss.tolist() == pytest.approx(expected, rel=1e-9)
    assert trace(tiny_model(), [7], mode).loss.shape == (0,)


def test_a_trace_without_a_model_has_no_loss() -> None:
    q = torch.randn(1, 3, 4)
    with pytest.raises(RuntimeError, match="has no loss"):
        _ = Trace.from_tensors(q, q, q, 0.9).loss


def test_several_texts_are_each_traced_as_alone(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    texts = ([1, 2, 3], [4], [5, 6, 7, 8, 9, 10])
    found = traces(model, iter(texts), "chunkwise", 2)
    assert [(t.ids.tolist(), t.mode, t.chunk_size) for t in found] == [
        (text, "chunkwise", 2) for text in texts
    ]
    for one, text in zip(found, texts, strict=True):
        assert torch.equal(one.logits, trace(model, text, "chunkwise", 2).logits)
    with pytest.raises(ValueError, match=r"text 1: token id 999 is outside"):
        traces(model, ([1], [999]))
    with pytest.raises(ValueError, match="one text is given"):
        traces(model, "a text")


def test_half_life_and_horizon_are_the_distances_at_which_the_decay_has_fallen(
    tiny_model: ModelFactory,
) -> None:
    model = tiny_model(n_heads=4, decay=(0.5, 0.9, 1 - 2**-12, 1.0))
    sample = trace(model, torch.tensor([1, 2]))
    for layer in range(2):
        gamma = sample.gamma(layer)[:3]
        assert torch.allclose(gamma ** sample.half_life(layer)[:3], torch.full_like(gamma, 0.5))
        assert torch.allclose(gamma ** sample.horizon(layer)[:3], torch.full_like(gamma, 0.01))
        assert torch.allclose(gamma ** sample.horizon(layer, 0.2)[:3], torch.full_like(gamma, 0.2))
        assert sample.half_life(layer)[0] == 1
        assert sample.half_life(layer)[3] == torch.inf  # never forgets
        assert sample.horizon(layer)[3] == torch.inf


@given(text=st.text(min_size=1, max_size=12))
def test_tokens_are_the_text_of_the_ids(
    text: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(d_model=4, n_layers=1)
    model.tokenizer = tiny_tokenizer
    sample = trace(model, text)
    assert sample.ids.tolist() == tiny_tokenizer.encode(text)
    assert sample.tokens == [tiny_tokenizer.piece(token_id) for token_id in sample.ids.tolist()]
    assert torch.equal(sample.logits, trace(model, sample.ids).logits)
    if text.isascii():
        assert "".join(sample.tokens) == text


def test_without_a_tokenizer_the_tokens_are_their_ids(tiny_model: ModelFactory) -> None:
    assert trace(tiny_model(), torch.tensor([7, 0, 299])).tokens == ["7", "0", "299"]


def test_an_id_that_the_tokenizer_does_not_use_is_named_by_itself(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(vocab_size=310)  # padded, as vocabularies often are
    model.tokenizer = tiny_tokenizer
    sample = trace(model, torch.tensor([305, 66]))
    assert sample.tokens == ["305", tiny_tokenizer.piece(66)]


SLICES = st.builds(
    slice,
    st.none() | st.integers(-14, 14),
    st.none() | st.integers(-14, 14),
    st.none() | st.integers(1, 4),
)


@pytest.mark.parametrize("mode", MODES)
@given(case=cases(), rows=SLICES, cols=SLICES)
def test_a_window_is_that_part_of_the_whole_plane(
    mode: str,
    case: tuple[dict[str, Any], list[int], int],
    rows: slice,
    cols: slice,
    tiny_model: ModelFactory,
) -> None:
    fields, ids, chunk_size = case
    model = tiny_model(**fields)
    sample = trace(model, torch.tensor(ids), mode, chunk_size)
    layer = fields["n_layers"] - 1
    by_hand = literal(model, ids).layers[layer]
    for name in PLANES:
        full = getattr(by_hand, name)
        accessor = getattr(sample, name)
        assert close(accessor(layer, rows=rows, cols=cols), full[:, rows, cols]), name
        assert close(accessor(layer, rows=rows), full[:, rows]), name
        assert close(accessor(layer, cols=cols), full[:, :, cols]), name


@pytest.mark.parametrize(
    ("mode", "chunk_size"),
    [("parallel", 3), ("recurrent", 3), ("chunkwise", 1), ("chunkwise", 3), ("chunkwise", 5)],
)
def test_windows_with_steps_cross_the_edges_of_chunks(
    mode: str, chunk_size: int, tiny_model: ModelFactory
) -> None:
    model = tiny_model(n_layers=1)
    ids = [5, 3, 8, 13, 21, 34, 55]
    whole = literal(model, ids).layers[0].retention
    sample = trace(model, torch.tensor(ids), mode, chunk_size)
    slices = [
        slice(start, stop, step)
        for start in (None, 0, 1, 2, 5, -3, -9)
        for stop in (None, 0, 4, 6, 7, 9, -1)
        for step in (None, 2, 3)
    ]
    for rows, cols in zip(slices, slices[5:] + slices[:5], strict=True):
        window = sample.retention(0, rows=rows, cols=cols)
        assert close(window, whole[:, rows, cols]), (rows, cols)


@pytest.mark.parametrize(
    ("mode", "chunk_size"), [("recurrent", 64), ("chunkwise", 64), ("chunkwise", 7)]
)
def test_a_window_of_a_long_text_costs_no_more_than_the_window(
    mode: str, chunk_size: int, tiny_model: ModelFactory
) -> None:
    model = tiny_model(d_model=4, n_layers=1, n_heads=1, decay=(0.9,))
    length = 3000
    ids = torch.arange(length) % 300
    sample = trace(model, ids, mode, chunk_size)
    rows, cols = slice(1490, 1494), slice(1488, 1493)
    with Meter() as meter:
        windows = {name: getattr(sample, name)(0, rows, cols) for name in PLANES}
        cell = sample.cell(0, 0, 2900, 17)
        state = sample.state(0, 2000)
    assert meter.peak_bytes < 40 * length  # two lists of positions, and little else; 8 T^2 is 72 MB
    q, k, v = sample.q(0)[0], sample.k(0)[0], sample.v(0)[0]
    for i, n in enumerate(range(*rows.indices(length))):
        for j, m in enumerate(range(*cols.indices(length))):
            decay = 0.9 ** (n - m) if n >= m else 0.0
            assert windows["decay"][0, i, j].item() == pytest.approx(decay)
            assert windows["scores"][0, i, j].item() == pytest.approx((q[n] @ k[m]).item())
            weight = decay * (q[n] @ k[m]).item()
            assert windows["retention"][0, i, j].item() == pytest.approx(weight, abs=1e-12)
    assert cell.score == pytest.approx((q[2900] @ k[17]).item())
    read = range(1700, 2001)  # 0.9**300 is below 1e-13
    expected = sum(0.9 ** (2000 - m) * torch.outer(k[m], v[m]) for m in read)
    assert torch.allclose(state[0], expected, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_a_trace_keeps_its_values_whatever_is_done_with_the_model_later(
    mode: str, tiny_model: ModelFactory
) -> None:
    model = tiny_model(decay=(0.5, 0.9))
    ids = torch.tensor([5, 3, 8, 13, 21, 34])
    sample, reference = (trace(model, ids, mode, 4) for _ in range(2))
    names = (*PLANES, "q", "k", "v", "gamma", "head_output", "normed", "gate", "output", "inner")
    before = {
        (name, layer): getattr(reference, name)(layer).clone()
        for name in (*names, "cross", "state_norm")
        for layer in range(2)
    }
    logits = sample.logits.clone()

    ids.zero_()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-3).add_(1)
        for block in model.blocks:
            block.retention.gamma.fill_(0.25)
    for other in MODES:
        model(torch.tensor([[1, 2, 3]]), mode=other)

    assert sample.ids.tolist() == [5, 3, 8, 13, 21, 34]
    assert torch.equal(sample.logits, logits)
    for (name, layer), value in before.items():
        assert torch.equal(getattr(sample, name)(layer), value), name
    for position in range(6):
        assert torch.equal(sample.state(1, position), reference.state(1, position))


@pytest.mark.parametrize("mode", MODES)
def test_reading_one_accessor_changes_no_other(mode: str, tiny_model: ModelFactory) -> None:
    model = tiny_model()
    sample = trace(model, torch.tensor([5, 3, 8, 13, 21]), mode, 2)
    first = [sample.scores(0).clone(), sample.retention(0).clone(), sample.state(0, 2).clone()]
    (
        sample.state_norm(0),
        sample.inner(0),
        sample.cross(1),
        sample.decay(0, slice(1, 3)),
        sample.cost,
    )
    sample.agreement()
    for was, now in zip(
        first, [sample.scores(0), sample.retention(0), sample.state(0, 2)], strict=True
    ):
        assert torch.equal(was, now)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_trace_needs_no_gradient_and_takes_any_precision(
    dtype: torch.dtype, mode: str, tiny_model: ModelFactory
) -> None:
    model = tiny_model(dtype=dtype, decay=(1 - 2**-12, 1.0))
    ids = [4, 8, 15, 16, 23, 42, 4]
    sample = trace(model, torch.tensor(ids), mode, 3)
    state_dtype = torch.promote_types(dtype, torch.float32)
    expected = literal(model, ids)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.1}[dtype]
    for layer in range(2):
        values = {
            name: getattr(sample, name)(layer)
            for name in (*PLANES, "q", "k", "v", "head_output", "normed", "gate", "output")
        }
        for name, value in values.items():
            assert value.dtype == dtype, name
            assert not value.requires_grad, name
            by_hand = getattr(expected.layers[layer], name)
            scale = np.abs(by_hand).max()
            assert np.abs(value.double().numpy() - by_hand).max() <= tolerance * scale, name
        assert sample.inner(layer).dtype == sample.cross(layer).dtype == dtype
        assert sample.state(layer, 3).dtype == sample.state_norm(layer).dtype == state_dtype
        assert not sample.state(layer, 3).requires_grad
        # 1 - 2**-12 is no bfloat16 number; the decay must have been made before it was rounded
        assert sample.gamma(layer).tolist() == [1 - 2**-12, 1.0]
    assert sample.logits.dtype == dtype
    assert not sample.logits.requires_grad
