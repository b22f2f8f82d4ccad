"""How far the modes are apart: against three calls of the model, and with one of them broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from retnet_viz.model import MODES, RetNet, retention
from retnet_viz.model.observe import listening
from retnet_viz.trace import trace

ModelFactory = Callable[..., RetNet]
IDS = torch.tensor([5, 3, 8, 13, 21, 34, 55, 89, 144, 233, 5])


def run(model: RetNet, mode: str, chunk_size: int) -> tuple[Tensor, list[Tensor]]:
    """Logits and layer outputs of a plain call."""
    outputs = []

    def listen(name: str, tensor: Tensor) -> None:
        if name == "layer.output":
            outputs.append(tensor[0])

    with torch.no_grad(), listening(listen):
        logits = model(IDS[None], mode=mode, chunk_size=chunk_size).logits[0]
    return logits, outputs


def check(model: RetNet, mode: str, chunk_size: int) -> None:
    """The agreement of a trace is what three separate calls of the model say."""
    agreement = trace(model, IDS, mode, chunk_size).agreement()
    logits, outputs = run(model, mode, chunk_size)
    others = [other for other in MODES if other != mode]
    assert sorted(agreement.logits) == sorted(agreement.outputs) == sorted(others)
    worst = 0.0
    for other in others:
        other_logits, other_outputs = run(model, other, chunk_size)
        difference = float((logits - other_logits).abs().max())
        assert agreement.logits[other] == difference
        apart = [float((a - b).abs().max()) for a, b in zip(outputs, other_outputs, strict=True)]
        assert len(apart) == 3
        assert agreement.outputs[other] == max(apart)
        worst = max(worst, difference, *apart)
    assert agreement.worst == worst
    assert agreement.scale == float(logits.abs().max())


@pytest.mark.parametrize("chunk_size", [1, 4, 20])
@pytest.mark.parametrize("mode", MODES)
def test_agreement_is_what_three_separate_calls_of_the_model_say(
    mode: str, chunk_size: int, tiny_model: ModelFactory
) -> None:
    check(tiny_model(n_layers=3), mode, chunk_size)
    check(tiny_model(n_layers=3, dtype=torch.float32), mode, chunk_size)


def test_the_scale_is_the_largest_logit_of_either_sign(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    sample = trace(model, IDS)
    scale = sample.agreement().scale
    with torch.no_grad():
        model.norm.weight.neg_()
        model.norm.bias.neg_()
    rotated = trace(model, IDS)
    assert torch.equal(rotated.logits, -sample.logits)
    assert rotated.agreement().scale == scale == float(sample.logits.abs().max())


@pytest.mark.parametrize("mode", MODES)
def test_the_modes_of_a_sound_model_agree(mode: str, tiny_model: ModelFactory) -> None:
    agreement = trace(tiny_model(), IDS, mode, 4).agreement()
    assert agreement.worst <= 1e-10
    assert agreement.scale > 1
    agreement = trace(tiny_model(dtype=torch.float32), IDS, mode, 4).agreement()
    assert agreement.worst <= 1e-4 * agreement.scale


@pytest.mark.parametrize("broken", MODES)
@pytest.mark.parametrize("mode", MODES)
def test_a_mode_with_another_gamma_is_found_out(
    mode: str, broken: str, tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = getattr(retention, broken)

    def with_another_gamma(q, k, v, gamma, *rest):  # type: ignore[no-untyped-def]
        return form(q, k, v, gamma * 0.95, *rest)

    monkeypatch.setattr(retention, broken, with_another_gamma)
    model = tiny_model(n_layers=3)
    agreement = trace(model, IDS, mode, 4).agreement()
    check(model, mode, 4)
    for other in set(MODES) - {mode}:
        apart = broken in (mode, other)
        assert (agreement.logits[other] > 1e-3) is apart
        assert (agreement.outputs[other] > 1e-3) is apart


def test_a_difference_in_one_layer_only_is_found_out(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last layer's output is repaired, so neither it nor the logits tell."""
    model = tiny_model(n_layers=2)
    expected = run(model, "parallel", 4)[1]
    block = model.blocks[0]
    forward = type(block).forward

    def spoiled(self, x, angles, state, mode, chunk_size):  # type: ignore[no-untyped-def]
        x, state = forward(self, x, angles, state, mode, chunk_size)
        if mode == "recurrent":
            x = x + 1.0 if self is block else expected[1][None]
        return x, state

    monkeypatch.setattr(type(block), "forward", spoiled)
    agreement = trace(model, IDS, "parallel", 4).agreement()
    assert agreement.logits["recurrent"] == 0
    assert agreement.outputs["recurrent"] == pytest.approx(1.0)
    assert agreement.worst == pytest.approx(1.0)
    assert agreement.outputs["chunkwise"] <= 1e-10


def test_other_modes_are_run_once_and_over_the_same_text(
    tiny_model: ModelFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    sample = trace(model, IDS, "chunkwise", 3)
    assert sample.in_mode("chunkwise") is sample
    modes = []
    forward = RetNet.forward

    def counted(self, ids, state=None, mode="parallel", chunk_size=64):  # type: ignore[no-untyped-def]
        modes.append(mode)
        return forward(self, ids, state, mode, chunk_size)

    monkeypatch.setattr(RetNet, "forward", counted)
    sample.agreement()
    sample.agreement()
    other = sample.in_mode("recurrent")
    assert other is sample.in_mode("recurrent")
    assert sorted(modes) == ["parallel", "recurrent"]
    assert (other.mode, other.chunk_size) == ("recurrent", 3)
    assert torch.equal(other.ids, IDS)
    assert torch.equal(other.logits, trace(model, IDS, "recurrent", 3).logits)
