"""The list of mutants fits the code as it is, and the script tells the dead from the living."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.mutants import LIST, PACKAGE, Mutant, failure, read_list, survivors
from tests.support.checkout import ROOT

MUTANTS = read_list(LIST.read_text(encoding="utf-8"))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.place}: {mutant.says}")
def test_a_mutant_can_be_made_and_its_tests_are_there(mutant: Mutant) -> None:
    path = mutant.file(ROOT)  # fails where what it changes does not stand there once
    source = path.read_text(encoding="utf-8")
    made = mutant.made(source)
    assert made != source
    assert mutant.says
    if path.suffix == ".py":
        assert ast.dump(ast.parse(made)) != ast.dump(ast.parse(source))
    kinds = {(ROOT / name).suffix == ".js" for name in mutant.tests}
    assert kinds == {path.suffix == ".js"}
    assert all((ROOT / name).exists() for name in mutant.tests)


def test_every_folder_of_the_package_has_some() -> None:
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if path.is_dir()} - {"__pycache__"}
    assert {mutant.place.split("/")[0] for mutant in MUTANTS} == {*folders, "cli.py"}
    assert len(set(MUTANTS)) == len(MUTANTS) >= 40


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A package of one function and its test, in JavaScript, whose tests start faster."""
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "sum.js").write_text("export const add = (a, b) => a + b;\n")
    (tmp_path / "sum.test.js").write_text(
        'import { test } from "node:test";\nimport { add } from "./retnet_viz/sum.js";\n'
        'test("sums", () => { if (add(2, 2) !== 4) throw new Error(); });\n'
    )
    return tmp_path


def of_sum(new: str, tests: str = "sum.test.js") -> Mutant:
    return Mutant("sum.js", "a + b", new, (tests,), "made")


def test_what_a_test_notices_is_killed_and_what_none_does_survives(checkout: Path) -> None:
    said: list[str] = []
    source = (checkout / PACKAGE / "sum.js").read_text()
    unnoticed = of_sum("a * b")
    assert survivors([of_sum("a - b"), unnoticed], checkout, said.append) == [unnoticed]
    assert "killed    sums" in said[0]
    assert "SURVIVED" in said[1]
    assert (checkout / PACKAGE / "sum.js").read_text() == source


def test_a_run_that_does_not_end_in_time_fails(checkout: Path) -> None:
    (checkout / "sum.test.js").write_text("setTimeout(() => {}, 1e8);")
    assert failure(checkout, ["sum.test.js"], 1) == "not done after 1 s"


def test_tests_that_fail_by_themselves_kill_nothing(checkout: Path) -> None:
    (checkout / PACKAGE / "sum.js").write_text("export const add = () => 5; // a + b\n")
    with pytest.raises(RuntimeError, match="without a mutant this fails: sums"):
        survivors([of_sum("a - b")], checkout)


def test_a_list_with_an_error_is_refused(checkout: Path) -> None:
    with pytest.raises(ValueError, match="no mutant"):
        read_list("model: tests/model\n- a")
    with pytest.raises(LookupError, match="3 times"):
        Mutant("sum.js", "a", "b", ("sum.test.js",), "made").file(checkout)
