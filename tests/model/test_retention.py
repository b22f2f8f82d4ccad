"""The three forms of retention against equations 5 and 6 written out as loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from retnet_viz.model.position import decay_matrix
from retnet_viz.model.retention import MODES, chunkwise, parallel, recurrent, retain

GAMMAS = st.floats(0.05, 1.0)


def literal(
    q: Tensor, k: Tensor, v: Tensor, gamma: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """o_n = sum_m gamma^(n-m) (q_n . k_m) v_m and S = sum_m gamma^(T-1-m) k_m^T v_m, as loops.

    A state from before the text is one more term, gamma^(n+1) q_n S.
    """
    batch, heads, length, d_k = q.shape
    d_v = v.shape[-1]
    output = torch.zeros(batch, heads, length, d_v, dtype=torch.float64)
    last = torch.zeros(batch, heads, d_k, d_v, dtype=torch.float64)
    for b in range(batch):
        for h in range(heads):
            g = float(gamma[h])
            qs, ks, vs = q[b, h].tolist(), k[b, h].tolist(), v[b, h].tolist()
            before = state[b, h].tolist() if state is not None else [[0.0] * d_v] * d_k
            for e in range(d_v):
                for n in range(length):
                    total = sum(qs[n][d] * g ** (n + 1) * before[d][e] for d in range(d_k))
                    for m in range(n + 1):
                        score = sum(qs[n][d] * ks[m][d] for d in range(d_k))
                        total += score * g ** (n - m) * vs[m][e]
                    output[b, h, n, e] = total
                for d in range(d_k):
                    last[b, h, d, e] = g**length * before[d][e] + sum(
                        g ** (length - 1 - m) * ks[m][d] * vs[m][e] for m in range(length)
                    )
    return output, last


def by_steps(q: Tensor, k: Tensor, v: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 6 in float64 for texts too long for `literal`."""
    q, k, v = q.double(), k.double(), v.double()
    state = torch.zeros(*k.shape[:2], k.shape[-1], v.shape[-1], dtype=torch.float64)
    outputs = []
    for n in range(q.shape[2]):
        outer = torch.einsum("bhd,bhe->bhde", k[:, :, n], v[:, :, n])
        state = gamma.view(1, -1, 1, 1) * state + outer
        outputs.append(torch.einsum("bhd,bhde->bhe", q[:, :, n], state))
    return torch.stack(outputs, dim=2), state


def draw_qkv(
    seed: int, batch: int, heads: int, length: int, d_k: int, d_v: int
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(width: int) -> Tensor:
        shape = (batch, heads, length, width)
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return normal(d_k), normal(d_k), normal(d_v)


def relative(actual: Tensor, expected: Tensor) -> float:
    """The largest difference, as a part of the largest wanted value."""
    return float((actual.double() - expected).abs().max() / expected.abs().max())


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """q, k, v, gamma and a state from before (or None), all of random shape."""
    heads = draw(st.integers(1, 3))
    batch, length = draw(st.integers(1, 2)), draw(st.integers(1, 14))
    d_k, d_v, seed = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(0, 999))
    q, k, v = draw_qkv(seed, batch, heads, length, d_k, d_v)
    gamma = torch.tensor(
        draw(st.lists(GAMMAS, min_size=heads, max_size=heads)), dtype=torch.float64
    )
    state = None
    if draw(st.booleans()):
        state = draw_qkv(seed + 1000, batch, heads, d_k, d_v, 1)[0]  # (batch, heads, d_k, d_v)
    return q, k, v, gamma, state


