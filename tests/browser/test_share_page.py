"""Links, undo and the looks of the pages in a real browser, as a teacher uses them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

import retnet_viz as rv
from retnet_viz.figures.base.tokens import visible
from retnet_viz.model import RetNetConfig
from retnet_viz.ui import ExplorerState
from retnet_viz.ui.core.state import link
from retnet_viz.ui.pages.presets import START
from tests.support.explorer_steps import ExplorerPage
from tests.support.lab_steps import open_notebook, run_all_cells, write_notebook
from tests.support.modes_steps import ModesPage
from tests.support.page_steps import wait_until

TEXT = "The king had three sons"
# A text that does not pack into 2,000 characters.
LONG = "".join(chr(97 + n * n * n % 1009 % 26) + " " * (n % 7 == 0) for n in range(2800))


@pytest.fixture
def page(page: Page, voila_url: str) -> Page:
    """The page may write to the clipboard, as on https and on this machine it may."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=voila_url)
    return page


def open_page(page: Page, address: str) -> ExplorerPage:
    page.goto(address)
    explorer = ExplorerPage(page)
    explorer.wait()
    return explorer


def copied_link(page: Page) -> str:
    """Press "copy link", and take what is then in the clipboard."""
    page.get_by_role("button", name="copy link").click()
    status = page.locator(".rv-share")
    expect(status).to_contain_text("Link copied")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def state_in(address: str) -> ExplorerState:
    state, refused = ExplorerState().with_fields(
        link.read_link(address).fields("explorer"), RetNetConfig()
    )
    assert refused == []
    return state


def test_a_copied_link_opens_the_same_view_in_a_fresh_page(page: Page, voila_url: str) -> None:
    explorer = open_page(page, f"{voila_url}?theme=dark")
    explorer.type(TEXT)
    explorer.choose_mode("chunkwise")
    explorer.drag("layer", 1.0)
    explorer.root.get_by_role("button", name="log", exact=True).click()
    explorer.root.locator(".rv-head-toggle.rv-head-1").click()
    explorer.tokens.nth(2).click()
    expect(explorer.next.locator(".gtitle")).to_contain_text("n = 2")
    address = copied_link(page)
    assert address.startswith(f"{voila_url}?theme=dark&s=1.")
    assert len(urlsplit(address).query) <= link.MOST_SHARED
    state = state_in(address)
    expected = ExplorerState(TEXT, "chunkwise", layer=3, scale="log", token=2, heads=(0, 2, 3))
    assert state == expected
    explorer.expect_state(state)
    fresh = page.context.new_page()
    again = open_page(fresh, address)
    again.expect_state(state)
    expect(again.root).to_have_attribute("data-theme", "dark")
    assert copied_link(fresh) == address
    # The other pages open with it too, and keep the parameters of the host.
    fresh.get_by_role("link", name="Modes at work").click()
    modes = ModesPage(fresh)
    modes.wait()
    expect(modes.text).to_have_value(TEXT)
    assert parse_qs(urlsplit(fresh.url).query)["theme"] == ["dark"]


def test_a_page_is_told_again_what_it_could_not_hear(page: Page, voila_url: str) -> None:
    """A page that is being made hears of no change for a moment: here until the test lets it."""
    messages: list[str | bytes] = []
    unheard: list[str | bytes] = []
    kernels: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        kernel = route.connect_to_server()
        kernels.append(kernel)

        def from_page(message: str | bytes) -> None:
            if has(message, "do", "opened"):
                messages.append(message)
            else:
                kernel.send(message)

        def from_kernel(message: str | bytes) -> None:
            if messages and has(message, "method", "update"):
                unheard.append(message)
            else:
                route.send(message)

        route.on_message(from_page)
        kernel.on_message(from_kernel)

    page.route_web_socket(re.compile("/channels"), between)
    explorer = open_page(page, voila_url)
    explorer.type(TEXT)
    # The modes are compared last: by then the kernel has told all about the new text.
    wait_until(page, lambda: any("logits reach" in text_of(each) for each in unheard))
    assert len(messages) == 1
    expect(explorer.tokens.first).to_have_text("the")  # of the text before
    message = messages.pop()
    kernels[0].send(message)
    tokens = rv.trace(rv.load(), TEXT).tokens
    expect(explorer.tokens).to_have_text([visible(token) for token in tokens])
    expect(explorer.notice).to_contain_text(f"{len(tokens)} tokens")
    expect(explorer.cost).not_to_have_class(re.compile("rv-stale"))
    expect(page.locator(".rv-area-agree")).to_contain_text("logits reach")


def has(message: str | bytes, name: str, value: str) -> bool:
    """Whether a message between page and kernel has this field."""
    return re.search(f'"{name}": ?"{value}"', text_of(message)) is not None


