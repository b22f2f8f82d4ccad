"""Predictions and exercises: judged by what is computed, and only when somebody has answered."""

import pytest
import torch

from retnet_viz.ui.panels.quiz import Question, check


def answered(question, choice):
    """The result after the page has sent a choice."""
    question.set_state({"chosen": choice})
    return question.result


def printed(capsys):
    return capsys.readouterr().out.strip()


# -- questions ------------------------------------------------------------------------------


def test_nothing_is_computed_or_told_before_a_choice():
    calls = []
    question = Question("Which?", ["a", "b"], lambda: calls.append(1) or "b", "Because of b.")
    assert (question.result, question.chosen, calls) == ({}, None, [])
    assert "Because" not in str(question.get_state())
    assert answered(question, 1)["right"] is True
    assert calls == [1]


def test_a_choice_is_right_or_wrong_by_what_is_computed():
    question = Question("How many?", [22, 253, 484], lambda: 22 * 22, "All of them.")
    assert question.labels == ["22", "253", "484"]
    assert answered(question, 1) == {
        "right": False,
        "answer": 2,
        "text": "Not quite: 484, not 253. All of them.",
    }
    assert answered(question, 2) == {
        "right": True,
        "answer": 2,
        "text": "Right: 484. All of them.",
    }


def test_an_answer_is_computed_anew_for_every_choice():
    now = ["a"]
    question = Question("Which?", ["a", "b"], lambda: now[0])
    assert answered(question, 0)["right"] is True
    now[0] = "b"
    assert answered(question, 1)["right"] is True
    assert answered(question, 0)["right"] is False


def test_labels_stand_for_values():
    question = Question("Is it?", {"yes": True, "no": False}, lambda: 1 > 2)
    assert question.labels == ["yes", "no"]
    assert answered(question, 0) == {"right": False, "answer": 1, "text": "Not quite: no, not yes."}


@pytest.mark.parametrize(("computed", "place"), [(27, 0), (28, 1), (300, 1), (18_700, 2), (1e9, 2)])
def test_the_number_with_the_nearest_ratio_is_right(computed, place):
    question = Question(
        "How many times?", {"few": 3, "many": 256, "most": 65_536}, lambda: computed
    )
    assert answered(question, place)["right"] is True
    assert answered(question, (place + 1) % 3)["right"] is False
    assert "(computed: " in question.result["text"]


def test_a_number_is_right_within_its_tolerance():
    question = Question("How many?", range(1, 61), lambda: 21.83, within=2)
    assert (question.labels, question.limits) == ([], [1, 60, 1])
    assert [n for n in range(1, 61) if answered(question, n)["right"]] == [20, 21, 22, 23]
    assert answered(question, 40)["text"] == "Not quite: 21.8, not 40."


def test_a_number_at_the_limit_of_its_tolerance_is_right():
    question = Question("How many?", range(1, 61), lambda: 22, within=2)
    assert [n for n in range(1, 61) if answered(question, n)["right"]] == [20, 21, 22, 23, 24]


def test_a_whole_number_is_right_only_itself():
    question = Question("How many steps?", range(1, 23), lambda: 3)
    assert [n for n in range(1, 23) if answered(question, n)["right"]] == [3]


def test_a_range_keeps_its_step():
    assert Question("How many?", range(0, 100, 10), lambda: 30).limits == [0, 90, 10]


@pytest.mark.parametrize("options", [[], ["a"], ["a", "a"], range(3, 4), {"a": 1}])
def test_a_question_needs_a_choice(options):
    with pytest.raises(ValueError, match="two options"):
        Question("Which?", options, lambda: "a")


@pytest.mark.parametrize("wrong", ["c", 3, None])
def test_an_answer_that_is_no_option_is_said_beside_the_question(wrong):
    question = Question("Which?", ["a", "b"], lambda: wrong)
    result = answered(question, 0)
    assert result["right"] is None
    assert f"{wrong!r} is none of the options" in result["text"]


def test_a_failure_is_said_beside_the_question_again_and_again():
    question = Question("Which?", ["a", "b"], lambda: 1 / 0)
    calls = []
    question.observe(lambda change: calls.append(change["new"].get("text", "")), "result")
    answered(question, 0)
    answered(question, 1)
    message = "The answer could not be computed (ZeroDivisionError: division by zero)."
    assert calls == [message, "", message]  # emptied between, so that the page hears of both


def test_a_choice_can_be_taken_back():
    question = Question("Which?", ["a", "b"], lambda: "a")
    answered(question, 0)
    assert answered(question, None) == {}


# -- exercises ------------------------------------------------------------------------------


def test_an_exercise_without_an_answer_computes_nothing(capsys):
    check("Exercise 1", None, lambda: 1 / 0)
    assert printed(capsys) == "Exercise 1: not answered yet."


@pytest.mark.parametrize("answer", [torch.tensor([1.0, 2.0]).double(), [1, 2], (1.0, 2.0 + 1e-12)])
def test_a_right_answer(capsys, answer):
    check("Exercise 1", answer, lambda: torch.tensor([1.0, 2.0]))
    assert printed(capsys).startswith("Exercise 1: right!")


def test_a_number_is_an_answer(capsys):
    check("Exercise 2", 53, lambda: 53)
    check("Exercise 2", 52, lambda: 53, "Round up.")
    right, wrong = printed(capsys).splitlines()
    assert right.startswith("Exercise 2: right!")
    assert wrong == "Exercise 2: not yet. It gives 52, not 53. Round up."


def test_a_wrong_answer_is_told_where_it_is_worst(capsys):
    expected = torch.arange(6.0).reshape(2, 3)
    answer = expected.clone()
    answer[0, 1] += 1e-3
    answer[1, 2] = 0.25
    check("Exercise 3", answer, lambda: expected, "Think.")
    assert printed(capsys) == "Exercise 3: not yet. It gives 0.25, not 5 at [1, 2]. Think."


def test_another_shape_is_no_broadcast(capsys):
    check("Exercise 4", torch.ones(1), lambda: torch.ones(2, 3), "Hint.")
    check("Exercise 4", torch.ones(3), lambda: 1.0)
    first, second = printed(capsys).splitlines()
    assert first == "Exercise 4: not yet. The shape should be (2, 3); yours is (1,). Hint."
    assert second == "Exercise 4: not yet. The shape should be a single number; yours is (3,)."


def test_what_is_not_a_number_is_not_right(capsys):
    check("Exercise 5", torch.tensor([1.0, float("nan")]), lambda: torch.ones(2))
    assert printed(capsys) == "Exercise 5: not yet. It gives nan, not 1 at [1]."


@pytest.mark.parametrize("answer", ["53", print, {"a": 1}])
def test_another_kind_of_thing_is_named(capsys, answer):
    check("Exercise 6", answer, lambda: 53)
    kind = type(answer).__name__
    assert printed(capsys) == f"Exercise 6: a tensor or a number is asked for, not a {kind}."


def test_the_tolerance_is_relative_to_large_numbers_only(capsys):
    check("Exercise 7", 1e6 + 5e-5, lambda: 1e6)
    check("Exercise 7", 1e6 + 5e-4, lambda: 1e6)
    check("Exercise 7", 1e-9, lambda: 0.0)
    assert ["right!" in line for line in printed(capsys).splitlines()] == [True, False, False]
