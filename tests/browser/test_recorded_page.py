"""A page of the explorer as a file: opened with the network off, it answers by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from plotly.offline import get_plotlyjs

import retnet_viz as rv
from retnet_viz.trace import Trace
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.export import View, html_page
from retnet_viz.ui.export.panel_exports import PANELS
from retnet_viz.ui.export.snapshot.snapshot import MOST_TOKENS, TooLargeError, record
from retnet_viz.ui.export.snapshot.snapshot_page import page as page_of
from retnet_viz.ui.panels.cell_messages import cell
from tests.support.observed import Observed, observe
from tests.support.page_steps import cell_centre

TEXT = 'the "cat" & the <dog>, the cat and the dog, the cat and the'
STATE = ExplorerState(TEXT, mode="recurrent", layer=2, head=1)


@pytest.fixture(scope="module")
def trace() -> Trace:
    return rv.trace(rv.load(), TEXT, "recurrent", 8)


@pytest.fixture(scope="module")
def file(trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page_of(trace, STATE), encoding="utf-8")
    return path


@pytest.fixture
def offline(browser: Browser, file: Path) -> Iterator[tuple[Page, Observed]]:
    """The file in a browser without a network; it must ask for nothing but itself."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    page = context.new_page()
    observed = observe(page)
    page.goto(file.as_uri())
    expect(page.locator("body")).to_have_attribute("data-ready", "true")
    yield page, observed
    requested = {url for url in observed.requests if not url.startswith(("blob:", "data:"))}
    context.close()
    assert requested == {file.as_uri()}
    assert observed.errors == []


def point_at(page: Page, matrix: Locator, n: int, m: int, length: int) -> None:
    """Move the pointer onto a cell of a matrix that shows one head."""
    page.mouse.move(*cell_centre(matrix, n, m, length))


def test_tokens_heads_and_layers_are_selected(offline, trace: Trace) -> None:
    page, _ = offline
    strip = page.locator(".rv-area-strip")
    expect(strip.get_by_role("option")).to_have_count(trace.length)
    strip.get_by_role("option").nth(7).click()
    expect(strip.locator(".rv-name")).to_contain_text("n = 7 ")
    expect(page.locator(".rv-area-next .gtitle")).to_contain_text("n = 7 ")
    likeliest = trace.piece(int(trace.logits_after(7).argmax())).strip()
    expect(page.locator(".rv-area-next")).to_contain_text(likeliest)

    heads = page.get_by_role("radiogroup", name="heads")
    heads.get_by_role("radio", name="3", exact=True).click()
    expect(strip.locator(".rv-origin")).to_have_text("weight of head 3, layer 2; derived")
    page.get_by_role("slider", name="layer").press("ArrowRight")
    expect(strip.locator(".rv-origin")).to_have_text("weight of head 3, layer 3; derived")
    strip.get_by_role("option").nth(2).hover()
    weight = trace.retention(3)[3, 7, 2].item()
    title = strip.get_by_role("option").nth(2).get_attribute("title")
    assert title == f"n = 2: weight {float(f'{weight:.4g}'):g}"
    expect(page.locator(".rv-area-norms .legendtext, .rv-area-norms .rv-names")).to_contain_text(
        "head 3"
    )


def test_a_cell_says_its_numbers_and_is_pinned(offline, trace: Trace) -> None:
    page, _ = offline
    page.get_by_role("radiogroup", name="heads").get_by_role("radio", name="2", exact=True).click()
    for panel, name in ((".rv-area-weights", "retention"), (".rv-decay-matrix", "decay")):
        matrix = page.locator(panel)
        point_at(page, matrix, 9, 4, trace.length)
        text = cell(trace, name, 2, (2, 9, 4))
        expect(matrix.locator(".rv-readout")).to_have_text(text)
    page.mouse.down()
    page.mouse.up()
    expect(page.locator(".rv-area-strip .rv-name")).to_contain_text("n = 9 ")
    page.mouse.move(2, 2)
    pinned = cell(trace, "retention", 2, (2, 9, 4))
    expect(page.locator(".rv-area-weights .rv-readout")).to_have_text(pinned)


