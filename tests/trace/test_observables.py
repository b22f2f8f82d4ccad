"""Every accessor of a trace, in every mode, against the network written out by hand."""

from __future__ import annotations

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
from retnet_viz.trace import trace
from retnet_viz.trace.views.cost import Meter

ModelFactory = Callable[..., RetNet]
PLANES = ("decay", "scores", "retention")


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[int], int]:
    """The fields of a RetNetConfig, the ids of a text, and a chunk size, often not a divisor."""
    heads = draw(st.integers(1, 3))
    listed = st.lists(st.sampled_from([0.3, 0.9, 0.99, 1.0]), min_size=heads, max_size=heads)
    fields = {
        "seed": draw(st.integers(0, 99)),
        "vocab_size": 19,
        "n_heads": heads,
        "d_model": heads * draw(st.sampled_from([2, 4, 6])),
        "n_layers": draw(st.integers(1, 2)),
        "value_factor": draw(st.sampled_from([0.5, 1.0, 2.0])),
        "decay": draw(st.one_of(st.sampled_from(["paper", "torchscale"]), listed.map(tuple))),
        "rotation": draw(st.sampled_from(["interleaved", "half", "none"])),
        "norm": draw(st.sampled_from(["layer", "rms"])),
        "head_norm": draw(st.sampled_from(["layer", "rms"])),
        "feed_forward": draw(st.sampled_from(["gelu", "swiglu"])),
        "tie_embeddings": draw(st.booleans()),
    }
    ids = draw(st.lists(st.integers(0, 18), min_size=1, max_size=11))
    return fields, ids, draw(st.integers(1, 14))


def close(found: Tensor, wanted: np.ndarray) -> bool:
    """Equal in shape, and to 1e-10 in value."""
    assert tuple(found.shape) == wanted.shape
    return bool(np.abs(found.double().numpy() - wanted).max(initial=0.0) <= 1e-10)


@pytest.mark.parametrize("mode", MODES)
@given(case=cases())
def test_every_accessor_gives_what_the_network_written_out_gives(
    mode: str, case: tuple[dict[str, Any], list[int], int], tiny_model: ModelFactory
) -> None:
    fields, ids, chunk_size = case
    model = tiny_model(**fields)
    wanted = literal(model, ids)
    found = trace(model, torch.tensor(ids), mode, chunk_size)
    assert len(found) == found.length == len(ids)
    assert (found.mode, found.chunk_size) == (mode, chunk_size)
    assert (found.n_layers, found.n_heads) == (fields["n_layers"], fields["n_heads"])
    assert found.ids.tolist() == ids
    assert found.ids.dtype == torch.int64
    assert close(found.logits, wanted.logits)
    for layer, by_hand in enumerate(wanted.layers):
        named = (*PLANES, "gamma", "q", "k", "v", "head_output", "normed", "gate", "output")
        for name in named:
            assert close(getattr(found, name)(layer), getattr(by_hand, name)), name
        assert found.gamma(layer).dtype == torch.float64
        assert close(found.inner(layer), by_hand.inner(chunk_size))
        assert close(found.cross(layer), by_hand.cross(chunk_size))
        for position, state in enumerate(by_hand.states):
            assert close(found.state(layer, position), state)
            assert close(found.state(layer, position - len(ids)), state)
        norms = np.sqrt((by_hand.states**2).sum(axis=(2, 3))).T
        assert close(found.state_norm(layer), norms)


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


def test_half_life_and_horizon_are_the_distances_at_which_the_decay_has_fallen(
    tiny_model: ModelFactory,
) -> None:
    model = tiny_model(n_heads=4, decay=(0.5, 0.9, 1 - 2**-12, 1.0))
    found = trace(model, torch.tensor([1, 2]))
    for layer in range(2):
        gamma = found.gamma(layer)[:3]
        assert torch.allclose(gamma ** found.half_life(layer)[:3], torch.full_like(gamma, 0.5))
        assert torch.allclose(gamma ** found.horizon(layer)[:3], torch.full_like(gamma, 0.01))
        assert torch.allclose(gamma ** found.horizon(layer, 0.2)[:3], torch.full_like(gamma, 0.2))
        assert found.half_life(layer)[0] == 1
        assert found.half_life(layer)[3] == torch.inf  # never forgets
        assert found.horizon(layer)[3] == torch.inf


