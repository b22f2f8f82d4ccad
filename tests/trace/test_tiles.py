"""Pictures of the plane: against the whole plane, which these short texts allow to build."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import pad
from torch.utils._python_dispatch import TorchDispatchMode

from retnet_viz.model import RetNet
from retnet_viz.trace import trace
from retnet_viz.trace.tiles.pictures import KINDS, RESOLUTION, Plane, View
from retnet_viz.trace.views.pass_cost import measure
from tests.support.examples import examples

ModelFactory = Callable[..., RetNet]
tiles, band, window_module = (
    importlib.import_module(f"retnet_viz.trace.tiles.{name}")
    for name in ("pictures", "band", "window")
)
WIDTH = 4  # d_k
GAMMAS = (1.0, 0.999, 0.97, 0.9, 0.5)
SMALL = {"STRIP": 32, "BLOCK": 8, "PIECE": 32 * 16, "TILE": 32, "BASE": 8, "FINEST_BASE": 2}


AS_IT_IS = pytest.mark.parametrize("parts", ["as it is"], indirect=True)


@pytest.fixture(scope="module", params=["as it is", "small parts"], autouse=True)
def parts(request: pytest.FixtureRequest) -> Iterator[None]:
    """With small strips, blocks and tiles a short text has many of them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items() if request.param == "small parts" else ():
            for module in (tiles, band, window_module):
                if hasattr(module, name):
                    patch.setattr(module, name, value)
        yield


