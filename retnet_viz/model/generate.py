"""Generation on the carried state, which in a RetNet does not grow with the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from retnet_viz.model.language_model import LanguageModel, State
from retnet_viz.model.observe import observed
from retnet_viz.model.retnet import RetNet
from retnet_viz.model.step import Stepper


@torch.inference_mode()
def generate(
    model: LanguageModel[Any],
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    state: State | None = None,
    prefill_mode: str = "chunkwise",
) -> Tensor:
    """New token ids (B, max_new_tokens) that follow ids (B, T), T >= 1.

    The arguments are those of `stream`, which yields the same tokens one at a time.
    """
    steps = list(
        stream(
            model,
            ids,
            max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            state=state,
            prefill_mode=prefill_mode,
        )
    )
    return torch.stack(steps, dim=1) if steps else ids.new_empty(ids.shape[0], 0)


def stream(
    model: LanguageModel[Any],
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    state: State | None = None,
    prefill_mode: str = "chunkwise",
) -> Iterator[Tensor]:
    """Yield the next token of each row, (B,), `max_new_tokens` times.

    `ids` is read once (after `state`, if given), by a RetNet in `prefill_mode`; then each token
    costs one step, for a RetNet a recurrent one (equation 6), which a `Stepper` takes where there
    is one row and no listener.
    temperature 0 takes the likeliest token; above 0 a token is drawn from
    softmax(logits / temperature) cut to the `top_k` likeliest and to the smallest set whose
    probability reaches `top_p`. `seed` makes the draw repeatable. Raises ValueError, before any
    token is made, where an argument is out of range.
    """
    _check_sampling(max_new_tokens, temperature, top_k, top_p)
    generator = None
    if seed is not None:
        generator = torch.Generator(device=ids.device).manual_seed(seed)

    def draw(logits: Tensor) -> Tensor:
        return sample(logits, temperature, top_k, top_p, generator)

    return _steps(model, ids, max_new_tokens, state, prefill_mode, draw)


@torch.inference_mode()
def _steps(
    model: LanguageModel[Any],
    ids: Tensor,
    count: int,
    state: State | None,
    mode: str,
    draw: Callable[[Tensor], Tensor],
) -> Iterator[Tensor]:
    if count == 0:
        return
    is_retnet = isinstance(model, RetNet)
    output = model(ids, state, mode=mode) if is_retnet else model(ids, state)
    token = draw(output.logits[:, -1])
    yield token
    steps = isinstance(model, RetNet) and Stepper.covers(model.config)
    if isinstance(model, RetNet) and steps and len(ids) == 1 and not observed():
        stepper = Stepper(model, output.state)
        for _ in range(count - 1):
            token = draw(stepper.step(int(token))[None])
            yield token
        return
    how = {"mode": "recurrent"} if is_retnet else {}
    for _ in range(count - 1):
        output = model(token[:, None], output.state, **how)
        token = draw(output.logits[:, -1])
        yield token


def sample(
    logits: Tensor,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One token id per row of logits (B, vocab)."""
    if temperature == 0:
        return logits.argmax(dim=-1)
    # The likeliest token goes to 0 first, so that no temperature, however small, overflows.
    logits = logits.double()
    logits = (logits - logits.max(dim=-1, keepdim=True).values) / temperature
    if top_k is not None:
        likeliest, index = logits.topk(min(top_k, logits.shape[-1]))  # k of them, ties or not
        logits = torch.full_like(logits, -math.inf).scatter(-1, index, likeliest)
    probabilities = logits.softmax(dim=-1)
    if top_p is not None:
        ordered, index = probabilities.sort(dim=-1, descending=True)
        before = ordered.cumsum(dim=-1) - ordered  # probability of all likelier tokens
        kept = ordered.masked_fill(before >= top_p, 0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, index, kept)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


def _check_sampling(
    max_new_tokens: int, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    if max_new_tokens < 0:
        raise ValueError(f"max_new_tokens must be 0 or more, not {max_new_tokens}")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"temperature must be a finite number of 0 or more, not {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be 1 or more, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], not {top_p}")
