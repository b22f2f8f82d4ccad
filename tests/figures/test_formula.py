"""Formulas: well-formed MathML that holds the symbols and the numbers of the step, no others."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retnet_viz import terms
from retnet_viz.figures.steps.formula import MOST_TERMS, formula, gamma_number, number
from retnet_viz.model import MODES, RetNet
from retnet_viz.trace import Trace, trace

ModelFactory = Callable[..., RetNet]
GAMMAS = (0.96875, 0.5)


def make(tiny_model: ModelFactory, mode: str, length: int = 11, chunk_size: int = 4) -> Trace:
    model = tiny_model(decay=GAMMAS, n_layers=1)
    return trace(model, torch.arange(length) * 7 % 300, mode, chunk_size)


def parse(sample: Trace, head: int, n: int) -> ElementTree.Element:
    return ElementTree.fromstring(formula(terms(sample, 0, head, n)))


def text(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


def equations(math_element: ElementTree.Element) -> list[list[str]]:
    """The text of each equation, row by row."""
    return [[text(cell) for cell in row] for row in math_element.iter("mtr")]


def term(element: ElementTree.Element, key: str) -> list[ElementTree.Element]:
    return element.findall(f".//mrow[@data-term='{key}']")


def norm(values: torch.Tensor) -> str:
    return f"‖·‖ {number(math.sqrt((values.double() ** 2).sum().item()))}"


# -- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (-0.0, "0"), (1, "1"), (0.41234, "0.412"), (-0.41234, "−0.412"), (4.118, "4.12"),
        (56123.0, "56,100"), (-1234.5, "−1,230"), (0.001, "0.001"), (3.14159e-7, "3.14 × 10⁻⁷"),
        (-2e-4, "−2 × 10⁻⁴"), (9.999e-5, "1 × 10⁻⁴"), (1234567.0, "1.23 × 10⁶"),
        (999499.0, "999,000"), (999600.0, "1 × 10⁶"), (2.5e12, "2.5 × 10¹²"),
        (math.inf, "∞"), (-math.inf, "−∞"), (math.nan, "not a number"),
    ],
)  # fmt: skip
def test_numbers_have_three_digits_and_a_true_minus(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(-1e300, 1e300))
def test_a_number_reads_as_its_value_to_three_digits(value: float) -> None:
    shown = number(value)
    assert "-" not in shown
    powers = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
    plain = shown.replace("−", "-").replace(",", "").replace(" × 10", "e").translate(powers)
    assert float(plain) == pytest.approx(value, rel=5.1e-3)
    digits = re.sub(r"[^0-9]", "", plain.split("e")[0]).strip("0")
    assert len(digits) <= 3


@pytest.mark.parametrize(
    ("gamma", "shown"),
    [(0.96875, "0.96875"), (1 - 2**-9, "0.998047"), (1 - 2**-10, "0.999023"), (0.5, "0.5"),
     (1.0, "1"), (1 - 2**-22, "1 − 2.38 × 10⁻⁷")],
)  # fmt: skip
def test_decays_that_differ_look_different(gamma: float, shown: str) -> None:
    assert gamma_number(gamma) == shown


# -- the three equations ------------------------------------------------------------------------


@pytest.mark.parametrize("head", [0, 1])
@pytest.mark.parametrize("n", [0, 7])
def test_the_recurrent_formula(head: int, n: int, tiny_model: ModelFactory) -> None:
    sample = make(tiny_model, "recurrent")
    step_terms = terms(sample, 0, head, n)
    symbols, numbers = equations(parse(sample, head, n))
    last = "−1" if n == 0 else "6"
    assert symbols == [f"S{n}=γS{last}+k{n}Tv{n}", f"o{n}=q{n}S{n}"]
    gamma = GAMMAS[head]
    assert numbers == [
        f"S{n}{norm(step_terms.state)}={gamma}·S{last}{norm(step_terms.before)}+k{n}Tv{n}{norm(step_terms.added)}",
        f"o{n}{norm(step_terms.output)}=q{n}{norm(step_terms.q)}S{n}{norm(step_terms.state)}",
    ]
    element = parse(sample, head, n)
    for key in ("state", "faded", "before", "added", "q", "output"):
        assert term(element, key), key
    assert text(term(element, "before")[1]) == f"S{last}{norm(step_terms.before)}"
    assert text(term(element, "added")[1]) == f"k{n}Tv{n}{norm(step_terms.added)}"
    assert text(term(element, "faded")[0]) == f"γS{last}"


@pytest.mark.parametrize("n", [0, 1, MOST_TERMS - 1, MOST_TERMS, MOST_TERMS + 1, 10])
def test_the_parallel_formula_writes_out_the_largest_terms(
    n: int, tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, "parallel")
    step_terms = terms(sample, 0, 1, n)
    element = parse(sample, 1, n)
    (symbols,), (numbers,) = equations(element)
    assert symbols == f"o{n}=∑m≤{n}(qn×γ)vm".replace("qn", f"q{n}kmT").replace("γ", f"γ{n}−m")
    order = sorted(range(n + 1), key=lambda m: -abs(step_terms.weights[m].item()))[:MOST_TERMS]
    numbers_in_terms = [
        f"({number(step_terms.scores[m].item())}×{number(step_terms.decay[m].item())}γ{n - m})v{m}"
        for m in order
    ]
    rest = n + 1 - len(order)
    expected = "+".join([*numbers_in_terms, f"{rest} more"] if rest else numbers_in_terms)
    assert numbers == f"o{n}={expected}"
    keys = [e.get("data-term") for e in element.iter() if str(e.get("data-term")).startswith("m:")]
    assert keys == [f"m:{m}" for m in order]
    for m, shown in zip(order, numbers_in_terms, strict=True):
        assert [text(e) for e in term(element, f"m:{m}")] == [shown]


@pytest.mark.parametrize(("n", "chunk", "j", "count"), [(2, 0, 2, 4), (4, 1, 0, 4), (10, 2, 2, 3)])
def test_the_chunkwise_formula(
    n: int, chunk: int, j: int, count: int, tiny_model: ModelFactory
) -> None:
    sample = make(tiny_model, "chunkwise")
    step_terms = terms(sample, 0, 0, n)
    gamma, last = GAMMAS[0], str(chunk - 1).replace("-", "−")
    symbols, numbers = equations(parse(sample, 0, n))
    weights = f"(q{n}K{chunk}T⊙D{j})"
    added = f"K{chunk}T(V{chunk}⊙ζ)"
    assert symbols == [
        f"o{n}={weights}V{chunk}+ξ{j}·q{n}S{last}",
        f"S{chunk}={added}+γ{count}·S{last}",
    ]
    xi, whole = number(gamma ** (j + 1)), number(gamma**count)
    assert numbers == [
        f"o{n}{norm(step_terms.output[j])}={weights}V{chunk}{norm(step_terms.inner[j])}"
        f"+{xi}·q{n}S{last}{norm(step_terms.cross[j])}",
        f"S{chunk}{norm(step_terms.state)}={added}{norm(step_terms.added)}+{whole}·S{last}{norm(step_terms.before)}",
    ]
    element = parse(sample, 0, n)
    assert [text(e) for e in term(element, "weights")] == [weights] * 2
    assert text(term(element, "inner")[0]) == f"{weights}V{chunk}"
    assert text(term(element, "cross")[0]) == f"ξ{j}·q{n}S{last}"


@pytest.mark.parametrize("mode", MODES)
@given(data=st.data())
def test_every_formula_is_mathml_of_known_elements(
    mode: str, data: st.DataObject, tiny_model: ModelFactory
) -> None:
    length, chunk_size = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 10))
    sample = make(tiny_model, mode, length, chunk_size)
    n = data.draw(st.integers(0, length - 1))
    element = parse(sample, data.draw(st.integers(0, 1)), n)
    assert element.tag == "math"
    assert element.get("display") == "block"
    counts = {"msub": 2, "msup": 2, "munder": 2, "msubsup": 3}
    for step_terms in element.iter():
        assert len(step_terms) == counts.get(step_terms.tag, len(step_terms)), step_terms.tag
        assert step_terms.tag in {
            "math", "mtable", "mtr", "mtd", "mrow", "mi", "mn", "mo", "mtext", "mspace", *counts
        }  # fmt: skip
    assert "-" not in text(element)  # a hyphen is no minus
    assert len({len(row) for row in equations(element)}) == 1


def test_a_formula_of_zeros_and_of_a_head_that_never_forgets(tiny_model: ModelFactory) -> None:
    model = tiny_model(decay=(1.0, 0.5), n_layers=1)
    with torch.no_grad():
        model.blocks[0].retention.v_proj.weight.zero_()
    for mode in MODES:
        sample = trace(model, torch.arange(6), mode, 4)
        shown = text(parse(sample, 0, 5))
        assert "not a number" not in shown
        assert "∞" not in shown
