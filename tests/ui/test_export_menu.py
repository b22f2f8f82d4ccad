"""The menu that saves, and `export`: both write the same files."""

from __future__ import annotations

import csv
import io
import json
import logging
import threading
import time

import numpy as np
import pytest
from plotly.offline import get_plotlyjs

import retnet_viz as rv
from retnet_viz.ui.core import questions
from retnet_viz.ui.core.state import state_file
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.export import PANELS, exports
from retnet_viz.ui.export.export_menu import ExportMenu
from retnet_viz.ui.export.exports import FORMATS, KINDS, File, export, make_file

TEXT = "the cat and the dog"


class Heard:
    """What a saver sent."""

    def __init__(self, saver: ExportMenu, monkeypatch: pytest.MonkeyPatch) -> None:
        self.messages: list[dict] = []
        self.buffers: list[bytes] = []

        def send(content: dict, buffers: list[bytes] | None = None) -> None:
            self.messages.append(content)
            self.buffers += buffers or []

        monkeypatch.setattr(saver, "send", send)


@pytest.fixture
def explorer(shipped_model):
    widget = rv.explore(shipped_model, TEXT, mode="recurrent", layer=1, heads=(2,))
    yield widget
    widget.stop()


def question(saver: ExportMenu, name: str, about: object = None) -> None:
    """Ask as the page does."""
    saver._handle_custom_msg({"question": name, "ask": name, "about": about}, [])


def ask(saver: ExportMenu, heard: Heard, what: str, kind: str) -> list[dict]:
    heard.messages.clear()
    heard.buffers.clear()
    question(saver, "file", {"what": what, "as": kind})
    saver.wait()
    return heard.messages


@pytest.mark.parametrize(("what", "kind"), [("retention", "csv"), ("trace", "npz")])
def test_a_file_is_of_what_is_shown(explorer, monkeypatch, what, kind):
    heard = Heard(explorer.saver, monkeypatch)
    *_, last = ask(explorer.saver, heard, what, kind)
    assert last == {"answers": "file", "file": f"{what}.{kind}"}
    weights = explorer.trace.retention(1)
    if kind == "npz":
        with np.load(io.BytesIO(heard.buffers[0])) as arrays:
            assert np.array_equal(arrays["retention"][1], weights.numpy())
        return
    rows = list(csv.DictReader(io.StringIO(heard.buffers[0].decode(), newline="")))
    assert {row["head"] for row in rows} == {"2"}
    last_row = [float(row["weight"]) for row in rows if row["n"] == str(len(weights[0]) - 1)]
    assert last_row == pytest.approx(weights[2, -1].tolist(), rel=1e-4, abs=1e-5)


def test_the_state_that_is_saved_opens_again(explorer, monkeypatch):
    heard = Heard(explorer.saver, monkeypatch)
    ask(explorer.saver, heard, "state", "json")
    content = heard.buffers[0]
    assert state_file.is_state(content)
    fields = state_file.decode(content, "state.json", len(content)).fields("explorer")
    assert (fields["text"], fields["mode"], fields["layer"]) == (TEXT, "recurrent", 1)


def test_a_picture_is_drawn_by_the_browser_from_the_same_figure(explorer, monkeypatch):
    heard = Heard(explorer.saver, monkeypatch)
    (message,) = ask(explorer.saver, heard, "retention", "svg")
    (figure,) = message["draw"]
    expected = rv.figures.retention(explorer.trace, 1, heads=[2])
    assert (
        json.loads(figure)["layout"]["title"] == json.loads(expected.to_json())["layout"]["title"]
    )
    (message,) = ask(explorer.saver, heard, "page", "png")
    assert len(message["draw"]) == len(PANELS)


def test_an_edit_while_a_file_is_made_does_not_reach_it(shipped_model, monkeypatch):
    explorer = rv.explore(shipped_model, TEXT, mode="recurrent")
    heard = Heard(explorer.saver, monkeypatch)
    begun, edited = threading.Event(), threading.Event()
    record = exports.make_file

    def slow(trace, *options):
        begun.set()
        assert edited.wait(30)
        return record(trace, *options)

    monkeypatch.setattr(exports, "make_file", slow)
    question(explorer.saver, "file", {"what": "state_norm", "as": "csv"})
    assert begun.wait(30)
    explorer.text.value = "something else entirely, and longer"
    edited.set()
    explorer.saver.wait()
    rows = list(csv.DictReader(io.StringIO(heard.buffers[0].decode(), newline="")))
    assert "".join(row["token"] for row in rows) == TEXT
    explorer.stop()


def test_it_is_cancelled_and_says_why_it_cannot(monkeypatch):
    begun = threading.Event()

    def make(what, kind, tell):
        begun.set()
        for i in range(10**6):
            tell(i, 10**6)
        return File("never", b"")

    def draw(what):
        raise ValueError("too many tokens")

    saver = ExportMenu(make, draw)
    heard = Heard(saver, monkeypatch)
    question(saver, "file", {"what": "page", "as": "html"})
    assert begun.wait(30)
    question(saver, "cancel")
    saver.wait()
    assert {"answers": "cancel"} in heard.messages
    assert heard.messages[-1] == {"answers": "file", "error": "Cancelled."}
    assert {"continues": "file", "done": 0, "total": 10**6} in heard.messages
    assert ask(saver, heard, "decay", "png") == [{"answers": "file", "error": "too many tokens"}]


