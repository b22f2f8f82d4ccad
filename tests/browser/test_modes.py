"""The modes at work in a real browser: every step played, every number against the trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import torch
from conftest import leave
from playwright.sync_api import Browser, Page, expect

import retnet_viz as rv
from retnet_viz.experiments import chunk_curve, variant
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import number
from retnet_viz.ui.core.page_state import ExplorerState
from tests.support.explorer_steps import ExplorerPage
from tests.support.lab_steps import open_notebook, run_all_cells
from tests.support.modes_steps import ModesPage, Player

TEXT = "The king had three sons, and the youngest"
TOKENS = ["The", "·king", "·had", "·three", "·s", "ons", ",", "·and", "·the", "·young", "est"]
LENGTH = len(TOKENS)
OTHER = "The queen sat down"
ONE_MORE = f"{TEXT} one"  # 12 tokens, so that a chunk size of 11 leaves one alone
CHUNK = 4  # the last chunk has 3 tokens
LAYER, HEAD = 1, 2
MODES = ("parallel", "recurrent", "chunkwise")
LAST_OF_STEP = {  # the token that each step ends with
    "parallel": [10],
    "recurrent": list(range(11)),
    "chunkwise": [3, 7, 10],
}
HOSTILE = "<script>window.hacked = 1</script> 🦊 <b onclick='window.hacked = 1'>"


@pytest.fixture(scope="module")
def model():
    return rv.load()


@contextmanager
def watched(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """A page, and what it did so far that it must not: errors, and requests that leave home."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    home = re.compile(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:")

    def note(url: str) -> None:
        if not home.match(url):
            wrong.append(url)

    page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: note(request.url))
    page.on("websocket", lambda websocket: note(websocket.url))
    yield page, wrong
    leave(page)
    context.close()


# A page of the modes takes seconds to open, so the tests share one in Voila and one in JupyterLab;
# each of them says what the page is to show before it looks.


@pytest.fixture(scope="module")
def voila_page(browser: Browser, voila_url: str) -> Iterator[tuple[Page, list[str]]]:
    with watched(browser) as (page, wrong):
        page.goto(modes_url(voila_url))
        ModesPage(page).wait()
        yield page, wrong


@pytest.fixture(scope="module")
def lab_page(browser: Browser, lab_url: str, lab_folder: Path) -> Iterator[tuple[Page, list[str]]]:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    code = f"import retnet_viz as rv\nrv.modes(text={TEXT!r})"
    notebook.cells = [nbformat.v4.new_code_cell(code)]
    nbformat.write(notebook, lab_folder / "modes.ipynb")
    with watched(browser) as (page, wrong):
        open_notebook(page, lab_url, "modes.ipynb")
        run_all_cells(page)
        board = ModesPage(page)
        board.root.scroll_into_view_if_needed()
        board.wait()
        yield page, wrong


@pytest.fixture
def board(voila_page: tuple[Page, list[str]]) -> Iterator[ModesPage]:
    """The modes at work in Voila."""
    page, wrong = voila_page
    yield ModesPage(page)
    assert wrong == []


@pytest.fixture
def lab_board(lab_page: tuple[Page, list[str]]) -> Iterator[ModesPage]:
    page, wrong = lab_page
    yield ModesPage(page)
    assert wrong == []


@pytest.fixture(params=["board", "lab_board"])
def anywhere(request: pytest.FixtureRequest) -> ModesPage:
    """The modes at work in Voila, then in JupyterLab."""
    return request.getfixturevalue(request.param)


def modes_url(voila_url: str) -> str:
    return f"{voila_url}voila/render/modes.ipynb"


def shown(board: ModesPage, mode: str) -> Player:
    """The stage on TEXT in `mode`, in the layer and the head that these tests look at."""
    board.show(TEXT, TOKENS, mode, chunk=CHUNK, layer=LAYER, head=HEAD)
    return board.player


def expect_step(player: Player, mode: str, step: int) -> None:
    """The player stands at the end of a step of TEXT; -1 is the last one."""
    ends = LAST_OF_STEP[mode]
    player.expect_at(step % len(ends), len(ends), ends[step])


