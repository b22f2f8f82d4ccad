"""docs/add_a_checkpoint_format.md, followed step by step in a copy of the checkout."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
import torch
from guide import follow, run, steps
from safetensors.torch import save_file

from tests.support.checkout import copy_of_the_checkout

GUIDE = steps("add_a_checkpoint_format.md")
TEST = "tests/checkpoints/test_example_layout.py"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout after all steps but the commands."""
    folder = copy_of_the_checkout(tmp_path_factory.mktemp("format"))
    for step in GUIDE:
        follow(step, folder)
    return folder


def test_the_format_is_loaded_and_computed_as_its_formula_says(copy: Path) -> None:
    (told,) = (step for step in GUIDE if step.kind == "sh")
    command = shlex.split(told.text.splitlines()[0])
    assert command == [".venv/bin/python", "-m", "pytest", TEST]
    assert "9 passed" in run(copy, *command[1:])


def test_the_test_of_the_guide_fails_where_the_table_is_wrong(copy: Path) -> None:
    """A norm of the heads that is another; two tensors of one shape in each other's place."""
    path = copy / "retnet_viz/checkpoints/layouts/example.py"
    right = path.read_text(encoding="utf-8")
    for part, wrong in (
        ('head_norm="rms"', 'head_norm="layer"'),
        ('"block.{i}.query"', '"block.{i}.key"'),
    ):
        assert part in right
        path.write_text(right.replace(part, wrong), encoding="utf-8")
        try:
            with pytest.raises(AssertionError, match="failed"):
                run(copy, "-m", "pytest", "-x", TEST)
        finally:
            path.write_text(right, encoding="utf-8")


def test_the_command_line_knows_the_format(copy: Path, tmp_path: Path) -> None:
    config = {"format": "example", "words": 9, "width": 4, "depth": 1, "heads": 2, "inner": 6}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shapes = {
        **dict.fromkeys(("table", "scores"), (9, 4)),
        **{f"block.0.{name}": (4, 4) for name in ("query", "key", "value", "gate", "mix", "mask")},
        **dict.fromkeys(("norm_c", "block.0.norm_a", "block.0.norm_b"), (4,)),
        **{"block.0.up": (6, 4), "block.0.down": (4, 6), "gammas": (2,)},
    }
    tensors = {name: torch.full(shape, 0.5) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "model.safetensors")
    said = run(copy, "-m", "retnet_viz", "inspect", str(tmp_path))
    assert "a retnet in the layout of example" in said
    assert "block.0.mask: the mask holds nothing that was learned" in said


def test_what_the_guide_writes_is_in_the_style_of_the_rest(copy: Path) -> None:
    files = [step.path for step in GUIDE if step.path.endswith(".py")]
    run(copy, "-m", "ruff", "check", *files)
    run(copy, "-m", "ruff", "format", "--check", *files)


def test_a_checkout_without_the_steps_refuses_the_format(tmp_path: Path) -> None:
    """What the steps bring is not there already."""
    from retnet_viz.checkpoints import CheckpointError, inspect

    (tmp_path / "config.json").write_text(json.dumps({"format": "example"}))
    with pytest.raises(CheckpointError, match="is not of the format"):
        inspect(tmp_path)
    assert "retnet_viz.checkpoints.layouts.example" not in sys.modules
