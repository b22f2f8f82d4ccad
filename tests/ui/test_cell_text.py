"""A page without a kernel says of its cells what the running page says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import retnet_viz as rv
from retnet_viz import ui
from retnet_viz.ui.core.page_state import ExplorerState
from retnet_viz.ui.export.snapshot import record
from retnet_viz.ui.panels import cell_messages

MODULE = Path(ui.__file__).parent / "export" / "cell_text.js"
TEXT = 'the "cat" & the {dog}, again'
LAYER = 1

# The widget's module needs a page; the module that writes the sentence needs none.
SCRIPT = """
import {{ readFileSync }} from "node:fs";
import {{ cellPlace, cellText }} from {module};
const {{ sentences, tokens, numbers, cells }} = JSON.parse(readFileSync(0, "utf8"));
const place = (head, n, m) => cellPlace(tokens.length, head, n, m);
const found = {{
  score: (head, n, m) => numbers.scores[place(head, n, m)],
  weight: (head, n, m) => numbers.weights[place(head, n, m)],
  decay: (head, n, m) => numbers.decay[head * tokens.length + n - m],
}};
const said = cells.map(([plane, cell]) => cellText(sentences, plane, cell, tokens, found));
process.stdout.write(JSON.stringify(said));
"""


@pytest.fixture(scope="module")
def node() -> str:
    beside = Path(sys.executable).parent / "node"  # of the wheel that the tests of JavaScript use
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        pytest.skip("Node is not installed")
    return found


def test_every_cell_says_the_same_with_and_without_a_kernel(shipped_model, node):
    trace = rv.trace(shipped_model, TEXT, "parallel")
    written = record(trace, ExplorerState(TEXT), "light")
    stored = written.content["numbers"][LAYER]
    cells = [
        (plane, (head, n, m))
        for plane in ("decay", "retention")
        for head in range(trace.n_heads)
        for n in range(trace.length)
        for m in range(trace.length)
    ]
    given = {
        "sentences": written.content["sentences"],
        "tokens": written.content["tokens"],
        "numbers": {name: floats(written.buffer, *at["bytes"]) for name, at in stored.items()},
        "cells": cells,
    }
    said = subprocess.run(
        [node, "--input-type=module", "--eval", SCRIPT.format(module=json.dumps(MODULE.as_uri()))],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    expected = [cell_messages.cell(trace, plane, LAYER, cell) for plane, cell in cells]
    assert json.loads(said) == expected
    assert len({text for text in expected if "later" not in text}) > len(cells) // 3


def floats(buffer: bytes, start: int, length: int) -> list[float]:
    """float32 of a part of the buffer, as the page reads them."""
    return np.frombuffer(buffer, "<f4", length // 4, start).astype(float).tolist()