# -- stepping and playing -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_buttons_and_keys_step(anywhere: ModesPage, mode: str) -> None:
    player = shown(anywhere, mode)
    last = len(LAST_OF_STEP[mode]) - 1
    player.button("To the first step").click()
    expect_step(player, mode, 0)
    player.button("Step forward").click()
    expect_step(player, mode, min(1, last))
    player.button("Step back").click()
    expect_step(player, mode, 0)
    player.button("Step back").click()  # there is nothing before the first step
    expect_step(player, mode, 0)
    player.button("To the last step").click()
    expect_step(player, mode, last)
    player.press("ArrowLeft")
    expect_step(player, mode, max(0, last - 1))
    player.press("ArrowRight", "ArrowRight")
    expect_step(player, mode, last)
    player.press("Home")
    expect_step(player, mode, 0)
    player.press("End")
    expect_step(player, mode, last)
    # Up and down go from token to token; the step is the one that gives its output.
    token = LENGTH - 1
    for key, by in [("ArrowUp", -1)] * 4 + [("ArrowDown", 1)] * 2:
        player.press(key)
        token += by
    step = next(i for i, end in enumerate(LAST_OF_STEP[mode]) if token <= end)
    player.expect_at(step, last + 1, token)


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_a_token_chosen_in_the_strip_is_a_step(board: ModesPage, mode: str) -> None:
    player = shown(board, mode)
    player.tokens.nth(5).click()
    steps = len(LAST_OF_STEP[mode])
    player.expect_at(5 if mode == "recurrent" else 1, steps, 5)
    board.page.keyboard.press("ArrowLeft")  # the strip has the focus
    player.expect_at(4 if mode == "recurrent" else 1, steps, 4)


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_dragging_the_range_scrubs(anywhere: ModesPage, mode: str) -> None:
    player = shown(anywhere, mode)
    steps = len(LAST_OF_STEP[mode])
    player.scrub(steps - 1, 1, steps)
    expect_step(player, mode, 1)
    player.scrub(1, 0, steps)
    expect_step(player, mode, 0)
    player.range.focus()
    anywhere.page.keyboard.press("ArrowRight")
    expect_step(player, mode, 1)
    anywhere.page.keyboard.press(" ")  # plays here too
    player.expect_playing(True)
    anywhere.page.keyboard.press(" ")
    player.expect_playing(False)


@pytest.mark.parametrize("mode", MODES)
def test_playing_goes_on_to_the_end_and_stops(anywhere: ModesPage, mode: str) -> None:
    player = shown(anywhere, mode)
    player.speed.select_option("30")
    ends = len(LAST_OF_STEP[mode]) - 1
    for start in ("button", "key"):  # from the last step it starts anew
        player.note_steps()
        if start == "button":
            player.button("Play").click()
        else:
            player.press(" ")
        if mode != "parallel":  # its one step is shown already
            player.wait_for_noted(ends)
            assert player.noted() == list(range(ends + 1))
        expect_step(player, mode, ends)
        player.expect_playing(False)


def test_playing_pauses_in_the_middle_and_goes_on(anywhere: ModesPage) -> None:
    player = shown(anywhere, "recurrent")
    player.speed.select_option("2")
    player.press("Home")
    expect_step(player, "recurrent", 0)
    player.press(" ")
    player.expect_playing(True)
    player.wait_for_step(3)
    player.press(" ")
    player.expect_playing(False)
    stopped = player.step()
    assert 3 <= stopped < LENGTH - 1
    expect_step(player, "recurrent", stopped)
    player.button("Play").click()
    player.wait_for_step(stopped + 1)
    player.button("Pause").click()
    player.expect_playing(False)
    assert stopped < player.step() < LENGTH
    expect_step(player, "recurrent", player.step())
    # A step by hand stops playing too.
    player.press("Home")
    expect_step(player, "recurrent", 0)
    player.press(" ")
    player.wait_for_step(2)
    player.press("End")
    player.expect_playing(False)
    expect_step(player, "recurrent", -1)


@pytest.mark.parametrize("token", [5, 9])
def test_a_token_chosen_while_playing_stops_it_there(board: ModesPage, token: int) -> None:
    player = shown(board, "recurrent")
    player.speed.select_option("1")  # so that the choice and a step do not come at once
    player.tokens.nth(4).click()
    player.expect_at(4, LENGTH, 4)
    player.press(" ")
    player.wait_for_step(6)
    player.tokens.nth(token).click()
    player.expect_playing(False)
    expect_step(player, "recurrent", token)


@pytest.mark.parametrize("text", [OTHER, ONE_MORE])
def test_a_new_text_while_playing_is_shown_from_its_end(board: ModesPage, model, text: str) -> None:
    player = shown(board, "recurrent")
    player.speed.select_option("8")
    player.press("Home")
    expect_step(player, "recurrent", 0)
    player.press(" ")
    player.wait_for_step(6)
    board.text.fill(text)
    length = rv.trace(model, text).length
    expect(player.tokens).to_have_count(length)
    player.expect_playing(False)
    player.expect_at(length - 1, length, length - 1)
    player.press("ArrowLeft")
    player.expect_at(length - 2, length, length - 2)


# -- the numbers --------------------------------------------------------------------------------


def sub(index: int) -> str:
    return str(index).translate(str.maketrans("0123456789-", "₀₁₂₃₄₅₆₇₈₉₋"))


def norm(values: torch.Tensor) -> str:
    return number(torch.linalg.vector_norm(values.double()).item())


