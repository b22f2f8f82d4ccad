"""What the server uses of Voila that is undocumented is there, and does what it is used for."""

from __future__ import annotations

import asyncio
import inspect
import re
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from traitlets import HasTraits
from voila.execute import VoilaExecutor
from voila.request_info_handler import RequestInfoSocketHandler
from voila.utils import ENV_VARIABLE
from voila.voila_kernel_manager import voila_kernel_manager_factory

from retnet_viz.server import query_string
from retnet_viz.server.voila_apps import ExplorerHandler, ExplorerServer
from retnet_viz.server.voila_internals import KNOWN, is_warm, tell_in_terminal

NOTEBOOK = "explorer.ipynb"
HERE = f"see retnet_viz/server/voila_internals.py, which works with Voila {', '.join(KNOWN)}"


class Kernels(HasTraits):
    """Of Jupyter's kernel manager, what Voila's is made from; it starts nothing."""

    def __init__(self, parent: Any) -> None:
        super().__init__()
        self.parent = parent

    async def start_kernel(self, **_: Any) -> str:
        return "kernel"

    def get_kernel(self, kernel: str) -> None: ...


class Run:
    """Of Voila's run of a notebook, what its kernel manager needs: it ends when it may."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.notebook = nbformat.from_dict({"metadata": {"kernelspec": {"name": "python3"}}})
        self.notebook_path, self.template_name, self.theme = NOTEBOOK, "lab", "light"

    async def initialize(self) -> None: ...

    async def generate_content_hybrid(self, *_: Any) -> None:
        await self.may_end.wait()


def manager(folder: Path) -> Any:
    """Voila's kernel manager over a folder without notebooks."""
    parent = SimpleNamespace(
        root_dir=str(folder), notebook_path=None, base_url="/", server_url="/", port=1
    )
    return voila_kernel_manager_factory(Kernels, True, 0)(parent=parent)


def test_this_voila_is_one_that_the_names_were_tried_with() -> None:
    installed = version("voila")
    assert installed in KNOWN, (
        f"Voila {installed} is new: run all tests, then add it to KNOWN; {HERE}"
    )


def test_the_pool_of_kernels_started_ahead_is_where_the_server_looks(tmp_path: Path) -> None:
    kernels = manager(tmp_path)
    assert hasattr(kernels, "_pools"), f"Voila's kernel manager has no _pools any more; {HERE}"
    kernels._pools[NOTEBOOK] = [object()]
    assert kernels.get_pool_size(NOTEBOOK) == 1, f"Voila's _pools are not its pools; {HERE}"


def test_a_kernel_is_told_its_visit_as_it_asks_for_it() -> None:
    names = set(re.findall(r"VOILA_\w+|QUERY_STRING", Path(query_string.__file__).read_text()))
    assert len(names) == 6
    gone = names - {str(name) for name in ENV_VARIABLE}
    assert not gone, f"Voila sets no {gone} any more; see retnet_viz/server/query_string.py"


def test_the_kernels_that_wait_for_visitors_are_where_the_server_looks() -> None:
    handler = SimpleNamespace(_cache={})
    RequestInfoSocketHandler.open(handler, "kernel")
    try:
        waiting = getattr(RequestInfoSocketHandler, "_waiters", {})
        assert "kernel" in waiting, f"Voila does not keep who waits in _waiters any more; {HERE}"
    finally:
        RequestInfoSocketHandler.on_close(handler)
    assert "kernel" not in waiting


@pytest.mark.parametrize(
    ("ours", "name"),
    [
        (each, name)
        for each in (ExplorerServer, ExplorerHandler)
        for name, _ in inspect.getmembers(each, inspect.isfunction)
        if name in vars(each) and not name.startswith("_")
    ],
)
def test_what_is_overridden_is_still_called_by_voila(ours: type, name: str) -> None:
    assert hasattr(ours.__mro__[1], name), f"Voila has no {name} any more, which {ours} replaces"


def test_a_kernel_is_warm_when_it_waits_for_a_visitor_or_has_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look() -> list[bool]:
        kernels, run, found = manager(tmp_path), Run(), []
        monkeypatch.setattr(kernels, "_notebook_renderer_factory", lambda _: run)
        kernels.kernel_pools_config = {NOTEBOOK: {"pool_size": 1}}
        found.append(is_warm(kernels, NOTEBOOK))  # none is there: a visitor has it
        kernels.fill_if_needed(delay=0, notebook_name=NOTEBOOK)
        found.append(is_warm(kernels, NOTEBOOK))
        kernel = await kernels._pools[NOTEBOOK][0]
        for waiting in ("another", kernel["kernel_id"]):
            monkeypatch.setattr(RequestInfoSocketHandler, "_waiters", {waiting: None})
            found.append(is_warm(kernels, NOTEBOOK))
        monkeypatch.setattr(RequestInfoSocketHandler, "_waiters", {})
        run.may_end.set()
        await kernel["task"]
        return [*found, is_warm(kernels, NOTEBOOK)]

    assert asyncio.run(look()) == [True, False, False, True, True]


def test_the_server_goes_on_where_voila_has_no_such_pool() -> None:
    assert is_warm(object(), NOTEBOOK)


def test_the_reason_of_a_failing_app_is_in_the_terminal_and_not_on_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hasattr(VoilaExecutor, "strip_code_cell_errors"), (
        f"Voila's executor has no strip_code_cell_errors any more; {HERE}"
    )
    monkeypatch.setattr(
        VoilaExecutor, "strip_code_cell_errors", VoilaExecutor.strip_code_cell_errors
    )
    tell_in_terminal()
    output = nbformat.v4.new_output(
        "error", ename="ValueError", evalue="why", traceback=["the line", "ValueError: why"]
    )
    cell = nbformat.v4.new_code_cell("1/0", outputs=[output], execution_count=1)
    executor = VoilaExecutor(nbformat.v4.new_notebook(), show_tracebacks=False)
    executor.strip_code_cell_errors(cell)
    assert "ValueError: why" in capsys.readouterr().err
    assert "why" not in str(cell["outputs"])
