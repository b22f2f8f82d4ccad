"""Tokens as people see them: spaces and newlines visible, nothing that breaks a line or a page."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_LONGEST = 24


@lru_cache(maxsize=65536)  # a text is drawn anew with every keystroke, its tokens hardly change
def visible(token: str) -> str:
    """`token` with its spaces, newlines and control characters visible, at most 24 characters.

    The result is text, not HTML: put it into a page through `textContent` or `html.escape`.
    """
    text = "".join(_visible_character(character) for character in token[: _LONGEST + 1])
    if text and unicodedata.category(text[0]).startswith("M"):
        text = "\u25cc" + text  # a mark without a letter sits on a dotted circle
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _visible_character(character: str) -> str:
    symbol = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍", "\x7f": "␡"}.get(character)
    if symbol:
        return symbol
    if character < " ":
        return chr(0x2400 + ord(character))
    category = unicodedata.category(character)
    if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") or (
        category == "Zs" and character != " "
    ):
        return f"\\u{ord(character):04x}"
    return character
