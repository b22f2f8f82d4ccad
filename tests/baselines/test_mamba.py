"""The whole Mamba: one answer in any pieces, the paper's equations, the size of a RetNet."""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.baselines import Mamba, MambaConfig, MambaState, mamba
from retnet_viz.baselines.scan import scan
from retnet_viz.model import ConfigError, RetNet, RetNetConfig
from retnet_viz.model.observe import listening


def tiny_mamba(seed: int = 0, dtype: torch.dtype = torch.double, **fields: object) -> Mamba:
    """A small Mamba whose weights, norms and biases too, are large enough to be felt."""
    shape = {"vocab_size": 23, "d_model": 6, "n_layers": 2, "state_size": 3, "delta_rank": 2}
    model = Mamba(MambaConfig(**{**shape, **fields}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_matrix = parameter.dim() > 1 and not name.endswith("A_log")
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(0.4 * noise + (0.0 if is_matrix else parameter))
    return model.to(dtype)


def random_ids(batch: int, length: int, vocab: int = 23, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocab, (batch, length), generator=generator)


def tensors(state: MambaState) -> list[Tensor]:
    return [tensor for layer in state.layers if layer is not None for tensor in layer]


@st.composite
def variants(draw: st.DrawFn) -> dict[str, Any]:
    """The fields of a random MambaConfig."""
    return {
        "d_model": draw(st.integers(1, 6)),
        "n_layers": draw(st.integers(1, 3)),
        "expand": draw(st.integers(1, 3)),
        "state_size": draw(st.integers(1, 4)),
        "conv_width": draw(st.integers(1, 5)),
        "delta_rank": draw(st.integers(0, 3)),
        "norm_eps": draw(st.sampled_from([1e-6, 1e-5, 0.1])),
        "tie_embeddings": draw(st.booleans()),
    }


def literal_logits(model: Mamba, ids: list[int]) -> Tensor:
    """Figure 3 and algorithm 2 for one text, token by token, in float64."""
    config, weights = model.config, {n: p.detach().double() for n, p in model.named_parameters()}
    weights.setdefault("head.weight", weights["embedding.weight"])

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + config.norm_eps).sqrt() * weight

    def silu(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    x = weights["embedding.weight"][ids]
    for layer in range(config.n_layers):
        own = f"blocks.{layer}."
        w = {n.removeprefix(own): p for n, p in weights.items() if n.startswith(own)}
        xz = norm(x, w["norm.weight"]) @ w["in_proj.weight"].T
        inner, z = xz[:, : config.d_inner], xz[:, config.d_inner :]
        convolved = torch.zeros_like(inner)
        for t in range(len(ids)):
            for back in range(min(t + 1, config.conv_width)):
                tap = w["conv.weight"][:, 0, config.conv_width - 1 - back]
                convolved[t] += tap * inner[t - back]
        u = silu(convolved + w["conv.bias"])
        low, rank, n = u @ w["x_proj.weight"].T, config.delta_rank, config.state_size
        b, c = low[:, rank : rank + n], low[:, rank + n :]
        delta = torch.log(1 + torch.exp(low[:, :rank] @ w["dt_proj.weight"].T + w["dt_proj.bias"]))
        h, ys = torch.zeros_like(w["A_log"]), []
        for t in range(len(ids)):
            decay = torch.exp(-delta[t][:, None] * torch.exp(w["A_log"]))
            h = decay * h + torch.outer(delta[t] * u[t], b[t])
            ys.append(h @ c[t] + w["D"] * u[t])
        x = x + (torch.stack(ys) * silu(z)) @ w["out_proj.weight"].T
    return norm(x, weights["norm.weight"]) @ weights["head.weight"].T


@given(fields=variants(), seed=st.integers(0, 99))
def test_the_model_computes_what_the_paper_says(fields: dict[str, Any], seed: int) -> None:
    model = tiny_mamba(seed, **fields)
    ids = random_ids(1, 7, seed=seed)
    expected = literal_logits(model, ids[0].tolist())
    assert (model(ids).logits[0] - expected).abs().max() <= 1e-9


@given(
    fields=variants(),
    pieces=st.lists(st.one_of(st.just(1), st.integers(1, 20)), min_size=1, max_size=5),
    seed=st.integers(0, 99),
    learns=st.booleans(),
)
def test_any_split_gives_the_logits_of_the_whole(
    fields: dict[str, Any], pieces: list[int], seed: int, learns: bool
) -> None:
    model = tiny_mamba(seed, **fields)
    ids = random_ids(2, sum(pieces), seed=seed)
    for dtype, limit in ((torch.float64, 1e-10), (torch.float32, 1e-4)):
        model.to(dtype)
        with torch.set_grad_enabled(learns):
            full = model(ids)
            state, parts = None, []
            for piece in ids.split(pieces, dim=1):
                output = model(piece, state)
                state = output.state
                parts.append(output.logits)
        assert state is not None
        assert state.position == full.state.position == sum(pieces)
        pairs = zip(tensors(state), tensors(full.state), strict=True)
        for actual, expected in [(torch.cat(parts, dim=1), full.logits), *pairs]:
            assert actual.dtype == expected.dtype == dtype
            assert actual.shape == expected.shape
            assert torch.allclose(actual, expected, limit, limit)


@torch.no_grad()
def test_steps_of_one_token_give_what_the_scan_gives() -> None:
    model = tiny_mamba()
    ids = random_ids(3, 20)
    expected = model(ids).logits
    state = model.empty_state()
    for t in range(ids.shape[1]):
        output = model(ids[:, t : t + 1], state)
        state = output.state
        assert (output.logits[:, 0] - expected[:, t]).abs().max() < 1e-10


@pytest.mark.parametrize("t", [0, 3, 17, 30])
def test_a_token_changes_nothing_before_it_and_what_comes_after(t: int) -> None:
    model = tiny_mamba()
    ids = random_ids(1, 31)
    other_ids = ids.clone()
    other_ids[0, t] = (ids[0, t] + 1) % 23
    differs = (model(ids).logits != model(other_ids).logits).any(-1)[0]
    assert not differs[:t].any()
    assert differs[t:].all()


def test_texts_of_a_batch_do_not_meet() -> None:
    model = tiny_mamba()
    ids = random_ids(3, 20)
    together = model(ids)
    for row in range(3):
        alone = model(ids[row : row + 1])
        assert (alone.logits[0] - together.logits[row]).abs().max() < 1e-12
        for actual, expected in zip(tensors(alone.state), tensors(together.state), strict=True):
            assert (actual[0] - expected[row]).abs().max() < 1e-12


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("length", [1, 20])
def test_the_given_state_is_not_changed(length: int, learns: bool) -> None:
    model = tiny_mamba()
    with torch.set_grad_enabled(learns):
        state = model(random_ids(2, 5)).state
        copies = [tensor.clone() for tensor in tensors(state)]
        new_state = model(random_ids(2, length, seed=1), state).state
    assert (state.position, new_state.position) == (5, 5 + length)
    assert all(map(torch.equal, tensors(state), copies))
    assert not any(map(torch.equal, tensors(new_state), copies))


@torch.no_grad()
def test_the_state_has_the_same_size_after_any_text() -> None:
    model = tiny_mamba(dtype=torch.float32)
    assert model.empty_state().nbytes == 0
    assert model.empty_state().position == 0
    state = model.empty_state()
    for length in (1, 2, 40):
        state = model(random_ids(2, length), state).state
        for layer in state.layers:
            assert layer is not None
            assert layer.h.shape == (2, 12, 3)
            assert layer.inputs.shape == (2, 12, 3)
            for tensor in layer:  # and holds on to nothing larger
                assert tensor.untyped_storage().nbytes() == tensor.nbytes
        assert state.nbytes == 2 * 2 * (12 * 3 + 12 * 3) * 4


def test_the_default_is_as_large_as_the_default_retnet() -> None:
    size = RetNet(RetNetConfig()).n_parameters
    assert abs(Mamba(MambaConfig()).n_parameters / size - 1) < 0.02


def test_tied_embeddings_are_one_tensor_counted_once() -> None:
    tied, untied = tiny_mamba(), tiny_mamba(tie_embeddings=False)
    assert tied.head.weight is tied.embedding.weight
    assert untied.n_parameters - tied.n_parameters == 23 * 6


def test_first_weights_are_those_of_the_paper() -> None:
    torch.manual_seed(0)
    model = Mamba(MambaConfig(d_model=64, n_layers=4))
    for block in model.blocks:
        assert torch.allclose(block.A_log.exp(), torch.arange(1.0, 17).expand(128, 16))
        assert torch.equal(block.D, torch.ones(128))
        deltas = F.softplus(block.dt_proj.bias)
        assert 0.99e-3 < deltas.min() < 2e-3
        assert 0.05 < deltas.max() < 0.1001
        assert abs(deltas.log().mean() - math.log(1e-2)) < 0.5  # log-uniform
        assert 0.45 < block.dt_proj.weight.abs().max() <= 0.5  # rank 4: 4**-0.5
        assert 0.45 < block.conv.weight.abs().max() <= 0.5  # width 4: 4**-0.5
        assert block.in_proj.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert block.out_proj.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert max(F.softplus(block.dt_proj.bias).max() for block in model.blocks) > 0.097
    names = [name for name, _ in model.named_parameters()]
    assert sum(name.endswith(model.no_weight_decay) for name in names) == 4


@pytest.mark.slow
def test_every_weight_learns_in_sixteen_bits() -> None:
    torch.manual_seed(0)
    model = Mamba(MambaConfig(vocab_size=50, d_model=32, n_layers=2))
    ids = random_ids(2, 40, vocab=50)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(ids[:, :-1])
        loss = F.cross_entropy(output.logits.flatten(0, 1), ids[:, 1:].flatten())
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    for layer in output.state.layers:
        assert layer is not None
        assert layer.h.dtype == torch.float32
    before = loss.item()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(10):
        optimizer.step()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
    assert loss.item() < before - 0.5


@torch.no_grad()
def test_a_model_of_sixteen_bits_keeps_its_decays_and_states_in_thirty_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(mamba, "scan", lambda *args: calls.append(args) or scan(*args))
    model = tiny_mamba(dtype=torch.bfloat16)
    ids = random_ids(2, 30)
    output = model(ids)
    assert output.logits.dtype == torch.bfloat16
    for (_, delta, a, *_), block in zip(calls, model.blocks, strict=True):
        assert delta.dtype == torch.float32
        assert torch.equal(a, -block.A_log.float().exp())
    for piece in (ids[:, :1], ids[:, :5]):
        for layer in model(piece, output.state).state.layers:
            assert layer is not None
            assert layer.h.dtype == torch.float32
    expected = model.double()(ids).logits
    assert (output.logits - expected).abs().max() < 2**-5 * expected.abs().max()


def record(model: Mamba, ids: Tensor, state: MambaState | None = None) -> list[tuple[str, Tensor]]:
    events: list[tuple[str, Tensor]] = []
    with listening(lambda name, tensor: events.append((name, tensor))):
        model(ids, state)
    return events


@pytest.mark.parametrize("length", [1, 9])
@torch.no_grad()
def test_a_pass_publishes_what_it_computed_in_the_order_of_its_steps(length: int) -> None:
    model = tiny_mamba()
    ids = random_ids(2, length)
    events = record(model, ids)
    inner = ["x", "delta", "b", "c", "output", "gate"]
    layer = ["layer.input", *(f"mamba.{name}" for name in inner), "layer.output"]
    assert [name for name, _ in events] == ["embedding", *layer, *layer, "logits"]
    widths = {"logits": 23, "mamba.b": 3, "mamba.c": 3, **dict.fromkeys(["embedding"], 6)}
    for name, tensor in events:
        width = widths.get(name, 12 if name.startswith("mamba") else 6)
        assert tensor.shape == (2, length, width), name
    last = dict(events)
    block = model.blocks[-1]
    assert torch.equal(last["logits"], model(ids).logits)
    assert (last["mamba.delta"] > 0).all()
    gated = block.out_proj(last["mamba.output"] * last["mamba.gate"])
    assert torch.equal(last["layer.input"] + gated, last["layer.output"])


def test_listening_does_not_change_the_result() -> None:
    model = tiny_mamba()
    ids = random_ids(2, 9)
    assert torch.equal(dict(record(model, ids))["logits"], model(ids).logits)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.zeros(3, dtype=torch.long), "ids must have shape"),
        (torch.zeros(1, 0, dtype=torch.long), "ids must have shape"),
        (torch.zeros(3, 4, dtype=torch.long), "the state is of 2 texts, but ids are 3"),
    ],
)
def test_ids_of_another_shape_are_refused(ids: Tensor, message: str) -> None:
    model = tiny_mamba()
    state = model(random_ids(2, 3)).state
    with pytest.raises(ValueError, match=message):
        model(ids, state)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vocab_size": 0}, "vocab_size must be a whole number of 1 or more, not 0"),
        ({"d_model": "256"}, "d_model must be a whole number of 1 or more, not '256'"),
        ({"n_layers": 2.0}, "n_layers must be"),
        ({"expand": True}, "expand must be"),
        ({"state_size": -1}, "state_size must be"),
        ({"conv_width": None}, "conv_width must be"),
        ({"delta_rank": -1}, "delta_rank must be a whole number of 1 or more, not -1"),
        ({"norm_eps": 0}, "norm_eps must be a finite number above 0, not 0"),
        ({"norm_eps": math.inf}, "norm_eps must be"),
        ({"norm_eps": math.nan}, "norm_eps must be"),
        ({"norm_eps": True}, "norm_eps must be"),
        ({"norm_eps": "small"}, "norm_eps must be"),
        ({"tie_embeddings": "false"}, "tie_embeddings must be true or false, not 'false'"),
    ],
)
def test_a_bad_field_is_refused_by_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MambaConfig(**fields)


