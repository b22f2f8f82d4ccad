"""Predictions and exercises of the notebooks: what they are checked against is computed.

Question("How many steps?", range(1, 23), lambda: len(rv.schedule(trace, 0, 0)))
check("Exercise 1", row(q, k, gamma, 12), lambda: trace.retention(0)[0, 12])
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import anywidget
import torch
import traitlets as t

from retnet_viz.figures.base.captions import number
from retnet_viz.ui.core.assets import module, style

TOLERANCE = 1e-10  # of a float64 computation that does the same in another order


class Question(anywidget.AnyWidget):
    """A question, and what was chosen to answer it.

    question  what is asked, plain text
    labels    the answers to choose from; none where a number is asked for
    limits    the first and the last number to choose from, and their step; none where labels stand
    chosen    index of the chosen label, or the number; None before any choice
    result    {} before any choice, then `right` (bool, None where nothing could be computed),
              `text`, and `answer`, the index of the right label or None

    The right answer is computed when somebody has chosen, so it can be neither seen before that nor
    out of date.
    """

    _esm = module("panels/quiz.js")
    _css = style("panels/quiz.css")
    question = t.Unicode().tag(sync=True)
    labels = t.List(t.Unicode()).tag(sync=True)
    limits = t.List(t.Int()).tag(sync=True)
    chosen = t.Int(None, allow_none=True).tag(sync=True)
    result = t.Dict().tag(sync=True)

    def __init__(
        self,
        question: str,
        options: range | Mapping[str, Any] | Sequence[Any],
        answer: Callable[[], Any],
        because: str = "",
        *,
        within: float = 0.5,
    ) -> None:
        """Ask `question` and explain it by `because`, once it is answered.

        `options` are values, or labels with their values, to choose one from; or a range to choose
        a number of. `answer()` gives the right value. Among numbers that is the one whose ratio to
        the answer is nearest to 1; a number of a range is right where it is off by no more than
        `within`. Raises ValueError where there are not two different options to choose from.
        """
        named: Mapping[str, Any] = {}
        if isinstance(options, Mapping):
            named = options
        elif not isinstance(options, range):
            named = {_said(value): value for value in options}
        if len(options) < 2 or (named and len(named) < len(options)):
            raise ValueError("give two options or more, and none of them twice")
        limits = [options[0], options[-1], options.step] if isinstance(options, range) else []
        super().__init__(question=question, labels=list(named), limits=limits)
        self._values = list(named.values())
        self._answer, self._because, self._within = answer, because, within
        self.observe(self._judge, "chosen")

    def _judge(self, _change: Any) -> None:
        self.result = {}
        if self.chosen is None:
            return
        try:
            self.result = self._judged(self.chosen)
        except Exception as error:
            # Nobody sees what a callback raises: say it beside the question.
            logging.getLogger(__name__).exception("no answer to %r", self.question)
            said = f"The answer could not be computed ({type(error).__name__}: {error})."
            self.result = {"right": None, "answer": None, "text": said}

    def _judged(self, chosen: int) -> dict[str, Any]:
        answer = self._answer()
        if self.labels:
            place = _place_of(answer, self._values)
            right, named, said = chosen == place, self.labels[place], self.labels[chosen]
            if _said(answer) != _said(self._values[place]):
                named += f" (computed: {_said(answer)})"
        else:
            place, right = None, abs(chosen - answer) <= self._within
            named, said = _said(answer), _said(chosen)
        text = f"Right: {named}." if right else f"Not quite: {named}, not {said}."
        return {"right": right, "answer": place, "text": f"{text} {self._because}".strip()}


def check(name: str, found: Any, expected: Callable[[], Any], hint: str = "") -> None:
    """Print whether `found`, a tensor or a number, is what `expected()` computes.

    None counts as not answered yet, and then nothing is computed. Numbers may be apart by 1e-10,
    or that share of the largest one expected.
    """
    if found is None:
        print(f"{name}: not answered yet.")
        return
    hint = f" {hint}" if hint else ""
    try:
        got = torch.as_tensor(found, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        print(f"{name}: a tensor or a number is asked for, not a {type(found).__name__}.{hint}")
        return
    wanted = torch.as_tensor(expected(), dtype=torch.float64)
    if got.shape != wanted.shape:
        shapes = [str(tuple(x.shape)) if x.dim() else "a single number" for x in (wanted, got)]
        print(f"{name}: not yet. The shape should be {shapes[0]}; yours is {shapes[1]}.{hint}")
        return
    apart = (got - wanted).abs().nan_to_num(torch.inf)
    worst = apart.max().item()
    if worst <= TOLERANCE * max(1.0, wanted.abs().max().item()):
        print(f"{name}: right! At most {worst:.1e} from what was computed.")
        return
    place = tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))
    where = f" at {list(place)}" if place else ""
    numbers = f"{got[place].item():.6g}, not {wanted[place].item():.6g}"
    print(f"{name}: not yet. It gives {numbers}{where}.{hint}")


def _place_of(answer: Any, values: list[Any]) -> int:
    """Index of the value that is the answer, or of the number that is nearest to it by ratio."""
    if answer in values:
        return values.index(answer)
    if not (_is_number(answer) and all(_is_number(value) for value in values)):
        raise ValueError(f"{answer!r} is none of the options")
    if min(answer, *values) <= 0:
        raise ValueError(f"{answer!r} has no ratio to each of the options")
    return min(range(len(values)), key=lambda i: abs(math.log(values[i] / answer)))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _said(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if _is_number(value) else str(value)
