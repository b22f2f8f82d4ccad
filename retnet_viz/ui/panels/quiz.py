"""Predictions and exercises of the notebooks: what they are checked against is computed.

Question("How many steps?", range(1, 23), lambda: len(rv.schedule(trace, 0, 0)))
check("Exercise 1", row(q, k, gamma, 12), lambda: trace.retention(0)[0, 12])
"""

from __future__ import annotations

import html
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
from retnet_viz.ui.core.saved_view import SavedView

TOLERANCE = 1e-10  # of a float64 computation that does the same in another order


class Question(SavedView, anywidget.AnyWidget):
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
    _css = style("styles/buttons.css", "panels/quiz.css")
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
        options_by_label: Mapping[str, Any] = {}
        if isinstance(options, Mapping):
            options_by_label = options
        elif not isinstance(options, range):
            options_by_label = {_format_value(value): value for value in options}
        if len(options) < 2 or (options_by_label and len(options_by_label) < len(options)):
            raise ValueError("give two options or more, and none of them twice")
        limits = [options[0], options[-1], options.step] if isinstance(options, range) else []
        super().__init__(question=question, labels=list(options_by_label), limits=limits)
        self._values = list(options_by_label.values())
        self._answer, self._because, self._within = answer, because, within
        self.observe(self._grade, "chosen")

    def _summary(self) -> str:
        return repr(self.question)

    def _saved_html(self) -> str:
        labels = "".join(f"<li>{html.escape(label)}</li>" for label in self.labels)
        options = f"<ul>{labels}</ul>" if labels else ""
        return f"<div>{html.escape(self.question)}</div>{options}"

    def _grade(self, _change: Any) -> None:
        self.result = {}
        if self.chosen is None:
            return
        try:
            self.result = self._grade_choice(self.chosen)
        except Exception as error:
            # Nobody sees what a callback raises: say it beside the question.
            logging.getLogger(__name__).exception("no answer to %r", self.question)
            message = f"The answer could not be computed ({type(error).__name__}: {error})."
            self.result = {"right": None, "answer": None, "text": message}

    def _grade_choice(self, chosen: int) -> dict[str, Any]:
        answer = self._answer()
        if self.labels:
            right_index = _index_of(answer, self._values)
            right, right_text, chosen_text = (
                chosen == right_index,
                self.labels[right_index],
                self.labels[chosen],
            )
            if _format_value(answer) != _format_value(self._values[right_index]):
                right_text += f" (computed: {_format_value(answer)})"
        else:
            right_index, right = None, abs(chosen - answer) <= self._within
            right_text, chosen_text = _format_value(answer), _format_value(chosen)
        text = f"Right: {right_text}." if right else f"Not quite: {right_text}, not {chosen_text}."
        return {"right": right, "answer": right_index, "text": f"{text} {self._because}".strip()}


def check(name: str, answer: Any, expected: Callable[[], Any], hint: str = "") -> None:
    """Print whether `answer`, a tensor or a number, is what `expected()` computes.

    None counts as not answered yet, and then nothing is computed. Numbers may be apart by 1e-10,
    or that share of the largest one expected.
    """
    if answer is None:
        print(f"{name}: not answered yet.")
        return
    hint = f" {hint}" if hint else ""
    try:
        actual = torch.as_tensor(answer, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        print(f"{name}: a tensor or a number is asked for, not a {type(answer).__name__}.{hint}")
        return
    correct = torch.as_tensor(expected(), dtype=torch.float64)
    if actual.shape != correct.shape:
        shapes = [str(tuple(x.shape)) if x.dim() else "a single number" for x in (correct, actual)]
        print(f"{name}: not yet. The shape should be {shapes[0]}; yours is {shapes[1]}.{hint}")
        return
    difference = (actual - correct).abs().nan_to_num(torch.inf)
    worst = difference.max().item()
    if worst <= TOLERANCE * max(1.0, correct.abs().max().item()):
        print(f"{name}: right! At most {worst:.1e} from what was computed.")
        return
    place = tuple(int(i) for i in torch.unravel_index(difference.argmax(), difference.shape))
    where = f" at {list(place)}" if place else ""
    numbers = f"{actual[place].item():.6g}, not {correct[place].item():.6g}"
    print(f"{name}: not yet. It gives {numbers}{where}.{hint}")


def _index_of(answer: Any, values: list[Any]) -> int:
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


def _format_value(value: Any) -> str:
    """A value as people write it."""
    if isinstance(value, float):
        return number(value)
    return f"{value:,}" if _is_number(value) else str(value)
