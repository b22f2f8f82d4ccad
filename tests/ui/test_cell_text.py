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
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.export.snapshot.snapshot import record
from retnet_viz.ui.panels import cell_messages

MODULE = Path(ui.__file__).parent / "export" / "snapshot" / "cell_text.js"
TEXT = 'the "cat" & the {dog}, again'
LAYER = 1

# The widget's module needs a page; the module that writes the sentence needs none.
SCRIPT = """
import {{ readFileSync }} from "node:fs";
import {{ cellNumbers, cellText }} from {module};
const {{ sentences, tokens, numbers, cells }} = JSON.parse(readFileSync(0, "utf8"));
const ofLayer = cellNumbers(tokens.length, numbers);
const texts = cells.map(([plane, cell]) => cellText(sentences, plane, cell, tokens, ofLayer));
process.stdout.write(JSON.stringify(texts));
"""


@pytest.fixture(scope="module")
def node() -> str:
    beside = Path(sys.executable).parent / "node"  # of the wheel that the tests of JavaScript use
    program = str(beside) if beside.exists() else shutil.which("node")
    if program is None:
        pytest.skip("Node is not installed")
    return program


def test_every_cell_says_the_same_with_and_without_a_kernel(shipped_model, node):
    trace = rv.trace(shipped_model, TEXT, "parallel")
    snapshot = record(trace, ExplorerState(TEXT), "light")
    stored = snapshot.content["numbers"][LAYER]
    cells = [
        (plane, (head, n, m))
        for plane in ("decay", "retention")
        for head in range(trace.n_heads)
        for n in range(trace.length)
        for m in range(trace.length)
    ]
    job = {
        "sentences": snapshot.content["sentences"],
        "tokens": snapshot.content["tokens"],
        "numbers": {
            name: at and floats(snapshot.buffer, *at["bytes"]) for name, at in stored.items()
        },
        "cells": cells,
    }
    output = subprocess.run(
        [node, "--input-type=module", "--eval", SCRIPT.format(module=json.dumps(MODULE.as_uri()))],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    expected = [cell_messages.cell(trace, plane, LAYER, cell) for plane, cell in cells]
    assert json.loads(output) == expected
    assert len({text for text in expected if "later" not in text}) > len(cells) // 3


def floats(buffer: bytes, start: int, length: int) -> list[float]:
    """float32 of a part of the buffer, as the page reads them."""
    return np.frombuffer(buffer, "<f4", length // 4, start).astype(float).tolist()