def text_of(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode(errors="replace")


def test_without_a_clipboard_the_link_stands_in_a_field(page: Page, voila_url: str) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    explorer = open_page(page, voila_url)
    explorer.type(TEXT)
    button = page.get_by_role("button", name="copy link")
    button.focus()
    page.keyboard.press("Enter")  # at once, while the kernel still reads the first letters
    field = page.get_by_role("textbox", name="Link")
    expect(field).to_be_focused()
    selection = (
        "getSelection().toString() || document.activeElement.value.slice("
        "document.activeElement.selectionStart, document.activeElement.selectionEnd)"
    )
    assert state_in(page.evaluate(selection)).text == TEXT
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)


def test_a_broken_link_opens_the_usual_page_and_says_why(page: Page, voila_url: str) -> None:
    query = ExplorerState("A fox", layer=2).query()
    explorer = open_page(page, f"{voila_url}?{query[:-6]}&hide=cost")
    expect(page.get_by_role("alert")).to_contain_text("This link is incomplete")
    expect(explorer.text).to_have_value(re.compile("^the cat and the dog"))
    assert explorer.value("layer") == START.layer
    explorer.type("it works on")
    expect(explorer.notice).to_contain_text("tokens")


def test_a_link_that_names_a_file_opens_without_it(page: Page, voila_url: str) -> None:
    parts = {"explorer": {"text": "A fox", "path": "/etc/passwd"}, "<img src=x>": 1}
    explorer = open_page(page, f"{voila_url}?{link.query_of(parts)}&hide=kitchen")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("Ignored in the link: “<img src=x>”, “path”, “kitchen”")
    assert notice.locator("img").count() == 0
    expect(explorer.text).to_have_value("A fox")


def test_a_long_text_is_saved_as_a_file_and_opened(
    explorer: ExplorerPage, page: Page, voila_url: str, tmp_path: Path
) -> None:
    fresh = open_page(page, voila_url)
    page = explorer.page
    explorer.choose_mode("chunkwise")
    explorer.text.fill(LONG)
    expect(explorer.notice).to_contain_text(re.compile(r"[12],\d\d\d tokens"), timeout=90_000)
    page.get_by_role("button", name="copy link").click()
    expect(page.locator(".rv-share")).to_contain_text("too long for a link")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as a file").click()
    file = tmp_path / "state.json"
    download.value.save_as(file)
    assert json.loads(file.read_text())["state"]["explorer"]["text"] == LONG
    fresh.root.locator("input[type=file]").set_input_files(file)
    expect(fresh.text).to_have_value(LONG, timeout=90_000)
    expect(fresh.root.get_by_role("button", name="Chunkwise", exact=True)).to_have_class(
        re.compile("mod-active")
    )


def test_undo_and_redo_by_buttons_and_keys(page: Page, voila_url: str) -> None:
    explorer = open_page(page, voila_url)
    before = explorer.text.input_value()
    undo, redo = (page.get_by_role("button", name=name) for name in ("↶", "↷"))
    expect(undo).to_be_disabled()
    expect(redo).to_be_disabled()
    # At once, and so the layer: where a busy browser pauses between two letters or two places of
    # a slider, they are two steps (tests/ui/test_sharing_widget.py has the gestures).
    explorer.text.fill(TEXT)
    expect(explorer.tokens).to_have_count(len(rv.trace(rv.load(), TEXT).tokens))
    explorer.choose_mode("recurrent")
    explorer.slider("layer").locator(".noUi-handle").press("End")
    expect(explorer.strip.locator(".rv-origin")).to_contain_text("layer 3")
    expect(redo).to_be_disabled()
    explorer.strip.locator(".rv-tokens").focus()
    page.keyboard.press("Control+z")
    expect(explorer.strip.locator(".rv-origin")).to_contain_text("layer 1")
    page.keyboard.press("Control+z")
    expect(explorer.root.get_by_role("button", name="Parallel", exact=True)).to_have_class(
        re.compile("mod-active")
    )
    expect(explorer.text).to_have_value(TEXT)
    undo.click()
    expect(explorer.text).to_have_value(before)
    expect(undo).to_be_disabled()
    page.locator("body").press("Control+Shift+Z")
    page.locator("body").press("Control+y")
    expect(redo).to_be_enabled()
    # In the text box the keys are the browser's.
    explorer.text.click()
    page.keyboard.press("End")
    page.keyboard.type("!")
    text = explorer.text.input_value()
    page.keyboard.press("Control+z")
    expect(explorer.text).not_to_have_value(text)
    expect(undo).to_be_enabled()


