"""Traces of tensors from any code: against the recurrence written out, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import retnet_viz as rv
from retnet_viz.figures import next_token, normalization
from retnet_viz.model import MODES, RetNet, retention
from retnet_viz.trace import NotEnoughMemory, ParallelTerms
from retnet_viz.trace.passes import budget

ModelFactory = Callable[..., RetNet]
Array = np.ndarray
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Tensors:
    """Random tensors (L, H, T, d) in float64, and gammas (L, H)."""

    q: Array
    k: Array
    v: Array
    gamma: Array

    @classmethod
    def of(cls, layers: int, heads: int, length: int, d_k: int, d_v: int, seed: int = 0) -> Tensors:
        random = np.random.default_rng(seed)
        q, k, v = (random.normal(size=(layers, heads, length, d)) for d in (d_k, d_k, d_v))
        return cls(q, k * d_k**-0.5, v, random.uniform(0.3, 1, (layers, heads)))

    def literal(self, layer: int, head: int) -> tuple[Array, Array]:
        """Outputs (T, d_v) and states (T, d_k, d_v) of a head, one token after the other."""
        q, k, v = (x[layer, head] for x in (self.q, self.k, self.v))
        state = np.zeros((k.shape[-1], v.shape[-1]))
        outputs, states = [], []
        for n in range(len(q)):
            state = self.gamma[layer, head] * state + np.outer(k[n], v[n])
            states.append(state)
            outputs.append(q[n] @ state)
        return np.array(outputs), np.array(states)


givens = st.builds(
    Tensors.of,
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 9),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 99),
)


def close(actual: Tensor, expected: Array, tolerance: float = 1e-10) -> bool:
    """Equal in shape, and nearly in value."""
    assert tuple(actual.shape) == expected.shape
    return bool(np.abs(actual.double().numpy() - expected).max(initial=0.0) <= tolerance)


@pytest.mark.parametrize("mode", MODES)
@given(tensors=givens, chunk_size=st.integers(1, 10))
def test_every_accessor_gives_what_the_recurrence_gives(
    mode: str, tensors: Tensors, chunk_size: int
) -> None:
    sample = rv.Trace.from_tensors(
        tensors.q, tensors.k, tensors.v, tensors.gamma, mode=mode, chunk_size=chunk_size
    )
    layers, heads, length, _ = tensors.q.shape
    assert (sample.n_layers, sample.n_heads, sample.length) == (layers, heads, length)
    assert (sample.mode, sample.chunk_size) == (mode, chunk_size)
    assert sample.tokens == [str(n) for n in range(length)]
    assert sample.logits.shape == (length, 0)
    n, m = np.arange(length)[:, None], np.arange(length)[None]
    for layer in range(layers):
        outputs, states = zip(*(tensors.literal(layer, h) for h in range(heads)), strict=True)
        output, state = np.array(outputs), np.array(states)
        for name in ("q", "k", "v"):
            assert close(getattr(sample, name)(layer), getattr(tensors, name)[layer], 0)
        assert close(sample.gamma(layer), tensors.gamma[layer], 0)
        scores = np.einsum("hnd,hmd->hnm", tensors.q[layer], tensors.k[layer])
        decay = np.where(n >= m, tensors.gamma[layer][:, None, None] ** np.maximum(n - m, 0), 0)
        assert close(sample.scores(layer), scores)
        assert close(sample.decay(layer), decay)
        assert close(sample.retention(layer), scores * decay)
        assert close(sample.head_output(layer), output)
        for position in range(length):
            assert close(sample.state(layer, position), state[:, position])
        assert close(sample.state_norm(layer), np.sqrt((state**2).sum((2, 3))), 1e-8)
        same_chunk = n // chunk_size == m // chunk_size
        for name, here in (("inner", same_chunk), ("cross", ~same_chunk)):
            part = np.einsum("hnm,hmd->hnd", scores * decay * here, tensors.v[layer])
            assert close(getattr(sample, name)(layer), part)
        side_by_side = np.concatenate(list(output), axis=-1)
        assert close(sample.normed(layer), side_by_side)
        assert close(sample.output(layer), side_by_side)
        assert close(sample.gate(layer), np.ones_like(side_by_side), 0)


@pytest.mark.parametrize("mode", MODES)
def test_the_tensors_are_really_run_in_the_mode(mode: str) -> None:
    tensors = Tensors.of(2, 3, 9, 4, 5)
    sample = rv.Trace.from_tensors(*vars(tensors).values(), mode=mode, chunk_size=4)
    assert sample.cost.steps == {"parallel": 1, "recurrent": 9, "chunkwise": 3}[mode]
    assert sample.cost.state_bytes == 2 * 3 * 4 * 5 * 8
    assert len(rv.schedule(sample, 1, 2)) == sample.cost.steps
    parts = rv.terms(sample, 1, 2, 8)
    output = parts.output[0] if mode == "chunkwise" else parts.output
    assert close(output, tensors.literal(1, 2)[0][8])
    assert isinstance(parts, ParallelTerms) == (mode == "parallel")
    expected = {
        "parallel": "computed",
        "recurrent": "derived",
        "chunkwise": "computed inside chunks",
    }
    assert sample.origin("retention").startswith(expected[mode])
    assert {sample.origin(name) for name in ("q", "k", "v", "gamma")} == {"given"}
    assert sample.origin("head_output") == "computed"
    assert sample.origin("gate") == sample.origin("logits") == "not there"
    assert sample.origin("normed") == "derived"
    with pytest.raises(ValueError, match="unknown quantity"):
        sample.origin("attention")


@given(tensors=givens, chunk_size=st.integers(1, 10))
def test_the_modes_agree_and_only_outputs_are_compared(tensors: Tensors, chunk_size: int) -> None:
    sample = rv.Trace.from_tensors(*vars(tensors).values(), chunk_size=chunk_size)
    agreement = sample.agreement()
    assert agreement.logits == {}
    assert agreement.outputs.keys() == {"recurrent", "chunkwise"}
    assert agreement.worst == max(agreement.outputs.values()) <= 1e-10
    largest = [np.abs(tensors.literal(*at)[0]).max() for at in np.ndindex(tensors.gamma.shape)]
    assert agreement.scale == pytest.approx(max(largest))
    assert sample.in_mode("recurrent").tokens == sample.tokens


def test_a_broken_mode_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    form = retention.recurrent
    monkeypatch.setattr(
        retention, "recurrent", lambda q, k, v, gamma, *rest: form(q, k, v, gamma * 0.95, *rest)
    )
    agreement = rv.Trace.from_tensors(*vars(Tensors.of(2, 2, 9, 4, 4)).values()).agreement()
    assert agreement.outputs["recurrent"] > 1e-3
    assert agreement.outputs["chunkwise"] < 1e-10


# -- the forms in which tensors may come --------------------------------------------------------


def all_tensors(sample: rv.Trace) -> list[Tensor]:
    """What a trace was given, layer by layer."""
    reads = ("q", "k", "v", "gamma")
    return [getattr(sample, name)(layer) for layer in range(sample.n_layers) for name in reads]


ONE = Tensors.of(1, 2, 5, 4, 3)
TWO = Tensors.of(2, 2, 5, 4, 3)


def nested(x: Array) -> Any:
    return x.tolist()


@pytest.mark.parametrize(
    ("tensors", "form"),
    [
        (ONE, lambda x: x[0]),
        (ONE, lambda x: x),
        (ONE, lambda x: [x[0]]),
        (ONE, lambda x: x[None]),
        (ONE, lambda x: nested(x[0])),
        (TWO, lambda x: x),
        (TWO, lambda x: x[:, None]),
        (TWO, lambda x: x[None]),
        (TWO, list),
        (TWO, lambda x: tuple(layer[None] for layer in x)),
        (TWO, lambda x: [torch.tensor(layer, requires_grad=True) for layer in x]),
        (TWO, torch.tensor),
        (TWO, nested),
        (TWO, lambda x: x.astype(">f8")),
        (TWO, lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1]),
        (TWO, lambda x: torch.tensor(x).transpose(1, 2).contiguous().transpose(1, 2)),
    ],
)
def test_one_layer_many_layers_a_batch_of_one_and_lists_are_taken(
    tensors: Tensors, form: Callable[[Array], Any]
) -> None:
    q, k, v = (form(x) for x in (tensors.q, tensors.k, tensors.v))
    sample = rv.Trace.from_tensors(q, k, v, tensors.gamma)
    expected = rv.Trace.from_tensors(*vars(tensors).values())
    assert all(map(torch.equal, all_tensors(sample), all_tensors(expected)))
    assert not sample.q(0).requires_grad


@pytest.mark.parametrize(
    ("gamma", "expected"),
    [
        (0.5, [[0.5, 0.5], [0.5, 0.5]]),
        (1, [[1.0, 1.0], [1.0, 1.0]]),
        ((0.5, 0.25), [[0.5, 0.25], [0.5, 0.25]]),
        (torch.tensor([0.5, 0.25], dtype=torch.bfloat16), [[0.5, 0.25], [0.5, 0.25]]),
        (np.array([[0.5, 0.25]]), [[0.5, 0.25], [0.5, 0.25]]),
        ([torch.tensor([0.5, 1.0]), torch.tensor([0.125, 0.25])], [[0.5, 1.0], [0.125, 0.25]]),
    ],
)
def test_gamma_is_one_for_all_one_a_head_or_one_a_head_and_layer(
    gamma: Any, expected: list[list[float]]
) -> None:
    sample = rv.Trace.from_tensors(TWO.q, TWO.k, TWO.v, gamma)
    assert [sample.gamma(layer).tolist() for layer in range(2)] == expected
    assert sample.gamma(0).dtype == torch.float64


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_precision_is_kept(dtype: torch.dtype, mode: str) -> None:
    tensors = Tensors.of(1, 2, 20, 8, 8)
    rounded = [torch.tensor(x).to(dtype) for x in (tensors.q, tensors.k, tensors.v)]
    sample = rv.Trace.from_tensors(*rounded, tensors.gamma, mode=mode, chunk_size=8)
    literal = Tensors(*(x.double().numpy() for x in rounded), tensors.gamma)
    assert torch.equal(sample.q(0), rounded[0][0])
    assert sample.head_output(0).dtype == sample.retention(0).dtype == dtype
    assert sample.state(0, 5).dtype == torch.promote_types(dtype, torch.float32)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 0.05}.get(dtype, 0.3)
    for head in range(2):
        output, states = literal.literal(0, head)
        assert close(sample.head_output(0)[head], output, tolerance)
        assert close(sample.state(0, 19)[head], states[19], tolerance)


def test_tensors_of_several_precisions_meet_in_the_one_that_holds_them_all() -> None:
    q, k, v = (torch.tensor(x) for x in (TWO.q, TWO.k, TWO.v))
    sample = rv.Trace.from_tensors(q.half(), k.bfloat16(), v.numpy().astype(np.float32), 0.9)
    assert sample.q(1).dtype == sample.v(1).dtype == torch.float32
    assert torch.equal(sample.q(1), q[1].half().float())
    assert torch.equal(sample.k(1), k[1].bfloat16().float())


def test_a_trace_keeps_its_values_when_the_callers_arrays_change() -> None:
    arrays = [x.copy() for x in vars(TWO).values()]
    tensors = [torch.from_numpy(x) for x in arrays]
    sample = rv.Trace.from_tensors(*tensors)
    before = [x.clone() for x in (*all_tensors(sample), sample.retention(1))]
    for x in arrays:
        x[:] = 0.5
    assert all(map(torch.equal, (*all_tensors(sample), sample.retention(1)), before))
    assert torch.equal(sample.in_mode("recurrent").q(0), before[0])


def test_tokens_name_the_tokens() -> None:
    tokens = ["Once", " upon", "\ud800", "", "<b>"]
    sample = rv.Trace.from_tensors(*vars(TWO).values(), tokens=tokens)
    assert sample.tokens == tokens
    assert sample.pieces(1, 3) == tokens[1:3]
    assert sample.ids.tolist() == [0, 1, 2, 3, 4]


def test_the_tensors_of_a_model_give_what_its_trace_gives(tiny_model: ModelFactory) -> None:
    """With another gamma in each layer, as no config has it."""
    model = tiny_model()
    model.blocks[1].retention.gamma[:] = torch.tensor([0.5, 0.75], dtype=torch.float64)
    expected = rv.trace(model, torch.tensor([5, 3, 8, 13, 21]), "chunkwise", 2)
    tensors = (
        [getattr(expected, name)(layer) for layer in range(2)] for name in ("q", "k", "v", "gamma")
    )
    sample = rv.Trace.from_tensors(*tensors, mode="chunkwise", chunk_size=2)
    for layer in range(2):
        assert torch.equal(sample.head_output(layer), expected.head_output(layer))
        assert torch.equal(sample.state(layer, 3), expected.state(layer, 3))


# -- what is refused ----------------------------------------------------------------------------


def bad(value: float, *at: int) -> Array:
    broken = TWO.k.copy()
    broken[at] = value
    return broken


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"q": TWO.q[0, 0]}, r"q must have the shape \(H, T, d\).* not \(5, 4\)"),
        (
            {"q": np.stack([TWO.q, TWO.q])[None]},
            r"q must have the shape .* not \(1, 2, 2, 2, 5, 4\)",
        ),
        ({"q": np.stack([TWO.q, TWO.q])}, r"q must have the shape .* a batch axis of 1 at most"),
        ({"q": TWO.q[:1]}, "equally many layers, not 1, 2 and 2"),
        ({"k": TWO.k[:, :1]}, "equally many heads, not 2, 1 and 2"),
        ({"v": TWO.v[:, :, :4]}, "equally many tokens, not 5, 5 and 4"),
        ({"k": TWO.k[..., :3]}, "same width, not 4 and 3"),
        ({"q": [TWO.q[0], TWO.q[1, :1]]}, "the layers of q have different shapes"),
        ({"q": [[[1.0, 2.0], [1.0]]]}, "q is no array of numbers"),
        ({"q": None}, "q is no array of numbers"),
        ({"q": "text"}, "q is no array of numbers"),
        ({"q": TWO.q.astype(int)}, "q must hold floating-point numbers, not torch.int64"),
        (
            {"v": torch.tensor(TWO.v) + 0j},
            "v must hold floating-point numbers, not torch.complex128",
        ),
        ({"k": bad(np.nan, 1, 0, 3, 2)}, "k holds NaN or infinite .* layer 1, head 0, token 3"),
        ({"k": bad(np.inf, 0, 1, 4, 0)}, "k holds NaN or infinite .* layer 0, head 1, token 4"),
        ({name: getattr(TWO, name)[:, :, :0] for name in "qkv"}, "q has no tokens"),
        ({name: getattr(TWO, name)[:, :0] for name in "qkv"}, "q is empty"),
        ({"q": []}, "q must have the shape"),
        ({"gamma": 0.0}, r"gamma must lie in \(0, 1\], not 0.0 as in layer 0, head 0"),
        ({"gamma": 1.5}, r"gamma must lie in \(0, 1\], not 1.5"),
        ({"gamma": [0.5, -0.03]}, r"gamma must lie in \(0, 1\], not -0.03 as in layer 0, head 1"),
        ({"gamma": np.nan}, r"gamma must lie in \(0, 1\], not nan"),
        ({"gamma": [0.5, 0.5, 0.5]}, "one for each of the 2 heads, .* not of shape"),
        ({"gamma": np.ones((3, 2))}, r"those of each of the 2 layers, not of shape \(3, 2\)"),
        ({"gamma": "fast"}, "gamma is no array of numbers"),
        ({"gamma": True}, "gamma must hold numbers"),
        ({"tokens": ["a", "b"]}, "tokens names 2 tokens, but the tensors have 5"),
        ({"tokens": "abcde"}, "tokens must be a list of strings"),
        ({"tokens": [1, 2, 3, 4, 5]}, "tokens must be a list of strings"),
        ({"tokens": 5}, "tokens must be a list of strings"),
        ({"mode": "serial"}, "mode must be one of"),
        ({"chunk_size": 0}, "chunk_size must be a whole number"),
    ],
)
def test_what_is_no_retention_is_refused_with_a_sentence(
    changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        rv.Trace.from_tensors(**(vars(TWO) | changes))


def test_heads_that_stand_after_the_tokens_are_noticed() -> None:
    q, k, v = (np.swapaxes(x[0], 0, 1) for x in (TWO.q, TWO.k, TWO.v))  # (T, H, d)
    with pytest.raises(ValueError, match=r"heads are the first axis of q \(H, T, d\)"):
        rv.Trace.from_tensors(q, k, v, TWO.gamma[0])


def test_planes_that_do_not_fit_are_refused_before_they_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budget, "available_memory", lambda _: 10_000_000)
    q = np.zeros((1, 2000, 1))
    with pytest.raises(NotEnoughMemory, match="Parallel mode would hold"):
        rv.Trace.from_tensors(q, q, q, 0.9)
    assert rv.Trace.from_tensors(q, q, q, 0.9, mode="chunkwise").length == 2000


# -- figures ------------------------------------------------------------------------------------


def test_figures_are_drawn_and_what_has_no_model_says_so() -> None:
    sample = rv.Trace.from_tensors(*vars(TWO).values(), tokens=list("abcde"))
    figure = rv.figures.retention(sample, layer=1)
    for head, row in enumerate(sample.retention(1)[:, 4].tolist()):
        assert figure.data[head].customdata[4, :, 0].tolist() == pytest.approx(row, rel=1e-6)
    assert len(rv.figures.state_norm(sample, layer=0).data[0].y) == 5
    empty = next_token(sample)
    assert not empty.data
    assert "no next token" in empty.layout.annotations[0].text
    assert "no next token" in next_token.spec(sample)["layout"]["meta"]["sentence"]
    with pytest.raises(ValueError, match="without a model"):
        normalization(sample, 0, factor=2.0)
