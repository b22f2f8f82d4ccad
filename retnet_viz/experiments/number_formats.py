"""How rounding affects each form of retention.

In exact arithmetic the three forms are one function. In floating point each sums the same terms in
another order, and rounds at other places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from retnet_viz.model import CHUNK_SIZE, MODES, RetNet
from retnet_viz.model.observe import also_listening
from retnet_viz.model.retnet import check_call
from retnet_viz.model.shared_weights import share_weights

DTYPES = {"float64": torch.float64, "float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Rounding:
    """How far each mode's arithmetic in `dtype` is from the parallel form's in float64.

    Both compute with the same weights, those of the model rounded to `dtype`, so the differences
    come from the rounding of the arithmetic, not of the weights.

    dtype     "float64", "float32" or "bfloat16"
    modes     mode -> the largest |difference| of each layer's output, in the order of the layers
    logits    mode -> the largest |difference| of the logits
    between   the largest |difference| between any two modes, over all outputs and logits
    scale     the largest |logit| of the reference, to judge the differences by
    same_top  mode -> share of tokens, 0 to 1, whose likeliest next token is the reference's
    length    T, the number of tokens
    chunk_size  of the chunkwise form; where it is T or more, that form is the parallel one

    In float64 the reference is the parallel pass itself, which thus differs by exactly 0.
    """

    dtype: str
    modes: dict[str, tuple[float, ...]]
    logits: dict[str, float]
    between: float
    scale: float
    same_top: dict[str, float]
    length: int
    chunk_size: int


def rounding(
    model: RetNet,
    ids: Tensor,
    dtype: torch.dtype | str,
    chunk_size: int = CHUNK_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Rounding:
    """Read the token ids (T,) in all three modes in `dtype`, and once in float64.

    The model is not changed. `progress(done, total)` is called after each pass; what it raises, or
    a listener (see model.observe), ends the work. Memory is that of a parallel pass, O(T²).
    Raises ValueError on another dtype, on ids outside the vocabulary or of another shape, and on a
    chunk size below 1.
    """
    name, dtype = _parse_dtype(dtype)
    check_call(ids[None], "parallel", chunk_size)
    last = model.config.vocab_size - 1
    for token_id in (int(ids.min()), int(ids.max())):
        if not 0 <= token_id <= last:
            raise ValueError(f"token id {token_id} is outside the vocabulary 0 .. {last}")
    ids = ids.to(model.embedding.weight.device, torch.long)[None]
    rounded_model = share_weights(model, dtype=dtype)
    total = len(MODES) + (dtype != torch.float64)
    passes: dict[str, list[Tensor]] = {}
    for mode in MODES:
        passes[mode] = _outputs(rounded_model, ids, mode, chunk_size)
        if progress is not None:
            progress(len(passes), total)
    reference = passes["parallel"]
    if dtype != torch.float64:
        exact_model = share_weights(rounded_model, dtype=torch.float64)
        reference = _outputs(exact_model, ids, "parallel", chunk_size)
        if progress is not None:
            progress(total, total)
    differences = {mode: _differences(outputs, reference) for mode, outputs in passes.items()}
    top = reference[-1].argmax(-1)
    return Rounding(
        dtype=name,
        modes={mode: tuple(values[:-1]) for mode, values in differences.items()},
        logits={mode: values[-1] for mode, values in differences.items()},
        between=_largest([_differences(passes[a], passes[b]) for a, b in combinations(MODES, 2)]),
        scale=reference[-1].abs().max().item(),
        same_top={
            mode: (outputs[-1].argmax(-1) == top).double().mean().item()
            for mode, outputs in passes.items()
        },
        length=ids.shape[1],
        chunk_size=chunk_size,
    )


def _parse_dtype(dtype: torch.dtype | str) -> tuple[str, torch.dtype]:
    for name, candidate in DTYPES.items():
        if dtype in (name, candidate):
            return name, candidate
    raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype}")


def _outputs(model: RetNet, ids: Tensor, mode: str, chunk_size: int) -> list[Tensor]:
    """The output of every layer, (B, T, d), and the logits, (B, T, vocab)."""
    outputs: list[Tensor] = []

    def keep(name: str, tensor: Tensor) -> None:
        if name in ("layer.output", "logits"):
            outputs.append(tensor)

    with torch.no_grad(), also_listening(keep):
        model(ids, mode=mode, chunk_size=chunk_size)
    return outputs


def _differences(a: list[Tensor], b: list[Tensor]) -> list[float]:
    return [(x.double() - y.double()).abs().max().item() for x, y in zip(a, b, strict=True)]


def _largest(differences: list[list[float]]) -> float:
    return torch.tensor(differences, dtype=torch.float64).max().item()  # NaN is the largest