SIZES = [(1280, 800), (1920, 1080)]
ROWS = (
    ("head",),
    ("text",),
    ("control",),
    ("strip", "next"),
    ("decay", "weights", "norms"),
    ("stage",),
    ("whatif",),
    ("heads",),
    ("cost", "agree"),
)
REDUCED = (
    ("cost", "next"),
    ("decay",),
    ("weights",),
    ("norms", "agree"),
    ("decay", "norms", "strip"),
    ("decay", "weights", "norms"),
    ("text", "control", "strip", "next"),
    (
        "text",
        "control",
        "strip",
        "next",
        "decay",
        "norms",
        "stage",
        "whatif",
        "heads",
        "cost",
        "agree",
    ),
)


def test_what_is_left_of_a_page_fills_it_without_gaps(page: Page, voila_url: str) -> None:
    page.goto(f"{voila_url}?hide=cost,next,kitchen")
    explorer = ExplorerPage(page)
    expect(explorer.norms.locator(".main-svg").first).to_be_visible()
    expect(page.locator(".rv-area-cost")).to_be_hidden()
    show_all = page.get_by_role("button", name="show 2 hidden")
    show_all.click()
    expect(page.locator(".rv-area-cost .main-svg").first).to_be_visible()
    expect(show_all).to_be_hidden()
    # The layout is the style sheet's: all of it in one page, by the classes that the kernel sets.
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for present in ([], ["rv-present"]):
            for hidden in REDUCED:
                looks = ["rv-reduced", *present, *(f"rv-without-{name}" for name in hidden)]
                explorer.root.evaluate("(root, looks) => root.classList.add(...looks)", looks)
                expect_closed(explorer.boxes(), hidden)
                explorer.root.evaluate("(root, looks) => root.classList.remove(...looks)", looks)


def test_panels_are_chosen_by_mouse_and_by_keys(explorer: ExplorerPage) -> None:
    page = explorer.page
    button = page.get_by_role("button", name="panels", exact=True)
    button.click()
    box = page.get_by_role("group", name="Panels that are shown")
    expect(box.get_by_role("checkbox")).to_have_count(12)
    box.get_by_label("cost", exact=True).uncheck()
    expect(page.locator(".rv-area-cost")).to_be_hidden()
    box.get_by_label("text", exact=True).focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".rv-area-control")).to_be_hidden()
    expect(box.get_by_label("controls")).not_to_be_checked()
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(button).to_be_focused()
    assert copied_link(page).endswith("&hide=control,cost")
    page.get_by_role("button", name="show 2 hidden").click()
    page.keyboard.press("Escape")
    button.press("Enter")
    for each in box.get_by_role("checkbox").all():
        expect(each).to_be_checked()
    explorer.type(TEXT)  # the box is in nobody's way
    expect(explorer.notice).to_contain_text("tokens")
    button.click()
    expect(box).to_have_count(0)


def test_the_first_line_has_all_its_controls_at_any_width(explorer: ExplorerPage) -> None:
    page = explorer.page
    head = page.locator(".rv-area-head")
    for width in (360, 640, 800, 1100, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 700})
        expect(page.get_by_role("link", name="Training live")).to_be_in_viewport(ratio=1)
        for control in head.locator("button:visible, select:visible").all():
            expect(control).to_be_in_viewport(ratio=1)
        button = page.get_by_role("button", name="panels", exact=True)
        button.click()
        box = page.locator(".rv-choose-box").bounding_box()
        line = head.bounding_box()
        assert box
        assert line
        assert line["y"] + line["height"] <= box["y"] <= line["y"] + line["height"] + 12
        assert 0 <= box["x"] <= width - box["width"]
        button.click()


def expect_closed(boxes: dict[str, tuple[int, ...]], hidden: tuple[str, ...]) -> None:
    """Every row is as wide as the page, and each stands right below the one before."""
    box_of = {name: boxes[f"rv-area-{name}"] for row in ROWS for name in row}
    assert {name for name, place in box_of.items() if place[2] == 0} == set(hidden)
    below = box_of["head"][1] - 8
    for row in ROWS:
        visible = [box_of[name] for name in row if name not in hidden]
        if visible:
            across = sum(width for _, _, width, _ in visible) + 8 * (len(visible) - 1)
            assert abs(across - box_of["head"][2]) <= 2, (hidden, row)
            assert all(6 <= y - below <= 10 for _, y, _, _ in visible), (hidden, row)
            below = max(y + height for _, y, _, height in visible)


def font_of(locator) -> float:
    """The size of letters on the screen, in pixels, once a window's new size is drawn."""
    return locator.evaluate(
        """async (el) => {
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            return parseFloat(getComputedStyle(el).fontSize) * (el.currentCSSZoom ?? 1);
        }"""
    )


