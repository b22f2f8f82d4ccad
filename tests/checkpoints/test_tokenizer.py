"""Any text becomes ids and comes back; each token has a text of its own."""

from __future__ import annotations

import json
from itertools import pairwise, product
from pathlib import Path

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from retnet_viz.checkpoints import Tokenizer
from tests.support.examples import examples

UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


@given(text=UNICODE)
@settings(max_examples=examples(150))
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
    extended = Tokenizer.from_file(tmp_path / "tokenizer.json")
    extended.backend.add_tokens([tokenizers.AddedToken("two words é", special=False)])
    extended = Tokenizer(extended.backend)
    ids = extended.encode("a two words é b")
    assert 300 in ids
    assert extended.piece(300) == "two words é"
    assert extended.decode(ids) == "a two words é b"
    assert extended.vocab_size == 301


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


# Rich in seams: contractions, runs of spaces, added tokens and parts of them, halves of pairs,
# characters whose kind Unicode versions or regular expression engines see differently.
SEAMS = [
    *("a", "B", "é", "字", "ß", "1", "٣", "²", "Ⅷ", "!", "'", "’", "🦊", "\u0301", "\u200d", "_"),
    *(" ", "  ", "\n", "\r\n", "\t", "\x1c", "\x85", "\xa0", "\u180e", "\u2028", "\u3000"),
    *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "s", "r", "e", "l", "the", " fox"),
    *("<|endofstory|>", "<|", "<|endof", "story", "|>", "|", ">", "\ud83e", "\udd8a", "\ufeff"),
]  # fmt: skip
TEXTS = st.lists(st.one_of(st.sampled_from(SEAMS), st.characters()), max_size=14).map("".join)


def words(tokenizer: Tokenizer, text: str) -> list[tuple[int, bool]]:
    """Ids, each with whether a word begins there: few words of a tiny vocabulary are one token, so
    ids alone would often be those of a text that was cut in mid-word too."""
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    encoding = tokenizer.backend.encode(clean)
    assert encoding.ids == tokenizer.encode(text)
    begins = [a != b for a, b in pairwise([None, *encoding.word_ids])]
    return list(zip(encoding.ids, begins, strict=True))


def ends_of_words(tokenizer: Tokenizer, text: str) -> set[int]:
    return {i for i in range(1, len(text)) if tokenizer.is_boundary(text[i - 1], text[i])}


@given(left=TEXTS, right=TEXTS)
@settings(max_examples=examples(500))
@example("a<|endof", "story|> b")
@example("x \n", "\n y")
@example("don", "'t 'll")
def test_a_text_may_be_cut_at_any_boundary(
    tiny_tokenizer: Tokenizer, left: str, right: str
) -> None:
    text = left + right
    whole = words(tiny_tokenizer, text)
    for cut in ends_of_words(tiny_tokenizer, text):
        left, right = words(tiny_tokenizer, text[:cut]), words(tiny_tokenizer, text[cut:])
        assert whole == left + right, cut


@pytest.mark.slow
def test_every_pair_of_kinds_may_be_cut_whatever_stands_around_it(
    tiny_tokenizer: Tokenizer,
) -> None:
    # all short texts of one character per kind, of those that contractions are made of, and more
    for text in map("".join, product("ls1!' \n", repeat=5)):
        whole = words(tiny_tokenizer, text)
        for cut in ends_of_words(tiny_tokenizer, text):
            left, right = words(tiny_tokenizer, text[:cut]), words(tiny_tokenizer, text[cut:])
            assert whole == left + right


def test_the_words_of_a_text_end_where_boundaries_are(tiny_tokenizer: Tokenizer) -> None:
    text = "The fox, aged 12, didn't run.\nWhy?"
    cuts = [0, *sorted(ends_of_words(tiny_tokenizer, text)), len(text)]
    assert [text[a:b] for a, b in pairwise(cuts)] == [
        *("The", " fox", ",", " aged", " 12", ",", " didn", "'t", " run", ".", "\nWhy", "?")
    ]
    assert tiny_tokenizer.next_boundary(text, 1) == 3
    assert tiny_tokenizer.next_boundary(text, 3) == 3
    assert tiny_tokenizer.next_boundary(text, 4) == 7
    assert tiny_tokenizer.next_boundary(text, len(text) - 1) == len(text) - 1
    assert tiny_tokenizer.next_boundary(text, len(text)) == len(text)
    assert tiny_tokenizer.next_boundary("", 1) == 0


@pytest.mark.parametrize("pair", ["ab", "12", "!?", " a", "\na", "  ", "'s", "'1", "\ud83e\udd8a"])
def test_no_boundary_where_a_word_may_go_on(tiny_tokenizer: Tokenizer, pair: str) -> None:
    assert not tiny_tokenizer.is_boundary(*pair)


def test_no_boundary_inside_an_added_token(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert not tiny_tokenizer.is_boundary("|", "e")  # <|endofstory|>
    assert not tiny_tokenizer.is_boundary("y", "|")
    tiny_tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    backend = Tokenizer.from_file(tmp_path / "tokenizer.json").backend
    backend.add_tokens([tokenizers.AddedToken("fox 1", special=False, normalized=False)])
    extended = Tokenizer(backend)
    assert tiny_tokenizer.is_boundary("x", " ")
    assert not extended.is_boundary("x", " ")
    assert extended.is_boundary("e", " ")


@pytest.mark.parametrize("change", ["normalizer", "prefix", "words", "strip", "whole", "template"])
def test_a_tokenizer_that_splits_differently_has_no_boundaries(
    tiny_tokenizer: Tokenizer, tmp_path: Path, change: str
) -> None:
    tiny_tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    backend = Tokenizer.from_file(tmp_path / "tokenizer.json").backend
    if change == "normalizer":
        backend.normalizer = tokenizers.normalizers.NFC()
    elif change == "prefix":
        backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=True)
    elif change == "words":
        backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=False, use_regex=False
        )
    elif change == "template":
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single="<|endofstory|> $A", special_tokens=[("<|endofstory|>", 0)]
        )
    else:
        option = {"strip": {"rstrip": True}, "whole": {"single_word": True}}[change]
        backend.add_tokens([tokenizers.AddedToken("owl", **option)])
    text = "the red kite, 12 owls"
    changed = Tokenizer(backend)
    assert ends_of_words(tiny_tokenizer, text)
    assert not ends_of_words(changed, text)
    assert changed.next_boundary(text, 1) == len(text)


def test_each_character_is_of_the_kind_that_the_pre_tokenizer_sees(
    tiny_tokenizer: Tokenizer,
) -> None:
    kinds = {"é": "a", "字": "a", "٣": "1", "Ⅷ": "1", "🦊": "!", "\u0301": "!", "'": "!"}
    kinds |= dict.fromkeys("\t\n\r\x85\xa0\u2028\u3000", " ")
    for character, kind in kinds.items():
        for other in "a1! ":
            cut = tiny_tokenizer.is_boundary(other, character)
            assert cut == (other not in (" ", kind)), (other, character)
