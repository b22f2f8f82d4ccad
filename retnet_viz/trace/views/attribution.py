"""Why this prediction? A logit as a sum over the embedding, heads by source token, feed-forwards.

The residual stream is a sum, and the logit reads it through a norm. With the statistics of every
norm (mean and scale) held at the values of the pass, all between a part and the logit is linear, so
each part has a share of its own and the shares add up: "direct logit attribution" (Elhage et al.
2021, "A mathematical framework for Transformer circuits"), here down to the source tokens of each
head, since a head's output is a sum over them too (equation 5): o_n = sum over m of w[n, m] v_m.

Shapes: L layers, H heads, T tokens, d = d_model. A *reading* is a vector whose product with a part
of the residual stream is that part's share of the logit. All of this is computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from retnet_viz.model import RetNet
from retnet_viz.model.language_model import token_ids
from retnet_viz.model.retnet import MultiScaleRetention, RetNetBlock
from retnet_viz.model.variant import decay_sums
from retnet_viz.trace.edits.edit import Patch
from retnet_viz.trace.edits.edited_model import EditedRetention

if TYPE_CHECKING:
    from retnet_viz.trace.views.observables import Trace


@dataclass(frozen=True, eq=False)  # tensors do not compare to a truth value
class Attribution:
    """The logit of `token` after token `position` in parts; with `against` less that one's logit.

    embedding     of the token at `position` itself
    heads         (L, H, T) float64: what each head brings from each source token, none of them
                  after `position`
    carried       (L, H) float64: what each head brings from a state that is of no token of the
                  text, because the text started from it or an edit put it there
    feed_forward  (L,) float64
    bias          of the norms, and what edits put in the place of silent heads
    logit         what the pass computed; `total`, the sum of the parts, equals it but for rounding
    """

    token: int
    against: int | None
    position: int
    embedding: float
    heads: Tensor
    carried: Tensor
    feed_forward: Tensor
    bias: float
    logit: float

    @property
    def total(self) -> float:
        """The sum of all parts."""
        tensors = (self.heads, self.carried, self.feed_forward)
        return self.embedding + sum(part.sum().item() for part in tensors) + self.bias


@torch.no_grad()
def attribution(
    trace: Trace, token: int | str | None, position: int, against: int | str | None
) -> Attribution:
    """The parts of a logit: see `Trace.attribution`."""
    model = _model_of(trace)
    _check_patches(trace)
    n = trace.check_position(position)
    logits = trace.logits_after(n).double()
    chosen = int(logits.argmax()) if token is None else _one_token(model, token)
    other = None if against is None else _one_token(model, against)
    reading = model.head.weight[chosen].double()
    logit = logits[chosen]
    if other is not None:
        reading = reading - model.head.weight[other].double()
        logit = logit - logits[other]
    reading, bias = _through_norm(model.norm, reading, trace.output(trace.n_layers - 1)[n])
    heads = torch.zeros(trace.n_layers, trace.n_heads, trace.length, dtype=torch.float64)
    carried = torch.zeros(trace.n_layers, trace.n_heads, dtype=torch.float64)
    feed_forward = torch.zeros(trace.n_layers, dtype=torch.float64)
    embedded = model.embed(trace.ids[n].to(model.head.weight.device))
    for layer in reversed(range(trace.n_layers)):
        block = cast(RetNetBlock, model.blocks[layer])
        below = embedded if layer == 0 else trace.output(layer - 1)[n]
        parts = _LayerParts.of(trace, block, layer, n, below.double())
        reading, layer_bias = _before_sum(block, block.ffn_norm, reading, parts.second_sum)
        bias += layer_bias
        feed_forward[layer] = reading @ parts.feed_forward
        reading = block.variant.residual_scale * reading
        reading, layer_bias = _before_sum(block, block.retention_norm, reading, parts.first_sum)
        bias += layer_bias
        by_head, layer_bias = _through_retention(trace, block.retention, layer, n, reading)
        bias += layer_bias
        heads[layer, :, : n + 1] = _head_shares(trace, layer, n, by_head)
        carried[layer] = _carried_shares(trace, layer, n, by_head)
        reading = block.variant.residual_scale * reading
    return Attribution(
        token=chosen,
        against=other,
        position=n,
        embedding=(reading @ embedded.double()).item(),
        heads=heads,
        carried=carried,
        feed_forward=feed_forward,
        bias=bias,
        logit=logit.item(),
    )


@torch.no_grad()
def lens(trace: Trace, layer: int, rows: slice | int) -> Tensor:
    """(rows, vocab), or (vocab,) of one row, the logits of a layer's output: see `Trace.lens`."""
    model = _model_of(trace)
    logits: Tensor = model.head(model.norm(trace.output(layer)[rows]))
    return logits


@dataclass(frozen=True)
class _LayerParts:
    """What a layer adds at one token, float64 (d,): the sums before its norms, the feed-forward."""

    first_sum: Tensor
    second_sum: Tensor
    feed_forward: Tensor

    @classmethod
    def of(cls, trace: Trace, block: RetNetBlock, layer: int, n: int, below: Tensor) -> _LayerParts:
        """The parts of `layer` at token n, whose input is `below`."""
        variant, dtype = block.variant, block.retention.out_proj.weight.dtype
        gated = trace.gate(layer)[n].double() * trace.normed(layer)[n].double()
        first_sum = block.retention.out_proj.weight.double() @ gated
        first_sum = first_sum + variant.residual_scale * below
        if variant.norm_place == "before":
            # What the layer added besides: nothing is left over then by rounding.
            second_sum = trace.output(layer)[n].double()
            feed_forward = second_sum - variant.residual_scale * first_sum
        else:
            y = block.retention_norm(first_sum.to(dtype))
            feed_forward = block.ffn(y).double()
            second_sum = feed_forward + variant.residual_scale * y.double()
        return cls(first_sum, second_sum, feed_forward)