def test_a_projector_shows_large_letters_and_only_what_is_needed(explorer: ExplorerPage) -> None:
    page = explorer.page
    font = font_of(explorer.tokens.first)
    page.get_by_role("button", name="present").click()
    expect(page.get_by_role("navigation", name="Apps")).to_be_hidden()
    for name in ("copy link", "?", "Open a text file"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_hidden()
    formula = explorer.root.locator(".rv-formula math").first
    formula.scroll_into_view_if_needed()
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        least = height / 40  # a fortieth of the picture's height is read from the back row
        assert font_of(explorer.tokens.first) >= least
        assert font_of(formula) >= least
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="copy link")).to_be_visible()
    assert font_of(explorer.tokens.first) == font


# Where an element stands in the window, once it has stood there for twenty frames.
AT_REST = """(el) => new Promise((resolve) => {
  let before = "";
  let frames = 0;
  const look = () => {
    const { x, y, width, height } = el.getBoundingClientRect();
    frames = before === `${[x, y, width, height]}` ? frames + 1 : 0;
    before = `${[x, y, width, height]}`;
    if (frames >= 20) resolve([x, y, width, height]);
    else requestAnimationFrame(look);
  };
  look();
})"""


def point(page: Page, at: tuple[float, float], readout: Locator, text: str) -> None:
    """Move about on a place until it is read out: a panel drawn anew forgets the pointer."""
    for tries in range(30):
        page.mouse.move(at[0] + tries % 2, at[1])
        try:
            expect(readout).to_contain_text(text, timeout=1_000)
            return
        except AssertionError:
            continue
    expect(readout).to_contain_text(text)


def test_pointing_and_dragging_are_exact_in_the_large_view(page: Page, voila_url: str) -> None:
    trace = rv.trace(rv.load(), TEXT)
    query = ExplorerState(TEXT, heads=(2,), head=2).query()
    page.set_viewport_size({"width": 1280, "height": 800})
    explorer = open_page(page, f"{voila_url}?{query}&present=1")
    canvas = explorer.weights.locator(".rv-canvas-box canvas")
    canvas.scroll_into_view_if_needed()
    x, y, width, height = canvas.evaluate(AT_REST)
    label = 18 * 1.5
    side = int(min(width, height - label))
    n, m = 4, 2
    cell = side / trace.length
    weight = f"= {trace.cell(0, 2, n, m).weight:.3g}"
    at = (x + (width - side) / 2 + (m + 0.5) * cell, y + label + (n + 0.5) * cell)
    point(page, at, explorer.weights.locator(".rv-readout"), weight)
    # The stage is zoomed: a click on its plane selects the token of the row that is pointed at.
    plane = explorer.root.locator(".rv-plane canvas")
    plane.scroll_into_view_if_needed()
    stage = explorer.root.locator(".rv-step-player")
    expect(stage).to_have_attribute("data-drawn", re.compile(r"\d"))
    x, y, width, height = plane.evaluate(AT_REST)
    side = min(width, height)
    row, column = 3, 1
    cell = side / trace.length
    readout = explorer.root.locator(".rv-step-player > .rv-readout")
    at = (x + (width - side) / 2 + (column + 0.5) * cell, y + (row + 0.5) * cell)
    point(page, at, readout, f"n {row} “")
    expect(readout).to_contain_text(f"m {column} “")
    page.mouse.down()
    page.mouse.up()
    expect(explorer.strip.get_by_role("option", selected=True)).to_have_attribute("data-n", "3")
    explorer.drag("layer", 1.0)
    expect(explorer.slider("layer").locator(".widget-readout")).to_have_text("3")


def test_in_a_notebook_the_query_is_copied_and_the_keys_undo(
    page: Page, lab_url: str, lab_folder: Path
) -> None:
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(lab_url))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
    write_notebook(
        lab_folder / "share.ipynb", f"import retnet_viz as rv\nrv.explore(rv.load(), {TEXT!r})"
    )
    open_notebook(page, lab_url, "share.ipynb")
    run_all_cells(page)
    explorer = ExplorerPage(page)
    explorer.root.scroll_into_view_if_needed()
    explorer.wait()
    explorer.tokens.nth(1).click()
    explorer.tokens.nth(3).click()
    selected = explorer.strip.get_by_role("option", selected=True)
    expect(selected).to_have_attribute("data-n", "3")
    address = copied_link(page)
    assert address.startswith("?s=1.")
    assert link.read_link(address).fields("explorer")["token"] == 3
    expect(page.locator(".rv-share")).to_contain_text("open_link()")
    explorer.strip.locator(".rv-tokens").focus()
    page.keyboard.press("Control+z")
    expect(selected).to_have_attribute("data-n", "1")
    explorer.root.get_by_role("button", name="present").click()
    expect(explorer.root.get_by_role("button", name="copy link")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(explorer.root.get_by_role("button", name="copy link")).to_be_visible()
