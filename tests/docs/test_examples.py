"""docs/examples: one for each public function, and each of them runs as it stands there."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.examples import SETUP, all_examples, examples_in
from docs.reference import LAYERS, full_name, names, value
from tests.support.checkout import ROOT


def functions(layer: str) -> list[str]:
    """The full names of the public functions of a layer."""
    found = {name: value(layer, name) for name in names(layer)}
    return [
        full_name(layer, name)
        for name, each in found.items()
        if callable(each) and not inspect.isclass(each)
    ]


@pytest.fixture(scope="module")
def at_hand() -> dict[str, Any]:
    """What every example begins with."""
    held: dict[str, Any] = {}
    exec(SETUP, held)
    return held


@pytest.fixture
def namespace(
    at_hand: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """A copy of it, with a folder of its own; pages that the example opened are closed."""
    monkeypatch.chdir(ROOT)
    held = {**at_hand, "folder": tmp_path}
    yield held
    for made in held.values():
        if hasattr(made, "close_all") and not inspect.isclass(made):
            made.stop()
            made.close_all()


@pytest.mark.parametrize("layer", LAYERS)
def test_every_public_function_has_an_example_and_nothing_else_has(layer: str) -> None:
    assert list(examples_in(layer)) == functions(layer)


@pytest.mark.parametrize("name", all_examples())
def test_an_example_does_what_it_says(name: str, namespace: dict[str, Any]) -> None:
    session = all_examples()[name]
    parsed = doctest.DocTestParser().get_doctest(session, namespace, name, None, None)
    assert parsed.examples
    parsed.globs = namespace
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
    result = runner.run(parsed, out=said.append, clear_globs=False)
    assert result.failed == 0, "".join(said)
    assert name.rpartition(".")[2] in session