@pytest.mark.parametrize("mode", MODES)
@given(case=cases(), chunk_size=st.integers(1, 20))
def test_each_mode_computes_equations_5_and_6(
    mode: str, case: tuple[Tensor, ...], chunk_size: int
) -> None:
    expected, expected_state = literal(*case)
    output, state = retain(*case, mode=mode, chunk_size=chunk_size)
    assert output.shape == expected.shape
    assert (output - expected).abs().max() <= 1e-10
    assert (state - expected_state).abs().max() <= 1e-10

    q, k, v, gamma, before = case
    single = (q.float(), k.float(), v.float(), gamma, None if before is None else before.float())
    expected, expected_state = literal(*single)
    output, state = retain(*single, mode=mode, chunk_size=chunk_size)
    assert output.dtype == state.dtype == torch.float32
    assert relative(output, expected) <= 1e-4
    assert relative(state, expected_state) <= 1e-4


PIECES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(MODES), st.integers(1, 7)), min_size=2, max_size=5
)


@given(pieces=PIECES, gammas=st.tuples(GAMMAS, GAMMAS), seed=st.integers(0, 99))
def test_a_text_read_in_pieces_of_any_modes_gives_what_one_reading_gives(
    pieces: list[tuple[int, str, int]], gammas: tuple[float, float], seed: int
) -> None:
    length = sum(piece[0] for piece in pieces)
    gamma = torch.tensor(gammas, dtype=torch.float64)
    q, k, v = draw_qkv(seed, 2, 2, length, 3, 4)
    expected, expected_state = literal(q, k, v, gamma)
    for dtype in (torch.float64, torch.float32):
        state, outputs, start = None, [], 0
        for size, mode, chunk_size in pieces:
            piece = (x[:, :, start : start + size].to(dtype) for x in (q, k, v))
            output, state = retain(*piece, gamma, state, mode, chunk_size)
            outputs.append(output)
            start += size
        output = torch.cat(outputs, dim=2)
        assert state is not None
        if dtype == torch.float64:
            assert (output - expected).abs().max() <= 1e-10
            assert (state - expected_state).abs().max() <= 1e-10
        else:
            assert relative(output, expected) <= 1e-4
            assert relative(state, expected_state) <= 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_a_long_text_keeps_its_precision_in_float32(mode: str) -> None:
    gamma = 1 - torch.exp2(-5 - torch.arange(3, dtype=torch.float64))
    q, k, v = (x.float() for x in draw_qkv(4, 1, 3, 1500, 4, 6))
    expected, expected_state = by_steps(q, k, v, gamma)
    output, state = retain(q, k, v, gamma, mode=mode, chunk_size=37)
    assert relative(output, expected) <= 1e-4
    assert relative(state, expected_state) <= 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_the_state_given_to_a_mode_is_left_as_it_was(mode: str) -> None:
    q, k, v = draw_qkv(7, 1, 2, 5, 3, 3)
    state = torch.ones(1, 2, 3, 3, dtype=torch.float64)
    _, new_state = retain(q, k, v, torch.tensor([0.9, 0.5], dtype=torch.float64), state, mode, 2)
    assert torch.equal(state, torch.ones_like(state))
    assert not torch.equal(new_state, state)