@given(text=st.text(min_size=1, max_size=12))
def test_tokens_are_the_text_of_the_ids(
    text: str, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(d_model=4, n_layers=1)
    model.tokenizer = tiny_tokenizer
    found = trace(model, text)
    assert found.ids.tolist() == tiny_tokenizer.encode(text)
    assert found.tokens == [tiny_tokenizer.piece(token_id) for token_id in found.ids.tolist()]
    assert torch.equal(found.logits, trace(model, found.ids).logits)
    if text.isascii():
        assert "".join(found.tokens) == text


def test_without_a_tokenizer_the_tokens_are_their_ids(tiny_model: ModelFactory) -> None:
    assert trace(tiny_model(), torch.tensor([7, 0, 299])).tokens == ["7", "0", "299"]


def test_an_id_that_the_tokenizer_does_not_use_is_named_by_itself(
    tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(vocab_size=310)  # padded, as vocabularies often are
    model.tokenizer = tiny_tokenizer
    found = trace(model, torch.tensor([305, 66]))
    assert found.tokens == ["305", tiny_tokenizer.piece(66)]


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
    found = trace(model, torch.tensor(ids), mode, chunk_size)
    layer = fields["n_layers"] - 1
    by_hand = literal(model, ids).layers[layer]
    for name in PLANES:
        whole = getattr(by_hand, name)
        accessor = getattr(found, name)
        assert close(accessor(layer, rows=rows, cols=cols), whole[:, rows, cols]), name
        assert close(accessor(layer, rows=rows), whole[:, rows]), name
        assert close(accessor(layer, cols=cols), whole[:, :, cols]), name


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
    found = trace(model, torch.tensor(ids), mode, chunk_size)
    slices = [
        slice(start, stop, step)
        for start in (None, 0, 1, 2, 5, -3, -9)
        for stop in (None, 0, 4, 6, 7, 9, -1)
        for step in (None, 2, 3)
    ]
    for rows, cols in zip(slices, slices[5:] + slices[:5], strict=True):
        window = found.retention(0, rows=rows, cols=cols)
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
    found = trace(model, ids, mode, chunk_size)
    rows, cols = slice(1490, 1494), slice(1488, 1493)
    with Meter() as meter:
        windows = {name: getattr(found, name)(0, rows, cols) for name in PLANES}
        cell = found.cell(0, 0, 2900, 17)
        state = found.state(0, 2000)
    assert meter.peak_bytes < 40 * length  # two lists of positions, and little else; 8 T^2 is 72 MB
    q, k, v = found.q(0)[0], found.k(0)[0], found.v(0)[0]
    for i, n in enumerate(range(*rows.indices(length))):
        for j, m in enumerate(range(*cols.indices(length))):
            decay = 0.9 ** (n - m) if n >= m else 0.0
            assert windows["decay"][0, i, j].item() == pytest.approx(decay)
            assert windows["scores"][0, i, j].item() == pytest.approx((q[n] @ k[m]).item())
            weight = decay * (q[n] @ k[m]).item()
            assert windows["retention"][0, i, j].item() == pytest.approx(weight, abs=1e-12)
    assert cell.score == pytest.approx((q[2900] @ k[17]).item())
    read = range(1700, 2001)  # 0.9**300 is below 1e-13
    wanted = sum(0.9 ** (2000 - m) * torch.outer(k[m], v[m]) for m in read)
    assert torch.allclose(state[0], wanted, atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_a_trace_keeps_its_values_whatever_is_done_with_the_model_later(
    mode: str, tiny_model: ModelFactory
) -> None:
    model = tiny_model(decay=(0.5, 0.9))
    ids = torch.tensor([5, 3, 8, 13, 21, 34])
    found, untouched = (trace(model, ids, mode, 4) for _ in range(2))
    names = (*PLANES, "q", "k", "v", "gamma", "head_output", "normed", "gate", "output", "inner")
    before = {
        (name, layer): getattr(untouched, name)(layer).clone()
        for name in (*names, "cross", "state_norm")
        for layer in range(2)
    }
    logits = found.logits.clone()

    ids.zero_()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(-3).add_(1)
        for block in model.blocks:
            block.retention.gamma.fill_(0.25)
    for other in MODES:
        model(torch.tensor([[1, 2, 3]]), mode=other)

    assert found.ids.tolist() == [5, 3, 8, 13, 21, 34]
    assert torch.equal(found.logits, logits)
    for (name, layer), value in before.items():
        assert torch.equal(getattr(found, name)(layer), value), name
    for position in range(6):
        assert torch.equal(found.state(1, position), untouched.state(1, position))


@pytest.mark.parametrize("mode", MODES)
def test_reading_one_accessor_changes_no_other(mode: str, tiny_model: ModelFactory) -> None:
    model = tiny_model()
    found = trace(model, torch.tensor([5, 3, 8, 13, 21]), mode, 2)
    first = [found.scores(0).clone(), found.retention(0).clone(), found.state(0, 2).clone()]
    found.state_norm(0), found.inner(0), found.cross(1), found.decay(0, slice(1, 3)), found.cost
    found.agreement()
    for was, now in zip(
        first, [found.scores(0), found.retention(0), found.state(0, 2)], strict=True
    ):
        assert torch.equal(was, now)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_trace_needs_no_gradient_and_takes_any_precision(
    dtype: torch.dtype, mode: str, tiny_model: ModelFactory
) -> None:
    model = tiny_model(dtype=dtype, decay=(1 - 2**-12, 1.0))
    ids = [4, 8, 15, 16, 23, 42, 4]
    found = trace(model, torch.tensor(ids), mode, 3)
    state_dtype = torch.promote_types(dtype, torch.float32)
    wanted = literal(model, ids)
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 0.1}[dtype]
    for layer in range(2):
        values = {
            name: getattr(found, name)(layer)
            for name in (*PLANES, "q", "k", "v", "head_output", "normed", "gate", "output")
        }
        for name, value in values.items():
            assert value.dtype == dtype, name
            assert not value.requires_grad, name
            by_hand = getattr(wanted.layers[layer], name)
            scale = np.abs(by_hand).max()
            assert np.abs(value.double().numpy() - by_hand).max() <= tolerance * scale, name
        assert found.inner(layer).dtype == found.cross(layer).dtype == dtype
        assert found.state(layer, 3).dtype == found.state_norm(layer).dtype == state_dtype
        assert not found.state(layer, 3).requires_grad
        # 1 - 2**-12 is no bfloat16 number; the decay must have been made before it was rounded
        assert found.gamma(layer).tolist() == [1 - 2**-12, 1.0]
    assert found.logits.dtype == dtype
    assert not found.logits.requires_grad
