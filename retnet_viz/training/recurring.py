"""Rows of tokens in which something comes again, made from the corpus: what recall is learned from.

Stories alone teach little of it: what stood there before is seldom the only way to guess a word. In
these rows it is. The kinds, of which each row has one, drawn by the seed:

    random     spans of tokens, each as likely as another
    shuffled   spans of tokens of the corpus in no order
    span       stretches of stories
    sentence   a story in which sentences come again, LAGS tokens later, half of them with a word or
               two replaced by words from elsewhere, the same ones each time
    word       a story in which words that come again are replaced by words from elsewhere, each by
               the same one wherever it stands
    name       a story in which the names that come again are replaced by invented ones

A span of the first three kinds stands there PASSES times, then comes another one: where a single
span fills the row, it is enough to know which tokens it has, and nothing is learned of their order.
A span is of SPANS tokens, while it grows at the beginning of a run of at most SHORT or a few more:
a model learns to copy over short distances first, and long ones from there. What
nothing foretells, the first pass over tokens in no order and the first of the words from elsewhere
in a row of "word", is not counted by the loss.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from retnet_viz.checkpoints import Tokenizer

UNCOUNTED = -100  # a target that no loss counts, as torch's cross-entropy has it
SPANS = (4, 128)
SHORT = 8
PASSES = (2, 3)
LAGS = (8, 256)
SENTENCES = (4, 40)  # tokens of a sentence that may come again
_AGAIN = 0.4  # how often a sentence is followed by one that stood before
_CHANGED = 0.6  # how often a sentence gets words from elsewhere
_REPLACED = 0.8  # how often a word that comes again is replaced by one from elsewhere
_FREQUENT = 1e-3  # of a corpus's tokens: a word that is one of these says little of what is told
_TRIES = 20  # at finding what is asked for in a corpus that may not have it
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
        written = [tokenizer.decode([token]) for token in range(tokenizer.vocab_size)]
        self._ends_sentence = torch.tensor([bool(_SENTENCE_END.search(each)) for each in written])
        self._is_word = torch.tensor([bool(_WORD.match(each)) for each in written])
        share = torch.bincount(ids.long(), minlength=len(written)) / max(1, len(ids))
        # Of a small corpus each token is a large share.
        usual = share[self._is_word & (share > 0)].median().nan_to_num().item()
        self._tells = self._is_word & (share <= max(_FREQUENT, usual))

    def draw(
        self, kind: str, length: int, generator: Generator, grown: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets (length,) of a row of this kind; a target may be UNCOUNTED.

        `grown`, from 0 to 1, says how far the longest span has grown from SHORT to that of SPANS.
        """
        longest = round(SHORT * (SPANS[1] / SHORT) ** grown)
        make: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {
            "random": lambda: self._spans(self._random, False, length + 1, longest, generator),
            "shuffled": lambda: self._spans(self._shuffled, False, length + 1, longest, generator),
            "span": lambda: self._spans(self._window, True, length + 1, longest, generator),
            "sentence": lambda: self._sentence(length + 1, generator),
            "word": lambda: self._word(length + 1, generator),
            "name": lambda: self._name(length + 1, generator),
        }
        row, counted = make[kind]()
        return row[:-1], torch.where(counted[1:], row[1:], UNCOUNTED)

    def _window(self, length: int, generator: Generator) -> Tensor:
        """A stretch of the corpus; where that is too short, over again."""
        start = _between(0, max(0, len(self.ids) - length - 1), generator)
        return _again(self.ids[start : start + length].long(), length)

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
        counted: list[Tensor] = []
        size = 0
        while size < length:
            span = make(_log_between(SPANS[0], longest, generator), generator)
            passes = _between(*PASSES, generator)
            parts.append(span.repeat(passes))
            # The first token of the second pass comes unforeseen, too.
            is_foretold = torch.arange(len(parts[-1])) > len(span)
            counted.append(is_foretold | has_order)
            size += len(parts[-1])
        return torch.cat(parts)[:length], torch.cat(counted)[:length]

    def _random(self, size: int, generator: Generator) -> Tensor:
        return torch.randint(self.tokenizer.vocab_size, (size,), generator=generator)

    def _shuffled(self, size: int, generator: Generator) -> Tensor:
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
                if _chance(_CHANGED, generator):
                    self._change_words(sentence, generator)
                earlier.append((size, sentence))
            parts.append(sentence)
            size += len(sentence)
            while earlier and _chance(_AGAIN, generator):
                reach = _log_between(*LAGS, generator)
                near = [each for at, each in earlier if size - at - len(each) <= reach]
                if not near:
                    break
                parts.append(near[_between(0, len(near) - 1, generator)])
                size += len(parts[-1])
        return torch.cat(parts)[:length], torch.ones(length, dtype=torch.bool)

    def _change_words(self, sentence: Tensor, generator: Generator) -> None:
        places = self._is_word[sentence].nonzero().flatten().tolist()
        if places:
            for _ in range(_between(1, 2, generator)):
                place = places[_between(0, len(places) - 1, generator)]
                sentence[place] = self._some_word(generator, int(sentence[place]))

    def _some_word(self, generator: Generator, otherwise: int) -> int:
        for _ in range(_TRIES):
            token = int(self.ids[_between(0, len(self.ids) - 1, generator)])
            if self._is_word[token]:
                return token
        return otherwise

    def _word(self, length: int, generator: Generator) -> tuple[Tensor, Tensor]:
        window = self._window(length, generator)
        counted = torch.ones(length, dtype=torch.bool)
        words, times = window[self._tells[window]].unique(return_counts=True)
        elsewhere = self._tells.nonzero().flatten()
        row = window.clone()
        for word in words[times > 1].tolist():
            if _chance(_REPLACED, generator):
                at = window == word
                row[at] = elsewhere[_between(0, len(elsewhere) - 1, generator)]
                counted[at.nonzero()[0]] = False
        return row, counted

    def _name(self, length: int, generator: Generator) -> tuple[Tensor, Tensor]:
        for _ in range(_TRIES):
            # A longer window, since the invented name may have fewer tokens.
            text = self.tokenizer.decode(self._window(length * 5 // 4, generator).tolist())
            found = _NAME.findall(text)
            again = sorted({name for name in found if found.count(name) > 1})
            names = {name: invented_name(generator) for name in again}
            if not names:
                continue
            renamed = _replaced(text, names)
            row = torch.tensor(self.tokenizer.encode(renamed)[:length])
            if len(row) == length:
                return row, torch.ones(length, dtype=torch.bool)
        return self._sentence(length, generator)


COPIED = "random"  # the kind that teaches copying and nothing else
KINDS = (COPIED, "shuffled", "span", "sentence", "word", "name")


def invented_name(generator: Generator) -> str:
    """Two or three syllables, with a capital."""
    syllables = [
        "".join(part[_between(0, len(part) - 1, generator)] for part in (_ONSETS, _VOWELS, _CODAS))
        for _ in range(_between(2, 3, generator))
    ]
    return "".join(syllables).capitalize()


def _replaced(text: str, names: Mapping[str, str]) -> str:
    """The text with each of these names, wherever it stands, replaced by its other one."""
    return re.sub(rf"\b({'|'.join(names)})\b", lambda found: names[found[0]], text)


def _again(span: Tensor, length: int) -> Tensor:
    """The span over and over, (length,)."""
    return span.repeat(math.ceil(length / len(span)))[:length]


def _between(low: int, high: int, generator: Generator) -> int:
    """A whole number from low to high, each as likely."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _log_between(low: int, high: int, generator: Generator) -> int:
    """A whole number from low to high, each size as likely: 4 to 8 as 64 to 128."""
    share = float(torch.rand((), generator=generator))
    return round(math.exp(math.log(low) + share * math.log(high / low)))


def _chance(share: float, generator: Generator) -> bool:
    return float(torch.rand((), generator=generator)) < share
