"""What edits cost: a pass without any, with each kind, and a key typed on a page with edits.

.venv/bin/python -m benchmarks.edits

One process on one thread, without a browser. A pass without edits goes through `publish`, where an
edit may put another tensor: its cost is a pass in which that is the identity instead.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

import retnet_viz as rv
from retnet_viz.model import MODES, retention, retnet
from retnet_viz.ui.core.state.page_state import ExplorerState
from retnet_viz.ui.pages.explorer.explorer import Explorer

REPEATS = 15
LENGTHS = (64, 512)
TEXT = "the cat and the dog, "


def main() -> None:
    torch.set_num_threads(1)
    model = rv.load()
    print(f"medians of {REPEATS}, interleaved; ratios are medians of the ratios of a round")
    ids = torch.tensor(model.tokenizer.encode(TEXT * 200))
    for length in LENGTHS:
        _passes(model, ids[:length])
    for length in LENGTHS:
        _keys(model, model.tokenizer.decode(ids[:length].tolist()))


def _passes(model: rv.RetNet, ids: torch.Tensor) -> None:
    """A pass in each mode: with `publish` as the identity, as it is, and traced with edits."""
    batch, last = ids[None], len(ids) - 1
    for mode in MODES:

        def run(mode: str = mode) -> Any:
            with torch.no_grad():
                return model(batch, mode=mode)

        def bare(run: Callable[[], Any] = run) -> Any:
            with _publish_is_identity():
                return run()

        plain_trace = {
            "trace": lambda mode=mode: rv.trace(model, ids, mode),
            "... with a silent head": _traced(model, ids, mode, rv.edits.silence(layer=1, head=1)),
            "... with a token forgotten": _traced(model, ids, mode, rv.edits.forget(2, last)),
            "... with a reading cut": _traced(model, ids, mode, rv.edits.cut(last, 2)),
        }
        print(f"\n{len(ids)} tokens, {mode}")
        _compare({"pass without publish": bare, "pass": run})
        _compare(plain_trace)


def _traced(
    model: rv.RetNet, ids: torch.Tensor, mode: str, edit: rv.edits.Edit
) -> Callable[[], Any]:
    return lambda: rv.trace(model, ids, mode, edits=[edit])


def _keys(model: rv.RetNet, text: str) -> None:
    """What a key costs the kernel, all panels drawn."""
    pages = {
        "key": Explorer(model, ExplorerState(text, mode="chunkwise")),
        "... with a silent head": Explorer(
            model,
            ExplorerState(text, mode="chunkwise", edits=(rv.edits.silence(layer=1, head=1),)),
        ),
        "... with a token forgotten": Explorer(
            model, ExplorerState(text, mode="chunkwise", edits=(rv.edits.forget(2, 9),))
        ),
    }
    print(f"\na key after {pages['key'].trace.length} tokens, chunkwise")
    _compare({name: _typing(page, text) for name, page in pages.items()})


def _typing(page: Explorer, text: str) -> Callable[[], None]:
    """Types a letter, or takes it back."""

    def key() -> None:
        page._update_state(text=text if page.state.text != text else f"{text} a")

    return key


def _compare(cases: dict[str, Callable[[], Any]]) -> None:
    """Milliseconds of each case, and as a multiple of the first."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for run in cases.values():
        run()
    for _ in range(REPEATS):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            times[name].append(1000 * (time.perf_counter() - start))
    base = next(iter(times.values()))
    for name, each in times.items():
        ratio = statistics.median(mine / first for mine, first in zip(each, base, strict=True))
        print(f"  {name:28} {statistics.median(each):8.1f} ms {ratio:7.2f}")


@contextmanager
def _publish_is_identity() -> Iterator[None]:
    modules: tuple[Any, ...] = (retention, retnet)
    published = [module.publish for module in modules]
    for module in modules:
        module.publish = lambda _, tensor: tensor
    try:
        yield
    finally:
        for module, publish in zip(modules, published, strict=True):
            module.publish = publish


if __name__ == "__main__":
    main()
