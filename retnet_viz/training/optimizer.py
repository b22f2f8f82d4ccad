"""The optimizers of a training run: AdamW, or Muon for the matrices between layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retnet_viz.model import LanguageModel

OPTIMIZERS = ("adamw", "muon")
STATE = {  # the tensors that each keeps per parameter
    "adamw": ("step", "exp_avg", "exp_avg_sq"),
    "muon": ("momentum_buffer",),
}
_QUINTIC = 3.4445, -4.7750, 2.0315  # of the iteration, from the authors' code
_ITERATIONS = 5


class Muon(torch.optim.Muon):
    """torch's Muon (Jordan et al. 2024), whose iteration has the precision of the run.

    torch's own has bfloat16, which a processor without such products emulates: 10 s a step for
    these small models, where float32 takes a tenth of one.
    """

    def __init__(
        self, groups: list[dict[str, Any]], lr: float, weight_decay: float, precision: str
    ) -> None:
        """A group's "n_matrices" says how many matrices each of its parameters holds."""
        super().__init__(groups, lr=lr, weight_decay=weight_decay)
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step on the gradients as they stand."""
        for group in self.param_groups:
            rate, momentum = group["lr"], group["momentum"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(parameter)
                buffer = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
                nesterov = parameter.grad.lerp(buffer, momentum)
                updates = [
                    # As large as a step of AdamW is (Liu et al. 2025, arXiv:2502.16982, 2.2).
                    orthogonalize(part.to(self.dtype)) * (0.2 * max(part.shape) ** 0.5)
                    for part in nesterov.chunk(group["n_matrices"])
                ]
                parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(torch.cat(updates).to(parameter.dtype), alpha=-rate)


def orthogonalize(matrix: Tensor) -> Tensor:
    """The matrix with its singular values replaced by values near 1 (Newton-Schulz iteration)."""
    a, b, c = _QUINTIC
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if is_tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + torch.addmm(gram, gram, gram, beta=b, alpha=c) @ x
    result: Tensor = x.mT if is_tall else x
    return result


def is_inner(name: str, parameter: Tensor, model: LanguageModel[Any]) -> bool:
    """Whether a parameter is a matrix between layers: not the embedding, the head, or a decay."""
    is_edge = name.startswith(("embedding.", "head."))
    return parameter.dim() == 2 and not is_edge and not name.endswith(model.no_weight_decay)


def make_optimizers(
    model: LanguageModel[Any],
    optimizer: str,
    rate: float,
    weight_decay: float,
    muon_rate: float = 0.02,
    precision: str = "float32",
) -> list[torch.optim.Optimizer]:
    """One optimizer, or two: each parameter belongs to one of them.

    Their groups hold the peak of their learning rate as "peak": `muon_rate` is that of Muon, whose
    iteration has `precision`.

    Only matrices are decayed: a norm's scale or shift has no reason to shrink. Muon is for matrices
    between layers; the embedding, the head, and all that is no matrix stay with AdamW.
    """
    inner: dict[int, list[nn.Parameter]] = {}  # by the number of matrices in a parameter
    decay: list[nn.Parameter] = []
    no_decay: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_decayed = parameter.dim() > 1 and not name.endswith(model.no_weight_decay)
        if optimizer == "muon" and is_inner(name, parameter, model):
            counts = (n for ending, n in model.stacked_matrices.items() if name.endswith(ending))
            inner.setdefault(max(counts, default=1), []).append(parameter)
        else:
            (decay if is_decayed else no_decay).append(parameter)
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))
    ]
    if inner:
        muon_groups = [{"params": params, "n_matrices": count} for count, params in inner.items()]
        optimizers.append(Muon(muon_groups, muon_rate, weight_decay, precision))
    for group in (group for each in optimizers for group in each.param_groups):
        group["peak"] = group["lr"]
    return optimizers
