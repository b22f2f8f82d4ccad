"""What a mode computed is kept, not computed again: equal to the last bit, even when it is wrong.

The forward pass is broken while it runs and mended before the trace is read. An accessor that
computes its answer again, or takes it from another mode, then gives the unbroken number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.model import MODES, RetNet, RetNetState, position, retention, retnet
from retnet_viz.model.observe import listening, publish
from retnet_viz.trace import Trace, trace
from retnet_viz.trace.passes import capture

ModelFactory = Callable[..., RetNet]
LayerTensors = dict[str, list[Tensor]]

IDS = torch.tensor([5, 3, 8, 13, 21, 34, 55, 89, 144, 233, 5])
T = len(IDS)
MODEL = {"decay": (0.5, 0.9), "n_layers": 2}
CHUNKS = (1, 3, 4, T, T + 5)
# Added to a state. Not the same for all of d_v: the per-head normalisation would take it out again.
SPOT = torch.linspace(-1, 2, 16, dtype=torch.float64)


@contextmanager
def broken_forward() -> Iterator[None]:
    """Whatever runs inside turns q and k too far, decays by too much and starts from no zeros."""
    with pytest.MonkeyPatch.context() as patch:
        rotate, decay_matrix, empty = retnet.rotate, position.decay_matrix, retention.empty_state
        patch.setattr(retnet, "rotate", lambda *a, **k: rotate(*a, **k) * 1.25 + 0.1)
        patch.setattr(position, "decay_matrix", lambda *a: decay_matrix(*a) * 0.75)
        patch.setattr(retention, "empty_state", lambda *a: empty(*a) + SPOT)
        yield


def capture_layers(model: RetNet, ids: Tensor, mode: str, chunk_size: int) -> list[LayerTensors]:
    """All that a plain call publishes, by layer and name; one more item holds "logits"."""
    layers: list[LayerTensors] = []

    def listen(name: str, tensor: Tensor) -> None:
        if name in ("layer.input", "embedding", "logits"):
            layers.append(defaultdict(list))
        layers[-1][name].append(tensor)

    with torch.no_grad(), listening(listen):
        model(ids[None], mode=mode, chunk_size=chunk_size)
    return layers[1:]


def broken_trace(
    model: RetNet, mode: str, chunk_size: int
) -> tuple[Trace, list[LayerTensors], Tensor]:
    with broken_forward():
        *layers, last = capture_layers(model, IDS, mode, chunk_size)
        return trace(model, IDS, mode, chunk_size), layers, last["logits"][0][0]


@pytest.mark.parametrize("chunk_size", CHUNKS)
@pytest.mark.parametrize("mode", MODES)
def test_what_every_mode_computes_is_kept_to_the_last_bit(
    mode: str, chunk_size: int, tiny_model: ModelFactory
) -> None:
    model = tiny_model(**MODEL)
    sample, layers, logits = broken_trace(model, mode, chunk_size)
    assert torch.equal(sample.logits, logits)
    assert len(layers) == 2
    for layer, tensors in enumerate(layers):
        for name in ("q", "k", "v", "normed", "gate"):
            assert torch.equal(getattr(sample, name)(layer), tensors[f"retention.{name}"][0][0]), (
                name
            )
        assert torch.equal(sample.head_output(layer), tensors["retention.output"][0][0])
        assert torch.equal(sample.output(layer), tensors["layer.output"][0][0])
    # the break is felt: without it this test would also pass on recomputed numbers
    assert not torch.allclose(trace(model, IDS, mode, chunk_size).logits, logits)


def test_parallel_mode_keeps_its_planes_and_its_last_state(tiny_model: ModelFactory) -> None:
    sample, layers, _ = broken_trace(tiny_model(**MODEL), "parallel", 4)
    for layer, tensors in enumerate(layers):
        assert torch.equal(sample.scores(layer), tensors["retention.scores"][0][0])
        assert torch.equal(sample.decay(layer), tensors["retention.decay"][0])
        assert torch.equal(sample.retention(layer), tensors["retention.weights"][0][0])
        assert sample.decay(layer)[0, 0, 0] == 0.75
        assert torch.equal(sample.state(layer, T - 1), tensors["retention.state"][0][0])
        norm = torch.linalg.vector_norm(tensors["retention.state"][0][0], dim=(-2, -1))
        assert torch.equal(sample.state_norm(layer)[:, -1], norm)


@pytest.mark.parametrize("budget", [2**26, 1500, 1])
def test_recurrent_mode_keeps_every_state_or_replays_it(
    budget: int, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "STATE_BUDGET", budget)
    model = tiny_model(**MODEL)
    sample, layers, _ = broken_trace(model, "recurrent", 4)
    for layer, tensors in enumerate(layers):
        assert len(tensors["retention.state"]) == T
        for n, state in enumerate(tensors["retention.state"]):
            assert torch.equal(sample.state(layer, n), state[0])
            assert torch.equal(sample.state(layer, n - T), state[0])


@pytest.mark.parametrize("budget", [2**26, 1500, 1])
def test_recurrent_state_norms_are_those_of_the_kept_states(
    budget: int, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "STATE_BUDGET", budget)
    model = tiny_model(**MODEL)
    *layers, _ = capture_layers(model, IDS, "recurrent", 4)
    sample = trace(model, IDS, "recurrent", 4)
    for layer, tensors in enumerate(layers):
        states = torch.stack([state[0] for state in tensors["retention.state"]])
        norms = torch.linalg.vector_norm(states, dim=(-2, -1)).mT
        assert torch.equal(sample.state_norm(layer), norms)


@pytest.mark.parametrize("budget", [2**26, 1500, 1])
@pytest.mark.parametrize("chunk_size", CHUNKS)
def test_chunkwise_mode_keeps_its_blocks_its_parts_and_the_states_at_chunk_ends(
    chunk_size: int, budget: int, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "STATE_BUDGET", budget)
    sample, layers, _ = broken_trace(tiny_model(**MODEL), "chunkwise", chunk_size)
    planes = {"scores": "scores", "decay": "decay", "retention": "weights"}
    for layer, tensors in enumerate(layers):
        for name in ("inner", "cross"):
            whole = torch.cat(tensors[f"retention.{name}"], dim=-2)[0]
            assert torch.equal(getattr(sample, name)(layer), whole)
        assert torch.equal(sample.inner(layer) + sample.cross(layer), sample.head_output(layer))
        for name, key in planes.items():
            plane = getattr(sample, name)(layer)
            assert len(tensors[f"retention.{key}"]) == -(-T // chunk_size)
            for i, block in enumerate(tensors[f"retention.{key}"]):
                block = block if name == "decay" else block[0]
                part = slice(i * chunk_size, (i + 1) * chunk_size)
                assert torch.equal(plane[:, part, part], block)
                row, cols = part.start, slice(part.start, part.start + 2)
                window = getattr(sample, name)(layer, slice(row, row + 1), cols)
                assert torch.equal(window[:, :, : block.shape[-1]], block[:, :1, :2])
        norms = sample.state_norm(layer)
        for i, state in enumerate(tensors["retention.state"]):
            end = min((i + 1) * chunk_size, T) - 1
            if budget == 2**26 or i == len(tensors["retention.state"]) - 1:
                assert torch.equal(sample.state(layer, end), state[0])
            assert torch.allclose(sample.state(layer, end), state[0], rtol=0, atol=1e-12)
            norm = torch.linalg.vector_norm(state[0], dim=(-2, -1))
            assert torch.allclose(norms[:, end], norm, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk_size", CHUNKS)
def test_replayed_chunk_states_are_the_kept_ones_to_the_last_bit(
    chunk_size: int, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(**MODEL)
    kept = trace(model, IDS, "chunkwise", chunk_size)
    monkeypatch.setattr(capture, "STATE_BUDGET", 1)
    replayed = trace(model, IDS, "chunkwise", chunk_size)
    for layer in range(2):
        for n in range(T):
            assert torch.equal(kept.state(layer, n), replayed.state(layer, n))
        assert torch.equal(kept.state_norm(layer), replayed.state_norm(layer))


def test_the_states_kept_fit_the_budget(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for dtype, size in ((torch.float64, 8), (torch.float32, 4), (torch.bfloat16, 4)):
        model = tiny_model(dtype=dtype, **MODEL)
        state_bytes = size * 2 * 8 * 16  # two heads, d_k 8, d_v 16
        for budget in (2 * 2 * state_bytes, 2 * 5 * state_bytes, 2 * T * state_bytes):
            monkeypatch.setattr(capture, "STATE_BUDGET", budget)
            layers = trace(model, IDS, "recurrent")._capture.layers
            kept = [state for layer in layers for state in layer.states.values()]
            assert sum(state.numel() * state.element_size() for state in kept) <= budget
            assert len(kept) >= budget // state_bytes / 2  # and the budget is used


@pytest.mark.parametrize("layer", [0, 1])
@given(p=st.integers(0, T - 1))
def test_recurrent_mode_really_carries_a_state(
    layer: int, p: int, tiny_model: ModelFactory
) -> None:
    model = tiny_model(**MODEL)
    clean = trace(model, IDS, "recurrent")
    count = iter(range(2 * T))

    def spoil(name: str, tensor: Tensor) -> Tensor:
        if name == "retention.state" and next(count) == layer * T + p:
            tensor.add_(SPOT)  # the very state that the pass goes on with
        return publish(name, tensor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retention, "publish", spoil)
        broken = trace(model, IDS, "recurrent")

    for deeper in range(layer, 2):
        change = (broken.head_output(deeper) - clean.head_output(deeper)).abs().amax((0, 2))
        assert (change[:p] == 0).all()
        assert (change[p:] > 1e-6).all()
    change = (broken.logits - clean.logits).abs().amax(-1)
    assert (change[:p] == 0).all()
    assert (change[p:] > 1e-6).all()
    for n in range(T):
        difference = broken.state(layer, n) - clean.state(layer, n)
        # the spot fades with gamma, and nothing else of the layer's states changes
        decays = [0.0 if n < p else gamma ** (n - p) for gamma in MODEL["decay"]]
        for head, share in enumerate(decays):
            assert (difference[head] - share * SPOT).abs().max() <= 1e-10
    norms = [torch.linalg.vector_norm(broken.state(layer, n), dim=(1, 2)) for n in range(T)]
    assert torch.equal(broken.state_norm(layer), torch.stack(norms, dim=1))


@given(p=st.integers(1, T - 1), layer=st.integers(0, 1))
def test_a_state_corrupted_between_two_calls_changes_all_that_follows(
    p: int, layer: int, tiny_model: ModelFactory
) -> None:
    model = tiny_model(**MODEL)
    clean = trace(model, IDS, "recurrent")
    with torch.no_grad():
        prefix = model(IDS[None, :p], mode="recurrent")
        assert (prefix.logits[0] - clean.logits[:p]).abs().max() <= 1e-10
        for i, state in enumerate(prefix.state.layers):
            assert (state[0] - clean.state(i, p - 1)).abs().max() <= 1e-10
        same = model(IDS[None, p:], prefix.state, mode="recurrent").logits[0]
        assert (same - clean.logits[p:]).abs().max() <= 1e-10
        wrong = [s + SPOT * (i == layer) for i, s in enumerate(prefix.state.layers)]
        rest = model(IDS[None, p:], RetNetState(wrong, p), mode="recurrent").logits[0]
    assert ((rest - clean.logits[p:]).abs().amax(-1) > 1e-6).all()


def tensors_while_tracing(
    model: RetNet, mode: str, chunk_size: int, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of all that retention published while a trace was made and read."""
    tensors = []

    def spy(name: str, tensor: Tensor) -> Tensor:
        tensors.append((name, tuple(tensor.shape)))
        return publish(name, tensor)

    monkeypatch.setattr(retention, "publish", spy)
    trace(model, IDS, mode, chunk_size)
    return tensors


