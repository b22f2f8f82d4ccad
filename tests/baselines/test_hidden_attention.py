"""The hidden attention matrices against the scan that they stand for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.baselines import Mamba, MambaConfig, hidden_attention
from retnet_viz.baselines.hidden_attention import CHANNEL_BLOCK, MAX_COLUMNS, decay
from retnet_viz.baselines.hidden_attention import hidden_attention as attend
from retnet_viz.baselines.scan import scan
from retnet_viz.model.observe import listening
from retnet_viz.trace.views.pass_cost import measure


def random_inputs(length: int, channels: int, n: int, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.double)

    return {
        "delta": normal(length, channels).exp(),
        "a": -normal(channels, n).exp(),
        "b": normal(length, n),
        "c": normal(length, n),
    }


def literal(delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """M of every channel, (d_inner, T, T), product by product."""
    length, channels = delta.shape
    matrix = torch.zeros(channels, length, length, dtype=torch.double)
    for n in range(length):
        for m in range(n + 1):
            product = torch.ones_like(a)
            for k in range(m + 1, n + 1):
                product = product * torch.exp(delta[k][:, None] * a)
            matrix[:, n, m] = (c[n] * product * delta[m][:, None] * b[m]).sum(-1)
    return matrix


@given(
    length=st.integers(1, 9), channels=st.integers(1, 4), n=st.integers(1, 3),
    columns=st.integers(1, 10), seed=st.integers(0, 99), data=st.data(),
)  # fmt: skip
def test_it_is_the_mean_of_the_products_over_the_channels(
    length: int, channels: int, n: int, columns: int, seed: int, data: st.DataObject
) -> None:
    inputs = random_inputs(length, channels, n, seed)
    matrices = literal(**inputs)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, length - 1), max_size=5)), dtype=int)
    some_channels = torch.tensor(data.draw(st.lists(st.integers(0, channels - 1), min_size=1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hidden_attention, "MAX_COLUMNS", columns)
        patch.setattr(hidden_attention, "CHANNEL_BLOCK", 2)
        for actual, expected in (
            (attend(**inputs), matrices.mean(0)),
            (attend(**inputs, rows=rows), matrices.mean(0)[rows]),
            (attend(**inputs, channels=some_channels), matrices[some_channels].mean(0)),
            (
                attend(**inputs, rows=rows, channels=some_channels),
                matrices[some_channels].mean(0)[rows],
            ),
        ):
            assert actual.shape == expected.shape
            assert torch.allclose(actual, expected, 1e-11, 1e-11)


def test_each_matrix_times_x_is_what_the_scan_computes() -> None:
    length, channels = 3 * MAX_COLUMNS + 5, CHANNEL_BLOCK + 3
    inputs = random_inputs(length, channels, 4)
    x, d = (torch.randn(shape, dtype=torch.double) for shape in ((length, channels), (channels,)))
    batch = {name: tensor if name == "a" else tensor[None] for name, tensor in inputs.items()}
    y, _ = scan(x[None], d=d, **batch)
    for channel in range(channels):
        matrix = attend(**inputs, channels=torch.tensor([channel]))
        assert torch.allclose(
            matrix @ x[:, channel] + d[channel] * x[:, channel], y[0, :, channel], 1e-10, 1e-10
        )


def test_it_explains_the_output_of_a_trained_shape() -> None:
    """From what a pass publishes, in float32."""
    torch.manual_seed(0)
    model = Mamba(MambaConfig(vocab_size=50, d_model=16, n_layers=2))
    published: dict[str, Tensor] = {}
    with torch.no_grad(), listening(lambda name, tensor: published.update({name: tensor[0]})):
        model(torch.randint(0, 50, (1, 70)))
    block = model.blocks[-1]
    inputs = {name: published[f"mamba.{name}"] for name in ("delta", "b", "c")}
    x, output = published["mamba.x"], published["mamba.output"]
    for channel in (0, 13, 31):
        matrix = attend(a=-block.A_log.exp(), **inputs, channels=torch.tensor([channel]))
        assert matrix.dtype == torch.float32
        assert not matrix.requires_grad
        actual = matrix @ x[:, channel] + block.D[channel] * x[:, channel]
        assert torch.allclose(actual, output[:, channel], 1e-4, 1e-6)


def test_decay_is_what_a_token_leaves_of_the_state() -> None:
    inputs = random_inputs(5, 3, 2)
    actual = decay(inputs["delta"], inputs["a"])
    for t in range(5):
        assert torch.allclose(actual[t], torch.exp(inputs["delta"][t][:, None] * inputs["a"]))
    batch = {name: tensor[None, 4:] for name, tensor in inputs.items() if name != "a"}
    h = torch.randn(1, 3, 2, dtype=torch.double)
    nothing = torch.zeros(1, 1, 3, dtype=torch.double)
    _, new_state = scan(nothing, a=inputs["a"], d=nothing[0, 0], h=h, **batch)
    assert torch.allclose(new_state, actual[4] * h)


def test_decays_that_vanish_or_stay_leave_finite_numbers() -> None:
    inputs = random_inputs(50, 3, 4)
    inputs["delta"][20:25] = 1e4
    inputs["delta"][30:] = 1e-9
    matrix = attend(**inputs)
    assert torch.isfinite(matrix).all()
    assert (matrix[25:, :24] == 0).all()
    assert matrix[40, 30:40].all()
    assert (matrix.triu(1) == 0).all()


def test_a_long_past_takes_no_digits_from_what_came_last() -> None:
    inputs = random_inputs(60, 3, 4)
    inputs["delta"][:30] = 1e4
    inputs["delta"][30:] = 1e-2
    single = {name: tensor.float() for name, tensor in inputs.items()}
    single["b"] = single["b"].bfloat16()
    inputs["b"] = single["b"].double()
    actual = attend(**single)
    assert actual.dtype == torch.float32
    assert torch.allclose(actual[30:, 30:].double(), attend(**inputs)[30:, 30:], 1e-5, 1e-8)


def test_memory_grows_with_the_text_and_neither_with_its_square_nor_with_the_channels() -> None:
    def peak(length: int, channels: int) -> int:
        inputs = random_inputs(length, channels, 8)
        return measure(lambda: attend(**inputs, rows=torch.tensor([length - 1, 3])))[1]

    assert peak(200, 20) < 2.2 * peak(100, 20)
    # The float64 copy of delta is all that has every channel; a state each would be 8 times that.
    assert (
        peak(100, 20 * CHANNEL_BLOCK) - peak(100, 2 * CHANNEL_BLOCK)
        < 2 * 8 * 100 * 18 * CHANNEL_BLOCK
    )
    all_rows = measure(lambda: attend(**random_inputs(200, 20, 8)))[1]
    assert all_rows < 200 * 200 * 20 * 8
