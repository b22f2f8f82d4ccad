"""The kernel's side of the panels: figures, cursors, tables on request, joined modules."""

import logging
import re
from pathlib import Path

import pytest
import retnet_viz_jupyter
from plotly.offline import get_plotlyjs

from retnet_viz import ui
from retnet_viz.figures.base.theme import INK, MUTED, PAGE_COLORS, PAPER, THEMES, template
from retnet_viz.ui.core.assets import module, page_colors, page_style, style
from retnet_viz.ui.core.host_bridge import HostBridge
from retnet_viz.ui.panels.heatmap import Heatmap
from retnet_viz.ui.panels.plots.plot import Plot

FOLDER = Path(ui.__file__).parent
PAGES = ("explorer", "modes", "compare", "cost", "training")
SPEC = {"data": [{"type": "bar", "y": [1, 2]}], "layout": {"meta": {"sentence": "Two bars."}}}
TABLE = ("Head 0", ["n", "m = 0"], [["0", "1.5"]])


def answers(widget, message):
    """What the widget sends when the page sends `message`."""
    sent = []
    widget.send = lambda content, buffers=None: sent.append(content)
    widget._handle_custom_msg(message, [])
    return sent


def test_a_plot_shows_the_figure_with_its_sentence():
    plot = Plot()
    plot.show(SPEC)
    assert plot.get_state("figure")["figure"] == SPEC


def test_moving_the_cursor_sends_no_figure():
    plot = Plot()
    plot.show(SPEC)
    assert plot.cursor == -1
    sent = []
    plot.observe(lambda change: sent.append(change["name"]))
    plot.cursor = 5
    assert sent == ["cursor"]
    assert "cursor" in plot.keys


def test_a_plot_gives_plotly_to_the_page_that_asks():
    plot, sent = Plot(), []
    plot.send = lambda content, buffers=None: sent.append((content, buffers))
    plot._handle_custom_msg({"question": "a", "ask": "plotly.js"}, [])
    assert sent == [({"answers": "a"}, [get_plotlyjs().encode()])]
    assert "error" in answers(plot, {"question": "b", "ask": "numpy"})[0]


def test_a_plot_knows_whether_its_server_has_plotly(monkeypatch):
    monkeypatch.setenv(retnet_viz_jupyter.VARIABLE, "")
    assert Plot().library == ""
    retnet_viz_jupyter.tell_kernels()
    assert Plot().library == "retnet-viz/plotly.js"
    assert retnet_viz_jupyter.source() == get_plotlyjs().encode()


def test_a_matrix_gives_its_tables_when_it_is_asked():
    calls = []
    matrix = Heatmap(lambda cell: f"cell {cell}", lambda: calls.append(1) or [TABLE])
    assert matrix.tabular
    assert calls == []  # tables that nobody looks at are not made
    assert answers(matrix, {"question": "a-1", "ask": "tables"}) == [
        {"answers": "a-1", "tables": [TABLE]}
    ]
    question = {"question": "a-2", "ask": "cell", "about": [0, 2, 1]}
    assert answers(matrix, question) == [{"answers": "a-2", "text": "cell (0, 2, 1)"}]
    assert calls == [1]


def test_a_matrix_without_tables_offers_none():
    matrix = Heatmap(lambda cell: "", colors=b"123")
    assert not matrix.tabular
    assert matrix.colors == b"123"
    (answer,) = answers(matrix, {"question": 1, "ask": "tables"})
    assert answer == {"answers": 1, "error": "This panel has no tables."}


@pytest.mark.parametrize(("ask", "about"), [("tables", None), ("cell", [0, 2, 1])])
def test_what_fails_leaves_no_page_waiting(ask, about, caplog):
    def fail(*_given):
        raise RuntimeError("no numbers")

    matrix = Heatmap(fail, fail)
    with caplog.at_level(logging.CRITICAL):
        (answer,) = answers(matrix, {"question": 7, "ask": ask, "about": about})
    assert answer["answers"] == 7
    assert "RuntimeError: no numbers" in answer["error"]


@pytest.mark.parametrize(
    ("ask", "about"),
    [("cell", [0, 1]), ("cell", "x"), ("cell", [0, 1, True]), ("joke", None), ([], 1)],
)
def test_a_question_that_means_nothing_is_answered_too(ask, about):
    matrix = Heatmap(lambda cell: "", lambda: [TABLE])
    (answer,) = answers(matrix, {"question": 1, "ask": ask, "about": about})
    assert set(answer) == {"answers", "error"}


