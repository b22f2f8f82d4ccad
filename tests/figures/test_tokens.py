"""Tokens as labels: no Unicode text breaks a line, a page or the order of the reading."""

from __future__ import annotations

import html
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retnet_viz.figures.base.tokens import escape_token, visible
from tests.support.examples import examples

ODD = st.sampled_from(
    [
        *("\x00", "\n", "\r", "\t", "\x1b", "\x7f", "\x85", "\xa0", "\xad", " "),
        *("\u0301", "\u20dd", "\ufe0f", "\u200b", "\u200d", "\u202e", "\u2066", "\u2069"),
        *("\u2028", "\u2029", "\u3000", "\ufeff", "\ud800", "\ue000", "\U000e0041", "\U0001f98a"),
        *("<", ">", "&", "<script>", "</b>", '"', "'", "&lt;", "\\", "·"),
    ]
)
TEXTS = st.lists(st.one_of(ODD, st.characters(), st.characters(categories=["Cc", "Cf"]))).map(
    "".join
)
MANY = settings(max_examples=examples(150))


@MANY
@given(TEXTS)
def test_nothing_invisible_is_left_in_a_label(token: str) -> None:
    text = visible(token)
    assert len(text) <= 24
    for character in text:
        category = unicodedata.category(character)
        assert category not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"), hex(ord(character))
    assert len(text.splitlines()) <= 1
    assert bool(text) is bool(token)
    if text:  # a mark must not land on the character before the label
        assert not unicodedata.category(text[0]).startswith("M")
    text.encode("utf-8")


@MANY
@given(TEXTS)
def test_an_escaped_label_is_text_to_whoever_reads_html(token: str) -> None:
    label = escape_token(token)
    assert "<" not in label
    assert ">" not in label
    assert html.unescape(label) == visible(token)


@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=24))
def test_plain_text_is_shown_as_it_is(token: str) -> None:
    assert visible(token) == token


@given(st.text(st.sampled_from("abcé漢🦊"), min_size=25, max_size=60))
def test_a_long_token_ends_in_an_ellipsis(token: str) -> None:
    assert visible(token) == token[:23] + "…"


@pytest.mark.parametrize(
    ("token", "text"),
    [
        ("", ""),
        (" a", "·a"),
        ("\n", "⏎"),
        ("\t", "⇥"),
        ("\r", "␍"),
        ("\x00", "␀"),
        ("\x1b", "␛"),
        ("\x7f", "␡"),
        ("\x85", "\\u0085"),
        ("\u202e", "\\u202e"),
        ("\u200b", "\\u200b"),
        ("\xa0", "\\u00a0"),
        ("\ud800", "\\ud800"),
        ("\u0301", "\u25cc\u0301"),
        ("\u20dd", "\u25cc\u20dd"),
        ("\ufe0f", "\u25cc\ufe0f"),
        ("e\u0301", "e\u0301"),
        ("\\xe2", "\\xe2"),
        ("🦊", "🦊"),
    ],
)
def test_what_has_no_shape_of_its_own_gets_one(token: str, text: str) -> None:
    assert visible(token) == text


def test_a_script_is_shown_and_not_run() -> None:
    assert escape_token("<script>&") == "&lt;script&gt;&amp;"
