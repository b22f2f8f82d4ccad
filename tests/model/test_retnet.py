"""The whole model: one answer in three modes, in any pieces, for any variant."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.model import MODES, RetNet, RetNetState, position
from retnet_viz.model import retnet as retnet_module
from retnet_viz.model.observe import listening
from retnet_viz.model.retnet import Positions
from retnet_viz.model.variant import GATE_ACTIVATIONS
from retnet_viz.trace.views.pass_cost import measure
from tests.support.variants import variants

ModelFactory = Callable[..., RetNet]


PIECES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(MODES), st.integers(1, 9)), min_size=1, max_size=4
)


def random_ids(batch: int, length: int, vocab: int = 23, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab, (batch, length), generator=generator)


def literal_logits(model: RetNet, ids: list[int]) -> Tensor:
    """The model's equations 8 and 9 for one text, head by head and token by token, in float64."""
    c, form = model.config, model.config.variant
    weights = {n: p.detach().double() for n, p in model.named_parameters()}
    weights.setdefault("head.weight", weights["embedding.weight"])

    def norm(x: Tensor, kind: str, name: str = "") -> Tensor:
        if kind == "none":
            return x
        centred = x - x.mean(-1, keepdim=True) if kind == "layer" else x
        x = centred / ((centred**2).mean(-1, keepdim=True) + c.norm_eps).sqrt()
        x = x * weights[f"{name}.weight"] if name else x
        return x + weights[f"{name}.bias"] if name and kind == "layer" else x

    def turn(x: Tensor) -> Tensor:  # (T, d_k)
        half = c.head_dim // 2
        if c.rotation == "none":
            return x
        x = x.clone()
        for n in range(len(x)):
            for i in range(half):
                a, b = (2 * i, 2 * i + 1) if c.rotation == "interleaved" else (i, i + half)
                pairs = half if c.angles == "rope" else max(1, half - 1)
                first = math.pi if c.angles == "half_turn" else 1
                angle = n * first * c.rotation_base ** (-i / pairs)
                number = complex(x[n, a], x[n, b]) * complex(math.cos(angle), math.sin(angle))
                x[n, a], x[n, b] = number.real, number.imag
        return x

    def active(x: Tensor, kind: str) -> Tensor:
        if kind == "gelu":
            return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        return x * torch.sigmoid(x) if kind == "swish" else x.clamp(min=0)

    post = form.norm_place == "after"
    x = form.embedding_scale * weights["embedding.weight"][ids]
    x = norm(x, form.norm, "embedding_norm") if form.embedding_norm else x
    for layer in range(c.n_layers):
        w = {n.removeprefix(f"blocks.{layer}."): p for n, p in weights.items()}
        y = x if post else norm(x, form.norm, f"blocks.{layer}.retention_norm")
        q, k, v = (y @ w[f"retention.{p}_proj.weight"].T for p in "qkv")
        heads = []
        for h, gamma in enumerate(c.gammas().tolist()):
            shared = h * c.key_heads // c.n_heads
            queries = slice(h * c.head_dim, (h + 1) * c.head_dim)
            keys, values = (slice(shared * d, shared * d + d) for d in (c.head_dim, c.value_dim))
            q_h, k_h = turn(q[:, queries]), turn(k[:, keys]) / math.sqrt(c.head_dim)
            rows = []
            for n in range(len(ids)):
                decays = [gamma ** (n - m) for m in range(n + 1)]
                row = sum(decays[m] * (q_h[n] @ k_h[m]) * v[m, values] for m in range(n + 1))
                rows.append(row / math.sqrt(sum(decays)) if form.decay_norm else row)
            heads.append(norm(torch.stack(rows), c.head_norm))
            if form.head_norm_weights:
                heads[-1] = heads[-1] * w["retention.head_norm_weight"]
        gated = torch.cat(heads, dim=-1)
        if c.gate == "swish":
            gate = y @ w["retention.g_proj.weight"].T
            gated = gate * torch.sigmoid(gate) * gated
        x = form.residual_scale * x + gated @ w["retention.out_proj.weight"].T
        x = norm(x, form.norm, f"blocks.{layer}.retention_norm") if post else x
        y = x if post else norm(x, form.norm, f"blocks.{layer}.ffn_norm")
        up = y @ w["ffn.up_proj.weight"].T + w.get("ffn.up_proj.bias", 0)
        if form.feed_forward in GATE_ACTIVATIONS:
            kind = {"swiglu": "swish", "geglu": "gelu", "reglu": "relu"}[form.feed_forward]
            inner = active(y @ w["ffn.gate_proj.weight"].T, kind) * up
        else:
            inner = active(up, form.feed_forward)
        if form.ffn_norm != "none":
            inner = norm(inner, form.ffn_norm, f"blocks.{layer}.ffn.norm")
        inner = inner @ w["ffn.down_proj.weight"].T + w.get("ffn.down_proj.bias", 0)
        x = form.residual_scale * x + inner
        x = norm(x, form.norm, f"blocks.{layer}.ffn_norm") if post else x
    return (x if post else norm(x, form.norm, "norm")) @ weights["head.weight"].T


