"""The explorer in a real browser: what a person does, and the numbers that they then see."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

import retnet_viz as rv
from retnet_viz.figures.base.scale import ColorScale
from retnet_viz.figures.base.theme import DIVERGING, color_table
from retnet_viz.figures.base.tokens import visible
from retnet_viz.ui.pages.presets import START
from tests.support.explorer_steps import ExplorerPage
from tests.support.lab_steps import open_notebook, run_all_cells, run_cell
from tests.support.observed import Observed, observed_page
from tests.support.page_steps import cell_centre

TEXT = "The king had three sons, and the youngest"
OTHER = "The queen sat down"


@pytest.fixture(scope="session")
def model():
    return rv.load()


@pytest.fixture(scope="module")
def lab_page(browser: Browser, lab_url: str) -> Iterator[tuple[Page, Observed]]:
    """The first notebook in JupyterLab, with all of its cells run."""
    with observed_page(browser) as (page, observed):
        open_notebook(page, lab_url, "01_meet_retention.ipynb")
        run_all_cells(page)
        yield page, observed


@pytest.fixture
def lab_explorer(lab_page: tuple[Page, Observed]) -> Iterator[ExplorerPage]:
    """A new explorer in that notebook: its cell runs again."""
    page, observed = lab_page
    explorer_page = ExplorerPage(page)
    explorer_page.root.evaluate("root => { root.dataset.before = true; }")
    run_cell(page, 1)
    expect(page.locator(".rv-explorer[data-before]")).to_have_count(0)
    explorer_page.root.scroll_into_view_if_needed()
    explorer_page.wait()
    yield explorer_page
    observed.expect_nothing()


@pytest.fixture(params=["explorer", "lab_explorer"])
def anywhere(request: pytest.FixtureRequest) -> ExplorerPage:
    """The explorer in Voila, then in JupyterLab."""
    return request.getfixturevalue(request.param)


def expect_trace(explorer: ExplorerPage, trace: rv.Trace, selected: int = -1) -> None:
    """The page shows the tokens, the probabilities and the origins of `trace`."""
    expect(explorer.tokens).to_have_text([visible(token) for token in trace.tokens])
    top = trace.logits[selected].double().softmax(-1).topk(10)
    shares = [f"{100 * value:.1f} %" for value in top.values.tolist()]
    names = [visible(trace.piece(token_id)) for token_id in top.indices.tolist()]
    expect(explorer.next.locator(".ytick")).to_have_text(
        [f"{name} {share}" for name, share in zip(names, shares, strict=True)]
    )
    expect(explorer.weights.locator(".rv-origin")).to_have_text(trace.origin("retention"))


def test_the_numbers_on_the_page_are_the_traces(anywhere: ExplorerPage, model) -> None:
    before = anywhere.boxes()
    anywhere.type(TEXT)
    for mode in ("parallel", "recurrent", "chunkwise"):
        anywhere.choose_mode(mode)
        trace = rv.trace(model, TEXT, mode, chunk_size=8)
        expect_trace(anywhere, trace)
        # Every mode says what it took: one step, one per token, one per chunk.
        for i, steps in enumerate((1, trace.length, -(-trace.length // 8))):
            expect(anywhere.cost.locator(".bartext").nth(i)).to_have_text(str(steps))
        worst = anywhere.agreement.locator(".rv-big")
        expect(worst).to_have_text(re.compile(r"e-0[4-9]$"))
        assert float(worst.inner_text()) < 1e-4 * trace.logits.abs().max()
    assert anywhere.boxes() == before


def test_a_cell_tells_its_numbers_under_the_pointer_and_by_keyboard(
    anywhere: ExplorerPage, model
) -> None:
    anywhere.type(TEXT)
    trace = rv.trace(model, TEXT)
    anywhere.show_only_head(2)
    expect(anywhere.tokens).to_have_count(trace.length)
    readout = anywhere.weights.locator(".rv-readout")
    last = trace.length - 1
    at_rest = re.compile(
        rf"^Token {last} .* retains most from .* in head 2 "
    )  # the panel's sentence
    expect(readout).to_have_text(at_rest)
    canvas = anywhere.weights.locator(".rv-canvas-box canvas")
    canvas.scroll_into_view_if_needed()

    def expected_texts(n: int, m: int) -> tuple[str, str]:
        cell = trace.cell(anywhere.value("layer"), 2, n, m)
        return f"q·k {cell.score:.3g} ×", f"{cell.decay:.3g} = {cell.weight:.3g}"

    x, y = cell_centre(anywhere.weights, 7, 3, trace.length)
    anywhere.page.mouse.move(x, y)
    for part in expected_texts(7, 3):
        expect(readout).to_contain_text(part)
    anywhere.page.mouse.move(0, 0)
    expect(readout).to_have_text(at_rest)
    canvas.focus()
    for key in ("ArrowUp", "ArrowRight", "ArrowRight"):
        anywhere.page.keyboard.press(key)
    for part in expected_texts(last - 1, 2):
        expect(readout).to_contain_text(part)
    anywhere.page.keyboard.press("Enter")  # pins the cell, and so selects its token everywhere
    expect(anywhere.tokens.nth(last - 1)).to_have_attribute("aria-selected", "true")
    anywhere.page.keyboard.press("Escape")
    expect(readout).to_contain_text("retains most from")


def test_the_colours_of_the_canvas_are_those_of_the_weights(explorer: ExplorerPage, model) -> None:
    explorer.type(TEXT)
    trace = rv.trace(model, TEXT)
    weights = trace.retention(START.layer)[1]
    explorer.show_only_head(1)
    expect(explorer.tokens).to_have_count(trace.length)
    limit_text = ColorScale("linear", weights.abs().max().item(), signed=True).ticks()[-1][1]
    expect(explorer.weights.locator(".rv-ticks")).to_contain_text(limit_text)
    colors = color_table(DIVERGING).astype(int)
    limit = weights.abs().max().item()
    for n, m in ((5, 0), (5, 4), (8, 6), (3, 3)):
        x, y = cell_centre(explorer.weights, n, m, trace.length)
        red, green, blue, alpha = explorer.pixel(explorer.weights, x, y)
        place = 1 + round((weights[n, m].item() / limit + 1) / 2 * 254)
        near = colors[max(1, place - 1) : place + 2]
        assert alpha == 255
        assert abs(near - [red, green, blue]).max(axis=1).min() <= 1, (n, m)
    x, y = cell_centre(explorer.weights, 2, 6, trace.length)
    assert explorer.pixel(explorer.weights, x, y)[3] == 0  # nothing is read from the future


def test_one_selection_everywhere(anywhere: ExplorerPage, model) -> None:
    anywhere.type(TEXT)
    trace = rv.trace(model, TEXT)
    expect(anywhere.tokens).to_have_count(trace.length)
    anywhere.tokens.nth(4).click()
    expect(anywhere.next.locator(".gtitle")).to_contain_text("n = 4")
    expect(anywhere.strip.locator(".rv-name")).to_contain_text("n = 4")
    expect_trace(anywhere, trace, selected=4)
    anywhere.page.keyboard.press("ArrowRight")
    expect(anywhere.next.locator(".gtitle")).to_contain_text("n = 5")
    expect(anywhere.tokens.nth(5)).to_have_attribute("aria-selected", "true")


def test_dragging_updates_in_place(anywhere: ExplorerPage, model) -> None:
    anywhere.type(TEXT)
    anywhere.choose_mode("chunkwise")
    before = anywhere.boxes()
    canvas = anywhere.weights.locator(".rv-canvas-box canvas")
    canvas.evaluate("element => { element.kept = true; }")
    n_drawings = int(anywhere.weights.get_attribute("data-drawn") or 0)
    anywhere.drag("layer", 1.0)
    expect(anywhere.slider("layer").locator(".widget-readout")).to_have_text("3")
    anywhere.drag("chunk size", 0.5)
    chunk = anywhere.value("chunk size")
    assert 20 < chunk < 45
    trace = rv.trace(model, TEXT, "chunkwise", chunk)
    expect(anywhere.strip.locator(".rv-origin")).to_contain_text("layer 3")
    expect(anywhere.cost.locator(".bartext").nth(2)).to_have_text(str(-(-trace.length // chunk)))
    limit = trace.retention(3).abs().max().item()
    expect(anywhere.weights.locator(".rv-ticks")).to_contain_text(f"{limit:.3g}")
    assert int(anywhere.weights.get_attribute("data-drawn") or 0) > n_drawings
    assert canvas.evaluate("element => element.kept")  # the same element: nothing was rebuilt
    assert anywhere.boxes() == before


@pytest.mark.parametrize(
    "text",
    [
        "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>",
        "\U0001f600 שלום مرحبا e\u0301\u0302\u0303 \u202eabc",
        "<b>%{x}</b> &lt;i&gt; $\\alpha$",
    ],
)
def test_any_text_is_shown_as_text(explorer: ExplorerPage, model, text: str) -> None:
    before = explorer.boxes()
    explorer.text.fill(text)
    expect_trace(explorer, rv.trace(model, text))
    explorer.tokens.first.click()
    expect(explorer.next.locator(".gtitle")).to_contain_text("n = 0")
    assert explorer.page.evaluate("window.hacked") is None
    assert explorer.root.locator(".rv-strip img, .rv-strip script, .rv-strip b").count() == 0
    assert explorer.boxes() == before


def test_an_empty_text_says_so_and_keeps_working(explorer: ExplorerPage, model) -> None:
    before = explorer.boxes()
    explorer.type("")
    expect(explorer.strip).to_contain_text("No text yet")
    expect(explorer.notice).to_have_text("0 tokens")
    assert explorer.boxes() == before
    explorer.type(OTHER)
    expect_trace(explorer, rv.trace(model, OTHER))
    assert explorer.boxes() == before


def test_a_pasted_text_of_any_length_is_shown(explorer: ExplorerPage) -> None:
    explorer.text.fill("word " * 3000)
    expect(explorer.notice).to_contain_text("recomputed 3,002 of 3,002 tokens", timeout=90_000)
    expect(explorer.strip.get_by_role("option", selected=True)).to_have_attribute("data-n", "3001")
    assert explorer.tokens.count() <= 1024


def test_presets_show_their_point(explorer: ExplorerPage) -> None:
    before = explorer.boxes()
    picker = explorer.root.locator("select", has_text="Dialogue")
    for name in ("Near copy", "Far repetition", "A list", "Dialogue", "A long story opening"):
        picker.select_option(label=name)
        expect(explorer.notice).to_contain_text(re.compile(r"^\d+ tokens\. \S"))
        assert explorer.boxes() == before


def test_a_link_opens_the_view_that_it_names(page: Page, voila_url: str, model) -> None:
    state = rv.explore(model, OTHER, mode="recurrent", layer=2, token=1, theme="dark").state
    page.goto(f"{voila_url}?{state.query()}")
    explorer_page = ExplorerPage(page)
    explorer_page.wait()
    expect(explorer_page.text).to_have_value(OTHER)
    expect_trace(explorer_page, rv.trace(model, OTHER, "recurrent"), selected=1)
    expect(explorer_page.root).to_have_attribute("data-theme", "dark")
    assert explorer_page.value("layer") == 2


def test_the_theme_follows_the_host_and_can_be_overridden(page: Page, voila_url: str) -> None:
    page.goto(f"{voila_url}?theme=dark")
    explorer_page = ExplorerPage(page)
    explorer_page.wait()
    background = (
        "getComputedStyle(document.querySelector('.rv-area-norms .main-svg')).backgroundColor"
    )
    expect(explorer_page.root).to_have_attribute("data-theme", "dark")
    page.wait_for_function(f"{background} === 'rgb(27, 30, 35)'")
    explorer_page.root.locator("select", has_text="theme").select_option(label="theme: light")
    expect(explorer_page.root).to_have_attribute("data-theme", "light")
    page.wait_for_function(f"{background} === 'rgb(255, 255, 255)'")


def test_the_controls_have_names_and_answer_to_the_keyboard(explorer: ExplorerPage, model) -> None:
    page = explorer.page
    expect(page.get_by_role("textbox", name="Text for the model to read")).to_be_visible()
    expect(page.get_by_role("combobox", name="Presets")).to_be_visible()
    expect(page.get_by_role("combobox", name="Theme")).to_be_visible()
    explorer.type(TEXT)
    page.get_by_role("slider", name="layer").focus()
    page.keyboard.press("ArrowRight")
    expect(explorer.strip.locator(".rv-origin")).to_contain_text("layer 1")
    page.get_by_role("button", name="Recurrent").focus()
    page.keyboard.press("Enter")
    expect_trace(explorer, rv.trace(model, TEXT, "recurrent"))
    page.get_by_role("listbox", name="Tokens").focus()
    page.keyboard.press("Home")
    expect(explorer.tokens.first).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("size", [(1024, 768), (1280, 800), (1920, 1080)])
def test_every_panel_is_on_the_page_and_none_overlaps(
    explorer: ExplorerPage, size: tuple[int, int]
) -> None:
    page = explorer.page
    page.set_viewport_size({"width": size[0], "height": size[1]})
    # Figures are drawn anew, to fit, in a moment.
    page.wait_for_function(f"document.documentElement.scrollWidth <= {size[0]}")
    if size[0] >= 1280:  # a class sees the whole explorer without scrolling
        page.wait_for_function(f"document.documentElement.scrollHeight <= {size[1]}")
    panels = list(explorer.boxes().values())
    for i, (x, y, width, height) in enumerate(panels):
        assert width > 100
        assert height > 20
        assert x + width <= size[0]
        for other_x, other_y, other_width, other_height in panels[i + 1 :]:
            apart = (
                x + width <= other_x
                or other_x + other_width <= x
                or y + height <= other_y
                or other_y + other_height <= y
            )
            assert apart


def test_a_dead_kernel_is_told_with_a_way_back(browser: Browser, voila_url: str) -> None:
    # Not the `page` fixture: a page whose kernel is gone may well log errors.
    page = browser.new_page()
    page.clock.install()
    page.goto(voila_url)
    explorer_page = ExplorerPage(page)
    explorer_page.root.wait_for()
    explorer_page.strip.locator("[role=option]").first.wait_for()
    kernel = page.evaluate(
        "JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId"
    )
    page.evaluate(
        "async ([url]) => { await fetch(url, { method: 'DELETE' }); }",
        [f"{voila_url}api/kernels/{kernel}"],
    )
    for _ in range(8):
        page.clock.run_for(5_000)
    expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
    expect(page.get_by_role("link", name="Open it again as it is now")).to_have_attribute(
        "href", re.compile(r"^\?")
    )
    page.close()


# -- what if ---------------------------------------------------------------------------------------


def edits_on(explorer: ExplorerPage) -> list[rv.edits.Edit]:
    """The changes that the page lists, each by the line of Python that stands there."""
    lines = explorer.root.locator(".rv-what-if-change code")
    return [eval(line, {"rv": rv}) for line in lines.evaluate_all("all => all.map(x => x.title)")]


def expect_what_if(explorer: ExplorerPage, model: rv.RetNet, *expected: rv.edits.Edit) -> None:
    """The page lists these changes, and shows the predictions before and after them."""
    explorer.root.locator(".rv-what-if-change").nth(len(expected) - 1).wait_for()
    assert edits_on(explorer) == list(expected)
    mode = explorer.root.locator(".rv-modes .mod-active").inner_text().lower()
    base = rv.trace(model, TEXT, mode, chunk_size=8)
    trace = rv.trace(model, TEXT, mode, chunk_size=8, edits=expected)
    before, after = (x.logits[-1].double().softmax(-1) for x in (base, trace))
    ids = after.topk(10).indices.tolist()
    if (likeliest := int(before.argmax())) not in ids:
        ids[-1] = likeliest
    expect(explorer.next.locator(".ytick")).to_have_text(
        [f"{visible(trace.piece(i))} {100 * before[i]:.1f} % → {100 * after[i]:.1f} %" for i in ids]
    )
    loss = f"{base.loss.mean():.3f} → {trace.loss.mean():.3f} nats"
    expect(explorer.root.locator(".rv-what-if-changes")).to_contain_text(loss)
    assert "rv-edited" in (explorer.root.get_attribute("class") or "")


def test_each_change_of_the_page_is_that_of_the_same_line_of_python(
    anywhere: ExplorerPage, model: rv.RetNet
) -> None:
    anywhere.type(TEXT)
    panel = anywhere.root.locator(".rv-what-if")

    def press(name: str, number: int = 0) -> None:
        panel.get_by_role("button", name=name, exact=True).nth(number).click()

    layer = anywhere.value("layer")
    press("silence", 1)
    silent = rv.edits.silence(layer=layer, head=1)
    expect_what_if(anywhere, model, silent)
    press("all layers")
    press("gate")
    expect_what_if(anywhere, model, silent, rv.edits.without("gate"))
    anywhere.choose_mode("recurrent")
    expect_what_if(anywhere, model, silent, rv.edits.without("gate"))
    press("undo all changes")
    expect(panel.locator(".rv-what-if-change")).to_have_count(0)
    expect_trace(anywhere, rv.trace(model, TEXT, "recurrent"))

    press(f"layer {layer}")
    anywhere.tokens.nth(4).click()
    expect(panel).to_contain_text("at token n = 4")
    press("forget it")
    press("empty the state")
    anywhere.tokens.nth(8).click()
    expect(panel).to_contain_text("at token n = 8")
    panel.locator(".rv-what-if-token input[type=number]").fill("2")
    panel.locator(".rv-what-if-token input[type=number]").press("Enter")
    press("cut")
    expected = [
        rv.edits.forget(token=4, start=5, layer=layer),
        rv.edits.reset(start=4, layer=layer),
        rv.edits.cut(reader=8, read=2, layer=layer),
    ]
    expect(panel.locator(".rv-what-if-change")).to_have_count(3)
    anywhere.tokens.last.click()
    expect_what_if(anywhere, model, *expected)
    press("×", 1)
    expect(panel.locator(".rv-what-if-change")).to_have_count(2)
    panel.locator(".rv-what-if-token input[type=text]").fill(OTHER)
    panel.locator(".rv-what-if-token input[type=text]").press("Enter")
    press("take its state")
    length = rv.trace(model, TEXT).length
    swap = rv.edits.swap(start=length - 1, ids=model.tokenizer.encode(OTHER), layer=layer)
    expect_what_if(anywhere, model, expected[0], expected[2], swap)


def test_a_half_life_is_dragged_and_undone(explorer: ExplorerPage, model: rv.RetNet) -> None:
    explorer.type(TEXT)
    handle = explorer.root.locator(".rv-what-if-head .noUi-handle").nth(2)
    handle.focus()
    explorer.page.keyboard.press("PageDown")
    explorer.root.locator(".rv-what-if-head").nth(2).locator("b").wait_for()
    (edit,) = edits_on(explorer)
    assert edit.layer == (1,)
    assert edit.head == (2,)
    assert edit.gamma < model.gammas[1][2]
    expect_what_if(explorer, model, edit)
    explorer.root.locator(".rv-undo button").first.click()
    expect(explorer.root.locator(".rv-what-if-change")).to_have_count(0)
    expect_trace(explorer, rv.trace(model, TEXT))
