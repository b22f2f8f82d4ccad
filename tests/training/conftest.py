"""Texts to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import LINES

from retnet_viz.training.data import END


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    """A file of 36 short texts."""
    path = tmp_path / "stories.txt"
    path.write_text(f"\n{END}\n".join(line * 3 for line in LINES) + f"\n{END}\n")
    return path