def expected_tables(trace: rv.Trace, n: int) -> tuple[list[str], list[str]]:
    """Captions and cells of the stage's tables, from the tensors of the trace."""
    parts = rv.terms(trace, LAYER, HEAD, n)
    names = [visible(token) for token in trace.tokens]
    if trace.mode == "parallel":
        # The mode computes the whole row, and masks what comes after n.
        row = trace.q(LAYER)[HEAD, n] @ trace.k(LAYER)[HEAD].T
        label = f"q{sub(n)} Kᵀ"
        pictures = [
            (label, f"1 × {LENGTH}", norm(row), "computed"),
            (f"D{sub(n)}", f"1 × {LENGTH}", norm(parts.decay), "computed"),
            (f"{label} ⊙ D{sub(n)}", f"1 × {LENGTH}", norm(parts.weights), "computed"),
            ("V", f"{LENGTH} × 128", norm(trace.v(LAYER)[HEAD]), "computed"),
            (f"o{sub(n)}", "1 × 128", norm(parts.output), "computed"),
        ]
        step = "step 1 of 1"
        caption = f"What token {n} reads with, {step}, head {HEAD}"
        header = ["m", "token", "q·k", "γ^(n−m)", "weight"]
        columns = [x.tolist() for x in (parts.scores, parts.decay, parts.weights)]
        rows = [
            [str(m), names[m], *(number(column[m]) for column in columns)] for m in range(n + 1)
        ]
    elif trace.mode == "recurrent":
        pictures = [
            (f"S{sub(n - 1)}", "64 × 128", norm(parts.before), "computed"),
            (f"γ S{sub(n - 1)}", "64 × 128", norm(parts.gamma * parts.before), "computed"),
            (f"k{sub(n)}ᵀ v{sub(n)}", "64 × 128", norm(torch.outer(parts.k, parts.v)), "derived"),
            (f"S{sub(n)}", "64 × 128", norm(trace.state(LAYER, n)[HEAD]), "computed"),
            (f"q{sub(n)}", "1 × 64", norm(parts.q), "computed"),
            (f"o{sub(n)}", "1 × 128", norm(parts.output), "computed"),
        ]
        step = f"step {n + 1} of {LENGTH}"
        caption = f"What each token still adds to the state, {step}, head {HEAD}"
        header = ["m", "token", "γ^(n−m) |k| |v|"]
        rows = [
            [str(m), names[m], number(value)]
            for m, value in enumerate(parts.contributions.tolist())
        ]
    else:
        i, size = parts.chunk, len(parts.tokens)
        pictures = [
            (f"Q{sub(i)} K{sub(i)}ᵀ ⊙ D", f"{size} × {size}", norm(parts.weights), "computed"),
            (f"S{sub(i - 1)}", "64 × 128", norm(parts.before), "computed"),
            (f"S{sub(i)}", "64 × 128", norm(parts.state), "computed"),
            ("inner", f"{size} × 128", norm(parts.inner), "computed"),
            ("cross", f"{size} × 128", norm(parts.cross), "computed"),
            (f"O{sub(i)}", f"{size} × 128", norm(parts.output), "computed"),
        ]
        step = f"step {i + 1} of 3"
        caption = f"Where the output of each token comes from, {step}, head {HEAD}"
        header = ["n", "token", "|inner|", "|cross|", "share of the state"]
        rows = [
            [
                str(token),
                names[token],
                norm(parts.inner[j]),
                norm(parts.cross[j]),
                number(parts.share[j].item()),
            ]
            for j, token in enumerate(parts.tokens)
        ]
    cells = ["term", "size", "norm", "origin", *(entry for row in pictures for entry in row)]
    cells += [*header, *(entry for row in rows for entry in row)]
    return [f"Terms of {step}, head {HEAD}", caption], cells


@pytest.mark.parametrize("mode", MODES)
def test_the_table_has_the_numbers_of_the_trace(anywhere: ModesPage, model, mode: str) -> None:
    player = shown(anywhere, mode)
    trace = rv.trace(model, TEXT, mode, CHUNK)
    player.show_table()
    captions = player.root.locator(".rv-alternative caption")
    cells = player.root.locator(".rv-alternative :is(th, td)")
    token = LENGTH - 1
    for target in (10, 5, 0):
        while token > target:
            player.press("ArrowUp")
            token -= 1
        captions_expected, cells_expected = expected_tables(trace, target)
        expect(captions).to_have_text(captions_expected)
        expect(cells).to_have_text(cells_expected)
    player.show_table(False)


@pytest.mark.parametrize("mode", MODES)
def test_the_sentence_and_the_formula_have_the_steps_numbers(
    board: ModesPage, model, mode: str
) -> None:
    player = shown(board, mode)
    trace = rv.trace(model, TEXT, mode, CHUNK)
    for key, n in (("End", 10), ("ArrowUp", 9)):
        player.press(key)
        expect(player.root).to_have_attribute("data-token", str(n))
        parts = rv.terms(trace, LAYER, HEAD, n)
        if mode == "parallel":
            m = int(parts.weights.abs().argmax())
            score, decay, weight = (
                number(x[m].item()) for x in (parts.scores, parts.decay, parts.weights)
            )
            said = [f"{n + 1} tokens", f"score {score} × decay {decay} = weight {weight}"]
            written = [f"({score}×{decay}γ{n - m})v{m}", f"{n + 1 - 5} more"]
        elif mode == "recurrent":
            before, faded, added, held = map(
                norm, (parts.before, parts.gamma * parts.before, parts.added, parts.state)
            )
            said = [
                f"keeps {parts.gamma:.6g} of the state (‖S‖ {before} becomes {faded})",
                f"adds “{visible(trace.tokens[n])}” ({added}) and holds {held}",
            ]
            written = [
                f"S{n}‖·‖ {held}={parts.gamma:.6g}·S{n - 1}‖·‖ {before}+",
                f"‖·‖ {added}",
                f"o{n}‖·‖ {norm(parts.output)}",
            ]
        else:
            j = n - parts.tokens.start
            said = [
                f"tokens 8 to {LENGTH - 1} at once",
                f"(‖S‖ {norm(parts.before)}, then {norm(parts.state)})",
                f"{number(100 * parts.share[j].item())} % of its output",
            ]
            written = [
                f"‖·‖ {norm(parts.inner[j])}",
                f"‖·‖ {norm(parts.cross[j])}",
                f"o{n}‖·‖ {norm(parts.output[j])}",
            ]
        for part in said:
            expect(player.saying).to_contain_text(part)
        formula = player.formula.evaluate("element => element.textContent")
        for part in ("γ", *written):
            assert part in formula
        assert player.formula.locator("math").count() == 1


