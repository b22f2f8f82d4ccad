"""Any text becomes ids and comes back; each token has a text of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retnet_viz.checkpoints import Tokenizer

UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


@given(text=UNICODE)
@settings(max_examples=150)
@example("")
@example("\x00\x01\x7f\ufeff\ufffd")
@example("\r\n \t\n  two  spaces ")
@example("🦊👩‍👩‍👧🏽 שלום مرحبا e\u0301\u0302 ﷽ \u202e\u2066")
@example("once <|endofstory|> more <|endofstory")
@example("Ġ Ċ Ñ")  # characters that byte-level vocabularies use for bytes
def test_any_text_comes_back(tiny_tokenizer: Tokenizer, text: str) -> None:
    ids = tiny_tokenizer.encode(text)
    assert all(0 <= token_id < tiny_tokenizer.vocab_size for token_id in ids)
    assert tiny_tokenizer.decode(ids) == text


@given(text=st.text(st.sampled_from("a🦊\ud800\udbff\udc00\udfff"), max_size=8))
def test_lone_surrogates_become_the_replacement_character(
    tiny_tokenizer: Tokenizer, text: str
) -> None:
    decoded = tiny_tokenizer.decode(tiny_tokenizer.encode(text))
    assert decoded == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if text in ("\ud800", "\udc00"):
        assert decoded == "\ufffd"


def test_one_lone_surrogate_is_one_replacement_character(tiny_tokenizer: Tokenizer) -> None:
    assert tiny_tokenizer.decode(tiny_tokenizer.encode("a\ud800b")) == "a\ufffdb"
    assert tiny_tokenizer.decode(tiny_tokenizer.encode("\ud83e\udd8a")) == "🦊"  # a whole pair


@given(text=st.text(st.characters(max_codepoint=127)))
def test_the_pieces_of_a_text_of_whole_tokens_join_to_it(
    tiny_tokenizer: Tokenizer, text: str
) -> None:
    pieces = [tiny_tokenizer.piece(token_id) for token_id in tiny_tokenizer.encode(text)]
    assert "".join(pieces) == text


def test_learned_tokens_are_longer_than_bytes(tiny_tokenizer: Tokenizer) -> None:
    pieces = [tiny_tokenizer.piece(i) for i in tiny_tokenizer.encode("the red kite and the fox")]
    assert len(pieces) < len("the red kite and the fox") / 2
    assert " kite" in pieces


@pytest.mark.parametrize("character", ["é", "€", "🦊"])
def test_bytes_that_are_part_of_a_character_show_their_hexadecimal_value(
    tiny_tokenizer: Tokenizer, character: str
) -> None:
    ids = tiny_tokenizer.encode(character)
    expected = [f"\\x{byte:02x}" for byte in character.encode()]
    assert [tiny_tokenizer.piece(token_id) for token_id in ids] == expected
    assert tiny_tokenizer.decode(ids[:-1]).endswith("\ufffd")  # never an error in mid-character


def test_every_id_has_a_piece_and_others_are_refused(tiny_tokenizer: Tokenizer) -> None:
    pieces = [tiny_tokenizer.piece(i) for i in range(tiny_tokenizer.vocab_size)]
    assert len(set(pieces)) == tiny_tokenizer.vocab_size == 300
    assert "<|endofstory|>" in pieces
    with pytest.raises(ValueError, match="token id 300 is not in the vocabulary of 300"):
        tiny_tokenizer.piece(300)


def test_added_tokens_are_plain_text(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    tiny_tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    grown = Tokenizer.from_file(tmp_path / "tokenizer.json")
    grown.backend.add_tokens([tokenizers.AddedToken("two words é", special=False)])
    grown = Tokenizer(grown.backend)
    ids = grown.encode("a two words é b")
    assert 300 in ids
    assert grown.piece(300) == "two words é"
    assert grown.decode(ids) == "a two words é b"
    assert grown.vocab_size == 301


def test_a_gap_in_the_ids_counts_as_part_of_the_vocabulary(
    tiny_tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tiny_tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] = 999
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert Tokenizer.from_file(tmp_path / "tokenizer.json").vocab_size == 1000
