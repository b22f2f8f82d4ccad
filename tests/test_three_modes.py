"""The notebook of the three modes: its questions have answers, its exercises know right from wrong.

It runs once, as it stands, with the dashboards; all tests ask the kernel that ran it.
"""

import json
from pathlib import Path

import pytest

from tests.support.running_notebook import running

PATH = Path(__file__).parents[1] / "notebooks/02_three_modes.ipynb"
CELLS = json.loads(PATH.read_text(encoding="utf-8"))["cells"]
EXERCISES = ("weights", "horizon", "state_of", "next_output", "crossing")
RIGHT = {
    "weights": "gamma ** torch.arange(n, -1, -1) * (k[: n + 1] @ q[n])",
    "horizon": "math.log(share) / math.log(gamma)",
    "state_of": "k.T @ (gamma ** torch.arange(len(k) - 1, -1, -1)[:, None] * v)",
    "next_output": "q_n @ (gamma * S + torch.outer(k_n, v_n))",
    "crossing": "int((d_k * d_v / 3) ** 0.5) + 1",
}
WRONG = {
    "weights": "k[: n + 1] @ q[n]",
    "horizon": "round(math.log(share) / math.log(gamma))",
    "state_of": "k.T @ v",
    "next_output": "q_n @ (S + torch.outer(k_n, v_n))",
    "crossing": "int((d_k * d_v / 3) ** 0.5)",
}


def sources(cell_type="code"):
    return {cell["id"]: "".join(cell["source"]) for cell in CELLS if cell["cell_type"] == cell_type}


# Every answer to every question is chosen in turn. The questions are what their cells show.
CHOOSE_ALL = """
import json

told = []
for question in [shown for _, shown in sorted(Out.items()) if isinstance(shown, Question)]:
    before, results = question.result, {}
    low, high = question.limits[:2] if not question.labels else (0, len(question.labels) - 1)
    for choice in range(low, high + 1):
        question.chosen = choice
        results[choice] = question.result
    told.append((question.question, list(question.labels), before, list(results.items())))
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def lesson():
    """The notebook after its last cell."""
    with running(PATH) as notebook:
        yield notebook


@pytest.fixture(scope="module")
def questions(lesson):
    """Of each question: its words, its labels, its result at first, and that of each choice."""
    return json.loads(lesson.printed(CHOOSE_ALL))


def test_it_runs(lesson):
    assert lesson.shows_a_widget()


def test_every_section_asks_reveals_and_proves():
    texts = sources("markdown")
    sections = [
        name for name, text in texts.items() if text.startswith("## ") and name != "exercises"
    ]
    assert len(sections) == 9
    for section in sections:
        part = section.removesuffix("-text")
        cells = [cell["id"] for cell in CELLS if cell["id"].startswith(f"{part}-")]
        assert texts[f"{part}-reveal"].startswith("**Reveal.**")
        assert texts[f"{part}-proof"].startswith("**Prove.**")
        assert cells.index(f"{part}-reveal") < cells.index(f"{part}-proof")
        proof = sources()[f"{part}-check"]
        assert "same(" in proof or "assert " in proof


def test_the_code_of_questions_is_folded_away():
    asking = [cell for cell in CELLS if "\nQuestion(" in "".join(cell["source"])]
    assert len(asking) == 11
    for number, cell in enumerate(asking, start=1):
        assert cell["metadata"] == {"jupyter": {"source_hidden": True}}
        assert cell["source"][0] == f"# Question {number}\n"


def test_every_question_has_exactly_one_right_answer(questions):
    assert len(questions) == 11
    for question, labels, before, results in questions:
        assert before == {}
        right = [result["right"] for _, result in results]
        assert None not in right, question
        assert 1 <= right.count(True) <= (1 if labels else 5), question


def test_the_explanations_fit_what_is_computed(questions):
    """An explanation is prose: it would be wrong beside another answer than these."""
    fitting = [
        "yes, but for rounding",
        "484",
        22,
        "13 “,”",
        3,
        "parallel",
        "recurrent",
        None,  # measured: another on every machine
        "about 65,536 times",
        "the same",
        "they stay",
    ]
    for (_, labels, _, results), answer in zip(questions, fitting, strict=True):
        if answer is not None:
            result = dict(results)[labels.index(answer) if labels else answer]
            assert result["right"], result["text"]


def test_the_dashboards_are_few():
    """Each is a whole page of live panels."""
    assert 1 <= sum(source.count("rv.modes(") for source in sources().values()) <= 4


@pytest.mark.parametrize("function", EXERCISES)
def test_an_exercise_tells_right_from_wrong(lesson, function):
    number = EXERCISES.index(function) + 1
    source = sources()[f"exercise-{number}"]
    assert f"def {function}(" in source
    for line, said in (
        ("return None", "not answered yet."),
        (f"return {WRONG[function]}", "not yet."),
        (f"return {RIGHT[function]}", "right!"),
    ):
        answered = source.replace("return None", line, 1)
        printed = lesson.printed(f"exec({answered!r}, dict(globals()))")
        assert printed.startswith(f"Exercise {number}: {said}")