@given(fields=variants(), seed=st.integers(0, 99))
def test_the_model_computes_equations_8_and_9(
    tiny_model: ModelFactory, fields: dict[str, Any], seed: int
) -> None:
    model = tiny_model(seed=seed, **fields)
    ids = random_ids(1, 7, seed=seed)
    expected = literal_logits(model, ids[0].tolist())
    assert (model(ids).logits[0] - expected).abs().max() <= 1e-9


@given(fields=variants(), pieces=PIECES, seed=st.integers(0, 99))
def test_all_modes_agree_for_any_variant_and_any_split(
    tiny_model: ModelFactory, fields: dict[str, Any], pieces: list[tuple[int, str, int]], seed: int
) -> None:
    model = tiny_model(seed=seed, **fields)
    length = sum(piece[0] for piece in pieces)
    ids = random_ids(2, length, seed=seed)
    with torch.inference_mode():
        full = model(ids)
        for dtype in (torch.float64, torch.float32):
            model = model.to(dtype)
            state, parts, start = None, [], 0
            for size, mode, chunk_size in pieces:
                output = model(ids[:, start : start + size], state, mode, chunk_size)
                state, start = output.state, start + size
                parts.append(output.logits)
            difference = (torch.cat(parts, dim=1).double() - full.logits).abs().max()
            assert state is not None
            assert state.position == length
            if dtype == torch.float64:
                assert difference <= 1e-10
                for actual, expected in zip(state.layers, full.state.layers, strict=True):
                    assert (actual - expected).abs().max() <= 1e-10
            else:
                assert difference / full.logits.abs().max() <= 1e-4


def test_all_modes_agree_where_a_small_epsilon_meets_tiny_weights(tiny_model: ModelFactory) -> None:
    # The authors' code normalises each form differently, so there its epsilon tells them apart.
    ids = random_ids(2, 30)
    for std in (1e-3, 1e-5):
        for dtype, bound in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
            model = tiny_model(std=std, norm_eps=1e-10, vocab_size=23, dtype=dtype)
            logits = {mode: model(ids, mode=mode, chunk_size=7).logits for mode in MODES}
            for mode in MODES[1:]:
                difference = (logits[mode] - logits["parallel"]).abs().max()
                assert difference / logits["parallel"].abs().max() <= bound


def test_a_second_call_goes_on_at_the_next_position(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=23)
    ids = random_ids(1, 9)
    first = model(ids[:, :5]).state
    assert first.position == 5
    logits = model(ids[:, 5:], first).logits
    assert (logits - model(ids).logits[:, 5:]).abs().max() <= 1e-10
    # The same memory at another position turns q and k differently.
    elsewhere = model(ids[:, 5:], RetNetState(first.layers, position=4)).logits
    assert (elsewhere - logits).abs().max() > 1e-4


@pytest.mark.parametrize("mode", MODES)
@given(at=st.integers(0, 11))
def test_a_token_changes_nothing_before_it_and_something_from_it_on(
    tiny_model: ModelFactory, mode: str, at: int
) -> None:
    model = tiny_model(vocab_size=23)
    ids = random_ids(1, 12)
    other_ids = ids.clone()
    other_ids[0, at] = (ids[0, at] + 1) % 23
    difference = (model(ids, mode=mode).logits - model(other_ids, mode=mode).logits).abs()[0]
    assert difference[:at].sum() <= 1e-12
    assert (difference[at:].amax(dim=-1) > 1e-9).all()


