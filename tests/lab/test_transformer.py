"""The baseline: causal, and the same with its cache as without."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from retnet_viz.lab.transformer import Transformer
from retnet_viz.model import RetNetConfig
from retnet_viz.model.position import rotate, rotation_angles

IDS = torch.tensor([[5, 17, 200, 3, 3, 80, 9, 1, 250, 40, 2, 66]])


@pytest.fixture
def transformer() -> Transformer:
    torch.manual_seed(0)
    config = RetNetConfig(vocab_size=300, d_model=16, n_layers=2, n_heads=2)
    made = Transformer(config).double().eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


@torch.no_grad()
def test_token_by_token_on_the_cache_gives_what_one_reading_gives(transformer) -> None:
    wanted = transformer(IDS)
    cache = transformer.empty_cache(1, 12)
    parts = [transformer(IDS[:, :4], cache)]
    parts += [transformer(IDS[:, n : n + 1], cache, n) for n in range(4, 12)]
    assert torch.allclose(torch.cat(parts, dim=1), wanted, atol=1e-12)


@torch.no_grad()
def test_no_token_sees_a_later_one(transformer) -> None:
    changed = IDS.clone()
    changed[0, 7] = 11
    before, after = transformer(IDS), transformer(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert not torch.allclose(before[:, 7:], after[:, 7:])


@torch.no_grad()
def test_attention_is_the_softmax_of_scaled_scores(transformer) -> None:
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    attention = transformer.attentions[0]
    angles = rotation_angles(8, 0, 6, 10000.0)
    q, k, v = (part.view(6, 2, 8).transpose(0, 1) for part in attention.qkv_proj(x)[0].chunk(3, -1))
    q, k = (rotate(each, *angles, layout="interleaved") for each in (q, k))
    scores = (q @ k.mT / 8**0.5).masked_fill(torch.ones(6, 6).triu(1).bool(), -torch.inf)
    heads = (F.softmax(scores, dim=-1) @ v).transpose(0, 1).flatten(1)
    found = attention(x, angles, transformer.empty_cache(1, 6)[0], 0)
    assert torch.allclose(found[0], heads @ attention.out_proj.weight.mT, atol=1e-12)


def test_several_tokens_after_others_are_refused(transformer) -> None:
    with pytest.raises(ValueError, match="only one token"):
        transformer(IDS, transformer.empty_cache(1, 14), 2)
