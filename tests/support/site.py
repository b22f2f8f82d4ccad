"""The documentation as pages, built as `make docs` builds them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.checkout import ROOT


def build(folder: Path) -> Path:
    """Build the site in `folder`; a warning is an error."""
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=1800,  # a busy machine is slow, not wrong
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
