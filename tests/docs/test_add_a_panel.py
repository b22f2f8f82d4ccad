"""docs/add_a_panel.md, followed step by step in a copy of the checkout."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from guide import Step, follow, run, steps

from tests.support.checkout import copy_of_the_checkout

GUIDE = steps("add_a_panel.md")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout after all steps but the commands."""
    folder = copy_of_the_checkout(tmp_path_factory.mktemp("panel"))
    for step in GUIDE:
        follow(step, folder)
    return folder


def commands() -> list[list[str]]:
    (told,) = (step for step in GUIDE if step.kind == "sh")
    return [shlex.split(line) for line in told.text.splitlines()]


def test_the_tests_of_the_guide_pass(copy: Path) -> None:
    program, *arguments = commands()[0]
    assert program == ".venv/bin/python"
    run(copy, *arguments)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("retnet_viz/figures/reading/reach.py", ".abs()"),
        ("retnet_viz/ui/pages/modes/parts_view.py", "self.reach.show("),
    ],
)
def test_the_tests_of_the_guide_fail_where_a_step_is_left_out(
    copy: Path, path: str, part: str
) -> None:
    right = (copy / path).read_text(encoding="utf-8")
    assert right.count(part) == 1
    wrong = right.replace(part, "print(" if part.endswith("(") else "")
    (copy / path).write_text(wrong, encoding="utf-8")
    try:
        with pytest.raises(AssertionError, match="failed"):
            run(copy, *commands()[0][1:])
    finally:
        (copy / path).write_text(right, encoding="utf-8")


def test_the_panel_is_drawn_beside_the_others(copy: Path) -> None:
    """It fails where the steps leave the new panel out of the page."""
    said = run(
        copy,
        "-c",
        "import retnet_viz as rv; page = rv.modes(view='normalisation and position');"
        "print(page.parts.reach in page._views[page.state.view].children, rv.__file__);"
        "print(rv.figures.reach(page.trace, 0, -1).layout.title.text); page.stop()",
    )
    assert said.startswith(f"True {copy}")
    assert "How far back “·the” reads" in said


def test_the_reference_and_the_gallery_have_it(copy: Path) -> None:
    program, *arguments = commands()[1]
    assert program == ".venv/bin/python"
    assert "1 passed" in run(copy, *arguments)
    said = run(copy, "-c", "from docs.reference import page; print(page('figures'))")
    assert "[](){#rv.figures.reach}\n" in said
    assert commands()[2] == [".venv/bin/python", "-m", "docs.gallery", "modes"]
    run(copy, "-m", "pytest", "-q", "tests/docs/test_gallery.py", "-k", "every_panel and modes")


def test_what_the_guide_writes_is_in_the_style_of_the_rest(copy: Path) -> None:
    files = [step.path for step in GUIDE if step.path]
    run(copy, "-m", "ruff", "check", *files)
    run(copy, "-m", "ruff", "format", "--check", *files)


def test_a_step_that_fits_no_longer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("one\ntwo\n")
    follow(Step("diff", "a.py", " one\n-two\n+three\n"), tmp_path)
    assert (tmp_path / "a.py").read_text() == "one\nthree\n"
    with pytest.raises(AssertionError, match="does not hold this once"):
        follow(Step("diff", "a.py", " one\n-two\n+three\n"), tmp_path)