@pytest.mark.parametrize("mode", MODES)
def test_rows_of_a_batch_do_not_touch_each_other(tiny_model: ModelFactory, mode: str) -> None:
    model = tiny_model(vocab_size=23)
    ids = random_ids(3, 8)
    together = model(ids, mode=mode, chunk_size=3)
    for row in range(3):
        alone = model(ids[row : row + 1], mode=mode, chunk_size=3)
        assert (alone.logits[0] - together.logits[row]).abs().max() <= 1e-12
        assert (alone.state.layers[1][0] - together.state.layers[1][row]).abs().max() <= 1e-12


@pytest.mark.parametrize("mode", MODES)
def test_the_given_state_is_not_changed(tiny_model: ModelFactory, mode: str) -> None:
    model = tiny_model(vocab_size=23)
    given_state = model(random_ids(1, 4)).state
    copies = [layer.clone() for layer in given_state.layers]
    new_state = model(random_ids(1, 5, seed=1), given_state, mode=mode, chunk_size=2).state
    assert new_state is not given_state
    assert given_state.position == 4
    for layer, expected in zip(given_state.layers, copies, strict=True):
        assert torch.equal(layer, expected)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"chunk_size": 0}, "chunk_size must be a whole number of 1 or more, not 0"),
        ({"chunk_size": -1}, "chunk_size must be a whole number of 1 or more, not -1"),
        ({"chunk_size": 2.5}, "chunk_size must be a whole number of 1 or more, not 2.5"),
        ({"chunk_size": True}, "chunk_size must be a whole number of 1 or more, not True"),
        ({"chunk_size": 10**20}, "chunk_size must be at most 2,147,483,647, not 100,000,"),
        ({"chunk_size": None}, "chunk_size must be a whole number of 1 or more, not None"),
        (
            {"mode": "diagonal"},
            "mode must be one of parallel, recurrent, chunkwise, not 'diagonal'",
        ),
        ({"mode": None}, "mode must be one of .*, not None"),
        ({"ids": torch.zeros(1, 0, dtype=torch.long)}, r"ids must have shape .*, not \(1, 0\)"),
        ({"ids": torch.zeros(3, dtype=torch.long)}, r"ids must have shape .*, not \(3,\)"),
    ],
)
def test_a_bad_call_is_refused_with_a_sentence(
    tiny_model: ModelFactory, arguments: dict[str, Any], sentence: str
) -> None:
    call = {"ids": random_ids(1, 3), "mode": "chunkwise", "chunk_size": 2, **arguments}
    with pytest.raises(ValueError, match=sentence):
        tiny_model(vocab_size=23)(**call)


def test_a_16_bit_model_keeps_its_gammas_exact(tiny_model: ModelFactory) -> None:
    gammas = (1 - 2**-12, 1 - 2**-30)  # bfloat16 rounds both to 1
    model = tiny_model(vocab_size=23, decay=gammas).to(torch.bfloat16)
    ids = random_ids(1, 20)
    for mode in MODES:
        output = model(ids, mode=mode, chunk_size=8)
        assert output.logits.dtype == torch.bfloat16
        assert torch.isfinite(output.logits).all()
        assert all(state.dtype == torch.float32 for state in output.state.layers)
    for block in model.blocks:
        assert block.retention.gamma.tolist() == list(gammas)


@pytest.mark.parametrize("mode", MODES)
def test_without_head_norm_the_gate_meets_the_heads_as_retention_gave_them(
    tiny_model: ModelFactory, mode: str
) -> None:
    models = {kind: tiny_model(vocab_size=23, head_norm=kind) for kind in ("none", "layer", "rms")}
    for kind, model in models.items():
        events = dict(record(model, random_ids(1, 10), mode=mode, chunk_size=4))
        heads = events["retention.output"].transpose(1, 2).flatten(-2)
        assert torch.equal(events["retention.normed"], heads) is (kind == "none")


def test_tied_embeddings_are_one_tensor_counted_once(tiny_model: ModelFactory) -> None:
    tied, untied = tiny_model(), tiny_model(tie_embeddings=False)
    assert tied.head.weight is tied.embedding.weight
    assert untied.n_parameters - tied.n_parameters == 300 * 16


