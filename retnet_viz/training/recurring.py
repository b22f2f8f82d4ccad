"""Rows of tokens in which something recurs, made from the corpus: a model learns recall from them.

Stories alone teach little of it: there are usually other ways to guess a word than to look back. In
these rows there are none. Each row is of one of these kinds, drawn by the seed:

    random     spans of tokens, each as likely as another
    shuffled   spans of tokens of the corpus in no order
    span       stretches of stories
    sentence   a story in which sentences recur LAGS tokens later, half of them with a word or two
               replaced by words from elsewhere, the same ones each time
    word       a story in which words that recur are replaced by words from elsewhere, each
               always by the same one
    name       a story in which the names that recur are replaced by invented ones

A span of the first three kinds is repeated PASSES times, then comes another one: if a single span
filled the row, its set of tokens would be enough to know, and the model would not learn their
order. A span has SPANS tokens. At the beginning of a run it has at most SHORT, then more and more:
a model learns to copy over short distances first, then over long ones. Unpredictable tokens do not
count in the loss: the first pass over tokens in no order, and in a row of "word" the first of the
words from elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from retnet_viz.checkpoints import Tokenizer

IGNORE_INDEX = -100  # a target that no loss counts, as torch's cross-entropy has it
SPANS = (4, 128)
SHORT = 8
PASSES = (2, 3)
LAGS = (8, 256)
SENTENCES = (4, 40)  # tokens of a sentence that may come again
_REPEAT_SHARE = 0.4  # how often a sentence is followed by an earlier one
_CHANGE_SHARE = 0.6  # how often a sentence gets words from elsewhere
_REPLACE_SHARE = 0.8  # how often a word that comes again is replaced by one from elsewhere
_FREQUENT = 1e-3  # of a corpus's tokens: a more frequent word says little about the story
_TRIES = 20  # at finding a token or a name that the corpus may lack
_SENTENCE_END = re.compile(r"""[.!?]["'”’_)]*\s*$|\n\n""")
_WORD = re.compile(r" [^\W\d_]{3,}$")
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}\b")
# Parts of the syllables of a name; a part of several letters stands as one.
_ONSETS = (*"bcdfghjklmnprstvwyz", "br", "dr", "gr", "kl", "qu", "sk", "st", "tr")
_VOWELS = (*"aeiou", "ai", "ea", "ee", "oo", "ou")
_CODAS = ("", "", "", *"bdlmnrsx", "ck", "ll", "nd", "rn", "sh", "th")