def test_a_field_that_no_config_has_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="dropout, n_heads"):
        MambaConfig.from_dict({"n_heads": 8, "d_model": 64, "dropout": 0.1})


def test_a_config_survives_json() -> None:
    for config in (MambaConfig(), MambaConfig(7, 33, 1, 3, 5, 2, 9, 1e-6, False)):
        copy = MambaConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert copy == config
        assert hash(copy) == hash(config)
    assert MambaConfig().delta_rank == 16
    assert MambaConfig(d_model=33).delta_rank == 3


@pytest.fixture(scope="module")
def peer() -> tuple[Mamba, Any]:
    """A Mamba and transformers' MambaForCausalLM of the same weights, in float32."""
    with pytest.MonkeyPatch.context() as patch:
        # transformers imports whatever torchvision it finds, one made for another torch too.
        patch.setitem(sys.modules, "torchvision", None)
        from transformers import MambaConfig as PeerConfig
        from transformers import MambaForCausalLM
    model = tiny_mamba(dtype=torch.float32, d_model=16, state_size=4, conv_width=4, n_layers=3)
    config = model.config
    peer_model = MambaForCausalLM(
        PeerConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.d_model,
            state_size=config.state_size,
            num_hidden_layers=config.n_layers,
            layer_norm_epsilon=config.norm_eps,
            expand=config.expand,
            conv_kernel=config.conv_width,
            time_step_rank=config.delta_rank,
        )
    ).eval()

    renamed = {
        r"^blocks\.(\d+)\.norm": r"backbone.layers.\1.norm",
        r"^blocks\.(\d+)\.conv\.": r"backbone.layers.\1.mixer.conv1d.",
        r"^blocks\.(\d+)\.": r"backbone.layers.\1.mixer.",
        r"^embedding": "backbone.embeddings",
        r"^norm": "backbone.norm_f",
        r"^head": "lm_head",
    }
    weights = {}
    for name, weight in model.state_dict().items():
        for pattern, replacement in renamed.items():
            name = re.sub(pattern, replacement, name)
        weights[name] = weight
    peer_model.load_state_dict(weights, strict=True)
    return model, peer_model


@torch.no_grad()
def test_transformers_computes_the_same_logits(peer: tuple[Mamba, Any]) -> None:
    model, peer_model = peer
    ids = random_ids(2, 40)
    expected = peer_model(ids).logits
    assert torch.allclose(model(ids).logits, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_transformers_steps_to_the_same_logits_and_states(peer: tuple[Mamba, Any]) -> None:
    model, peer_model = peer
    ids = random_ids(2, 12)
    output, other_ids = model(ids[:, :6]), peer_model(ids[:, :6], use_cache=True)
    for t in range(6, 12):
        output = model(ids[:, t : t + 1], output.state)
        other_ids = peer_model(ids[:, t : t + 1], cache=other_ids.cache, use_cache=True)
        assert torch.allclose(output.logits, other_ids.logits, rtol=1e-5, atol=1e-5)
    for index, layer in enumerate(output.state.layers):
        assert layer is not None
        expected = other_ids.cache.get_recurrent_state(index, state_idx=0)
        assert torch.allclose(layer.h, expected, rtol=1e-5, atol=1e-5)