def test_an_entry_under_the_pointer_tells_its_number(anywhere: ModesPage, model) -> None:
    player = shown(anywhere, "recurrent")
    parts = rv.terms(rv.trace(model, TEXT, "recurrent"), LAYER, HEAD, 10)
    player.point_at("state", 3, 100)
    faded, added = (parts.gamma * parts.before)[3, 100], parts.k[3] * parts.v[100]
    held = parts.state[3, 100]
    sum_ = " + ".join(number(x.item()) for x in (faded, added))
    expect(player.readout).to_have_text(f"S₁₀[d_k 3, d_v 100] = {sum_} = {number(held.item())}")
    player.point_at("q", 0, 5)
    expect(player.readout).to_have_text(f"q₁₀[d_k 5] = {number(parts.q[5].item())}")
    player.point_away()
    expect(player.readout).to_contain_text("this step, one head")

    shown(anywhere, "parallel")
    parts = rv.terms(rv.trace(model, TEXT), LAYER, HEAD, 10)
    player.point_at("weights", 0, 6)
    score, decay, weight = (number(x[6].item()) for x in (parts.scores, parts.decay, parts.weights))
    expect(player.readout).to_contain_text(f"= {score} × {decay} = {weight}")

    shown(anywhere, "chunkwise")
    parts = rv.terms(rv.trace(model, TEXT, "chunkwise", CHUNK), LAYER, HEAD, 10)
    player.point_at("output", 1, 77)
    inner, cross, output = (
        number(x[1, 77].item()) for x in (parts.inner, parts.cross, parts.output)
    )
    expect(player.readout).to_contain_text(f"= {inner} + {cross} = {output}")
    player.point_away()


def test_a_pointer_that_rests_tells_the_number_of_the_new_step(board: ModesPage, model) -> None:
    player = shown(board, "recurrent")
    trace = rv.trace(model, TEXT, "recurrent")
    player.point_at("state", 20, 40)
    for n in (10, 9):
        held = trace.state(LAYER, n)[HEAD, 20, 40].item()
        expect(player.readout).to_contain_text(f"S{sub(n)}[d_k 20, d_v 40]")
        expect(player.readout).to_contain_text(re.compile(f" = {re.escape(number(held))}$"))
        player.press("ArrowLeft")
    player.point_away()


def test_a_bar_under_the_pointer_tells_its_number(board: ModesPage, model) -> None:
    for mode, field, m in (("recurrent", "contributions", 4), ("chunkwise", "share", 1)):
        player = shown(board, mode)
        trace = rv.trace(model, TEXT, mode, CHUNK)
        parts = rv.terms(trace, LAYER, HEAD, LENGTH - 1)
        values = getattr(parts, field)
        box = player.root.locator(".rv-bars canvas").bounding_box()
        assert box
        # The bars stand beside an axis of 46 pixels.
        x = box["x"] + 46 + (m + 0.5) * (box["width"] - 46) / len(values)
        board.page.mouse.move(x, box["y"] + 20)
        token = m if mode == "recurrent" else m + 8
        expect(player.readout).to_contain_text(f"token {token} “{visible(trace.tokens[token])}”:")
        said = re.search(r"”: (\S+) ", player.readout.inner_text())
        assert said
        assert float(said[1]) == pytest.approx(values[m].item(), rel=1e-3)
        player.point_away()


def test_the_plane_tells_its_cells_and_selects_their_token(board: ModesPage, model) -> None:
    player = shown(board, "chunkwise")
    trace = rv.trace(model, TEXT, "chunkwise", CHUNK)
    canvas = player.root.locator(".rv-plane canvas")
    box = canvas.bounding_box()
    assert box
    side = min(box["width"], box["height"])

    def point(n: int, m: int) -> None:
        x = box["x"] + (box["width"] - side) / 2 + (m + 0.5) * side / LENGTH
        board.page.mouse.move(x, box["y"] + (n + 0.5) * side / LENGTH)

    for n, m, when in (
        (9, 8, "computed at this step"),
        (6, 4, "computed at an earlier step"),
        (9, 3, "never built by this mode: derived"),
    ):
        point(n, m)
        cell = trace.cell(LAYER, HEAD, n, m)
        expect(player.readout).to_contain_text(f"q·k {cell.score:.3g} ×")
        expect(player.readout).to_contain_text(f"{cell.decay:.3g} = {cell.weight:.3g} ({when})")
    point(5, 4)
    expect(player.readout).to_contain_text("n 5 ")
    board.page.mouse.down()
    board.page.mouse.up()
    player.expect_at(1, 3, 5)
    player.point_away()


