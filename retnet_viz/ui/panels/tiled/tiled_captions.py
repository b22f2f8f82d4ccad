"""What a tiled matrix says in words: of its pictures, its pixels and its tokens. Plain text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from retnet_viz.figures.base.captions import number, pluralize
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.reading.planes import SIGNED
from retnet_viz.trace.tiles.pictures import View

MOST_NAMED = 256  # rows of a picture of single cells up to which the tokens' text goes with it
NOUNS = {"retention": "weight", "scores": "score", "decay": "decay"}

Pieces = Callable[[int, int], Sequence[str]]


def note(kind: str, views: Mapping[int, View]) -> str:
    """What pictures of heads, all of one window, show: for a student."""
    noun = NOUNS[kind]
    exact = {head: view for head, view in views.items() if view.exact}
    bounds = [head for head, view in views.items() if not view.exact]
    sentences = [_pixel_note(kind, next(iter(views.values())).tokens_per_pixel)] if exact else []
    if bounds:
        sentences.append(
            f"{heads_are(bounds)} grey: too many {noun}s to compute, so each pixel shows an upper "
            f"bound, max ‖q‖ max ‖k‖{'' if kind == 'scores' else ' γⁿ⁻ᵐ'}. No {noun} is larger, "
            "and the largest may be much smaller. Zoom in for the values."
        )
    omission = _omission_note(noun, views)
    return " ".join([*sentences, omission] if omission else sentences)


def _pixel_note(kind: str, pixel: int) -> str:
    noun = NOUNS[kind]
    if pixel == 1:
        return f"Each square is one {noun}."
    sign = ", with its sign" if SIGNED[kind] else ""
    return (
        f"{pixel:,} tokens per pixel: each pixel shows the largest of {pixel:,} × {pixel:,} "
        f"{noun}s{sign}."
    )


def _omission_note(noun: str, views: Mapping[int, View]) -> str:
    """What was not computed."""
    bound = max(view.bound for view in views.values())
    reaches = {head: view.reach for head, view in views.items() if view.reach is not None}
    if not reaches:
        if not bound:
            return ""
        return f"Blocks with no {noun} over {at_least(bound)}, half a colour step, are left out."
    short, long = (pick(reaches, key=lambda head: reaches[head]) for pick in (min, max))
    text = f"From {pluralize(reaches[short], 'token')} back on"
    if reaches[short] != reaches[long]:
        text += f" in head {short} and from {reaches[long]:,} in head {long}"
    return f"{text} γⁿ⁻ᵐ leaves at most {at_least(bound)}, under half a colour step: not computed."


def token_names(pieces: Pieces | None, tokens: range) -> list[str]:
    """The text of tokens as people see it; nothing where there are too many to be written."""
    if pieces is None or len(tokens) > MOST_NAMED:
        return []
    return [visible(piece) for piece in pieces(tokens.start, tokens.stop)]


def pixel_labels(pieces: Pieces | None, tokens: range, pixel: int) -> list[str]:
    """The names of the pixels along one side of a table."""
    spans = [tokens[i : i + pixel] for i in range(0, len(tokens), pixel)]
    names = token_names(pieces, tokens) if pixel == 1 else []
    if not names:
        return [span_of(span) for span in spans]
    return [f"{span.start:,} “{name}”" for span, name in zip(spans, names, strict=True)]


def entry(value: float, bound: float) -> str:
    """A value in a table; what was not computed, being at most `bound`, is told from a true 0."""
    if math.isnan(value):
        return ""
    return number(value) if value or not bound else "≈ 0"


def span_of(tokens: range) -> str:
    """Tokens by number: 7, or 7–9."""
    return f"{tokens.start:,}" + (f"–{tokens[-1]:,}" if len(tokens) > 1 else "")


def heads_are(heads: Sequence[int]) -> str:
    """The beginning of a sentence: Head 2 is, or Heads 0 and 2 are."""
    if len(heads) == 1:
        return f"Head {heads[0]} is"
    return f"Heads {', '.join(map(str, heads[:-1]))} and {heads[-1]} are"


def at_least(value: float) -> str:
    """A number of two digits that is no smaller."""
    if not value:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return number(math.ceil(value / unit - 1e-9) * unit)
