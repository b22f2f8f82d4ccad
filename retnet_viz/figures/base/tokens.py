"""Tokens as people see them: spaces and newlines visible, nothing that breaks a line or a page."""

from __future__ import annotations

import html
import unicodedata
from functools import lru_cache

_LONGEST = 24


@lru_cache(maxsize=65536)  # a text is drawn anew with every keystroke, its tokens hardly change
def visible(token: str) -> str:
    """`token` with its spaces, newlines and control characters visible, at most 24 characters.

    The result is text, not HTML: put it into a page through `textContent` or `escaped`.
    """
    shown = "".join(_visible_character(character) for character in token[: _LONGEST + 1])
    if shown and unicodedata.category(shown[0]).startswith("M"):
        shown = "\u25cc" + shown  # a mark without a letter sits on a dotted circle
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def escaped(token: str) -> str:
    """`visible(token)` for places that read HTML, as plotly's labels do."""
    return html.escape(visible(token), quote=False)


def _visible_character(character: str) -> str:
    named = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍", "\x7f": "␡"}.get(character)
    if named:
        return named
    if character < " ":
        return chr(0x2400 + ord(character))
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or (
        category == "Zs" and character != " "
    ):
        return f"\\u{ord(character):04x}"
    return character