def record(model: RetNet, ids: Tensor, **arguments: Any) -> list[tuple[str, Tensor]]:
    events: list[tuple[str, Tensor]] = []
    with listening(lambda name, tensor: events.append((name, tensor))):
        model(ids, **arguments)
    return events


CHUNK = ["scores", "decay", "weights", "inner", "cross", "state"]


@pytest.mark.parametrize(
    ("mode", "inside"),
    [
        ("parallel", ["scores", "decay", "weights", "state"]),
        ("recurrent", ["state"] * 10),
        ("chunkwise", CHUNK * 3),  # 10 tokens in chunks of 4
    ],
)
def test_each_mode_publishes_what_it_computed_in_the_order_of_its_steps(
    tiny_model: ModelFactory, mode: str, inside: list[str]
) -> None:
    model = tiny_model(vocab_size=23)
    names = [name for name, _ in record(model, random_ids(1, 10), mode=mode, chunk_size=4)]
    layer = ["layer.input", "retention.q", "retention.k", "retention.v"]
    layer += [f"retention.{name}" for name in inside]
    layer += ["retention.output", "retention.normed", "retention.gate", "layer.output"]
    assert names == ["embedding", *layer, *layer, "logits"]


def test_the_published_tensors_are_those_of_the_pass(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=23)
    ids = random_ids(1, 10)
    for mode in MODES:
        events = record(model, ids, mode=mode, chunk_size=4)
        last = dict(events)
        output = model(ids, mode=mode, chunk_size=4)
        assert torch.equal(last["logits"], output.logits)
        assert torch.equal(last["retention.state"], output.state.layers[-1])
        heads = last["retention.output"]
        if mode == "parallel":
            weights = last["retention.scores"] * last["retention.decay"]
            assert torch.equal(last["retention.weights"], weights)
            assert torch.equal(weights @ last["retention.v"], heads)
        if mode == "chunkwise":
            second_layer = [
                (n, t) for n, t in events if n in ("retention.inner", "retention.cross")
            ]
            parts = [tensor for _, tensor in second_layer[6:]]
            full = [parts[i] + parts[i + 1] for i in (0, 2, 4)]
            assert torch.equal(torch.cat(full, dim=2), heads)


def test_nobody_is_told_outside_the_listening_block(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=23)
    published: list[str] = []
    with listening(lambda name, _: published.append(name)):
        pass
    model(random_ids(1, 3))
    assert published == []

    def refuse(name: str, _: Tensor) -> None:
        raise RuntimeError(name)

    with pytest.raises(RuntimeError, match="embedding"), listening(refuse):
        model(random_ids(1, 3))
    model(random_ids(1, 3))  # an error inside the block ends the listening too


def test_listening_does_not_change_the_result(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=23)
    for mode in MODES:
        published = dict(record(model, random_ids(2, 9), mode=mode))
        assert torch.equal(published["logits"], model(random_ids(2, 9), mode=mode).logits)