@pytest.mark.parametrize("mode", MODES)
def test_gradients_of_inputs_and_of_the_incoming_state_are_right(mode: str) -> None:
    gamma = torch.tensor([0.96875, 0.6], dtype=torch.float64)
    q, k, v = (x.requires_grad_() for x in draw_qkv(1, 1, 2, 5, 2, 3))
    state = draw_qkv(2, 1, 2, 2, 3, 3)[0].requires_grad_()

    def run(*arguments: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v, state = arguments
        return retain(q, k, v, gamma, state, mode, 2)

    assert torch.autograd.gradcheck(run, (q, k, v, state))


@pytest.mark.parametrize("mode", MODES)
def test_a_corrupted_state_changes_every_later_output_and_no_earlier_one(mode: str) -> None:
    gamma = torch.tensor([0.96875, 0.8], dtype=torch.float64)
    q, k, v = draw_qkv(11, 2, 2, 12, 3, 4)

    def read(error: float) -> Tensor:
        state, outputs = None, []
        for piece in range(4):
            span = slice(3 * piece, 3 * piece + 3)
            output, state = retain(
                q[:, :, span], k[:, :, span], v[:, :, span], gamma, state, mode, 2
            )
            if piece == 1:
                state = state + error
            outputs.append(output)
        return torch.cat(outputs, dim=2)

    difference = (read(1e-3) - read(0.0)).abs()
    assert difference[:, :, :6].max() == 0
    assert difference[:, :, 6:].min() > 1e-9


def equation_7(
    q: Tensor, k: Tensor, v: Tensor, gamma: float, zeta: list[float], xi: list[float], read: str
) -> tuple[Tensor, Tensor]:
    """Equation 7 for one head with the given zeta and xi: (output, last R).

    O_i = (Q_i K_i^T * D) V_i + (Q_i R) * xi,  R_i = K_i^T (V_i * zeta) + gamma^B R_{i-1}, where R
    is R_{i-1}, or R_i if `read` is "R_i".
    """
    size = len(zeta)
    decay = [[gamma ** (n - m) if n >= m else 0.0 for m in range(size)] for n in range(size)]
    d, zeta_column, xi_column = (
        torch.tensor(x, dtype=torch.float64)
        for x in (decay, [[z] for z in zeta], [[x] for x in xi])
    )
    state, outputs = torch.zeros(k.shape[-1], v.shape[-1], dtype=torch.float64), []
    for q_i, k_i, v_i in zip(q.split(size), k.split(size), v.split(size), strict=True):
        new_state = k_i.T @ (v_i * zeta_column) + gamma**size * state
        cross = (q_i @ (new_state if read == "R_i" else state)) * xi_column
        outputs.append(((q_i @ k_i.T) * d) @ v_i + cross)
        state = new_state
    return torch.cat(outputs), state


def test_equation_7_read_literally_contradicts_equations_5_and_6_and_ours_does_not() -> None:
    gamma, size = 0.8, 4
    q, k, v = draw_qkv(5, 1, 1, 12, 3, 3)
    expected, expected_state = literal(q, k, v, torch.tensor([gamma], dtype=torch.float64))

    def errors(zeta: list[float], xi: list[float], read: str = "R_{i-1}") -> tuple[float, float]:
        output, state = equation_7(q[0, 0], k[0, 0], v[0, 0], gamma, zeta, xi, read)
        return (
            float((output - expected[0, 0]).abs().max()),
            float((state - expected_state[0, 0]).abs().max()),
        )

    tokens, tokens_1 = range(size), range(1, size + 1)
    zeta, xi = [gamma ** (size - j - 1) for j in tokens], [gamma ** (j + 1) for j in tokens]
    zeta_1 = [gamma ** (size - j - 1) for j in tokens_1]
    xi_1 = [gamma ** (j + 1) for j in tokens_1]
    no_zeta = [1.0] * size

    # The last version of the paper with its tokens counted from 0 is what we compute.
    assert max(errors(zeta, xi)) <= 1e-10
    output, state = chunkwise(q, k, v, torch.tensor([gamma], dtype=torch.float64), None, size)
    assert (output - expected).abs().max() <= 1e-10
    assert (state - expected_state).abs().max() <= 1e-10

    # Its first version: R_i = K^T V + gamma^B R_{i-1}, read as (Q R_i) * xi. The authors took
    # R_i back (microsoft/unilm issue 1213) and added zeta later; neither half alone is right.
    assert errors(no_zeta, xi, "R_i")[0] > 0.1
    assert errors(no_zeta, xi)[0] > 0.1
    assert errors(zeta, xi, "R_i")[0] > 0.1

    # The last version with a chunk's tokens counted from 1, as in its x_[i] = [x_{(i-1)B+1}, ..]:
    # either power alone spoils the output; together they cancel there, but leave a state that is
    # not that of equation 6, so a text could not go on in another mode.
    assert errors(zeta, xi_1)[0] > 0.1
    assert errors(zeta_1, xi)[0] > 0.1
    assert errors(zeta_1, xi_1)[0] <= 1e-10
    assert errors(zeta_1, xi_1)[1] > 0.1


def test_decay_does_not_underflow_where_dividing_powers_does() -> None:
    gamma, length = 0.96875, 6000
    position = torch.arange(length)
    powers = torch.tensor(gamma) ** position
    divided = powers[-64:, None] / powers[None, -64:]
    assert not torch.isfinite(divided).any()  # 0 / 0: the trap

    g = torch.tensor([gamma], dtype=torch.float64)
    window = decay_matrix(g, position[-64:], position[-64:], torch.float32)[0]
    for n, m in ((0, 0), (63, 62), (63, 0), (40, 17)):
        assert float(window[n, m]) == pytest.approx(gamma ** (n - m), rel=1e-5)

    q, k, v = (x.float() for x in draw_qkv(3, 1, 1, length, 2, 2))
    expected, expected_state = by_steps(q, k, v, g)
    output, state = chunkwise(q, k, v, g, chunk_size=4500)
    assert torch.isfinite(output).all()
    assert relative(output[:, :, -64:], expected[:, :, -64:]) <= 1e-4
    assert relative(state, expected_state) <= 1e-4


def test_gamma_of_1_forgets_nothing() -> None:
    q, k, v = draw_qkv(9, 1, 1, 40, 3, 2)
    total = sum(torch.outer(k[0, 0, m], v[0, 0, m]) for m in range(40))
    for mode in MODES:
        _, state = retain(
            q, k, v, torch.tensor([1.0], dtype=torch.float64), mode=mode, chunk_size=7
        )
        assert (state[0, 0] - total).abs().max() <= 1e-10


@pytest.mark.parametrize("mode", MODES)
def test_bfloat16_inputs_keep_a_float32_state(mode: str) -> None:
    gamma = torch.tensor([0.96875, 0.984375], dtype=torch.float64)
    q, k, v = (x.bfloat16() for x in draw_qkv(6, 2, 2, 50, 8, 8))
    expected, expected_state = by_steps(q, k, v, gamma)
    first, state = retain(*(x[:, :, :20] for x in (q, k, v)), gamma, None, mode, 16)
    second, state = retain(*(x[:, :, 20:] for x in (q, k, v)), gamma, state, mode, 16)
    output = torch.cat((first, second), dim=2)
    assert output.dtype == torch.bfloat16
    assert state.dtype == torch.float32
    assert relative(output, expected) <= 2e-2  # bfloat16 has 8 bits: 0.4 % a rounding
    assert relative(state, expected_state) <= 1e-5  # the state is not rounded


def test_an_unknown_mode_and_an_empty_chunk_are_refused() -> None:
    q, k, v = draw_qkv(0, 1, 1, 3, 2, 2)
    gamma = torch.tensor([0.9], dtype=torch.float64)
    with pytest.raises(ValueError, match=r"mode must be one of .*'sideways'"):
        retain(q, k, v, gamma, mode="sideways")
    with pytest.raises(ValueError, match="chunk_size must be 1 or more, not 0"):
        chunkwise(q, k, v, gamma, chunk_size=0)


def test_the_named_forms_are_the_functions_of_that_name() -> None:
    q, k, v = draw_qkv(8, 1, 1, 9, 2, 2)
    gamma = torch.tensor([0.9], dtype=torch.float64)
    for mode, form in (("parallel", parallel), ("recurrent", recurrent)):
        assert torch.equal(retain(q, k, v, gamma, mode=mode)[0], form(q, k, v, gamma)[0])
    assert torch.equal(
        retain(q, k, v, gamma, mode="chunkwise", chunk_size=4)[0],
        chunkwise(q, k, v, gamma, chunk_size=4)[0],
    )
