"""The equation of a mode at one step, in MathML: its symbols, and the numbers of the step in it.

Browsers typeset MathML themselves, so a formula needs no script and no network. Every term stands
in `<mrow data-term="KEY">`, by which a page can light it together with its picture (see `scene`);
the keys are those of `scene.Picture.term`, and "m:12" for what token 12 gives.
"""

from __future__ import annotations

import html
import math

from torch import Tensor, linalg

from retnet_viz.figures.base import captions
from retnet_viz.trace import ChunkTerms, ParallelTerms, RecurrentTerms

MOST_TERMS = 5  # of a sum over tokens, those that are written out
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_MINUS = "−"


def number(value: float) -> str:
    """Three significant digits as text: −0.41, 56,100, 3.1 × 10⁻⁷."""
    if not math.isfinite(value):
        return {math.inf: "∞", -math.inf: f"{_MINUS}∞"}.get(value, "not a number")
    if value and not 1e-3 <= abs(value) < 999_500:
        mantissa, exponent = f"{value:.2e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".").replace("-", _MINUS)
        return f"{mantissa} × 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return captions.number(value + 0.0).replace("-", _MINUS)  # + 0.0: there is no minus zero


def gamma_number(gamma: float) -> str:
    """A decay to six digits: heads whose decays differ must not look alike, 0.998047 and 0.999023.

    What rounds to 1 without being 1 keeps its distance from 1 in three digits.
    """
    text = f"{gamma:.6g}"
    return f"1 {_MINUS} {number(1 - gamma)}" if text == "1" and gamma != 1 else text


def formula(terms: ParallelTerms | RecurrentTerms | ChunkTerms) -> str:
    """The `<math>` element of one step: a row of equations, then the same with their numbers.

    Each equation is a cell of its own, so that a page can let them wrap.
    """
    if isinstance(terms, ParallelTerms):
        lines = _parallel(terms)
    elif isinstance(terms, RecurrentTerms):
        lines = [_recurrent(terms, with_numbers) for with_numbers in (False, True)]
    else:
        lines = [_chunkwise(terms, with_numbers) for with_numbers in (False, True)]
    rows = "".join(
        f"<mtr>{''.join(f'<mtd>{equation}</mtd>' for equation in line)}</mtr>" for line in lines
    )
    return f'<math display="block"><mtable columnalign="left">{rows}</mtable></math>'


# -- the three modes ----------------------------------------------------------------------------


def _parallel(terms: ParallelTerms) -> list[list[str]]:
    """o_n as the sum over all m, and as the largest terms of that sum."""
    n = terms.n
    output = _term("output", _sub("o", n))
    distance = _row(_number(str(n)), _op(_MINUS), _name("m"))
    symbols = _row(
        output,
        _op("="),
        f"<munder><mo>∑</mo>{_row(_name('m'), _op('≤'), _number(str(n)))}</munder>",
        _term(
            "weights",
            _op("("),
            _term("scores", _sub("q", n), _transpose("k", _name("m"))),
            _op("×"),
            _term("decay", _power("γ", distance)),
            _op(")"),
        ),
        _term("values", f"<msub>{_name('v')}{_name('m')}</msub>"),
    )
    scores, decay, weights = (x.tolist() for x in (terms.scores, terms.decay, terms.weights))
    largest = sorted(range(n + 1), key=lambda m: -abs(weights[m]))[:MOST_TERMS]
    products = [
        _term(
            f"m:{m}",
            _op("("),
            _value(scores[m]),
            _op("×"),
            _under(_value(decay[m]), _power("γ", _number(str(n - m)))),
            _op(")"),
            _sub("v", m),
        )
        for m in largest
    ]
    if n + 1 > len(largest):
        products.append(_text(f"{n + 1 - len(largest):,} more"))
    return [[symbols], [_row(output, _op("="), _op("+").join(products))]]