def test_a_term_lights_its_picture_and_a_picture_its_term(anywhere: ModesPage) -> None:
    lit = re.compile(r"\brv-lit\b")
    for mode, terms in (
        ("recurrent", ("state", "before", "added", "q", "output")),
        ("chunkwise", ("inner", "cross", "before", "state")),
        ("parallel", ("scores", "decay", "values")),
    ):
        player = shown(anywhere, mode)
        player.formula.scroll_into_view_if_needed()
        for term in terms:
            # The first sign of a term stands for it: further in, another term may begin.
            player.term(term).locator("mi").first.hover()
            innermost = player.formula.locator(".rv-lit").last.get_attribute("data-term")
            assert innermost is not None
            expect(player.picture(innermost)).to_have_class(lit)
            player.point_away()
            expect(player.root.locator(".rv-lit")).to_have_count(0)
            player.point_at(term, 0, 1)
            expect(player.term(term)).to_have_class(lit)
            expect(player.picture(term)).to_have_class(lit)
            player.point_away()
            expect(player.root.locator(".rv-lit")).to_have_count(0)
    # A token that is read lights in the formula's sum and in every picture that has it.
    key = player.formula.locator('[data-term^="m:"]').nth(1)
    key.locator("mn").first.hover()
    expect(key).to_have_class(lit)
    expect(player.root.locator(".rv-mark:visible")).to_have_count(5)
    player.point_away()


# -- nothing moves ------------------------------------------------------------------------------

SHIFTS = """() => {
    window.shifts = [];
    const note = entries => entries.forEach(entry => {
        if (entry.value > 0.001) window.shifts.push(entry.value);
    });
    window.shiftObserver?.disconnect();
    const observer = new PerformanceObserver(list => note(list.getEntries()));
    observer.observe({ type: "layout-shift" });
    window.shiftObserver = observer;
    window.shiftsSoFar = () => (note(observer.takeRecords()), window.shifts);
}"""


@pytest.mark.parametrize(
    ("where", "mode"),
    [*(("board", mode) for mode in MODES), ("lab_board", "recurrent"), ("lab_board", "chunkwise")],
)
def test_no_step_moves_anything(request: pytest.FixtureRequest, where: str, mode: str) -> None:
    player = shown(request.getfixturevalue(where), mode)
    player.press("Home")
    expect_step(player, mode, 0)
    boxes = player.boxes()
    assert len(boxes) > 30
    if mode == "parallel":  # one step, but of another token
        for token in range(LENGTH - 2, -1, -3):
            player.press("ArrowUp", "ArrowUp", "ArrowUp")
            expect(player.root).to_have_attribute("data-token", str(max(0, token - 2)))
            assert player.boxes() == boxes
    for step in range(1, len(LAST_OF_STEP[mode])):
        player.press("ArrowRight")
        expect_step(player, mode, step)
        assert player.boxes() == boxes


def test_a_last_chunk_of_one_token_moves_nothing(board: ModesPage) -> None:
    board.show(ONE_MORE, [*TOKENS, "·one"], "recurrent", chunk=LENGTH)
    board.choose("Chunkwise")
    player = board.player  # the first that this mode draws is its last step
    player.expect_at(1, 2, LENGTH)
    boxes = player.boxes()
    player.press("Home")
    player.expect_at(0, 2, LENGTH - 1)
    assert player.boxes() == boxes
    box = player.picture("inner").locator("canvas").bounding_box()
    assert box
    assert box["height"] > 40  # eleven rows, not squeezed into the place of one


@pytest.mark.parametrize("mode", ["recurrent", "chunkwise"])
def test_the_browser_sees_no_layout_shift_while_playing(board: ModesPage, mode: str) -> None:
    player = shown(board, mode)
    player.speed.select_option("30")
    player.press("Home")
    expect_step(player, mode, 0)
    board.page.evaluate(SHIFTS)
    player.press(" ")
    player.wait_for_step(len(LAST_OF_STEP[mode]) - 1)
    player.expect_playing(False)
    assert board.page.evaluate("shiftsSoFar()") == []


# -- side by side -------------------------------------------------------------------------------


def show_race(board: ModesPage) -> None:
    """TEXT side by side, measured."""
    shown(board, "chunkwise")
    board.open_view("Side by side")
    board.wait_measured()


