"""Beyond a budget a live text keeps the layers' outputs; all else is had again from them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from retnet_viz.checkpoints import Tokenizer
from retnet_viz.model import RetNet
from retnet_viz.model.observe import listening
from retnet_viz.model.retnet import RetNetBlock
from retnet_viz.trace import Live, Trace, live, trace
from retnet_viz.trace.passes import incremental, recompute
from retnet_viz.trace.views.pass_cost import Meter

ModelFactory = Callable[..., RetNet]
LINE = "The fox had a red kite, and the kite had a long tail. It's 12 o'clock!\n"
KEPT = ("q", "k", "v", "head_output", "normed", "gate", "inner", "cross")
CARRYING = ("recurrent", "chunkwise")


@pytest.fixture
def model(tiny_model: ModelFactory, tiny_tokenizer: Tokenizer) -> RetNet:
    model = tiny_model(decay=(0.9, 1.0), n_layers=3)
    model.tokenizer = tiny_tokenizer
    return model


@pytest.fixture
def lean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incremental, "ROW_BUDGET", 0)


def kept_rows(live_text: Live) -> set[str]:
    names = {frozenset(layer.rows) for layer in live_text._pass.layers}
    assert len(names) == 1
    return set(names.pop())


def values(sample: Trace, layer: int) -> dict[str, Tensor]:
    tensors = {name: getattr(sample, name)(layer) for name in (*KEPT, "output", "state_norm")}
    return tensors | {"state": sample.state(layer, sample.length // 2)}


@pytest.mark.parametrize("chunk_size", [1, 5, 64, 4000])
@pytest.mark.parametrize("stretch", [10, 2048])
def test_what_is_replayed_is_the_pass_to_the_last_bit_where_the_stretches_are_its_own(
    chunk_size: int,
    stretch: int,
    model: RetNet,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recompute, "STRETCH", stretch)
    full = live(model, LINE * 5, "chunkwise", chunk_size)
    monkeypatch.setattr(incremental, "ROW_BUDGET", 0)
    live_text = live(model, LINE * 5, "chunkwise", chunk_size)
    for layer in (0, 2, 1):
        for name in (*KEPT, "output"):
            assert torch.equal(
                getattr(live_text.trace, name)(layer), getattr(full.trace, name)(layer)
            ), name


@pytest.mark.parametrize("mode", CARRYING)
def test_a_lean_text_gives_in_32_bits_what_a_fresh_trace_gives(
    mode: str,
    lean: None,
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
) -> None:
    model = tiny_model(dtype=torch.float32, decay=(0.9, 1.0), n_heads=2)
    model.tokenizer = tiny_tokenizer
    live_text = live(model, LINE * 30, mode, 8)
    live_text.splice(400, 402, "owl")
    live_text.append(" and more")
    expected = trace(model, live_text.text, mode, 8)
    for layer in (1, 0):
        for name, value in values(expected, layer).items():
            actual = values(live_text.trace, layer)[name]
            assert actual.dtype == value.dtype
            assert (actual - value).abs().max() <= 1e-5 * value.abs().max(), name


@pytest.mark.parametrize("mode", CARRYING)
@pytest.mark.parametrize(
    "variant",
    [{"embedding_scale": 4.0}, {"embedding_norm": True}, {"norm_place": "after"}],
    ids=str,
)
def test_a_lean_text_of_a_published_variant_is_replayed_from_what_its_layers_read(
    variant: dict[str, object],
    mode: str,
    lean: None,
    tiny_model: ModelFactory,
    tiny_tokenizer: Tokenizer,
) -> None:
    model = tiny_model(n_layers=2, **variant)
    model.tokenizer = tiny_tokenizer
    sample = live(model, LINE * 3, mode, 7).trace
    fresh = trace(model, LINE * 3, mode, 7)
    for layer in range(2):
        for name, value in values(fresh, layer).items():
            torch.testing.assert_close(values(sample, layer)[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", CARRYING)
def test_only_the_outputs_are_kept_beyond_the_budget(
    mode: str, model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    per_token = incremental.row_bytes(model, mode)
    length = len(model.tokenizer.encode(LINE * 4))
    monkeypatch.setattr(incremental, "ROW_BUDGET", length * per_token)
    live_text = live(model, LINE * 4, mode, 8)
    row_names = kept_rows(live_text)
    rows = [rows.tensor for layer in live_text._pass.layers for rows in layer.rows.values()]
    assert sum(tensor.nbytes for tensor in rows) == length * per_token
    assert live_text.trace.origin("gate") == "computed"
    live_text.append("!")
    assert kept_rows(live_text) == {"layer.output"} < row_names
    outputs = [layer.rows["layer.output"].tensor.nbytes for layer in live_text._pass.layers]
    assert sum(outputs) == live_text.length * incremental.row_bytes(model, mode, all_rows=False)
    # what was kept of the text before is not there to be kept again: lean until all is run again
    live_text.edit(LINE)
    assert kept_rows(live_text) == {"layer.output"}
    assert torch.equal(live_text.trace.q(1), live_text.trace.q(1))
    live_text.edit("~" + LINE)
    assert kept_rows(live_text) == row_names
    assert live_text.trace.origin("gate") == "computed"


@pytest.mark.parametrize("mode", CARRYING)
def test_the_origin_of_what_is_replayed_is_told(mode: str, lean: None, model: RetNet) -> None:
    origin = live(model, LINE, mode, 8).trace.origin
    by_another_formula = "derived" if mode == "recurrent" else "replayed"
    for name in ("q", "k", "v", "gate"):
        assert origin(name) == "replayed"
    for name in ("head_output", "normed", "inner", "cross"):
        assert origin(name) == by_another_formula
    for name in ("output", "logits", "gamma"):
        assert origin(name) == "computed"
    assert origin("state_norm") == "computed where kept, derived elsewhere"


@pytest.mark.parametrize("mode", CARRYING)
def test_norms_of_kept_states_are_their_own(
    mode: str, lean: None, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(dtype=torch.float32)
    model.tokenizer = tiny_tokenizer
    live_text = live(model, LINE * 3, mode, 8)
    norms = live_text.trace.state_norm(1)
    step = 1 if mode == "recurrent" else 8
    for i, state in live_text._pass.layers[1].states.items():
        position = min((i + 1) * step, live_text.length) - 1
        assert torch.equal(norms[:, position], torch.linalg.vector_norm(state, dim=(-2, -1)))


def layers_run(model: RetNet, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of a layer whenever its retention reads a stretch."""
    seen: list[int] = []
    for index, block in enumerate(model.blocks):
        assert isinstance(block, RetNetBlock)
        block.retention.register_forward_pre_hook(lambda *_, index=index: seen.append(index))
    return seen