@pytest.mark.parametrize("message", [None, [], "table", {"table": 1}, {"ask": "tables"}])
def test_any_other_message_is_harmless(message):
    assert answers(Heatmap(lambda cell: "", lambda: [TABLE]), message) == []


def test_a_module_stands_behind_all_that_it_imports():
    joined = module("panels/heatmap.js")
    source = (FOLDER / "panels" / "heatmap.js").read_text(encoding="utf-8")
    end = source[source.index('  model.on("change:cells') :]
    assert joined.endswith(end)
    assert "function paint(cells, length, palette, signed, limit) {" in joined
    assert (
        "Where several cells share a pixel" in source
    )  # what gives types is for those who read it
    assert "Where several cells share a pixel" not in joined
    assert "@param" not in joined
    # multiples.js, which heatmap.js imports, needs common.js, which both import: once, and first.
    places = [joined.index(f"function {name}(") for name in ("cssVariable", "arrange", "paint")]
    assert places == sorted(places)
    assert joined.count("function cssVariable(") == 1
    with pytest.raises(FileNotFoundError):
        module("panels/no_such_file.js")
    with pytest.raises(FileNotFoundError):
        style("styles/panels.css", "no_such_file.css")


WIDGETS = sorted(
    path.relative_to(FOLDER).as_posix()
    for path in FOLDER.rglob("*.js")
    if "export default {" in path.read_text(encoding="utf-8")
)


def test_there_are_modules_of_widgets():
    assert len(WIDGETS) > 8
    assert str(Heatmap._esm) == module("panels/heatmap.js")


@pytest.mark.parametrize("name", WIDGETS)
def test_a_joined_module_declares_each_name_once_and_exports_once(name):
    # A name that two files declare at the top is an error in the browser, and an empty panel.
    source = module(name)
    names = re.findall(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", source, re.MULTILINE)
    assert "render" in names
    assert sorted(names) == sorted(set(names))
    assert len(re.findall(r"^export ", source, re.MULTILINE)) == 1
    assert not re.search(r"^import ", source, re.MULTILINE)


# -- colours -------------------------------------------------------------------------------------


def custom_properties(sheet, theme):
    """--rv-… of a page of a theme, as the sheet of the page's colours gives them."""
    light, dark = re.findall(r"\{(.*?)\}", sheet)
    return dict(re.findall(r"--rv-([a-z]+):(#[0-9a-f]{6});", dark if theme == "dark" else light))


@pytest.mark.parametrize("theme", THEMES)
def test_a_page_has_the_colours_of_the_figures_in_it(theme):
    properties = custom_properties(page_colors(), theme)
    assert properties == {name: color[theme] for name, color in PAGE_COLORS.items()}
    assert (properties["paper"], properties["ink"], properties["muted"]) == (
        PAPER[theme],
        INK[theme],
        MUTED[theme],
    )
    layout = template(theme)["layout"]
    assert (layout["paper_bgcolor"], layout["font"]["color"]) == (
        properties["paper"],
        properties["ink"],
    )
    assert str(HostBridge._css).startswith(page_colors())


def test_no_style_sheet_says_a_page_colour_again():
    """But where a page's colours are not at hand: in the quiz of a notebook, and in a picture."""
    again = []
    for path in sorted(FOLDER.rglob("*.css")):
        sheet = path.read_text(encoding="utf-8").lower()
        for name, color in PAGE_COLORS.items():
            for theme in THEMES:
                again += [(path.name, name, theme)] * sheet.count(color[theme].lstrip("#"))
    assert again == [
        ("quiz.css", "paper", "light"),
        ("quiz.css", "ink", "light"),
        ("page.css", "ink", "dark"),
    ]


@pytest.mark.parametrize("make", [ui.explore, ui.modes, ui.compare, ui.cost, ui.practice])
def test_a_page_has_its_own_style_sheet_and_no_other_page_s(make):
    page = make()
    name = page.app.removesuffix(".ipynb")
    sheets = {each: style(f"styles/{each}.css") for each in PAGES}
    assert [each for each in PAGES if sheets[each] in page.page._css] == [name]
    assert page.page._css.startswith(page_style())
    assert page.page._anywidget_id.endswith(name)  # two pages in a notebook keep their sheets
    assert f"rv-{name}-page" in page._dom_classes
    page.stop()
    page.close_all()
