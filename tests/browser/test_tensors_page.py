"""The explorer over tensors of another code, in a notebook in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.support.explorer_steps import ExplorerPage
from tests.support.lab_steps import open_notebook, run_all_cells, write_notebook
from tests.support.page_steps import cell_centre

WORDS = ["the", "cat", "and", "the", "dog", ",", "the", "cat", "and", "the", "<b>dog</b>"]
T = len(WORDS)
GAMMAS = ((0.5, 0.9), (0.75, 1.0))
CELLS = (
    "import numpy as np\nimport retnet_viz as rv\n"
    "random = np.random.default_rng(0)\n"
    f"q, k, v = (random.normal(size=(2, 2, {T}, d)) for d in (4, 4, 6))",
    f"trace = rv.Trace.from_tensors(q, k, v, {GAMMAS}, tokens={WORDS}, mode='recurrent')\n"
    "trace.save('trace.safetensors')",
    "rv.explore(rv.Trace.load('trace.safetensors'), chunk_size=4)",
)


def weights(layer: int) -> np.ndarray:
    """The retention weights (H, T, T) of the notebook's tensors, from the definition."""
    random = np.random.default_rng(0)
    q, k, _ = (random.normal(size=(2, 2, T, d)) for d in (4, 4, 6))
    weights_of = np.zeros((2, T, T))
    for h, n, m in np.ndindex(weights_of.shape):
        if m <= n:
            weights_of[h, n, m] = GAMMAS[layer][h] ** (n - m) * np.dot(
                q[layer, h, n], k[layer, h, m]
            )
    return weights_of


@pytest.fixture
def explorer(page: Page, lab_url: str, lab_folder: Path) -> ExplorerPage:
    write_notebook(lab_folder / "tensors.ipynb", *CELLS)
    open_notebook(page, lab_url, "tensors.ipynb")
    run_all_cells(page)
    explorer_page = ExplorerPage(page)
    explorer_page.root.scroll_into_view_if_needed()
    explorer_page.wait()
    return explorer_page


def test_tensors_without_a_model_are_explored(explorer: ExplorerPage) -> None:
    expect(explorer.tokens).to_have_text(WORDS)
    expect(explorer.text).to_have_value(" ".join(WORDS))
    expect(explorer.text).to_be_disabled()
    expect(explorer.notice).to_contain_text("there is no model to read another text")
    expect(explorer.root).to_contain_text("tensors without a model: 2 layers, 2 heads")
    expect(explorer.root.get_by_text("presets")).to_have_count(0)
    expect(explorer.root.get_by_text("Open a text file")).to_have_count(0)
    expect(explorer.next).to_contain_text("without a model nothing is predicted")
    before = explorer.boxes()
    origins = {"parallel": "computed", "recurrent": "derived", "chunkwise": "computed inside"}
    for mode, origin in origins.items():
        explorer.choose_mode(mode)
        expect(explorer.weights.locator(".rv-origin")).to_contain_text(origin)
        for i, steps in enumerate((1, T, -(-T // 4))):
            expect(explorer.cost.locator(".bartext").nth(i)).to_have_text(str(steps))
        expect(explorer.agreement).to_contain_text("head outputs reach")
        expect(explorer.agreement).to_contain_text(f"{mode} − ")
        assert float(explorer.agreement.locator(".rv-big").inner_text()) < 1e-12
    assert explorer.boxes() == before

    explorer.drag("layer", 1.0)
    explorer.show_only_head(1, count=2)
    readout = explorer.weights.locator(".rv-readout")
    row = weights(1)[1, T - 1]
    most = int(np.abs(row).argmax())
    expect(readout).to_contain_text(f"most from token {most} “{WORDS[most]}” in head 1")
    explorer.weights.locator("canvas").first.scroll_into_view_if_needed()
    n, m = 9, 4
    explorer.page.mouse.move(*cell_centre(explorer.weights, n, m, T))
    expect(readout).to_contain_text(f"reads m {m} “{WORDS[m]}”")
    expect(readout).to_contain_text(f"= {weights(1)[1, n, m]:.3g}")
    explorer.tokens.nth(n).click()
    expect(explorer.tokens.nth(n)).to_have_attribute("aria-selected", "true")
    expect(explorer.text).to_have_value(" ".join(WORDS))