def test_the_modes_race_on_one_clock(anywhere: ModesPage) -> None:
    show_race(anywhere)
    race, page = anywhere.race, anywhere.page
    counts = race.locator(".rv-timeline-count")
    race.focus()
    page.keyboard.press("Home")
    expect(race).to_have_attribute("data-tick", "0")
    expect(counts).to_have_text(["step 0 of 1", "step 0 of 11", "step 0 of 3"])
    page.keyboard.press("ArrowRight")
    expect(counts).to_have_text(["done: 1 step", "step 1 of 11", "step 1 of 3"])
    race.get_by_role("button", name="Step forward (→)").click()
    race.get_by_role("button", name="Step forward (→)").click()
    expect(counts).to_have_text(["done: 1 step", "step 3 of 11", "done: 3 steps"])
    race.get_by_role("button", name="Step back (←)").click()
    expect(counts).to_have_text(["done: 1 step", "step 2 of 11", "step 2 of 3"])
    boxes = race.locator(".rv-timeline-column").evaluate_all(BOXES)
    race.get_by_label("Speed").select_option("8")
    race.focus()
    page.keyboard.press("Space")
    expect(race).to_have_attribute("data-tick", "11")
    expect(race).to_have_attribute("data-playing", "false")
    expect(counts).to_have_text(["done: 1 step", "done: 11 steps", "done: 3 steps"])
    assert race.locator(".rv-timeline-column").evaluate_all(BOXES) == boxes
    race.get_by_label("Speed").select_option("1")
    race.get_by_role("button", name="Play (space)").click()  # anew from the start
    page.wait_for_function(
        "el => [2, 3, 4, 5].includes(Number(el.dataset.tick))", arg=race.element_handle()
    )
    race.get_by_role("button", name="Pause (space)").click()
    expect(race).to_have_attribute("data-playing", "false")
    assert 2 <= int(race.get_attribute("data-tick") or 0) < LENGTH


BOXES = (
    "all => all.map(({ offsetLeft, offsetTop, offsetWidth, offsetHeight }) => "
    "[offsetLeft, offsetTop, offsetWidth, offsetHeight])"
)


def test_the_race_adds_up_to_the_schedules(anywhere: ModesPage, model) -> None:
    show_race(anywhere)
    rows = {row[0]: row[1:] for row in anywhere.read_table(anywhere.race)}
    assert rows[""] == list(MODES)
    trace = rv.trace(model, TEXT, "chunkwise", CHUNK)
    schedules = [rv.schedule(trace.in_mode(mode), LAYER, HEAD) for mode in MODES]
    heads = trace.n_heads

    def three_digits(value: float) -> str:
        return f"{value:,.0f}" if value >= 999.5 else f"{value:#.3g}".rstrip(".")

    assert rows["steps in all"] == [str(len(schedule)) for schedule in schedules]
    assert rows["FLOPs in all, MFLOP"] == [
        three_digits(heads * sum(step.flops for step in schedule.steps) / 1e6)
        for schedule in schedules
    ]
    assert rows["most held in all, kB"] == [
        three_digits(heads * max(step.held_bytes for step in schedule.steps) / 1e3)
        for schedule in schedules
    ]
    assert all(float(entry.replace(",", "")) > 0 for entry in rows["time in all, ms"])


def test_the_precision_changes_how_far_the_modes_are_apart(board: ModesPage) -> None:
    show_race(board)
    apart = {}
    for precision in ("float64", "bfloat16", "float32"):
        board.choose(precision)
        expect(board.root.locator(".rv-view-side .rv-bar")).to_contain_text(f"modes in {precision}")
        apart[precision] = float(board.meter.inner_text())
    board.wait_measured()
    assert 0 < apart["float64"] < 1e-4 * apart["float32"]
    assert apart["float32"] < 1e-2 * apart["bfloat16"]


def test_the_chunk_sizes_are_those_that_were_measured(board: ModesPage, model) -> None:
    show_race(board)
    plot = board.plot("Time and peak memory by chunk size")
    header, *rows = board.read_table(plot)
    sizes = [1, 2, 4, 8, LENGTH]
    assert [int(row[0]) for row in rows] == sizes
    assert header == ["chunk size", "time, ms", "predicted, ms", "memory, kB", "predicted, kB"]
    time, memory = 1, 3
    assert all(float(row[time]) > 0 for row in rows)
    curve = chunk_curve(rv.trace(model, TEXT, "chunkwise", CHUNK), LAYER, sizes=sizes)
    assert [float(row[memory]) for row in rows] == pytest.approx(
        [peak / 1e3 for peak in curve.peak_bytes], rel=1e-3
    )


def test_measuring_can_be_cancelled(board: ModesPage, model) -> None:
    shown(board, "chunkwise")
    board.text.fill("word and tree " * 200)
    expect(board.player.tokens).to_have_count(602)
    board.open_view("Side by side")
    board.root.get_by_role("button", name="Cancel", exact=True).click()
    expect(board.doing).to_have_text("cancelled")
    expect(board.root.get_by_role("button", name="Measure again", exact=True)).to_be_visible()
    show_race(board)  # a text that is soon measured
    expect(board.doing).to_have_text("")
    counts = board.race.locator(".rv-timeline-count")
    expect(counts).to_have_text([re.compile("of 1$|1 step$"), re.compile("11"), re.compile("3")])
    again = board.root.get_by_role("button", name="Measure again", exact=True)
    again.click()
    expect(board.root.locator(".rv-stale")).to_have_count(2)
    board.wait_measured()


# -- the state, and the model's parts -----------------------------------------------------------