def _through_retention(
    trace: Trace, retention: MultiScaleRetention, layer: int, n: int, reading: Tensor
) -> tuple[Tensor, float]:
    """(H, d_v), the reading of each head's output at token n; what silent heads' constants add."""
    config = retention.config
    reading = (reading @ retention.out_proj.weight.double()) * trace.gate(layer)[n].double()
    output = trace.head_output(layer)[:, n].double()
    if config.variant.decay_norm:
        scale = decay_sums(trace.gamma(layer), n, 1).rsqrt().to(output.device)  # (H, 1)
    else:
        scale = output.new_ones(config.n_heads, 1)
    by_head = reading.view(config.n_heads, config.value_dim)
    of_normed = by_head
    weight = retention.head_norm_weight
    if weight is not None:
        by_head = by_head * weight.double()
    without_norm = by_head
    if config.head_norm != "none":
        centred = config.head_norm == "layer"
        by_head = _through_statistics(by_head, output * scale, config.norm_eps, centred)
    edits = retention.edits if isinstance(retention, EditedRetention) else None
    if edits is not None and "head_norm" in edits.without:
        mask = edits.without["head_norm"].to(by_head.device)[:, None]
        by_head = torch.where(mask, without_norm, by_head)
    bias = 0.0
    if edits is not None and edits.constants is not None:
        constants = edits.constants.to(by_head)
        bias = (of_normed * constants.nan_to_num()).sum().item()
        by_head = torch.where(constants.isnan(), by_head, 0.0)
    return by_head * scale, bias


def _head_shares(trace: Trace, layer: int, n: int, by_head: Tensor) -> Tensor:
    """(H, n + 1): what each head brings from each source token m <= n."""
    said = (trace.v(layer)[:, : n + 1].double() @ by_head[..., None])[..., 0]
    weights = trace.retention(layer, rows=slice(n, n + 1), cols=slice(0, n + 1))[:, 0]
    return weights.double() * said


def _carried_shares(trace: Trace, layer: int, n: int, by_head: Tensor) -> Tensor:
    """(H,): what each head brings from states that were added to those of the text."""
    shares = by_head.new_zeros(len(by_head))
    for state, left in trace.changes(layer).added(n, trace.gamma(layer)):
        found = (trace.q(layer)[:, n, None].double() @ state.double())[:, 0]  # (H, d_v)
        shares += left.to(shares) * (found * by_head).sum(-1)
    return shares


def _before_sum(
    block: RetNetBlock, norm: nn.Module, reading: Tensor, summed: Tensor
) -> tuple[Tensor, float]:
    """The reading of a sum that is normalised afterwards, where the block does that; its bias."""
    if block.variant.norm_place == "before":
        return reading, 0.0
    return _through_norm(norm, reading, summed)


def _through_norm(norm: nn.Module, reading: Tensor, x: Tensor) -> tuple[Tensor, float]:
    """The reading of a norm's input x (d,), whose statistics are held; what its bias adds."""
    if not isinstance(norm, nn.LayerNorm | nn.RMSNorm):
        return reading, 0.0
    # A LayerNorm may lack a bias, though its type says otherwise; an RMSNorm has none.
    bias: Tensor | None = norm.bias if isinstance(norm, nn.LayerNorm) else None
    added = 0.0 if bias is None else (reading @ bias.double()).item()
    if norm.weight is not None:
        reading = reading * norm.weight.double()
    assert norm.eps is not None
    return _through_statistics(reading, x.double(), norm.eps, isinstance(norm, nn.LayerNorm)), added


def _through_statistics(reading: Tensor, x: Tensor, eps: float, centred: bool) -> Tensor:
    """The reading of x (..., width), which is divided by its root mean square, after its mean was
    taken off if `centred`."""
    if centred:
        x = x - x.mean(-1, keepdim=True)
        reading = reading - reading.mean(-1, keepdim=True)
    return reading / (x.square().mean(-1, keepdim=True) + eps).sqrt()


def _model_of(trace: Trace) -> RetNet:
    if not isinstance(trace.model, RetNet):
        raise ValueError("this trace has no model, so nothing is predicted from it")
    trace.check_model()
    return trace.model


def _check_patches(trace: Trace) -> None:
    """Raise ValueError where a patched tensor is not the sum that an attribution takes apart."""
    names = ("q", "k", "v", "scores", "decay", "weights", "gate")
    for edit in trace.edits:
        if isinstance(edit, Patch) and edit.name not in {f"retention.{name}" for name in names}:
            raise ValueError(f"{edit.name} was patched, so it is no sum of parts any more")


def _one_token(model: RetNet, token: int | str) -> int:
    """The id of a token, or of a text that is one token."""
    ids = token_ids(model, token if isinstance(token, str) else [token])
    if len(ids) > 1:
        raise ValueError(f"{token!r} is {len(ids)} tokens, and the logit of one is asked for")
    return int(ids[0])