def test_the_layer_asked_last_is_replayed_once(
    lean: None, model: RetNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    live_text = live(model, LINE * 3, "chunkwise", 8)
    seen = layers_run(model, monkeypatch)
    trace_ = live_text.trace
    trace_.k(1), trace_.q(1), trace_.scores(1, slice(5), slice(5)), trace_.cell(1, 0, 9, 3)
    assert seen == [1]
    trace_.v(1), trace_.state_norm(1), trace_.state(1, 20)
    assert seen == [1, 1]
    trace_.gate(1), trace_.normed(1), trace_.inner(1), trace_.cross(1)
    assert seen == [1] * 4
    trace_.decay(2), trace_.output(0), trace_.logits_after(3), trace_.pieces(3, 9)
    assert seen == [1] * 4
    trace_.q(0), trace_.q(1)
    assert seen == [1] * 4 + [0, 1]
    seen.clear()
    live_text.append("!")
    count = len(seen)
    live_text.trace.q(1)
    assert seen[count:] == [1]  # what was replayed of the text before is forgotten


def test_keys_and_queries_are_had_without_retaining_anything(lean: None, model: RetNet) -> None:
    live_text = live(model, LINE * 3, "chunkwise", 8).trace
    names: list[str] = []
    original = recompute.Collector.__call__

    def spy(self: recompute.Collector, name: str, tensor: Tensor) -> None:
        names.append(name)
        original(self, name, tensor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recompute.Collector, "__call__", spy)
        live_text.q(0), live_text.v(0)
        assert set(names) == {"retention.q", "retention.k", "retention.v"}
        live_text.head_output(0)
        assert "retention.normed" not in names


@pytest.mark.slow
@pytest.mark.parametrize("mode", CARRYING)
def test_replaying_holds_no_more_than_a_few_tensors_of_a_layer(
    mode: str, lean: None, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer
) -> None:
    model = tiny_model(d_model=4, n_heads=1, decay=(0.9,), n_layers=1)
    model.tokenizer = tiny_tokenizer
    live_text = live(model, LINE * 150, mode, 64).trace
    value = live_text.length * 8 * 8  # bytes of v or anything of its width
    for name in KEPT:
        with Meter() as meter:
            getattr(live_text, name)(0)
        planes = 3 * 64 * 64 * 8
        assert meter.peak_bytes <= 8 * value + 2048 * 8 * 120 + planes, name
        if mode == "recurrent" and name in ("inner", "cross"):
            break  # both are there now
    with Meter() as meter:
        live_text.state_norm(0)
    assert meter.peak_bytes <= live_text.length * 100 + 4096 * 8 * 60 + 64 * 64 * 8 * 200


def test_a_replay_passes_on_nothing_to_who_listens_outside(lean: None, model: RetNet) -> None:
    sample = live(model, LINE, "chunkwise", 8).trace
    heard: list[str] = []
    with listening(lambda name, _: heard.append(name)):
        sample.gate(1)
        sample.state_norm(1)
    assert heard == []


def test_the_logits_of_a_run_are_not_held_for_those_that_are_dropped(
    lean: None, tiny_model: ModelFactory, tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recompute, "STRETCH", 64)
    model = tiny_model(d_model=4, n_heads=1, decay=(0.9,), n_layers=1, vocab_size=4000)
    model.tokenizer = tiny_tokenizer
    with Meter() as meter:
        live_text = live(model, LINE * 40, "chunkwise", 8, keep_logits=10)
    of_all = live_text.length * 4000 * 8
    assert meter.peak_bytes < of_all / 5


def test_an_unknown_name_has_no_replay(lean: None, model: RetNet) -> None:
    live_text = live(model, LINE, "chunkwise", 8)
    with pytest.raises(KeyError, match=r"layer\.input"):
        live_text.trace._capture.layers[0]["layer.input"]