@pytest.mark.parametrize("mode", MODES)
@given(
    fields=variants(),
    before=st.integers(0, 3),
    length=st.integers(1, 12),
    chunk_size=st.integers(1, 14),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_writing_over_what_is_used_up_changes_no_bit(
    tiny_model: ModelFactory,
    mode: str,
    fields: dict[str, Any],
    before: int,
    length: int,
    chunk_size: int,
    dtype: torch.dtype,
) -> None:
    """With a gradient or a listener nothing is written over, else what nobody needs again is."""
    model = tiny_model(**fields, dtype=dtype)
    ids = random_ids(2, length)
    with torch.no_grad():
        state = model(random_ids(2, before, seed=1)).state if before else None
        copies = [layer.clone() for layer in state.layers if layer is not None] if state else []
        actual = model(ids, state, mode, chunk_size)
        with listening(lambda _, __: None):
            watched = model(ids, state, mode, chunk_size)
    learning = model(ids, state, mode, chunk_size)
    for output in (watched, learning):
        assert torch.equal(actual.logits, output.logits)
        for layer, expected in zip(actual.state.layers, output.state.layers, strict=True):
            assert layer is not None
            assert expected is not None
            assert torch.equal(layer, expected)
    if state is not None:
        assert all(map(torch.equal, state.layers, copies))


@pytest.mark.parametrize("mode", MODES)
@torch.no_grad()
def test_a_block_leaves_what_it_is_given_as_it_was(tiny_model: ModelFactory, mode: str) -> None:
    for fields in ({}, {"head_norm": "none", "feed_forward": "swiglu", "rotation": "none"}):
        block = tiny_model(**fields).blocks[0]
        x = torch.randn(2, 9, 16, dtype=torch.float64)
        positions = Positions.of(block.retention.config, 0, 9, x)
        for part in (block, block.retention):
            layer_input = x.clone()
            _, state = part(layer_input, positions, None, mode, 4)
            state_copy = state.clone()
            part(layer_input, positions, state, mode, 4)
            assert torch.equal(layer_input, x)
            assert torch.equal(state, state_copy)


@pytest.mark.parametrize(("mode", "tables"), [("parallel", 1), ("recurrent", 0), ("chunkwise", 2)])
def test_layers_share_the_powers_of_their_gammas(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch, mode: str, tables: int
) -> None:
    results: list[Tensor] = []
    decay_matrix = position.decay_matrix

    def count_calls(*arguments: Any) -> Tensor:
        results.append(decay_matrix(*arguments))
        return results[-1]

    monkeypatch.setattr(position, "decay_matrix", count_calls)
    monkeypatch.setattr(retnet_module, "SEGMENT_LENGTH", 4)
    model = tiny_model(vocab_size=23, n_layers=3)
    for _ in range(2):  # nothing is kept from one pass to the next
        results.clear()
        with torch.no_grad():
            model(random_ids(1, 10), mode=mode, chunk_size=4)
        assert len(results) == tables


def test_layers_of_other_gammas_decay_by_their_own(tiny_model: ModelFactory) -> None:
    model = tiny_model(vocab_size=23, n_layers=3)
    for layer, block in enumerate(model.blocks):
        block.retention.gamma = torch.tensor([0.5 + 0.1 * layer, 0.9], dtype=torch.float64)
    ids = random_ids(1, 11)
    with torch.no_grad():
        expected = model(ids, mode="recurrent").logits
        for mode in ("parallel", "chunkwise"):
            actual = model(ids, mode=mode, chunk_size=4).logits
            assert (actual - expected).abs().max() < 1e-10


@given(
    length=st.integers(1, 50),
    chunk_size=st.integers(1, 60),
    segment=st.integers(1, 30),
    before=st.integers(0, 3),
)
def test_a_text_read_in_segments_gives_what_one_reading_gives(
    tiny_model: ModelFactory, length: int, chunk_size: int, segment: int, before: int
) -> None:
    model = tiny_model().double()
    ids = torch.arange(2 * (before + length)).view(2, -1) * 7 % model.config.vocab_size
    with torch.no_grad():
        state = model(ids[:, :before]).state if before else None
        with listening(lambda _, __: None):  # who watches gets the text in one piece
            full = model(ids[:, before:], state, "chunkwise", chunk_size)
        previous, retnet_module.SEGMENT_LENGTH = retnet_module.SEGMENT_LENGTH, segment
        try:
            parts = model(ids[:, before:], state, "chunkwise", chunk_size)
        finally:
            retnet_module.SEGMENT_LENGTH = previous
    assert parts.state.position == full.state.position == before + length
    assert (parts.logits - full.logits).abs().max() < 1e-10
    for part, layer in zip(parts.state.layers, full.state.layers, strict=True):
        assert part is not None
        assert layer is not None
        assert (part - layer).abs().max() < 1e-10


def test_the_memory_of_a_long_chunkwise_reading_is_that_of_its_segments(
    tiny_model: ModelFactory,
) -> None:
    """Beyond the logits, and what the last layer hands to them, nothing grows with the text."""
    model = tiny_model(dtype=torch.float32)

    def peak(length: int) -> int:
        ids = torch.zeros(1, length, dtype=torch.long)
        _, peak_bytes = measure(lambda: model(ids, mode="chunkwise", chunk_size=64))
        numbers = model.config.vocab_size + 2 * (model.config.d_model + 1)
        return peak_bytes - 4 * length * numbers

    assert peak(8 * retnet_module.SEGMENT_LENGTH) < 1.1 * peak(2 * retnet_module.SEGMENT_LENGTH)