def test_in_parallel_mode_nothing_recurrent_runs(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = tensors_while_tracing(tiny_model(**MODEL), "parallel", 4, monkeypatch)
    names = [name for name, _ in tensors]
    assert names.count("retention.state") == 2  # one per layer, after the last token
    assert [shape for name, shape in tensors if name == "retention.scores"] == [(1, 2, T, T)] * 2
    assert not {"retention.inner", "retention.cross"} & set(names)


def test_in_recurrent_mode_no_plane_is_computed(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = tensors_while_tracing(tiny_model(**MODEL), "recurrent", 4, monkeypatch)
    assert tensors == [("retention.state", (1, 2, 8, 16))] * (2 * T)


@pytest.mark.parametrize("chunk_size", CHUNKS)
def test_in_chunkwise_mode_only_blocks_are_computed(
    chunk_size: int, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = tensors_while_tracing(tiny_model(**MODEL), "chunkwise", chunk_size, monkeypatch)
    sizes = [min(chunk_size, T - first) for first in range(0, T, chunk_size)]
    blocks = [shape for name, shape in tensors if name == "retention.weights"]
    assert blocks == [(1, 2, size, size) for size in sizes] * 2
    assert [name for name, _ in tensors].count("retention.state") == 2 * len(sizes)


COMPUTED_ALWAYS = ("q", "k", "v", "gamma", "head_output", "normed", "gate", "output", "logits")


@pytest.mark.parametrize("mode", MODES)
def test_the_origin_of_each_quantity_is_told(mode: str, tiny_model: ModelFactory) -> None:
    sample = trace(tiny_model(**MODEL), IDS, mode, 4)
    for name in COMPUTED_ALWAYS:
        assert sample.origin(name) == "computed"
    for name in ("decay", "scores", "retention"):
        assert (
            sample.origin(name)
            == {
                "parallel": "computed",
                "recurrent": "derived",
                "chunkwise": "computed inside chunks, derived elsewhere",
            }[mode]
        )
    for name in ("state", "state_norm"):
        assert (
            sample.origin(name)
            == {
                "parallel": "computed after the last token, derived elsewhere",
                "recurrent": "computed",
                "chunkwise": "computed after each chunk, derived elsewhere",
            }[mode]
        )
    for name in ("inner", "cross"):
        assert sample.origin(name) == ("computed" if mode == "chunkwise" else "derived")


@pytest.mark.parametrize("name", ["", "weights", "attention", "Q"])
def test_an_unknown_quantity_has_no_origin(name: str, tiny_model: ModelFactory) -> None:
    with pytest.raises(ValueError, match=f"unknown quantity '{name}'.*retention"):
        trace(tiny_model(**MODEL), IDS).origin(name)


def test_gamma_is_the_one_that_the_pass_used(tiny_model: ModelFactory) -> None:
    model = tiny_model(**MODEL)
    model.blocks[1].retention.gamma = torch.tensor([0.25, 1.0], dtype=torch.float64)
    sample = trace(model, IDS, "recurrent")
    assert sample.gamma(0).tolist() == [0.5, 0.9]
    assert sample.gamma(1).tolist() == [0.25, 1.0]
    assert sample.decay(1)[0, 3, 1] == 0.25**2
    assert torch.allclose(
        sample.retention(1) @ sample.v(1), sample.head_output(1), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_capture_of_a_pass_with_gradients_keeps_no_graph(
    mode: str, tiny_model: ModelFactory
) -> None:
    record = capture.Capture(stride=1)
    with listening(record):
        tiny_model(**MODEL)(IDS[None], mode=mode, chunk_size=3)
    tensors = [record.logits]
    for layer in record.layers:
        tensors += [*chain.from_iterable(layer.tensors.values()), *layer.states.values()]
    assert len(tensors) > 1
    assert not any(tensor.requires_grad for tensor in tensors)
