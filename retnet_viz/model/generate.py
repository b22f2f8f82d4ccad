"""Generation on the carried state, which in a RetNet does not grow with the text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypedDict, Unpack, overload

import torch
from torch import Tensor

from retnet_viz.model.language_model import LanguageModel, State, token_ids
from retnet_viz.model.observe import is_observed
from retnet_viz.model.retnet import RetNet
from retnet_viz.model.step import Stepper


class Options(TypedDict, total=False):
    """The arguments of `stream` that `generate` takes too, for the types of its two forms."""

    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int | None
    state: State | None
    prefill_mode: str


@overload
def generate(
    model: LanguageModel[Any], text: str, max_new_tokens: int, **options: Unpack[Options]
) -> str: ...


@overload
def generate(
    model: LanguageModel[Any],
    text: Tensor | Sequence[int],
    max_new_tokens: int,
    **options: Unpack[Options],
) -> Tensor: ...


@torch.inference_mode()
def generate(
    model: LanguageModel[Any],
    text: str | Tensor | Sequence[int],
    max_new_tokens: int,
    *,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    state: State | None = None,
    prefill_mode: str = "chunkwise",
) -> str | Tensor:
    """What follows a text, as a text; or what follows token ids, as ids.

    Ids (T,) in a tensor, an array or a list give ids (max_new_tokens,), and a batch of them, a
    tensor (B, T), gives (B, max_new_tokens). The other arguments are those of `stream`, which
    yields the same tokens one at a time. Raises ValueError as `token_ids` and `stream`.
    """
    if isinstance(text, Tensor) and text.dim() == 2:
        is_batch, ids = True, token_ids(model, text.flatten()).reshape(text.shape)
    else:
        is_batch, ids = False, token_ids(model, text)[None]
    steps = list(
        stream(
            model,
            ids.to(model.device),
            max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            state=state,
            prefill_mode=prefill_mode,
        )
    )
    new = torch.stack(steps, dim=1) if steps else ids.new_empty(len(ids), 0)
    if isinstance(text, str):
        return str(model.tokenizer.decode(new[0].tolist()))
    return new if is_batch else new[0]


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

    `ids` is read once (after `state`, if given), by a RetNet in `prefill_mode`. Then each token
    costs one step. A RetNet's step is a recurrent one (equation 6); a `Stepper` computes it where
    there is one row and no listener.
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

    return _stream(model, ids, max_new_tokens, state, prefill_mode, draw)


@torch.inference_mode()
def _stream(
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
    # A model of a subclass computes something else than its config says.
    has_stepper = type(model) is RetNet and Stepper.supports(model.config)
    if isinstance(model, RetNet) and has_stepper and len(ids) == 1 and not is_observed():
        stepper = Stepper(model, output.state)
        for _ in range(count - 1):
            token = draw(stepper.step(int(token))[None])
            yield token
        return
    kwargs = {"mode": "recurrent"} if is_retnet else {}
    for _ in range(count - 1):
        output = model(token[:, None], output.state, **kwargs)
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
        preceding_mass = ordered.cumsum(dim=-1) - ordered  # probability of all likelier tokens
        nucleus = ordered.masked_fill(preceding_mass >= top_p, 0)
        probabilities = torch.zeros_like(probabilities).scatter(-1, index, nucleus)
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