def _recurrent(terms: RecurrentTerms, with_numbers: bool) -> list[str]:
    """The new state and the output; `with_numbers` gives gamma as a number, and terms' norms."""
    n = terms.n

    def annotate(symbol: str, values: Tensor) -> str:
        return _under(symbol, _norm(values)) if with_numbers else symbol

    gamma = _row(_number(gamma_number(terms.gamma)), _op("·")) if with_numbers else _name("γ")
    product = _row(_transpose("k", _number(str(n))), _sub("v", n))
    before = _term("before", annotate(_sub("S", n - 1), terms.before))
    state = _term("state", annotate(_sub("S", n), terms.state))
    return [
        _row(
            state,
            _op("="),
            _term("faded", gamma, before),
            _op("+"),
            _term("added", annotate(product, terms.added)),
        ),
        _row(
            _term("output", annotate(_sub("o", n), terms.output)),
            _op("="),
            _term("q", annotate(_sub("q", n), terms.q)),
            '<mspace width="0.4em"/>' if with_numbers else "",  # their norms would touch
            state,
        ),
    ]


def _chunkwise(terms: ChunkTerms, with_numbers: bool) -> list[str]:
    """The output of token n and the new state; `with_numbers` also gives numbers and norms."""
    i, n, length = terms.chunk, terms.n, len(terms.tokens)
    j = n - terms.tokens.start  # the token's number within the chunk

    def annotate(symbol: str, values: Tensor) -> str:
        return _under(symbol, _norm(values)) if with_numbers else symbol

    def power(symbol: str, exponent: int) -> str:
        return _value(terms.gamma**exponent) if with_numbers else symbol

    weights = _term(
        "weights",
        _op("("),
        _sub("q", n),
        _transpose("K", _number(str(i))),
        _op("⊙"),
        _sub("D", j),
        _op(")"),
    )
    before = _sub("S", i - 1)
    cross = _row(power(_sub("ξ", j), j + 1), _op("·"), _sub("q", n), _term("before", before))
    update = _row(
        _transpose("K", _number(str(i))), _op("("), _sub("V", i), _op("⊙"), _name("ζ"), _op(")")
    )
    return [
        _row(
            _term("output", annotate(_sub("o", n), terms.output[j])),
            _op("="),
            _term("inner", annotate(_row(weights, _sub("V", i)), terms.inner[j])),
            _op("+"),
            _term("cross", annotate(cross, terms.cross[j])),
        ),
        _row(
            _term("state", annotate(_sub("S", i), terms.state)),
            _op("="),
            annotate(update, terms.added),
            _op("+"),
            power(_power("γ", _number(str(length))), length),
            _op("·"),
            _term("before", annotate(before, terms.before)),
        ),
    ]


# -- MathML -------------------------------------------------------------------------------------


def _row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def _term(key: str, *parts: str) -> str:
    return f'<mrow data-term="{html.escape(key)}">{"".join(parts)}</mrow>'


def _name(symbol: str) -> str:
    return f"<mi>{symbol}</mi>"


def _op(sign: str) -> str:
    # As ordinary signs: an operator that stretches would grow with the norms under its terms.
    return f'<mo stretchy="false">{sign}</mo>'


def _number(text: str) -> str:
    """A number that is text already; a minus before it becomes an operator."""
    if text.startswith(("-", _MINUS)):
        return _row(_op(_MINUS), f"<mn>{text[1:]}</mn>")
    return f"<mn>{text}</mn>"


def _value(value: float) -> str:
    return _number(number(value))


def _text(text: str) -> str:
    return f"<mtext>{html.escape(text, quote=False)}</mtext>"


def _sub(symbol: str, index: int) -> str:
    return f"<msub>{_name(symbol)}{_number(str(index))}</msub>"


def _transpose(symbol: str, index: str) -> str:
    return f'<msubsup>{_name(symbol)}{index}<mi mathvariant="normal">T</mi></msubsup>'


def _power(symbol: str, exponent: str) -> str:
    return f"<msup>{_name(symbol)}{exponent}</msup>"


def _under(term: str, below: str) -> str:
    return f"<munder>{term}{below}</munder>"


def _norm(values: Tensor) -> str:
    """The norm of a term's values, to stand under it."""
    return _text(f"‖·‖ {number(linalg.vector_norm(values.double()).item())}")
