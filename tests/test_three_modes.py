"""The notebook of the three modes: its questions have answers, its exercises know right from wrong.

tests/test_notebooks.py runs it as it stands, with the dashboards.
"""

import json
from pathlib import Path

import pytest

import retnet_viz as rv
from retnet_viz import ui

CELLS = json.loads(
    (Path(__file__).parents[1] / "notebooks/02_three_modes.ipynb").read_text(encoding="utf-8")
)["cells"]
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


@pytest.fixture(scope="module")
def lesson():
    """The names of the notebook after its proofs, and its questions in their order."""
    questions = []

    class Recorded(ui.Question):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            questions.append(self)

    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ui, "Question", Recorded)
        patch.setattr(rv, "modes", lambda *args, **chosen: None)  # not looked at here
        for name, source in sources().items():
            if not name.startswith("exercise"):
                exec(compile(source, name, "exec"), names)
    yield names, questions
    for question in questions:
        question.close()


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


def test_every_question_has_exactly_one_right_answer(lesson):
    _, questions = lesson
    assert len(questions) == 11
    for question in questions:
        assert question.result == {}
        if question.labels:
            found = []
            for choice in range(len(question.labels)):
                question.chosen = choice
                found.append(question.result["right"])
            assert sorted(found) == [False] * (len(found) - 1) + [True], question.question
        else:
            low, high, _ = question.limits
            question.chosen = low
            assert question.result["right"] is not None, question.result["text"]
            answers = []
            for choice in range(low, high + 1):
                question.chosen = choice
                if question.result["right"]:
                    answers.append(choice)
            assert 1 <= len(answers) <= 5, question.question


def test_the_explanations_fit_what_is_computed(lesson):
    """An explanation is prose: it would be wrong beside another answer than these."""
    _, questions = lesson
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
    for question, answer in zip(questions, fitting, strict=True):
        if answer is not None:
            question.chosen = question.labels.index(answer) if question.labels else answer
            assert question.result["right"], question.result["text"]


def test_the_dashboards_are_few():
    """Each is a whole page of live panels."""
    assert 1 <= sum(source.count("rv.modes(") for source in sources().values()) <= 4


@pytest.mark.parametrize("function", EXERCISES)
def test_an_exercise_tells_right_from_wrong(lesson, capsys, function):
    names, _ = lesson
    number = EXERCISES.index(function) + 1
    source = sources()[f"exercise-{number}"]
    assert f"def {function}(" in source
    for line, said in (
        ("return None", "not answered yet."),
        (f"return {WRONG[function]}", "not yet."),
        (f"return {RIGHT[function]}", "right!"),
    ):
        capsys.readouterr()
        exec(compile(source.replace("return None", line, 1), function, "exec"), dict(names))
        assert capsys.readouterr().out.startswith(f"Exercise {number}: {said}")
