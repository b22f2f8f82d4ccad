"""Imports run downward only; the contract stands in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def test_no_layer_imports_one_above_it() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    checkout = Path(__file__).resolve().parents[1]
    run = subprocess.run(
        [str(lint), "--no-cache"], cwd=checkout, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
def test_no_page_imports_the_compiler_of_torch() -> None:
    """It takes seconds of each kernel's start; training alone imports it, with its optimizers."""
    code = """
import sys
import retnet_viz as rv
from retnet_viz.checkpoints import load_model, shipped

for folder in shipped().values():
    load_model(folder)
explorer = rv.explore()
explorer.settle()
assert explorer.trace.cost.flops > 0
for page in (explorer, rv.modes(), rv.compare(), rv.cost()):
    page.stop()
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == "[]\n"