def test_the_state_view_shows_the_states_of_the_trace(board: ModesPage, model) -> None:
    shown(board, "recurrent")
    board.open_view("State")
    board.player.tokens.nth(5).click()
    trace = rv.trace(model, TEXT, "recurrent")
    named = {n: f"token {n} “{visible(trace.tokens[n])}”" for n in range(LENGTH)}
    state = trace.state(LAYER, 5).double()

    # Beside one another, the two figures that have the state's number in their titles.
    spectrum = board.plot("Singular values")
    expect(spectrum.locator(".rv-sentence")).to_contain_text(f"After {named[5]}")
    _, *rows = board.read_table(spectrum)
    found = torch.tensor([[float(entry) for entry in row[1:]] for row in rows]).double()
    values = torch.linalg.svd(state)[1].T
    assert found.shape == values.shape
    assert torch.allclose(found, values, rtol=1e-3, atol=1e-3 * values.max().item())

    remembered = board.plot("remembers after")
    expect(remembered.locator(".rv-sentence")).to_contain_text(f"After {named[5]}")
    _, *rows = board.read_table(remembered)
    k, v = trace.k(LAYER)[HEAD, :6].double(), trace.v(LAYER)[HEAD, :6].double()
    cosines = torch.cosine_similarity(k @ state[HEAD], v)
    assert [float(row[1]) for row in rows] == pytest.approx(cosines.tolist(), abs=1e-3)

    heat = board.plot("State S")
    sentence = board.root.locator(".rv-plot .rv-sentence", has_text="tate of head").first
    expect(sentence).to_contain_text(f"The state of head {HEAD} after {named[5]}")
    check_heatmap(board.read_table(heat), state[HEAD])
    board.set_slider("token m", 2)
    board.choose("compare with")
    expect(sentence).to_contain_text(f"from {named[2]} to {named[5]}")
    earlier = trace.state(LAYER, 2).double()
    check_heatmap(board.read_table(board.plot("Difference S")), (state - earlier)[HEAD])
    expect(board.root.locator(".rv-view-state .rv-bar")).to_contain_text("minus S after m = 2")
    board.choose("compare with")
    expect(sentence).to_contain_text(f"The state of head {HEAD} after {named[5]}")


def check_heatmap(table: list[list[str]], values: torch.Tensor) -> None:
    """The table, without its header and the names of its rows, has the values it has room for."""
    found = torch.tensor([[float(entry) for entry in row[1:]] for row in table[1:]]).double()
    assert found.shape == (64, 64)
    assert torch.allclose(found, values[:64, :64], rtol=1e-3, atol=1e-6)


def test_a_part_switched_off_in_the_copy_leaves_the_model_alone(board: ModesPage, model) -> None:
    shown(board, "recurrent")
    board.open_view("Normalisation and position")

    def expect_next(whose: str, trace: rv.Trace) -> None:
        top = trace.logits[-1].double().softmax(-1).topk(10)
        plot = board.plot(f"{whose}: next after")
        shares = [f"{100 * value:.1f} %" for value in top.values.tolist()]
        names = [visible(trace.piece(token_id)) for token_id in top.indices.tolist()]
        expect(plot.locator(".ytick")).to_have_text(
            [f"{name} {share}" for name, share in zip(names, shares, strict=True)]
        )

    trace = rv.trace(model, TEXT, "recurrent")
    expect_next("The model", trace)
    expect_next("The copy", trace)
    board.choose("rotation")
    unturned = rv.trace(variant(model, rotation="none"), TEXT, "recurrent")
    assert (unturned.logits - trace.logits).abs().max() > 1
    expect_next("Without rotation", unturned)
    expect_next("The model", trace)
    board.choose("rotation")
    expect_next("The copy", trace)
    expect_next("The model", trace)


# -- texts --------------------------------------------------------------------------------------

VIEWS = ("Side by side", "State", "Normalisation and position", "Step by step")


def test_an_empty_text_says_so_in_every_view(board: ModesPage) -> None:
    player = shown(board, "recurrent")
    board.text.fill("")
    expect(board.strip).to_contain_text("No text yet")
    expect(player.saying).to_have_text("No text yet.")
    expect(player.counter).to_have_text("")
    expect(player.button("Play")).to_be_disabled()
    player.press(" ", "ArrowRight", "End")
    player.expect_playing(False)
    for view in VIEWS:
        board.open_view(view)
        expect(board.notice).to_have_text("0 tokens")
        if view == "Side by side":
            expect(board.race).to_contain_text("No text yet")
    expect(player.saying).to_have_text("No text yet.")
    shown(board, "recurrent")


