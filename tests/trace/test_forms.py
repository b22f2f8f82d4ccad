"""The table of the three forms against their passes, and one default for the chunk size."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import retnet_viz
from retnet_viz.cli import main, make_parser
from retnet_viz.figures.base.theme import MODE_COLORS
from retnet_viz.model import CHUNK_SIZE, MODES, RetNet
from retnet_viz.model.observe import listening
from retnet_viz.trace.passes.forms import FORMS
from retnet_viz.training import TrainingConfig
from retnet_viz.ui import ExplorerState
from retnet_viz.ui.core.state.page_state import EXPLORER_CHUNK

ModelFactory = Callable[..., RetNet]
PACKAGE = Path(retnet_viz.__file__).parent


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("length", "chunk_size"), [(1, 4), (8, 4), (10, 4), (3, 64)])
def test_a_form_takes_the_steps_and_computes_the_cells_of_its_pass(
    tiny_model: ModelFactory, mode: str, length: int, chunk_size: int
) -> None:
    states, cells = 0, 0

    def count(name: str, tensor: torch.Tensor) -> None:
        nonlocal states, cells
        states += name == "retention.state"
        cells += tensor[0, 0].numel() if name == "retention.weights" else 0

    with torch.no_grad(), listening(count):
        tiny_model(n_layers=1)(torch.arange(length)[None], None, mode, chunk_size)
    form = FORMS[mode]
    assert form.steps(length, chunk_size) == states
    whole, rest = divmod(length, chunk_size)
    expected = {"all": length**2, "none": 0, "blocks": whole * chunk_size**2 + rest**2}
    assert cells == expected[form.cells]


def test_every_table_by_mode_has_the_modes_of_the_model() -> None:
    assert tuple(FORMS) == tuple(MODE_COLORS) == MODES
    parser = make_parser()
    for mode in MODES:
        assert parser.parse_args(["export", "out", "--text", "a", "--mode", mode]).mode == mode
        assert parser.parse_args(["bench", "--modes", mode]).modes == [mode]


def test_no_function_has_a_chunk_size_of_its_own() -> None:
    own = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                named = node.args.args[len(node.args.args) - len(node.args.defaults) :]
                named += node.args.kwonlyargs
                usual = [*node.args.defaults, *node.args.kw_defaults]
                own += [
                    f"{path.name}: {node.name}"
                    for argument, default in zip(named, usual, strict=True)
                    if argument.arg == "chunk_size"
                    and isinstance(getattr(default, "value", None), int)
                ]
    assert own == []


def test_the_defaults_are_those_of_the_model_and_of_the_explorer(tiny_model: ModelFactory) -> None:
    assert retnet_viz.trace(tiny_model(), torch.arange(3)).chunk_size == CHUNK_SIZE == 64
    assert ExplorerState().chunk_size == EXPLORER_CHUNK == 8


@pytest.mark.parametrize(
    ("command", "size"), [("train", TrainingConfig.chunk_size), ("export", EXPLORER_CHUNK)]
)
def test_the_help_of_a_command_names_its_default(
    command: str, size: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"tokens per chunk ({size})" in capsys.readouterr().out