def inputs(
    length: int, seed: int, spread: float = 0.0, heads: int = 1, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """q, k (heads, length, WIDTH); `spread` makes the norms of tokens differ by its exponential."""
    generator = torch.Generator().manual_seed(seed)
    q, k = torch.randn(2, heads, length, WIDTH, generator=generator, dtype=torch.float64)
    norms = torch.randn(2, heads, length, 1, generator=generator, dtype=torch.float64)
    scale = (spread * norms).exp()
    return (q * scale[0]).to(dtype), (k * scale[1]).to(dtype)


def full_plane(q: Tensor, k: Tensor, gamma: float, kind: str) -> Tensor:
    """(T, T) float64, the plane of one head, NaN above the diagonal."""
    q, k = q.double(), k.double()
    lag = torch.arange(len(q))[:, None] - torch.arange(len(q))
    decay = torch.tensor(gamma, dtype=torch.float64) ** lag.clamp(min=0)
    scores = q @ k.mT
    plane = {"retention": scores * decay, "scores": scores, "decay": decay}[kind]
    return plane.masked_fill(lag < 0, math.nan)


def pool_cells(plane: Tensor, view: View) -> Tensor:
    """What a view should show: in each pixel the cell of largest magnitude, NaN without cells."""
    p = view.tokens_per_pixel
    window = plane[view.rows.start : view.rows.stop, view.cols.start : view.cols.stop]
    height, width = window.shape
    window = pad(window, (0, -width % p, 0, -height % p), value=math.nan)
    cells = window.unflatten(1, (-1, p)).unflatten(0, (-1, p)).transpose(1, 2).flatten(2)
    largest = cells.nan_to_num().abs().argmax(2, keepdim=True)
    values = cells.nan_to_num().gather(2, largest)[..., 0]
    return values.masked_fill(cells.isnan().all(2), math.nan)


def nearest(view: View) -> Tensor:
    """The smallest n - m >= 0 in each pixel; negative where a pixel has no cell."""
    p = view.tokens_per_pixel
    last_row = torch.tensor([min(n + p, view.rows.stop) - 1 for n in view.rows[::p]])
    last_col = torch.tensor([min(m + p, view.cols.stop) - 1 for m in view.cols[::p]])
    first_row, first_col = torch.tensor(view.rows[::p]), torch.tensor(view.cols[::p])
    lag = (first_row[:, None] - last_col).clamp(min=0)
    return lag.masked_fill(last_row[:, None] < first_col, -1)


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@st.composite
def windows(draw: st.DrawFn, length: int) -> dict[str, Any]:
    """rows, cols, height and width of a view."""
    ranges = {}
    for name in ("rows", "cols"):
        start = draw(st.integers(0, length - 1))
        ranges[name] = range(start, draw(st.integers(start + 1, length)))
    sizes = {name: draw(st.integers(1, 60)) for name in ("height", "width")}
    return {**ranges, **sizes}


def check(view: View, request: dict[str, Any], plane: Tensor, scale: float) -> None:
    """Everything that a view promises. `scale` is the largest ||q|| ||k||, the unit of rounding."""
    p = view.tokens_per_pixel
    fits = [len(request["rows"]) <= request["height"] * s for s in (p, p / 2)]
    fits_too = [len(request["cols"]) <= request["width"] * s for s in (p, p / 2)]
    assert fits[0]
    assert fits_too[0]
    assert p == 1 or not (fits[1] and fits_too[1])
    for tokens, expected_tokens in ((view.rows, request["rows"]), (view.cols, request["cols"])):
        assert tokens.start <= expected_tokens.start < tokens.start + p
        assert expected_tokens.stop <= tokens.stop < expected_tokens.stop + p
        assert tokens.start % p == 0
        assert tokens.stop % p == 0 or tokens.stop == len(plane)
    height, width = view.values.shape
    assert (height, width) == (len(view.rows[::p]), len(view.cols[::p]))
    assert height <= request["height"] + 1
    assert width <= request["width"] + 1
    assert view.values.dtype == torch.float32

    lag = nearest(view)
    assert torch.equal(view.values.isnan(), lag < 0)
    values, expected = view.values.nan_to_num().double(), pool_cells(plane, view).nan_to_num()
    rounding = 1e-5 * scale
    assert view.peak == pytest.approx(values.abs().max().item())
    if not view.exact:
        covered = lag < (len(plane) if view.reach is None else view.reach)
        assert (values >= expected.abs() - rounding)[covered].all()
        assert (expected.abs()[~covered] <= view.bound + rounding).all()
        return
    seen = expected.abs() > view.bound + rounding
    assert ((values - expected).abs()[seen] <= rounding).all()
    assert (values.abs()[~seen] <= view.bound + 2 * rounding).all()
    assert view.bound == 0 or view.bound < view.limit * RESOLUTION
    if view.reach is None:
        return
    assert (values[lag >= view.reach] == 0).all()
    far = plane.tril(-view.reach).nan_to_num()
    assert far.abs().max() <= view.bound * (1 + 1e-6)


@pytest.mark.slow
@settings(max_examples=examples(120))
@given(
    data=st.data(),
    length=st.integers(1, 300),
    gamma=st.sampled_from(GAMMAS),
    kind=st.sampled_from(KINDS),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    spread=st.sampled_from([0.0, 1.0, 2.5]),
    seed=st.integers(0, 1000),
)
def test_a_view_shows_the_largest_cell_of_each_pixel(
    data: st.DataObject,
    length: int,
    gamma: float,
    kind: str,
    dtype: torch.dtype,
    spread: float,
    seed: int,
) -> None:
    q, k = inputs(length, seed, spread, dtype=dtype)
    plane = full_plane(q[0], k[0], gamma, kind)
    pictures = Plane(q, k, torch.tensor([gamma]), kind)
    scale = (q[0].norm(dim=1).max() * k[0].norm(dim=1).max()).item()
    top = plane.nan_to_num().abs().max().item()
    assert pictures.peak(0) == pytest.approx(top, rel=1e-5, abs=1e-5 * scale)
    for _ in range(4):
        request = data.draw(windows(length))
        limit = data.draw(st.sampled_from([None, top, 0.01 * top, 10 * top]))
        check(pictures.view(0, limit=limit, **request), request, plane, max(scale, 1.0))


@pytest.mark.parametrize("kind", KINDS)
def test_a_longer_text_at_every_zoom(kind: str) -> None:
    q, k = inputs(1500, 3, 0.5)
    plane = full_plane(q[0], k[0], 0.97, kind)
    pictures = Plane(q, k, torch.tensor([0.97]), kind)
    scale = (q[0].norm(dim=1).max() * k[0].norm(dim=1).max()).item()
    for zoom in range(12):
        request = {"rows": range(700, min(1500, 700 + 2**zoom)), "cols": range(600, 1203)}
        request |= {"height": 50, "width": 50}
        check(pictures.view(0, **request), request, plane, scale)
        request = {"rows": range(1500), "cols": range(1500), "height": 2**zoom, "width": 2**zoom}
        if zoom < 9:
            check(pictures.view(0, **request), request, plane, scale)


@given(data=st.data(), length=st.integers(1, 300), gamma=st.sampled_from(GAMMAS))
def test_moving_over_kept_tiles_shows_what_a_new_plane_shows(
    data: st.DataObject, length: int, gamma: float
) -> None:
    q, k = inputs(length, 1)
    kept = Plane(q, k, torch.tensor([gamma]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILES_KEPT", data.draw(st.sampled_from([1, 3, 128])))
        for _ in range(6):
            request = data.draw(windows(length))
            again, new = (
                kept.view(0, **request),
                Plane(q, k, torch.tensor([gamma])).view(0, **request),
            )
            same(again.values, new.values)
            assert (again.bound, again.reach, again.peak) == (new.bound, new.reach, new.peak)
            assert len(kept._tiles) <= tiles.TILES_KEPT


def test_tiles_are_computed_once() -> None:
    q, k = inputs(300, 0)
    plane = Plane(q, k, torch.tensor([0.9]))
    request = {"cols": range(200), "height": 300, "width": 300}
    plane.view(0, range(10, 200), **request)
    before = dict(plane._tiles)
    plane.view(0, range(11, 201), **request)
    assert all(plane._tiles[key] is before[key] for key in before)
    assert before


def test_tokens_per_pixel_stay_while_a_window_moves() -> None:
    q, k = inputs(300, 0)
    plane = Plane(q, k, torch.tensor([0.9]))
    views = [plane.view(0, range(n, n + 160), range(n, n + 160), 20, 20) for n in range(140)]
    assert {view.tokens_per_pixel for view in views} == {8}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_peak_is_found_wherever_it_is(dtype: torch.dtype) -> None:
    q, k = inputs(300, 2, dtype=dtype)
    for n, m in ((0, 0), (299, 0), (299, 299), (250, 3), (64, 63), (257, 256)):
        far = q.clone(), k.clone()
        far[0][0, n], far[1][0, m] = 40.0, -50.0
        plane = Plane(*far, torch.tensor([0.99]))
        expected = full_plane(far[0][0], far[1][0], 0.99, "retention").nan_to_num().abs().max()
        assert plane.peak(0) == pytest.approx(expected.item(), rel=1e-5)
        assert plane.view(0, range(300), range(300), 5, 5).peak == pytest.approx(plane.peak(0))


def test_one_loud_token_does_not_hide_what_may_be_left_out() -> None:
    """A first token of a large norm reaches far; the rest of the text does not."""
    q, k = inputs(300, 5)
    k[0, 0] *= 1e4
    plane = full_plane(q[0], k[0], 0.9, "retention")
    pictures = Plane(q, k, torch.tensor([0.9]))
    scale = (q[0].norm(dim=1).max() * k[0].norm(dim=1).max()).item()
    limit = plane.nan_to_num()[:, 1:].abs().max().item()
    for size in (10, 80, 300):
        request = {"rows": range(300), "cols": range(300), "height": size, "width": size}
        view = pictures.view(0, limit=limit, **request)
        check(view, request, plane, scale)
        column = pool_cells(plane, view)[:, 0].double()
        torch.testing.assert_close(view.values[:, 0].double(), column, rtol=1e-4, atol=view.bound)


@pytest.mark.slow
@settings(max_examples=examples(6))
@given(st.integers(0, 120), st.integers(250, 440), st.integers(570, 700), st.integers(0, 99))
def test_what_is_left_out_between_two_loud_tokens_is_bounded(
    loud: int, quiet: int, far: int, seed: int
) -> None:
    """The largest cells left out lie within the reach, between blocks that are computed."""
    q, k = inputs(960, seed)
    q[:, :768] *= 1e-9  # only the last rows see anything
    strength = torch.full((960, 1), 1e-9, dtype=torch.float64)
    strength[loud] = strength[far] = 1.0
    strength[quiet] = 1e-3
    k = k * strength
    plane = full_plane(q[0], k[0], 1.0, "retention")
    pictures = Plane(q, k, torch.tensor([1.0]))
    scale = (q[0].norm(dim=1).max() * k[0].norm(dim=1).max()).item()
    for size in (120, 960):
        request = {"rows": range(960), "cols": range(960), "height": size, "width": size}
        view = pictures.view(0, limit=scale, **request)
        check(view, request, plane, scale)
        assert view.bound >= plane[:, quiet].nan_to_num().abs().max()


@given(data=st.data(), length=st.integers(1, 120), gamma=st.sampled_from(GAMMAS))
@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_cell_of_a_window(
    kind: str, data: st.DataObject, length: int, gamma: float
) -> None:
    q, k = inputs(length, 3)
    plane = full_plane(q[0], k[0], gamma, kind)
    request = data.draw(windows(length))
    rows, cols = request["rows"], request["cols"]
    cell = Plane(q, k, torch.tensor([gamma], dtype=torch.float64), kind).largest(0, rows, cols)
    window = plane[rows.start : rows.stop, cols.start : cols.stop].abs()
    if window.isnan().all():
        assert cell is None
        return
    assert cell is not None
    n, m = cell
    assert n in rows
    assert m in cols
    assert n >= m
    assert plane[n, m].abs().item() == pytest.approx(window.nan_to_num().max().item(), rel=1e-9)


def test_the_largest_cell_of_nothing_but_zeros_is_one_that_can_be_read() -> None:
    zeros = torch.zeros(1, 9, WIDTH)
    assert Plane(zeros, zeros, torch.tensor([0.9])).largest(0, range(2, 4), range(3, 9)) == (3, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_limit_is_the_peak_or_a_bound_of_it(kind: str) -> None:
    q, k = inputs(300, 2)
    few = Plane(q, k, torch.tensor([0.99]), kind, max_cells=0)
    many = Plane(q, k, torch.tensor([0.99]), kind)
    assert many.limit(0) == many.peak(0)
    assert few.limit(0) >= many.peak(0)
    assert kind == "decay" or few.limit(0) > many.peak(0)
    whole_text = range(300)
    for plane in (few, many):
        assert plane.view(0, whole_text, whole_text, 9, 9).limit == plane.limit(0)
    with pytest.raises(IndexError, match="head 1 is outside"):
        many.limit(1)


def test_heads_differ_and_their_order_is_kept() -> None:
    q, k = inputs(90, 7, heads=3)
    gamma = torch.tensor([0.5, 0.9, 1.0], dtype=torch.float64)
    pictures = Plane(q, k, gamma)
    request = {"rows": range(90), "cols": range(90), "height": 12, "width": 12}
    for head in (2, 0, 1):
        plane = full_plane(q[head], k[head], gamma[head].item(), "retention")
        scale = (q[head].norm(dim=1).max() * k[head].norm(dim=1).max()).item()
        check(pictures.view(head, **request), request, plane, scale)
        same(pictures.view(head, **request).values, Plane(q, k, gamma).view(head, **request).values)


@given(
    data=st.data(),
    length=st.integers(1, 300),
    gamma=st.sampled_from(GAMMAS),
    kind=st.sampled_from(["retention", "scores"]),
    seed=st.integers(0, 99),
    budget=st.sampled_from([0, 1000, 20_000]),
)
def test_bounds_in_place_of_too_many_cells(
    data: st.DataObject, length: int, gamma: float, kind: str, seed: int, budget: int
) -> None:
    q, k = inputs(length, seed, 1.0)
    plane = full_plane(q[0], k[0], gamma, kind)
    scale = (q[0].norm(dim=1).max() * k[0].norm(dim=1).max()).item()
    pictures = Plane(q, k, torch.tensor([gamma]), kind, max_cells=0, max_view_cells=budget)
    request = data.draw(windows(length))
    view = pictures.view(0, **request)
    assert view.limit >= plane.nan_to_num().abs().max() or view.exact
    check(view, request, plane, scale)


def test_a_view_says_whether_it_is_exact() -> None:
    q, k = inputs(300, 0)
    few = Plane(q, k, torch.tensor([0.9]), "scores", max_cells=1000, max_view_cells=40_000)
    many = Plane(q, k, torch.tensor([0.9]), "scores")
    whole_text, some = range(300), range(200, 220)
    assert not few.view(0, whole_text, whole_text, 300, 300).exact
    assert not few.view(0, whole_text, whole_text, 4, 4).exact
    assert few.view(0, some, some, 20, 20).exact
    assert many.view(0, whole_text, whole_text, 4, 4).exact
    assert few.view(0, whole_text, whole_text, 4, 4).limit > few.peak(0)
    assert few.view(0, whole_text, whole_text, 4, 4).limit == many.peak(0)  # now that it is known


@given(length=st.integers(1, 300), gamma=st.sampled_from(GAMMAS), stop=st.integers(1, 40))
def test_what_is_cancelled_can_be_asked_for_again(length: int, gamma: float, stop: int) -> None:
    q, k = inputs(length, 4)
    plane, new = (Plane(q, k, torch.tensor([gamma])) for _ in range(2))
    calls: list[tuple[int, int]] = []

    def cancel(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == stop:
            raise KeyboardInterrupt

    try:
        plane.prepare(0, progress=cancel)
    except KeyboardInterrupt:
        assert len(calls) == stop
    assert calls == sorted(calls)
    assert len({total for _, total in calls}) == 1
    assert all(0 <= done < total for done, total in calls)
    window = range(length)
    same(plane.view(0, window, window, 9, 9).values, new.view(0, window, window, 9, 9).values)
    assert plane.peak(0) == new.peak(0)


def test_what_is_prepared_is_not_computed_again() -> None:
    q, k = inputs(300, 4)
    plane = Plane(q, k, torch.tensor([0.97]))
    plane.prepare(0)
    calls: list[int] = []
    plane.prepare(0, progress=lambda done, _: calls.append(done))
    plane.prepare(0, limit=100.0, progress=lambda done, _: calls.append(done))
    assert calls == []
    plane.prepare(0, limit=1e-3, progress=lambda done, _: calls.append(done))
    assert calls


def test_one_plane_serves_every_limit() -> None:
    """What a low limit needed is used for a higher one, though it may have a coarser base."""
    q, k = inputs(300, 4)
    dense = full_plane(q[0], k[0], 0.8, "retention")
    plane = Plane(q, k, torch.tensor([0.8]))
    top = plane.peak(0)
    for limit in (top, 30 * top, 1e-12 * top, top, 30 * top):
        for size in (300, 150, 75, 37, 18, 9):
            request = {"rows": range(300), "cols": range(300), "height": size, "width": size}
            check(plane.view(0, limit=limit, **request), request, dense, 60.0)


def test_a_finer_resolution_leaves_out_less() -> None:
    q, k = inputs(300, 4)
    plane = Plane(q, k, torch.tensor([0.9]))
    window = range(300)
    coarse, fine = (plane.view(0, window, window, 40, 40, resolution=r) for r in (0.1, 1e-6))
    assert coarse.reach is not None
    assert fine.reach is not None
    assert coarse.reach < fine.reach
    assert fine.bound < coarse.bound < 0.1 * coarse.limit
    expected = pool_cells(full_plane(q[0], k[0], 0.9, "retention"), fine)
    torch.testing.assert_close(
        fine.values.double(), expected, rtol=1e-5, atol=fine.bound, equal_nan=True
    )


def test_a_plane_of_zeros_is_zero() -> None:
    plane = Plane(torch.zeros(1, 40, 4), torch.zeros(1, 40, 4), torch.tensor([1.0]))
    view = plane.view(0, range(40), range(40), 8, 8)
    assert plane.peak(0) == view.peak == 0
    assert (view.values.nan_to_num() == 0).all()


@AS_IT_IS
@pytest.mark.parametrize("mode", ["parallel", "recurrent", "chunkwise"])
def test_cells_are_those_of_a_trace(mode: str, tiny_model: ModelFactory) -> None:
    seen = trace(tiny_model(), torch.arange(40) * 7 % 300, mode, 8)
    q, k, gamma = seen.q(1), seen.k(1), seen.gamma(1)
    dense = {"retention": seen.retention, "scores": seen.scores, "decay": seen.decay}
    rows, cols = range(20, 40), range(5, 30)
    for kind in KINDS:
        plane = Plane(q, k, gamma, kind)
        view = plane.view(1, rows, cols, 20, 25)
        expected = dense[kind](1)[1, 20:40, 5:30]
        hidden = torch.arange(20, 40)[:, None] < torch.arange(5, 30)
        expected = expected.masked_fill(hidden, math.nan).float()
        torch.testing.assert_close(
            view.values, expected, rtol=1e-4, atol=view.bound + 1e-6, equal_nan=True
        )
        for n, m in ((39, 0), (7, 7), (3, 9)):
            ours, theirs = plane.cell(1, n, m), seen.cell(1, 1, n, m)
            assert ours.score == pytest.approx(theirs.score, rel=1e-12)
            assert ours.decay == pytest.approx(theirs.decay, rel=1e-12)
            assert ours.weight == pytest.approx(theirs.weight, rel=1e-12)
            assert (ours.gamma, ours.distance) == (theirs.gamma, theirs.distance)


class Largest(TorchDispatchMode):
    """The largest storage, in bytes, that any operation under it returns."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            for output in result if isinstance(result, (tuple, list)) else [result]:
                if isinstance(output, Tensor):
                    self.nbytes = max(self.nbytes, output.untyped_storage().nbytes())
        return result


@pytest.mark.slow
@AS_IT_IS
@pytest.mark.parametrize(("kind", "gamma"), [("retention", 0.99), ("scores", 1.0), ("decay", 0.99)])
def test_memory_grows_with_the_text_and_not_with_its_square(kind: str, gamma: float) -> None:
    length, height = 20_000, 200
    q, k = (x.float() for x in inputs(length, 0))

    def look() -> None:
        plane = Plane(q, k, torch.tensor([gamma]), kind, max_cells=2**25, max_view_cells=2**22)
        for tokens in (length, 6400, 1600, 200):
            window = range(length - tokens, length)
            plane.view(0, window, window, height, height)

    with Largest() as largest:
        look()
    features, pixels = 4 * length * WIDTH, 4 * (height + 1) ** 2
    assert largest.nbytes <= max(
        4 * features, 2 * pixels, 4 * band.PIECE, 4 * window_module.TILE**2
    )
    _, peak = measure(look)
    kept = 4 * tiles.TILES_KEPT * window_module.TILE**2
    assert peak <= 12 * features + 10 * pixels + kept + 8 * 4 * band.PIECE
    assert peak < length**2 / 4


@AS_IT_IS
def test_errors_name_what_is_wrong() -> None:
    q, k = inputs(10, 0, heads=2)
    gamma = torch.tensor([0.9, 1.0])
    with pytest.raises(ValueError, match="kind must be one of"):
        Plane(q, k, gamma, "weights")
    with pytest.raises(ValueError, match="shape"):
        Plane(q, k[:, 1:], gamma)
    with pytest.raises(ValueError, match="shape"):
        Plane(q[:, :0], k[:, :0], gamma)
    for wrong in ([0.9], [0.9, 1.1], [0.9, 0.0], [0.9, math.nan]):
        with pytest.raises(ValueError, match="gamma"):
            Plane(q, k, torch.tensor(wrong))
    broken = k.clone()
    broken[0, 3, 1] = math.nan
    with pytest.raises(ValueError, match="finite"):
        Plane(q, broken, gamma).peak(0)
    plane = Plane(q, k, gamma)
    good = {"head": 0, "rows": range(10), "cols": range(10), "height": 5, "width": 5}
    plane.view(**good)
    for bad in (range(0), range(3, 11), range(-1, 4), range(0, 8, 2), range(5, 2)):
        for name in ("rows", "cols"):
            with pytest.raises(ValueError, match=name):
                plane.view(**{**good, name: bad})
    with pytest.raises(ValueError, match="pixels"):
        plane.view(**{**good, "height": 0})
    for number in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="limit must be above 0"):
            plane.view(**good, limit=number)
        with pytest.raises(ValueError, match="resolution must be above 0"):
            plane.view(**good, resolution=number)
    for head in (-1, 2):
        with pytest.raises(IndexError, match=f"head {head} is outside 0 .. 1"):
            plane.view(**{**good, "head": head})
    with pytest.raises(IndexError, match="position 10"):
        plane.cell(0, 10, 0)
