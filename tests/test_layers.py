"""Imports run downward only; the contract stands in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_no_layer_imports_one_above_it() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    checkout = Path(__file__).resolve().parents[1]
    run = subprocess.run(
        [str(lint), "--no-cache"], cwd=checkout, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
