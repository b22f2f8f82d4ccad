"""What each kind of model reads: its weights give the pass's own results again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from retnet_viz.baselines import Mamba, MambaConfig, Transformer, TransformerConfig
from retnet_viz.checkpoints import Tokenizer
from retnet_viz.experiments.token_reads import half_life, read
from retnet_viz.model import LanguageModel, RetNet, RetNetConfig
from retnet_viz.model.observe import listening

SHAPE = {"vocab_size": 300, "d_model": 16, "n_layers": 2}
MODELS = {
    "retention": lambda: RetNet(RetNetConfig(**SHAPE, n_heads=2, decay=(0.5, 0.9))),
    "softmax attention": lambda: Transformer(TransformerConfig(**SHAPE, n_heads=2)),
    "hidden attention": lambda: Mamba(MambaConfig(**SHAPE)),
}
TEXT = "The fox had a red kite, and the kite had a long tail."


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, tiny_tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    model = MODELS[request.param]().eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "A_log" not in name:
            nn.init.normal_(parameter, std=0.3)
    model.tokenizer = tiny_tokenizer
    return model


def record(model: LanguageModel, ids: Tensor, name: str) -> list[Tensor]:
    reads: list[Tensor] = []
    with torch.no_grad(), listening(lambda n, x: reads.append(x[0]) if n == name else None):
        model(ids[None])
    return reads


def test_it_is_the_models_own_pass_over_the_text(model: LanguageModel) -> None:
    reads = read(model, TEXT)
    ids = torch.tensor(model.tokenizer.encode(TEXT))
    assert torch.equal(reads.ids, ids)
    assert torch.allclose(reads.logits, model(ids[None]).logits[0], atol=1e-5)
    assert MODELS[reads.kind]().__class__ is type(model)
    for layer in range(2):
        weights = reads.weights(layer)
        assert weights.shape == (len(reads.planes), reads.length, reads.length)
        assert torch.equal(weights, weights.tril())
        assert reads.weights(layer) is weights
    assert torch.equal(read(model, ids).weights(1), reads.weights(1))


def test_the_weights_are_those_of_the_pass(model: LanguageModel) -> None:
    """Each plane times the values of the pass is what the pass went on with."""
    reads = read(model, TEXT)
    for layer in range(2):
        weights = reads.weights(layer)
        if reads.kind == "softmax attention":
            v = record(model, reads.ids, "attention.v")[layer]
            expected = record(model, reads.ids, "attention.output")[layer]
            assert torch.allclose(weights @ v, expected, atol=1e-5)
            assert (weights >= 0).all()
            assert torch.allclose(weights.sum(-1), torch.ones(2, reads.length))
        elif reads.kind == "retention":
            v = record(model, reads.ids, "retention.v")[layer]
            expected = record(model, reads.ids, "retention.output")[layer]
            assert torch.allclose(weights @ v, expected, atol=1e-5)
        else:  # the same input in all channels: the mean of their outputs is the mean matrix's
            delta, b, c = (
                record(model, reads.ids, f"mamba.{n}")[layer] for n in ("delta", "b", "c")
            )
            a = -model.blocks[layer].A_log.exp()
            x = torch.randn(reads.length, generator=torch.Generator().manual_seed(1))
            h, outputs = torch.zeros_like(a), []
            for n in range(reads.length):
                h = torch.exp(delta[n][:, None] * a) * h + (delta[n] * x[n])[:, None] * b[n]
                outputs.append((h @ c[n]).mean())
            assert torch.allclose(weights[0] @ x, torch.stack(outputs), atol=1e-5)


def test_what_a_token_leaves_of_the_state(model: LanguageModel) -> None:
    reads = read(model, TEXT)
    decay = reads.decay(1)
    assert decay.shape[0] == reads.length
    if reads.kind == "retention":
        assert torch.allclose(
            decay, torch.tensor([[0.5, 0.9]], dtype=torch.float64).expand(reads.length, 2)
        )
    elif reads.kind == "hidden attention":
        assert decay.shape[1] == 32 * 16
        assert ((decay > 0) & (decay < 1)).all()
        assert decay.std(0).max() > 1e-4  # the text changes it
    else:
        assert decay.shape[1] == 0


def test_what_cannot_be_read_is_refused(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="no tokens"):
        read(model, "")
    with pytest.raises(IndexError, match=r"layer 2 is outside 0 \.\. 1"):
        read(model, TEXT).weights(2)
    with pytest.raises(IndexError, match="layer -1"):
        read(model, TEXT).decay(-1)


def test_a_model_of_another_kind_is_refused() -> None:
    class Other(LanguageModel):
        config = RetNetConfig(**SHAPE, n_heads=2)

    with pytest.raises(TypeError, match="what a Other reads"):
        read(Other(), torch.tensor([1, 2]))


def test_after_a_half_life_half_of_a_state_is_left() -> None:
    shares = torch.tensor([0.5, 0.9, 0.996094])
    left = shares.double() ** half_life(shares)
    assert torch.allclose(left, torch.full_like(left, 0.5))
    assert half_life(torch.tensor([0.0, 1.0])).tolist() == [0.0, torch.inf]
