"""The fast step against the plain recurrent mode, for every variant and any hand-over."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz.model import RetNet, RetNetState, Stepper, generate
from retnet_viz.model import step as step_module
from retnet_viz.model.config import HEAD_NORMS, ROTATIONS
from retnet_viz.model.observe import listening
from retnet_viz.model.variant import FEED_FORWARDS, NORMS

ModelFactory = Callable[..., RetNet]
TEXT = torch.tensor([[5, 17, 200, 3, 3, 80, 9, 1, 250, 40, 2, 66]])


def plain(model: RetNet, ids: torch.Tensor, state: RetNetState) -> tuple[torch.Tensor, RetNetState]:
    with torch.no_grad():
        output = model(ids, state, mode="recurrent")
    return output.logits[0], output.state


def read(model: RetNet, ids: torch.Tensor) -> RetNetState:
    with torch.no_grad():
        return model(ids).state


def close(actual: torch.Tensor, expected: torch.Tensor) -> bool:
    assert actual.dtype == expected.dtype
    limit = 1e-10 if expected.dtype == torch.float64 else 1e-4 * expected.abs().max().item()
    return (actual - expected).abs().max().item() <= limit


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rotation", "norm", "head_norm", "gate", "feed_forward", "tied"),
    [
        *((rotation, "layer", "layer", "swish", "gelu", True) for rotation in ROTATIONS),
        *product(["interleaved"], NORMS, HEAD_NORMS, ["swish"], FEED_FORWARDS, [False]),
        ("interleaved", "layer", "layer", "none", "gelu", True),
    ],
)
def test_steps_give_what_recurrent_mode_gives(
    tiny_model: ModelFactory, dtype, rotation, norm, head_norm, gate, feed_forward, tied
) -> None:
    model = tiny_model(
        rotation=rotation,
        norm=norm,
        head_norm=head_norm,
        gate=gate,
        feed_forward=feed_forward,
        tie_embeddings=tied,
    ).to(dtype)
    state = read(model, TEXT[:, :4])
    expected, expected_state = plain(model, TEXT[:, 4:], state)
    stepper = Stepper(model, state)
    for n, token in enumerate(TEXT[0, 4:].tolist()):
        assert close(stepper.step(token), expected[n])
    assert stepper.state.position == expected_state.position == TEXT.shape[1]
    for actual, layer in zip(stepper.state.layers, expected_state.layers, strict=True):
        assert actual is not None
        assert layer is not None
        assert close(actual, layer)


def test_sixteen_bits_keep_a_state_of_thirty_two(tiny_model: ModelFactory) -> None:
    model = tiny_model().to(torch.bfloat16)
    state = read(model, TEXT[:, :4])
    expected, _ = plain(model, TEXT[:, 4:], state)
    stepper = Stepper(model, state)
    actual = torch.stack([stepper.step(token) for token in TEXT[0, 4:].tolist()])
    assert stepper.state.layers[0] is not None
    assert stepper.state.layers[0].dtype == torch.float32
    # Rounding by the other order of the same sums: a few units in the last of 8 places.
    assert (actual - expected).abs().max() <= 2**-5 * expected.abs().max()


@given(split=st.integers(1, 11), angles=st.integers(1, 5))
def test_any_hand_over_in_either_direction(
    tiny_model: ModelFactory, split: int, angles: int
) -> None:
    """From a reading to steps and back to a reading, whatever number of angles is made at once."""
    model = tiny_model().double()
    expected, _ = plain(model, TEXT, model.empty_state())
    stepper = Stepper(model, read(model, TEXT[:, :split]))
    previous_count, step_module._ANGLE_COUNT = step_module._ANGLE_COUNT, angles
    try:
        for n in range(split, 11):
            assert close(stepper.step(int(TEXT[0, n])), expected[n])
    finally:
        step_module._ANGLE_COUNT = previous_count
    last, _ = plain(model, TEXT[:, 11:], stepper.state)
    assert close(last[0], expected[11])


def test_what_the_compiler_gives_back_is_what_runs(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    state = read(model, TEXT)
    compiled = []

    def doubled(function):
        compiled.append(function)
        return lambda layer, x: 2 * function(layer, x)

    plain, other = Stepper(model, state), Stepper(model, state, doubled)
    assert len(compiled) == 1
    assert not close(other.step(7), plain.step(7))


def test_a_stepper_may_be_moved_to_any_position(tiny_model: ModelFactory) -> None:
    """The position only turns q and k: the angles made for others are not used for it."""
    model = tiny_model()
    state = read(model, TEXT)
    for position in (5, 3000, 1023, 1024, 0):
        stepper = Stepper(model, RetNetState(state.layers, 2000))
        stepper.step(7)  # makes the angles from here on
        stepper.position = position
        fresh = Stepper(model, RetNetState(stepper.state.layers, position))
        assert close(stepper.step(8), fresh.step(8))


def test_nothing_that_was_given_is_written_to(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    state = read(model, TEXT)
    before = [layer.clone() for layer in state.layers if layer is not None]
    stepper = Stepper(model, state)
    copy = stepper.state
    logits = stepper.step(7)
    copies = logits.clone()
    stepper.step(8)
    assert torch.equal(logits, copies)
    for given_layer, kept_layer, layer in zip(state.layers, copy.layers, before, strict=True):
        assert given_layer is not None
        assert kept_layer is not None
        assert torch.equal(given_layer, layer)
        assert torch.equal(kept_layer, layer)
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())


def test_it_continues_with_the_weights_that_it_was_made_of(tiny_model: ModelFactory) -> None:
    model, same = tiny_model(), tiny_model()
    state = read(model, TEXT)
    stepper = Stepper(model, state)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(3)
    expected, _ = plain(same, torch.tensor([[7]]), state)
    assert close(stepper.step(7), expected[0])


def test_a_state_that_it_cannot_continue_is_refused(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    with pytest.raises(ValueError, match="one text that has been read"):
        Stepper(model, model.empty_state())
    with pytest.raises(ValueError, match="one text that has been read"):
        Stepper(model, read(model, TEXT.repeat(2, 1)))


@pytest.mark.parametrize("token", [-1, 300])
def test_an_id_outside_the_vocabulary_is_refused_and_nothing_is_read(
    tiny_model: ModelFactory, token: int
) -> None:
    stepper = Stepper(tiny_model(), read(tiny_model(), TEXT))
    before = stepper.state
    with pytest.raises(IndexError, match=f"token id {token} is outside 0 .. 299"):
        stepper.step(token)
    after = stepper.state
    assert after.position == before.position
    for one, other in zip(before.layers, after.layers, strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


def test_who_watches_sees_each_step_of_a_generation(tiny_model: ModelFactory) -> None:
    model = tiny_model()
    names: list[str] = []
    with listening(lambda name, _: names.append(name)):
        watched = generate(model, TEXT, 5)
    assert names.count("logits") == 5
    assert torch.equal(watched, generate(model, TEXT, 5))