@pytest.mark.parametrize(
    "about",
    [{"what": "../etc", "as": "html"}, {"what": "page", "as": "exe"}, {}, None, 7, ["page"]],
)
def test_a_file_that_there_is_not_is_refused(monkeypatch, about):
    saver = ExportMenu(lambda *_: File("never", b""), lambda _: [])
    heard = Heard(saver, monkeypatch)
    question(saver, "file", about)
    saver.wait()
    assert heard.messages == [{"answers": "file", "error": "There is no such file."}]


def test_work_that_fails_is_said_and_long_work_gives_signs_of_life(monkeypatch, caplog):
    monkeypatch.setattr(questions, "HEARTBEAT", 0.01)
    heard = None

    def make(what, kind, tell):
        while len(heard.messages) < 3:
            time.sleep(0.01)
        raise RuntimeError("no room")

    saver = ExportMenu(make, lambda _: [])
    heard = Heard(saver, monkeypatch)
    with caplog.at_level(logging.CRITICAL):
        *signs, last = ask(saver, heard, "page", "html")
    assert signs[:3] == [{"continues": "file"}] * 3
    assert last == {"answers": "file", "error": "It could not be saved. (RuntimeError: no room)"}


def test_nothing_is_saved_of_an_empty_text(shipped_model):
    explorer = rv.explore(shipped_model, "")
    assert not explorer.saver.ready
    explorer.text.value = "a"
    assert explorer.saver.ready
    explorer.stop()


def test_export_writes_every_file_of_the_formats_and_no_other(shipped_model, tmp_path):
    trace = rv.trace(shipped_model, TEXT, "chunkwise", 4)
    reports = []
    formats = ("html", "csv", "npz", "safetensors", "json")
    paths = export(trace, tmp_path, formats, tell=lambda *report: reports.append(report))
    expected = {
        f"{what.replace('_', '-')}.{kind}"
        for what, kinds in KINDS.items()
        for kind in kinds
        if kind in formats
    } | {"plotly.min.js"}
    assert {path.name for path in paths} == expected == {path.name for path in tmp_path.iterdir()}
    assert [done for _, done, _ in reports] == list(range(len(paths)))
    loaded = rv.Trace.load(tmp_path / "trace.safetensors")
    assert loaded.tokens == trace.tokens
    assert loaded.retention(2).equal(trace.retention(2))


def test_plotly_is_written_once_beside_the_panels_and_is_in_the_page(shipped_model, tmp_path):
    trace = rv.trace(shipped_model, TEXT)
    script, *pages = export(trace, tmp_path, "html")
    plotly = get_plotlyjs()
    assert script.name == "plotly.min.js"
    assert script.read_text(encoding="utf-8") == plotly
    assert {path.stem.replace("-", "_") for path in pages} == {"page", *PANELS}
    for path in pages:
        content = path.read_text(encoding="utf-8")
        if path.stem == "page":
            assert plotly in content
            assert "plotly.min.js" not in content.replace(plotly, "")
        else:
            assert 'src="plotly.min.js"' in content
            assert len(content) < 200_000


def test_plotly_is_written_only_where_a_page_needs_it(shipped_model, tmp_path):
    trace = rv.trace(shipped_model, TEXT)
    assert [path.name for path in export(trace, tmp_path, "html", ())] == ["page.html"]
    (path,) = export(trace, tmp_path, "csv", "decay")
    assert {each.name for each in tmp_path.iterdir()} == {"page.html", path.name}


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_that_is_downloaded_alone_holds_all_that_it_needs(explorer, monkeypatch, panel):
    heard = Heard(explorer.saver, monkeypatch)
    ask(explorer.saver, heard, panel, "html")
    plotly = get_plotlyjs()
    content = heard.buffers[0].decode()
    assert content.count(plotly) == 1
    assert 'src="' not in content.replace(plotly, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ["pdf"]}, "unknown format 'pdf'; there are html"),
        ({"panels": ["nothing"]}, "unknown panel 'nothing'; there are tokens"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is(
    shipped_model, tmp_path, options, message
):
    trace = rv.trace(shipped_model, TEXT)
    with pytest.raises(ValueError, match=message):
        export(trace, tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


def test_some_panels_alone(shipped_model, tmp_path):
    trace = rv.trace(shipped_model, TEXT)
    paths = export(trace, tmp_path, ["csv"], ["state_norm"])
    assert [path.name for path in paths] == ["state-norm.csv"]
    assert FORMATS[0] == "html"


def test_a_long_text_says_what_else_there_is(shipped_model):
    trace = rv.trace(shipped_model, "a b c d " * 600, "chunkwise", 64)
    for what, kind, message in (
        ("page", "html", "up to 256 tokens"),
        ("decay", "svg", "csv or npz"),
        ("trace", "npz", "safetensors"),
    ):
        with pytest.raises(ValueError, match=message):
            make_file(trace, ExplorerState(), what, kind)
