"""Every number of the step player against the trace: tables, formula, what the pointer meets."""

from __future__ import annotations

import re

import pytest
import torch
from playwright.sync_api import expect

import retnet_viz as rv
from retnet_viz.figures.base.tokens import visible
from retnet_viz.figures.steps.formula import number
from tests.support.modes_steps import CHUNK, HEAD, LAYER, LENGTH, MODES, TEXT, ModesPage, player_of


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
    player = player_of(anywhere, mode)
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
    player = player_of(board, mode)
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
            sentences = [f"{n + 1} tokens", f"score {score} × decay {decay} = weight {weight}"]
            formulas = [f"({score}×{decay}γ{n - m})v{m}", f"{n + 1 - 5} more"]
        elif mode == "recurrent":
            before, decayed, update, state = map(
                norm, (parts.before, parts.gamma * parts.before, parts.added, parts.state)
            )
            sentences = [
                f"keeps {parts.gamma:.6g} of the state (‖S‖ {before} becomes {decayed})",
                f"adds “{visible(trace.tokens[n])}” ({update}) and holds {state}",
            ]
            formulas = [
                f"S{n}‖·‖ {state}={parts.gamma:.6g}·S{n - 1}‖·‖ {before}+",
                f"‖·‖ {update}",
                f"o{n}‖·‖ {norm(parts.output)}",
            ]
        else:
            j = n - parts.tokens.start
            sentences = [
                f"tokens 8 to {LENGTH - 1} at once",
                f"(‖S‖ {norm(parts.before)}, then {norm(parts.state)})",
                f"{number(100 * parts.share[j].item())} % of its output",
            ]
            formulas = [
                f"‖·‖ {norm(parts.inner[j])}",
                f"‖·‖ {norm(parts.cross[j])}",
                f"o{n}‖·‖ {norm(parts.output[j])}",
            ]
        for part in sentences:
            expect(player.saying).to_contain_text(part)
        formula = player.formula.evaluate("element => element.textContent")
        for part in ("γ", *formulas):
            assert part in formula
        assert player.formula.locator("math").count() == 1


def test_an_entry_under_the_pointer_tells_its_number(anywhere: ModesPage, model) -> None:
    player = player_of(anywhere, "recurrent")
    parts = rv.terms(rv.trace(model, TEXT, "recurrent"), LAYER, HEAD, 10)
    player.point_at("state", 3, 100)
    decayed, update = (parts.gamma * parts.before)[3, 100], parts.k[3] * parts.v[100]
    state = parts.state[3, 100]
    sum_ = " + ".join(number(x.item()) for x in (decayed, update))
    expect(player.readout).to_have_text(f"S₁₀[d_k 3, d_v 100] = {sum_} = {number(state.item())}")
    player.point_at("q", 0, 5)
    expect(player.readout).to_have_text(f"q₁₀[d_k 5] = {number(parts.q[5].item())}")
    player.point_away()
    expect(player.readout).to_contain_text("this step, one head")

    player_of(anywhere, "parallel")
    parts = rv.terms(rv.trace(model, TEXT), LAYER, HEAD, 10)
    player.point_at("weights", 0, 6)
    score, decay, weight = (number(x[6].item()) for x in (parts.scores, parts.decay, parts.weights))
    expect(player.readout).to_contain_text(f"= {score} × {decay} = {weight}")

    player_of(anywhere, "chunkwise")
    parts = rv.terms(rv.trace(model, TEXT, "chunkwise", CHUNK), LAYER, HEAD, 10)
    player.point_at("output", 1, 77)
    inner, cross, output = (
        number(x[1, 77].item()) for x in (parts.inner, parts.cross, parts.output)
    )
    expect(player.readout).to_contain_text(f"= {inner} + {cross} = {output}")
    player.point_away()


def test_a_pointer_that_rests_tells_the_number_of_the_new_step(board: ModesPage, model) -> None:
    player = player_of(board, "recurrent")
    trace = rv.trace(model, TEXT, "recurrent")
    player.point_at("state", 20, 40)
    for n in (10, 9):
        value = trace.state(LAYER, n)[HEAD, 20, 40].item()
        expect(player.readout).to_contain_text(f"S{sub(n)}[d_k 20, d_v 40]")
        expect(player.readout).to_contain_text(re.compile(f" = {re.escape(number(value))}$"))
        player.press("ArrowLeft")
    player.point_away()


def test_a_bar_under_the_pointer_tells_its_number(board: ModesPage, model) -> None:
    for mode, field, m in (("recurrent", "contributions", 4), ("chunkwise", "share", 1)):
        player = player_of(board, mode)
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
        match = re.search(r"”: (\S+) ", player.readout.inner_text())
        assert match
        assert float(match[1]) == pytest.approx(values[m].item(), rel=1e-3)
        player.point_away()


def test_the_plane_tells_its_cells_and_selects_their_token(board: ModesPage, model) -> None:
    player = player_of(board, "chunkwise")
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
        player = player_of(anywhere, mode)
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
