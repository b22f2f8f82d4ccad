"""How well a model predicts held-out text."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from retnet_viz.model import LanguageModel


@dataclass(frozen=True)
class Evaluation:
    """`loss` in nats per token over `tokens` tokens, and the same as bits per UTF-8 byte."""

    loss: float
    bits_per_byte: float
    tokens: int


@torch.inference_mode()
def evaluate(
    model: LanguageModel[Any],
    ids: Tensor,
    bytes_per_token: float,
    context: int,
    max_tokens: int | None = None,
    batch_size: int = 8,
) -> Evaluation:
    """Mean cross entropy over the windows of `ids` (1-D), each of `context` tokens read anew."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    usable = min(len(ids) - 1, max_tokens or len(ids))
    context = min(context, usable)
    count = usable // context
    inputs = ids[: count * context].view(count, context).long()
    targets = ids[1 : count * context + 1].view(count, context).long()
    total = 0.0
    for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
        logits = model(x.to(device)).logits.float()
        y = y.to(device)
        total += F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
    model.train(training)
    loss = total / (count * context)
    return Evaluation(loss, loss / math.log(2) / bytes_per_token, count * context)
