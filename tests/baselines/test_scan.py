"""The selective scan against a literal recurrence: values, gradients, pieces and memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.baselines import scan as scan_module
from retnet_viz.baselines.scan import CHUNK, scan
from retnet_viz.trace.views.pass_cost import measure

NAMES = ("x", "delta", "a", "b", "c", "d", "h")
LENGTHS = st.one_of(st.integers(1, 5), st.integers(CHUNK - 1, 2 * CHUNK + 3))


def random_inputs(
    batch: int, length: int, channels: int, n: int, seed: int = 0, dtype: torch.dtype = torch.double
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.double).to(dtype)

    return {
        "x": normal(batch, length, channels),
        "delta": normal(batch, length, channels).exp(),
        "a": -normal(channels, n).exp(),
        "b": normal(batch, length, n),
        "c": normal(batch, length, n),
        "d": normal(channels),
        "h": normal(batch, channels, n),
    }


def literal(
    x: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """The two equations, token by token."""
    ys = []
    for t in range(x.shape[1]):
        write = torch.einsum("bd,bn->bdn", delta[:, t] * x[:, t], b[:, t])
        h = torch.exp(torch.einsum("bd,dn->bdn", delta[:, t], a)) * h + write
        ys.append(torch.einsum("bdn,bn->bd", h, c[:, t]) + d * x[:, t])
    return torch.stack(ys, dim=1), h


def gap(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return float(((actual - expected).abs().max() / (1 + expected.abs().max())).detach())


@given(
    batch=st.integers(1, 3), length=LENGTHS, channels=st.integers(1, 4), n=st.integers(1, 3),
    seed=st.integers(0, 99), starts=st.booleans(),
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_recurrence(
    batch: int, length: int, channels: int, n: int, seed: int, starts: bool
) -> None:
    inputs = random_inputs(batch, length, channels, n, seed)
    if not starts:
        inputs["h"].zero_()
    expected = literal(**inputs)
    if not starts:
        assert gap(scan(**{**inputs, "h": None})[0], expected[0]) < 1e-12
    for actual, expected_tensor in zip(scan(**inputs), expected, strict=True):
        assert gap(actual, expected_tensor) < 1e-12

    leaves = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
    weights = [torch.randn_like(tensor) for tensor in expected]
    gradients = [
        torch.autograd.grad(
            sum((w * r).sum() for w, r in zip(weights, results, strict=True)), list(leaves.values())
        )
        for results in (scan(**leaves), literal(**leaves))
    ]
    for name, actual, expected_tensor in zip(NAMES, *gradients, strict=True):
        assert gap(actual, expected_tensor) < 1e-11, name


@pytest.mark.parametrize("length", [1, 5])
def test_gradcheck(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    monkeypatch.setattr(scan_module, "CHUNK", 2)
    inputs = random_inputs(2, length, 2, 2)
    assert torch.autograd.gradcheck(scan, [inputs[name].requires_grad_() for name in NAMES])


def test_only_what_asks_for_a_gradient_gets_one() -> None:
    inputs = random_inputs(1, 3, 2, 2)
    inputs["delta"].requires_grad_()
    y, h = scan(**inputs)
    (y.sum() + h.sum()).backward()
    assert inputs["delta"].grad is not None
    assert inputs["x"].grad is None
    assert not scan(**random_inputs(1, 3, 2, 2))[0].requires_grad


@given(pieces=st.lists(LENGTHS, min_size=1, max_size=4), learns=st.booleans())
def test_any_split_gives_what_the_whole_gives(pieces: list[int], learns: bool) -> None:
    inputs = random_inputs(2, sum(pieces), 3, 2)
    y, last = scan(**inputs)
    inputs["x"].requires_grad_(learns)
    h, parts, start = inputs["h"], [], 0
    for size in pieces:
        piece = {name: inputs[name][:, start : start + size] for name in ("x", "delta", "b", "c")}
        part, h = scan(**piece, a=inputs["a"], d=inputs["d"], h=h)
        parts.append(part)
        start += size
    assert gap(torch.cat(parts, dim=1), y) < 1e-12
    assert gap(h, last) < 1e-12


@pytest.mark.parametrize("length", [1, 20])
@pytest.mark.parametrize("learns", [False, True])
def test_nothing_that_is_given_is_changed(length: int, learns: bool) -> None:
    inputs = random_inputs(2, length, 3, 2)
    copies = {name: tensor.clone() for name, tensor in inputs.items()}
    inputs["h"].requires_grad_(learns)
    y, h = scan(**inputs)
    if learns:
        (y.sum() + h.sum()).backward()
    assert all(torch.equal(inputs[name], copies[name]) for name in NAMES)


@pytest.mark.parametrize("length", [1, 20])
def test_states_have_thirty_two_bits_where_the_inputs_have_sixteen(length: int) -> None:
    inputs = random_inputs(2, length, 3, 2, dtype=torch.bfloat16)
    expected = literal(**{name: tensor.double() for name, tensor in inputs.items()})
    for learns in (False, True):
        inputs["x"].requires_grad_(learns)
        with torch.autocast("cpu", torch.bfloat16):
            y, h = scan(**inputs)
        assert (y.dtype, h.dtype) == (torch.bfloat16, torch.float32)
        assert gap(h.double(), expected[1]) < 1e-6
        assert gap(y.double(), expected[0]) < 2**-8


@pytest.mark.parametrize("length", [1, 20])
def test_autocast_does_not_round_what_has_thirty_two_bits(length: int) -> None:
    inputs = {n: t.requires_grad_() for n, t in random_inputs(2, length, 3, 2).items()}
    single = {n: t.detach().float().requires_grad_() for n, t in inputs.items()}
    expected = literal(**inputs)[0]
    gradients = torch.autograd.grad(expected.sum(), [inputs[name] for name in NAMES])
    with torch.autocast("cpu", torch.bfloat16):
        actual = scan(**single)[0]
        with torch.no_grad():
            assert gap(scan(**single)[0].double(), expected) < 1e-5
        assert gap(actual.double(), expected) < 1e-5
        actual = torch.autograd.grad(actual.sum(), [single[name] for name in NAMES])
    for tensor, expected_tensor in zip(actual, gradients, strict=True):
        assert gap(tensor.double(), expected_tensor) < 1e-5


def test_one_token_is_one_step_where_nothing_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = random_inputs(2, 1, 3, 2)
    expected = literal(**inputs)
    monkeypatch.setattr(scan_module, "_scan_batch", None)
    with torch.no_grad():
        inputs["x"].requires_grad_()
        for actual, expected_tensor in zip(scan(**inputs), expected, strict=True):
            assert gap(actual, expected_tensor) < 1e-12


def test_decays_that_vanish_leave_finite_values_and_gradients() -> None:
    inputs = random_inputs(1, 40, 2, 3, dtype=torch.float32)
    inputs["delta"][:, 10:20] = 1e3
    leaves: dict[str, Any] = {name: tensor.requires_grad_() for name, tensor in inputs.items()}
    y, h = scan(**leaves)
    (y.sum() + h.sum()).backward()
    assert all(torch.isfinite(tensor).all() for tensor in (y, h))
    assert all(torch.isfinite(tensor.grad).all() for tensor in leaves.values())


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_threads_share_a_batch_without_changing_it_or_their_number(batch: int) -> None:
    inputs = random_inputs(batch, CHUNK + 3, 3, 2)
    leaves = {name: tensor.requires_grad_() for name, tensor in inputs.items()}

    def results() -> tuple[Tensor, ...]:
        with torch.no_grad():
            alone = scan(**leaves)
        y, h = scan(**leaves)
        loss = (y * y).sum() + (h * h).sum()
        return *alone, y, h, *torch.autograd.grad(loss, list(leaves.values()))

    expected = results()
    torch.set_num_threads(2)
    try:
        actual = results()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    for tensor, expected_tensor in zip(actual, expected, strict=True):
        assert gap(tensor, expected_tensor) < 1e-13


def test_an_error_in_a_share_is_raised_and_leaves_the_threads_as_they_were() -> None:
    inputs = random_inputs(2, 3, 3, 2)
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError):
            scan(**{**inputs, "c": inputs["c"][..., :1]})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_the_states_of_all_tokens_are_never_held_not_even_for_a_while() -> None:
    channels, n = 128, 64

    def peaks(length: int) -> Tensor:
        """Bytes with and without a gradient."""
        inputs = random_inputs(1, length, channels, n, dtype=torch.float32)
        _, alone = measure(lambda: scan(**inputs))
        inputs["x"].requires_grad_()
        run = torch.enable_grad()(lambda: scan(**inputs)[0].sum().backward())
        return torch.tensor([measure(run)[1], alone])

    states = 4 * 8 * CHUNK * channels * n
    with_gradient, alone = (peaks(16 * CHUNK) - peaks(8 * CHUNK)) / states
    assert with_gradient < 0.5
    assert alone < 0.2
