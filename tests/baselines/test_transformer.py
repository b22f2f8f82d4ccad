"""The Transformer: torch.nn's own attention, one answer in any pieces, a cache that branches."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from retnet_viz.baselines import Transformer, TransformerConfig
from retnet_viz.model import ConfigError, RetNet, RetNetConfig
from retnet_viz.model.observe import listening
from retnet_viz.model.position import rotate, rotation_angles

CONFIG = TransformerConfig(vocab_size=23, d_model=12, n_layers=2, n_heads=2)


def make_model(**fields: object) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(**(CONFIG.to_dict() | fields))).double().eval()
    for parameter in model.parameters():  # large enough that attention has something to say
        nn.init.normal_(parameter, std=0.5)
    return model


def random_ids(batch: int, length: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, CONFIG.vocab_size, (batch, length), generator=generator)


def literal_logits(model: Transformer, ids: Tensor) -> Tensor:
    """The same model out of torch.nn.MultiheadAttention's parts, without its projections of q, k.

    MultiheadAttention knows no rotation, so q and k are projected and turned here, and its own
    projections are the identity.
    """
    config = model.config
    heads, width, length = config.n_heads, config.d_model, ids.shape[1]
    angles = rotation_angles(config.head_dim, 0, length, config.rotation_base)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)

    def rotated(x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (heads, -1)).transpose(1, 2)
        return rotate(parts, *angles, layout="interleaved").transpose(1, 2).flatten(-2)

    x = F.embedding(ids, model.embedding.weight)
    for block in model.blocks:
        normed = block.attention_norm(x)
        q, k, v = (normed @ w.mT for w in block.attention.qkv_proj.weight.chunk(3))
        attention = nn.MultiheadAttention(width, heads, bias=False, batch_first=True).double()
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
            attention.out_proj.weight.copy_(block.attention.out_proj.weight)
        x = x + attention(rotated(q), rotated(k), v, attn_mask=future, need_weights=True)[0]
        inner = F.gelu(block.ffn_norm(x) @ block.up_proj.weight.mT)
        x = x + inner @ block.down_proj.weight.mT
    return model.norm(x) @ model.head.weight.mT


@torch.no_grad()
def test_the_logits_are_those_of_torchs_own_attention() -> None:
    for heads, tied in ((1, True), (2, False), (3, True)):
        model, ids = make_model(n_heads=heads, tie_embeddings=tied), random_ids(2, 9, heads)
        assert torch.allclose(model(ids).logits, literal_logits(model, ids), atol=1e-10)


@torch.no_grad()
@given(st.lists(st.integers(1, 70), min_size=1, max_size=5))
def test_any_pieces_give_what_one_reading_gives(pieces: list[int]) -> None:
    model, ids = make_model(), random_ids(2, sum(pieces))
    expected, state = model(ids).logits, None
    parts = []
    for piece in ids.split(pieces, dim=1):
        output = model(piece, state)
        parts.append(output.logits)
        state = output.state
    assert torch.allclose(torch.cat(parts, dim=1), expected, atol=1e-10)
    assert state.position == ids.shape[1]
    assert state.nbytes == 2 * 2 * 2 * ids.shape[1] * CONFIG.d_model * 8  # layers, k and v, B


@torch.no_grad()
@given(st.integers(1, 5), st.integers(1, 130), st.integers(1, 5))
def test_two_texts_go_on_from_one_state(first: int, second: int, third: int) -> None:
    """Whatever one reads behind the state, the other does not see it, nor the state itself."""
    model, ids = make_model(), random_ids(1, 8)
    state = model(ids[:, 7:], model(ids[:, :7]).state).state  # its cache has room for more
    branches = [random_ids(1, length, seed) for seed, length in enumerate((first, second))]
    outputs = [model(branch, state) for branch in branches]
    for branch, output in zip(branches, outputs, strict=True):
        more = random_ids(1, third, 7)
        actual = model(more, output.state).logits
        expected = model(torch.cat((ids, branch, more), dim=1)).logits[:, -third:]
        assert torch.allclose(actual, expected, atol=1e-10)
    assert state.position == 8
    assert torch.allclose(model(branches[0], state).logits, outputs[0].logits, atol=1e-10)


def test_a_state_goes_on_in_whatever_mode_of_autograd() -> None:
    model, ids = make_model(), random_ids(1, 6)
    expected = model(ids).logits
    with torch.inference_mode():
        frozen = model(ids[:, :2]).state
        frozen = model(ids[:, 2:3], frozen).state
    with torch.no_grad():
        plain = model(ids[:, 3:4], frozen).state
    output = model(ids[:, 4:], plain)
    assert torch.allclose(output.logits, expected[:, 4:], atol=1e-10)
    output.logits.sum().backward()
    with torch.inference_mode():
        assert torch.allclose(model(ids[:, 3:], frozen).logits, expected[:, 3:], atol=1e-10)


@torch.no_grad()
def test_no_token_sees_a_later_one() -> None:
    model, ids = make_model(), random_ids(1, 12)
    other_ids = ids.clone()
    other_ids[0, 7] = (ids[0, 7] + 1) % CONFIG.vocab_size
    before, after = model(ids).logits, model(other_ids).logits
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.isclose(before[:, 7:], after[:, 7:]).all(-1).any()


def test_it_has_as_many_weights_as_the_retnet() -> None:
    transformer, retnet = Transformer(TransformerConfig()), RetNet(RetNetConfig())
    assert transformer.n_parameters == retnet.n_parameters


def test_what_is_published_gives_the_attention_again() -> None:
    model, ids = make_model(), random_ids(1, 7)
    published: dict[str, list[Tensor]] = {}
    with (
        torch.no_grad(),
        listening(lambda name, tensor: published.setdefault(name, []).append(tensor)),
    ):
        logits = model(ids).logits
    assert torch.equal(published["logits"][0], logits)
    for name in ("layer.input", "layer.output", "attention.q", "attention.output"):
        assert len(published[name]) == CONFIG.n_layers
    q, k, v = (published[f"attention.{name}"][1] for name in "qkv")
    assert q.shape == (1, CONFIG.n_heads, 7, CONFIG.head_dim)
    scores = q @ k.mT / CONFIG.head_dim**0.5
    weights = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf).softmax(-1)
    assert torch.allclose(weights @ v, published["attention.output"][1], atol=1e-12)


def test_what_it_cannot_read_is_refused_with_a_sentence() -> None:
    model = make_model()
    with pytest.raises(ValueError, match=r"ids must have shape"):
        model(torch.zeros(1, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="the state is of 2 texts, but ids are 1"):
        model(random_ids(1, 3), model(random_ids(2, 3)).state)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"n_layers": 0}, "n_layers must be a whole number"),
        ({"n_heads": 5}, "does not divide into n_heads 5"),
        ({"n_heads": 4}, "head_dim 3 must be even"),
        ({"ffn_factor": 0.01}, "leaves no feed-forward width"),
        ({"norm_eps": float("nan")}, "norm_eps must be a finite number"),
        ({"tie_embeddings": 1}, "tie_embeddings must be true or false"),
        ({"decay": "paper"}, "unknown fields in the model's config: decay"),
    ],
)
def test_a_config_that_no_model_can_have_is_refused(fields, sentence) -> None:
    with pytest.raises(ConfigError, match=sentence):
        TransformerConfig.from_dict(CONFIG.to_dict() | fields)
