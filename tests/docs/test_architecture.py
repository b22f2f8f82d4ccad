"""The page of the house is made of the code as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import architecture
from retnet_viz.model import RetNet

ROOT = Path(__file__).parents[2]


def test_the_page_is_made_of_the_code_as_it_is() -> None:
    found = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    wanted = architecture.page()
    assert found == wanted, (
        "docs/architecture.md is not what the code is now: run python -m docs.architecture"
    )
    assert all(f"    {layer}" in found for layer in architecture.layers())


def test_a_key_reaches_the_model_through_ten_functions_each_of_which_has_a_purpose() -> None:
    page = architecture.page()
    walk = page[page.index("## One keystroke") : page.index("Then `model/retnet.py`")]
    frames = [line for line in walk.splitlines() if line[:1].isdigit()]
    assert 3 < len(frames) <= 10
    assert all(re.fullmatch(r"\d+\. `[\w/.]+`: `\w+`\. .{20,}", frame) for frame in frames), frames


def test_every_room_says_what_it_is_for() -> None:
    assert all(len(line.split(maxsplit=1)) == 2 for line in architecture.rooms())


def test_a_walk_is_of_this_package_alone_and_leaves_the_code_as_it_was() -> None:
    forward = RetNet.forward
    assert architecture.walk(RetNet, "forward", lambda: None) == []
    assert RetNet.forward is forward
    with pytest.raises(ZeroDivisionError):
        architecture.walk(RetNet, "forward", lambda: 1 / 0)
    assert RetNet.forward is forward
