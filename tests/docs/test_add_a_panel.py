"""docs/add_a_panel.md, followed step by step in a copy of the checkout."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from guide import Step, follow, run, steps

from tests.support.checkout import copy_of_the_checkout

GUIDE = steps("add_a_panel.md")
FIGURE_TEST = "tests/figures/test_reach.py"
PANEL_TEST = "tests/ui/test_reach_panel.py"
EXAMPLE_TEST = "tests/docs/test_examples.py"


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


# What is run in the copy is run at once: a process takes seconds to import all that it needs.


@pytest.fixture(scope="module")
def passed(copy: Path) -> list[str]:
    """The tests that pass: those that the guide runs, and that of the gallery."""
    files = [word for command in commands()[:2] for word in command if word.endswith(".py")]
    chosen = "reach or (every_panel and modes)"
    said = run(copy, "-m", "pytest", "-v", *files, "tests/docs/test_gallery.py", "-k", chosen)
    return [line.split(" PASSED")[0] for line in said.splitlines() if " PASSED" in line]


@pytest.fixture(scope="module")
def printed(copy: Path) -> list[str]:
    """Whether the page has the panel; the package; the title of the figure; the reference."""
    said = run(
        copy,
        "-c",
        "import retnet_viz as rv; page = rv.modes(view='normalisation and position');"
        "print(page.parts.reach in page._views[page.state.view].children);"
        "print(rv.__file__);"
        "print(rv.figures.reach(page.trace, 0, -1).layout.title.text); page.stop();"
        "from docs.reference import page; print(page('figures'))",
    )
    return said.splitlines()


def test_the_tests_of_the_guide_pass(passed: list[str]) -> None:
    program, *arguments = commands()[0]
    assert program == ".venv/bin/python"
    assert arguments[:2] == ["-m", "pytest"]
    assert arguments[2:] == [FIGURE_TEST, PANEL_TEST]
    for path in (FIGURE_TEST, PANEL_TEST):
        assert any(test.startswith(f"{path}::") for test in passed)


@pytest.mark.parametrize(
    ("path", "part", "test"),
    [
        ("retnet_viz/figures/reading/reach.py", ".abs()", FIGURE_TEST),
        ("retnet_viz/ui/pages/modes/parts_view.py", "self.reach.show(", PANEL_TEST),
    ],
)
def test_the_tests_of_the_guide_fail_where_a_step_is_left_out(
    copy: Path, path: str, part: str, test: str
) -> None:
    right = (copy / path).read_text(encoding="utf-8")
    assert right.count(part) == 1
    wrong = right.replace(part, "print(" if part.endswith("(") else "")
    (copy / path).write_text(wrong, encoding="utf-8")
    try:
        with pytest.raises(AssertionError, match="failed"):
            run(copy, "-m", "pytest", "-x", test)
    finally:
        (copy / path).write_text(right, encoding="utf-8")


def test_the_panel_is_drawn_beside_the_others(copy: Path, printed: list[str]) -> None:
    """It fails where the steps leave the new panel out of the page."""
    is_shown, package, title, *_ = printed
    assert is_shown == "True"
    assert package.startswith(str(copy))
    assert "How far back “·the” reads" in title


def test_the_reference_and_the_gallery_have_it(passed: list[str], printed: list[str]) -> None:
    assert commands()[1:] == [
        [".venv/bin/python", "-m", "pytest", EXAMPLE_TEST, "-k", "reach"],
        [".venv/bin/python", "-m", "docs.gallery", "modes"],
    ]
    assert [test for test in passed if test.startswith(EXAMPLE_TEST)] == [
        f"{EXAMPLE_TEST}::test_an_example_does_what_it_says[rv.figures.reach]"
    ]
    assert any(test.endswith("_panel_of_an_app_is_in_the_gallery[modes]") for test in passed)
    assert "[](){#rv.figures.reach}" in printed


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