class RecurringRows:
    """Draws rows from `ids`, the token ids of a corpus (1-D)."""

    def __init__(self, ids: Tensor, tokenizer: Tokenizer) -> None:
        self.ids = ids
        self.tokenizer = tokenizer
        self.vocab_size = tokenizer.vocab_size  # which is counted at each call, for 1 ms
        texts = [tokenizer.decode([token]) for token in range(self.vocab_size)]
        self._ends_sentence = torch.tensor([bool(_SENTENCE_END.search(text)) for text in texts])
        self._is_word = torch.tensor([bool(_WORD.match(text)) for text in texts])
        share = torch.bincount(ids.long(), minlength=len(texts)) / max(1, len(ids))
        # Of a small corpus each token is a large share.
        median_share = share[self._is_word & (share > 0)].median().nan_to_num().item()
        self._is_rare_word = self._is_word & (share <= max(_FREQUENT, median_share))

    def draw(
        self, kind: str, length: int, generator: Generator, growth: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets (length,) of a row of this kind; a target may be IGNORE_INDEX.

        `growth`, from 0 to 1, says how far the longest span has grown from SHORT to that of SPANS.
        """
        longest = round(SHORT * (SPANS[1] / SHORT) ** growth)
        make: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
            "random": lambda: self._spans(
                self._random_tokens, False, length + 1, longest, generator
            ),
            "shuffled": lambda: self._spans(
                self._shuffled_tokens, False, length + 1, longest, generator
            ),
            "span": lambda: self._spans(self._window, True, length + 1, longest, generator),
            "sentence": lambda: self._sentence(length + 1, generator),
            "word": lambda: self._word(length + 1, generator),
            "name": lambda: self._name(length + 1, generator),
        }
        row, loss_mask = make[kind]()
        return row[:-1], torch.where(loss_mask[1:], row[1:], IGNORE_INDEX)

    def _window(self, length: int, generator: Generator) -> Tensor:
        """A stretch of the corpus; where that is too short, over again."""
        start = _randint(0, max(0, len(self.ids) - length - 1), generator)
        return _repeat_to_length(self.ids[start : start + length].long(), length)

    def _spans(
        self,
        make: Callable[[int, Generator], Tensor],
        has_order: bool,
        length: int,
        longest: int,
        generator: Generator,
    ) -> tuple[Tensor, Tensor]:
        """Spans one after the other, each PASSES times, and what the loss counts of them.

        Of tokens that have an order, the first pass too.
        """
        parts: list[Tensor] = []
        loss_mask: list[Tensor] = []
        size = 0
        while size < length:
            span = make(_log_randint(SPANS[0], longest, generator), generator)
            passes = _randint(*PASSES, generator)
            parts.append(span.repeat(passes))
            # The first token of the second pass is unpredictable, too.
            is_predictable = torch.arange(len(parts[-1])) > len(span)
            loss_mask.append(is_predictable | has_order)
            size += len(parts[-1])
        return torch.cat(parts)[:length], torch.cat(loss_mask)[:length]

    def _random_tokens(self, size: int, generator: Generator) -> Tensor:
        return torch.randint(self.vocab_size, (size,), generator=generator)

    def _shuffled_tokens(self, size: int, generator: Generator) -> Tensor:
        return self.ids[torch.randint(len(self.ids), (size,), generator=generator)].long()

    def _sentence(self, length: int, generator: Generator) -> tuple[Tensor, Tensor]:
        window = self._window(length, generator)
        ends = (self._ends_sentence[window].nonzero().flatten() + 1).tolist()
        parts: list[Tensor] = []
        earlier: list[tuple[int, Tensor]] = []  # where a sentence began, and the sentence
        size, start = 0, 0
        for end in (*ends, length):
            sentence = window[start:end].clone()
            start = end
            if SENTENCES[0] <= len(sentence) <= SENTENCES[1]:
                if _random_bool(_CHANGE_SHARE, generator):
                    self._change_words(sentence, generator)
                earlier.append((size, sentence))
            parts.append(sentence)
            size += len(sentence)
            while earlier and _random_bool(_REPEAT_SHARE, generator):
                reach = _log_randint(*LAGS, generator)
                candidates = [past for at, past in earlier if size - at - len(past) <= reach]
                if not candidates:
                    break
                parts.append(candidates[_randint(0, len(candidates) - 1, generator)])
                size += len(parts[-1])
        return torch.cat(parts)[:length], torch.ones(length, dtype=torch.bool)

    def _change_words(self, sentence: Tensor, generator: Generator) -> None:
        places = self._is_word[sentence].nonzero().flatten().tolist()
        if places:
            for _ in range(_randint(1, 2, generator)):
                place = places[_randint(0, len(places) - 1, generator)]
                sentence[place] = self._random_word(generator, int(sentence[place]))

    def _random_word(self, generator: Generator, default: int) -> int:
        for _ in range(_TRIES):
            token = int(self.ids[_randint(0, len(self.ids) - 1, generator)])
            if self._is_word[token]:
                return token
        return default

    def _word(self, length: int, generator: Generator) -> tuple[Tensor, Tensor]:
        window = self._window(length, generator)
        loss_mask = torch.ones(length, dtype=torch.bool)
        words, counts = window[self._is_rare_word[window]].unique(return_counts=True)
        replacements = self._is_rare_word.nonzero().flatten()
        row = window.clone()
        for word in words[counts > 1].tolist():
            if _random_bool(_REPLACE_SHARE, generator):
                positions = window == word
                row[positions] = replacements[_randint(0, len(replacements) - 1, generator)]
                loss_mask[positions.nonzero()[0]] = False
        return row, loss_mask

    def _name(self, length: int, generator: Generator) -> tuple[Tensor, Tensor]:
        for _ in range(_TRIES):
            # A longer window, since the invented name may have fewer tokens.
            text = self.tokenizer.decode(self._window(length * 5 // 4, generator).tolist())
            names_in_text = _NAME.findall(text)
            recurring = sorted({name for name in names_in_text if names_in_text.count(name) > 1})
            names = {name: invented_name(generator) for name in recurring}
            if not names:
                continue
            new_text = _replace_names(text, names)
            row = torch.tensor(self.tokenizer.encode(new_text)[:length])
            if len(row) == length:
                return row, torch.ones(length, dtype=torch.bool)
        return self._sentence(length, generator)


COPY_KIND = "random"  # the kind that teaches copying and nothing else
KINDS = (COPY_KIND, "shuffled", "span", "sentence", "word", "name")


def invented_name(generator: Generator) -> str:
    """Two or three syllables, with a capital."""
    syllables = [
        "".join(part[_randint(0, len(part) - 1, generator)] for part in (_ONSETS, _VOWELS, _CODAS))
        for _ in range(_randint(2, 3, generator))
    ]
    return "".join(syllables).capitalize()


def _replace_names(text: str, names: Mapping[str, str]) -> str:
    """The text with each of these names replaced by its new one."""
    return re.sub(rf"\b({'|'.join(names)})\b", lambda match: names[match[0]], text)


def _repeat_to_length(span: Tensor, length: int) -> Tensor:
    """The span over and over, (length,)."""
    return span.repeat(math.ceil(length / len(span)))[:length]


def _randint(low: int, high: int, generator: Generator) -> int:
    """A whole number from low to high, each as likely."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _log_randint(low: int, high: int, generator: Generator) -> int:
    """A whole number from low to high, each size as likely: 4 to 8 as 64 to 128."""
    share = float(torch.rand((), generator=generator))
    return round(math.exp(math.log(low) + share * math.log(high / low)))


def _random_bool(share: float, generator: Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share