def test_the_steps_of_all_three_modes_are_played(offline, trace: Trace) -> None:
    page, _ = offline
    stage = page.locator(".rv-area-stage")
    stage.scroll_into_view_if_needed()
    expect(stage.locator(".rv-step")).to_have_text(f"step {trace.length} of {trace.length}")
    scrubber = stage.get_by_role("slider", name="Step")
    scrubber.focus()
    scrubber.fill("4")
    expect(stage).to_have_attribute("data-token", "4")
    expect(page.locator(".rv-area-strip .rv-name")).to_contain_text("n = 4 ")
    norm = trace.state_norm(2)[1, 4].item()
    expect(stage.locator(".rv-saying")).to_contain_text(f"holds {norm:.3g}")
    modes = page.get_by_role("radiogroup", name="mode at work")
    modes.get_by_role("radio", name="chunkwise").click()
    expect(stage.locator(".rv-origin").first).to_have_text("chunkwise, layer 2, head 1")
    expect(stage.locator(".rv-step")).to_have_text(re.compile(r"step 1 of \d"))
    modes.get_by_role("radio", name="parallel").click()
    expect(stage.locator(".rv-step")).to_have_text("step 1 of 1")
    stage.get_by_role("button", name="table").click()
    expect(stage.locator("table").first).to_contain_text("norm")


def test_what_is_read_as_a_table(offline, trace: Trace) -> None:
    page, _ = offline
    weights = page.locator(".rv-area-weights")
    weights.get_by_role("button", name="table").click()
    rows = weights.locator("tbody tr")
    expect(rows).to_have_count(trace.length)
    value = f"{trace.retention(2)[0, -1, 3].item():.4g}"
    assert float(rows.nth(3).locator("td").nth(1).inner_text()) == float(value)


def test_text_is_text_in_the_page(offline) -> None:
    page, _ = offline
    expect(page.locator(".rv-recorded")).to_have_text(TEXT)
    assert page.locator("dog").count() == 0


def test_a_page_of_64_tokens_is_under_2_mb_beyond_plotly() -> None:
    text = "Once upon a time there was a king who had three sons and a house by the sea. " * 4
    model = rv.load()
    ids = model.tokenizer.encode(text)[:64]
    trace = rv.trace(model, model.tokenizer.decode(ids), "recurrent", 8)
    assert (trace.length, trace.n_layers, trace.n_heads) == (64, 4, 4)
    size = len(page_of(trace, ExplorerState(text, mode="recurrent")).encode())
    assert size - len(get_plotlyjs().encode()) < 2e6


def test_a_long_text_is_refused_and_an_impatient_user_heard(trace: Trace) -> None:
    long = rv.trace(trace.model, "a b c d " * MOST_TOKENS)
    with pytest.raises(TooLargeError, match=f"up to {MOST_TOKENS} tokens"):
        record(long, ExplorerState(), "light")
    reports: list[tuple[int, int]] = []

    def tell(done: int, total: int) -> None:
        reports.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(trace, STATE, "light", tell)
    assert [done for done, _ in reports] == [0, 1, 2, 3]


def test_a_panel_is_a_page_that_needs_no_network(
    browser: Browser, trace: Trace, tmp_path: Path
) -> None:
    path = tmp_path / "retention.html"
    path.write_text(html_page(PANELS["retention"].spec(trace, View(layer=2))), encoding="utf-8")
    expect_drawn(browser, path, {path})


def test_panels_that_are_exported_need_the_script_beside_them_and_no_network(
    browser: Browser, trace: Trace, tmp_path: Path
) -> None:
    short = rv.trace(trace.model, "the cat and the dog")  # the page is recorded too
    script, _, path = rv.export(short, tmp_path, "html", "retention", layer=2)
    expect_drawn(browser, path, {path, script})
    script.unlink()
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    expect(page.get_by_text("needs the file plotly.min.js beside this page")).to_be_visible()
    context.close()


def expect_drawn(browser: Browser, path: Path, files: set[Path]) -> None:
    """The weights are drawn and answer the pointer, from these files alone."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    observed = observe(page)
    page.goto(path.as_uri())
    expect(page.locator(".gtitle")).to_contain_text("Retention weights")
    expect(page.get_by_text("needs the file")).to_be_hidden()
    page.locator(".nsewdrag").first.hover()
    expect(page.locator(".hoverlayer .hovertext").first).to_contain_text("reads m =")
    requested = {url for url in observed.requests if not url.startswith(("blob:", "data:"))}
    assert requested == {file.as_uri() for file in files}
    assert observed.errors == []
    context.close()
