"""A long text in a real browser: opened from a file, cancelled, panned, typed on; bad files."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

import retnet_viz as rv
from tests.support.explorer_steps import ExplorerPage

WORDS = "The king said to the old man that he would go down to the river and see what was there. "
PATIENT = 90_000  # milliseconds
STRIP = 1024  # tokens in the strip at most


def text_file(folder: Path, count: int) -> Path:
    path = folder / "story.txt"
    path.write_text(WORDS * count)
    return path


def choose(explorer: ExplorerPage, path: Path) -> None:
    explorer.root.locator(".rv-file input").set_input_files(path)


def test_a_file_is_opened_and_typed_on_and_its_matrix_pans(
    explorer: ExplorerPage, tmp_path: Path
) -> None:
    elements = "document.querySelectorAll('.rv-explorer *:not(.rv-tokens *)').length"
    path = text_file(tmp_path, 200)
    choose(explorer, path)
    length = len(rv.load().tokenizer.encode(WORDS * 200))
    expect(explorer.notice).to_contain_text(f"{length:,} × {length:,} numbers", timeout=PATIENT)
    expect(explorer.root.get_by_role("button", name="Chunkwise")).to_have_class(
        re.compile("mod-active")
    )
    matrix = explorer.root.locator(".rv-area-weights .rv-tiled")
    note = matrix.locator(".rv-tiled-note")
    expect(note).to_contain_text("tokens per pixel", timeout=PATIENT)
    expect(explorer.norms.locator(".scatterlayer .trace")).to_have_count(4, timeout=PATIENT)
    before = explorer.page.evaluate(elements)
    matrix.get_by_role("button", name="to the selected token").click()
    expect(note).to_contain_text("Each square is one weight", timeout=PATIENT)
    expect(matrix.locator(".rv-tiled-window")).to_contain_text(f"of {length:,} tokens")

    explorer.text.click()
    explorer.page.keyboard.press("Control+End")
    explorer.page.keyboard.type("And so")
    expect(explorer.notice).to_contain_text("the states before them were kept", timeout=PATIENT)
    expect(explorer.text).to_have_value((WORDS * 200)[-2000:] + "And so")
    typed = len(rv.load().tokenizer.encode(WORDS * 200 + "And so"))
    assert typed > length
    expect(explorer.tokens.first).to_have_attribute("aria-setsize", str(typed), timeout=PATIENT)
    assert abs(explorer.page.evaluate(elements) - before) < 30

    longer = text_file(tmp_path, 400)
    choose(explorer, longer)
    twice = len(rv.load().tokenizer.encode(WORDS * 400))
    expect(explorer.notice).to_contain_text(f"{twice:,} tokens", timeout=PATIENT)
    expect(explorer.tokens.first).to_have_attribute("aria-setsize", str(twice), timeout=PATIENT)
    assert explorer.page.evaluate(elements) < before + 60  # whatever the length
    assert explorer.tokens.count() <= STRIP


def test_a_long_reading_shows_how_far_it_is_and_can_be_cancelled(
    explorer: ExplorerPage, tmp_path: Path
) -> None:
    text = explorer.text.input_value()
    tokens = explorer.tokens.all_inner_texts()
    choose(explorer, text_file(tmp_path, 6000))
    reading = explorer.root.locator(".rv-reading")
    expect(reading).to_be_visible(timeout=PATIENT)
    expect(reading).to_contain_text(
        re.compile(r"reading: [\d,]+ of [\d,]+ tokens"), timeout=PATIENT
    )
    reading.get_by_role("button", name="Cancel").click()
    expect(reading).to_be_hidden()
    expect(explorer.text).to_have_value(text)
    assert explorer.tokens.all_inner_texts() == tokens
    explorer.type("The queen sat down")  # and all goes on
    expect(explorer.tokens.first).to_have_text("The", timeout=PATIENT)


def test_a_file_that_is_no_text_gets_a_sentence(explorer: ExplorerPage, tmp_path: Path) -> None:
    text = explorer.text.input_value()
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    choose(explorer, path)
    alert = explorer.notice.get_by_role("alert")
    expect(alert).to_contain_text("picture.png is a PNG image", timeout=PATIENT)
    expect(explorer.text).to_have_value(text)
    # A file that claims to have 10 GB.
    explorer.root.locator(".rv-file input").evaluate(
        """input => {
            const file = new File(["x"], "huge.txt");
            Object.defineProperty(file, "size", { value: 10 * 2 ** 30 });
            Object.defineProperty(input, "files", { value: [file], configurable: true });
            input.dispatchEvent(new Event("change"));
        }"""
    )
    expect(alert).to_contain_text("huge.txt has 10,240.0 MB", timeout=PATIENT)
    expect(explorer.text).to_have_value(text)
    explorer.root.locator(".rv-file input").evaluate("input => { delete input.files; }")