@pytest.mark.parametrize("mode", MODES)
def test_a_text_is_never_markup(board: ModesPage, model, mode: str) -> None:
    trace = rv.trace(model, HOSTILE, mode, CHUNK)
    names = [visible(token) for token in trace.tokens]
    board.show(HOSTILE, names, mode, chunk=CHUNK)
    player = board.player
    player.show_table()
    first = {"parallel": 0, "recurrent": 0, "chunkwise": (trace.length - 1) // CHUNK * CHUNK}[mode]
    listed = player.root.locator(".rv-alternative").nth(1).locator("tbody td:nth-child(2)")
    expect(listed).to_have_text(names[first:])
    player.show_table(False)
    if mode != "parallel":
        box = player.root.locator(".rv-bars canvas").bounding_box()
        assert box
        board.page.mouse.move(box["x"] + 46 + 4, box["y"] + 20)
        expect(player.readout).to_contain_text(f"“{names[first]}”")
        player.point_away()
    assert player.root.locator("script, b[onclick]").count() == 0
    assert board.page.evaluate("window.hacked") is None


# -- links, theme, motion -----------------------------------------------------------------------


def test_a_link_opens_the_step_that_it_names(page: Page, voila_url: str, model) -> None:
    state = ExplorerState(
        TEXT, "chunkwise", CHUNK, layer=LAYER, head=HEAD, token=5, view="state", scale="log"
    )
    page.goto(f"{modes_url(voila_url)}?theme=dark&{state.query()}")
    board = ModesPage(page)
    expect(board.text).to_have_value(TEXT)
    trace = rv.trace(model, TEXT, "chunkwise", CHUNK)
    sentence = board.root.locator(".rv-plot .rv-sentence", has_text=f"state of head {HEAD}").first
    expect(sentence).to_contain_text(f"token 5 “{visible(trace.tokens[5])}”")
    expect(board.root).to_have_attribute("data-theme", "dark")
    board.open_view("Step by step")
    player = board.player
    player.expect_at(1, 3, 5)
    expect(player.root.locator(".rv-origin")).to_have_text(f"chunkwise, layer {LAYER}, head {HEAD}")
    background = player.root.evaluate("el => getComputedStyle(el).backgroundColor")
    assert background == "rgb(27, 30, 35)"
    assert player.saying.evaluate("el => getComputedStyle(el).color") == "rgb(230, 232, 235)"
    # The page's own link holds what was chosen since.
    player.press("Home")
    player.expect_at(0, 3, 3)
    here = page.get_by_role("link", name="Modes at work")
    query = replace(state, token=3, view="step by step").query()
    expect(here).to_have_attribute("href", re.compile(re.escape(query)))


def test_the_explorer_links_to_the_modes_with_its_text(page: Page, voila_url: str, model) -> None:
    state = ExplorerState(OTHER, "chunkwise", 2, layer=LAYER)
    page.goto(f"{voila_url}?{state.query()}")
    opened = ExplorerPage(page)
    opened.wait()
    opened.choose_mode("recurrent")
    link = page.get_by_role("link", name="Modes at work")
    query = replace(state, mode="recurrent").query()
    expect(link).to_have_attribute("href", re.compile(re.escape(query)))
    link.click()
    board = ModesPage(page)
    board.wait()
    length = rv.trace(model, OTHER).length
    expect(board.text).to_have_value(OTHER)
    board.player.expect_at(length - 1, length, length - 1)
    expect(board.player.root.locator(".rv-origin")).to_have_text(
        f"recurrent, layer {LAYER}, head 0"
    )


def test_little_motion_where_a_person_wants_little(board: ModesPage) -> None:
    player = shown(board, "recurrent")
    player.speed.select_option("30")
    board.page.emulate_media(reduced_motion="reduce")
    player.press("Home")
    expect_step(player, "recurrent", 0)
    times = player.root.evaluate(
        """el => new Promise(resolve => {
            const times = [];
            let last = el.dataset.step;
            new MutationObserver((_, observer) => {
                if (el.dataset.step === last) return; // drawn once more
                last = el.dataset.step;
                times.push(performance.now());
                if (times.length < 4) return;
                observer.disconnect();
                resolve(times);
            }).observe(el, { attributeFilter: ["data-step"] });
            el.querySelector(".rv-play").click();
        })"""
    )
    player.press(" ")
    player.expect_playing(False)
    board.page.emulate_media(reduced_motion="null")
    # Two a second; a step that came late may be followed sooner, as long as the pace is kept.
    assert times[-1] - times[0] > 1000 * 3 / 2 * 0.66
    assert all(later - earlier > 100 for earlier, later in pairwise(times))


# -- the stage in the explorer ------------------------------------------------------------------


def test_the_explorers_stage_rests_until_it_is_seen(page: Page, voila_url: str, model) -> None:
    page.set_viewport_size({"width": 1440, "height": 560})
    page.goto(voila_url)
    opened = ExplorerPage(page)
    opened.wait()
    player = Player(page, opened.root)
    box = player.root.bounding_box()
    assert box
    assert box["y"] > 560
    drawn = player.root.get_attribute("data-drawn")
    opened.type(OTHER)
    length = rv.trace(model, OTHER).length
    expect(opened.tokens).to_have_count(length)
    expect(opened.next.locator(".gtitle")).to_contain_text(f"n = {length - 1}")
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert player.root.get_attribute("data-drawn") == drawn

    player.root.scroll_into_view_if_needed()
    player.expect_drawn()
    opened.choose_mode("recurrent")
    player.root.scroll_into_view_if_needed()
    player.expect_at(length - 1, length, length - 1)
    player.press("Home", "ArrowRight", "ArrowRight")
    player.expect_at(2, length, 2)
    expect(opened.next.locator(".gtitle")).to_contain_text("n = 2")
    player.press("End")
    player.expect_at(length - 1, length, length - 1)
    expect(opened.next.locator(".gtitle")).to_contain_text(f"n = {length - 1}")
