"""The notebook of one's own model: its questions have answers, and its checks can fail.

tests/test_notebooks.py runs it as it stands, with the dashboards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import retnet_viz as rv
from retnet_viz import ui

CELLS = json.loads(
    (Path(__file__).parents[1] / "notebooks/05_your_own_model.ipynb").read_text(encoding="utf-8")
)["cells"]
SOURCES = {cell["id"]: "".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"}
ANSWERS = ["about 177", "yes, to the last bit", "0.729"]

pytestmark = pytest.mark.filterwarnings("ignore:.*no tokenizer|.*without a tokenizer")


@pytest.fixture(scope="module")
def lesson() -> Iterator[tuple[dict[str, Any], list[ui.Question]]]:
    """The names of the notebook after its last cell, and its questions in their order."""
    questions: list[ui.Question] = []

    class Recorded(ui.Question):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            questions.append(self)

    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ui, "Question", Recorded)
        patch.setattr(rv, "explore", lambda *args, **chosen: None)  # not looked at here
        for name, source in SOURCES.items():
            exec(compile(source, name, "exec"), names)
    yield names, questions
    for question in questions:
        question.close()


def test_every_question_has_one_right_answer(
    lesson: tuple[dict[str, Any], list[ui.Question]],
) -> None:
    _, questions = lesson
    for question, wanted in zip(questions, ANSWERS, strict=True):
        right = []
        for place, label in enumerate(question.labels):
            question.chosen = place
            if question.result["right"]:
                right.append(label)
        assert right == [wanted]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("inspect-check", "plan.ignored.clear()"),
        ("load-check", "model.head.weight.data[0, 0] += 1"),
        ("part-check", "part = model"),
        ("modes-check", "exact.head.weight.data[0, 0] += 1; traces['recurrent'] = "
         "rv.trace(exact, TEXT, 'recurrent')"),
        ("tensors-check", "trace = rv.Trace.from_tensors(one_hot, one_hot, one_hot, [0.8, 0.5])"),
        ("save-check", "again = rv.trace(model, TEXT[:-1], mode='recurrent')"),
    ],
)  # fmt: skip
def test_a_check_fails_where_something_is_wrong(
    name: str, change: str, lesson: tuple[dict[str, Any], list[ui.Question]]
) -> None:
    names = dict(lesson[0])
    for key in ("model", "exact"):
        names[key] = rv.load(names["folder"], dtype=next(names[key].parameters()).dtype)
    names["plan"] = names["inspect"](names["folder"])
    exec(change, names)
    with pytest.raises(AssertionError):
        exec(compile(SOURCES[name], name, "exec"), names)


def test_every_section_that_asks_says_how_it_is() -> None:
    asked = [name.removesuffix("-question") for name in SOURCES if name.endswith("-question")]
    for section in asked:
        assert "assert " in SOURCES[f"{section}-check"]
