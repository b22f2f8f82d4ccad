"""Texts to train on."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import write_stories


@pytest.fixture
def stories(tmp_path: Path) -> Path:
    """A file of 36 short texts."""
    return write_stories(tmp_path)
