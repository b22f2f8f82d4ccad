"""What can be changed of a pass, as plain data: an edit prints as the line of Python that makes it.

Layers and heads are numbers from 0, one or several; None stands for all. Positions of tokens may be
negative and then count from the end. Nothing here needs a model: `apply.resolve` checks edits
against one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor

Selection = int | Iterable[int] | None
PARTS = ("rotation", "decay", "head_norm", "gate")


class EditError(ValueError):
    """An edit that there cannot be, or that does not fit the model or the text; one sentence."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Edit:
    """One change, in the heads `head` of the layers `layer`."""

    layer: tuple[int, ...] | None = None
    head: tuple[int, ...] | None = None

    kind: ClassVar[str]
    positions: ClassVar[tuple[str, ...]] = ()  # the fields that hold a position of the text
    unnamed: ClassVar[tuple[str, ...]] = ()  # the arguments that go without their name

    def __post_init__(self) -> None:
        for name in ("layer", "head"):
            object.__setattr__(self, name, _selection(self.kind, name, getattr(self, name)))
        for name in self.positions:
            object.__setattr__(self, name, _integer(self.kind, name, getattr(self, name)))

    def arguments(self) -> dict[str, Any]:
        """The arguments of the function that makes it, but for those that have their default."""
        values = {}
        for field in sorted(fields(self), key=lambda field: field.name in ("layer", "head")):
            value = getattr(self, field.name)
            if value != field.default:
                if field.name in ("layer", "head") and len(value) == 1:
                    value = value[0]
                values[field.name] = value
        return values

    def __repr__(self) -> str:
        words = [
            repr(value) if name in self.unnamed else f"{name}={value!r}"
            for name, value in self.arguments().items()
        ]
        return f"rv.edits.{self.kind}({', '.join(words)})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `edit_from_dict` makes it again."""
        return {"kind": self.kind, **{name: _plain(x) for name, x in self.arguments().items()}}


@dataclass(frozen=True, kw_only=True, repr=False)
class Gamma(Edit):
    """Another decay per token."""

    gamma: float

    kind: ClassVar[str] = "gamma"
    unnamed: ClassVar[tuple[str, ...]] = ("gamma",)

    def __post_init__(self) -> None:
        super().__post_init__()
        value = _number("gamma", "gamma", self.gamma)
        if not 0 < value <= 1:
            raise EditError(f"edits.gamma: gamma must lie in (0, 1], not {value:g}")
        object.__setattr__(self, "gamma", value)


@dataclass(frozen=True, kw_only=True, repr=False)
class Silence(Edit):
    """A head's output is 0 after its norm; with `mean` what it was on average over the text."""

    mean: bool = False

    kind: ClassVar[str] = "silence"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.mean, bool):
            raise EditError(f"edits.silence: mean must be True or False, not {self.mean!r}")


@dataclass(frozen=True, kw_only=True, repr=False)
class Forget(Edit):
    """What `token` left in S is taken out before token `start` is read."""

    token: int
    start: int

    kind: ClassVar[str] = "forget"
    positions: ClassVar[tuple[str, ...]] = ("token", "start")


@dataclass(frozen=True, kw_only=True, repr=False)
class Reset(Edit):
    """S is multiplied by `scale` before token `start` is read: 0 empties it."""

    start: int
    scale: float = 0.0

    kind: ClassVar[str] = "reset"
    positions: ClassVar[tuple[str, ...]] = ("start",)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scale", _number("reset", "scale", self.scale))


@dataclass(frozen=True, kw_only=True, repr=False)
class Swap(Edit):
    """S becomes, before token `start`, that of another text after its token `position`.

    `ids` are the tokens of the other text up to that one, and `edits` those of its pass. The state
    is turned so that its last token stands right before token `start`.
    """

    start: int
    ids: tuple[int, ...]
    edits: tuple[Edit, ...] = ()

    kind: ClassVar[str] = "swap"
    positions: ClassVar[tuple[str, ...]] = ("start",)

    def __post_init__(self) -> None:
        super().__post_init__()
        ids = tuple(_integer("swap", "ids", token_id) for token_id in _items("swap", self.ids))
        if not ids:
            raise EditError("edits.swap: the other text has no tokens, so it left no state")
        object.__setattr__(self, "ids", ids)
        edits = tuple(self.edits)
        if not all(isinstance(edit, Edit) for edit in edits):
            raise EditError("edits.swap: edits must be a list of edits")
        object.__setattr__(self, "edits", edits)


@dataclass(frozen=True, kw_only=True, repr=False)
class Cut(Edit):
    """Token `reader` does not read token `read`."""

    reader: int
    read: int

    kind: ClassVar[str] = "cut"
    positions: ClassVar[tuple[str, ...]] = ("reader", "read")


@dataclass(frozen=True, kw_only=True, repr=False)
class Patch(Edit):
    """Another value in the place of a tensor that the pass publishes, at `position` or at all.

    `shape` and `values` are those of the value, in row order.
    """

    name: str
    shape: tuple[int, ...]
    values: tuple[float, ...]
    position: int | None = None

    kind: ClassVar[str] = "patch"
    unnamed: ClassVar[tuple[str, ...]] = ("name", "value")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.name, str):
            raise EditError(f"edits.patch: name must be a text, not {self.name!r}")
        if self.position is not None:
            object.__setattr__(self, "position", _integer("patch", "position", self.position))
        shape = tuple(_integer("patch", "shape", size) for size in _items("patch", self.shape))
        values = tuple(_number("patch", "value", x) for x in _items("patch", self.values))
        if min(shape, default=1) < 1 or math.prod(shape) != len(values):
            raise EditError(f"edits.patch: {len(values)} numbers do not fill the shape {shape}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "values", values)

    @property
    def value(self) -> Tensor:
        """The value, float64."""
        return torch.tensor(self.values, dtype=torch.float64).reshape(self.shape)

    def arguments(self) -> dict[str, Any]:
        """As of every edit, with the value as nested lists."""
        rest = {k: x for k, x in super().arguments().items() if k not in ("shape", "values")}
        return {"name": rest.pop("name"), "value": self.value.tolist(), **rest}


@dataclass(frozen=True, kw_only=True, repr=False)
class Without(Edit):
    """Without a part of retention: "rotation", "decay", "head_norm" or "gate"."""

    part: str

    kind: ClassVar[str] = "without"
    unnamed: ClassVar[tuple[str, ...]] = ("part",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.part not in PARTS:
            raise EditError(f"edits.without: there are {', '.join(PARTS)}, not {self.part!r}")


KINDS = {kind.kind: kind for kind in (Gamma, Silence, Forget, Reset, Swap, Cut, Patch, Without)}


def edit_from_dict(fields_of_edit: Mapping[str, Any]) -> Edit:
    """The edit that `Edit.to_dict` describes; EditError where it describes none."""
    if not isinstance(fields_of_edit, Mapping) or fields_of_edit.get("kind") not in KINDS:
        raise EditError(f"there are the edits {', '.join(KINDS)}; this is none of them")
    content = dict(fields_of_edit)
    kind = KINDS[content.pop("kind")]
    if kind is Patch:
        content = {**tensor_fields(content.pop("value", None)), **content}
    if kind is Swap:
        content["edits"] = tuple(map(edit_from_dict, _items("swap", content.get("edits", ()))))
    names = {field.name for field in fields(kind)}
    required = {field.name for field in fields(kind) if field.default is MISSING}
    if unknown := content.keys() - names:
        raise EditError(f"edits.{kind.kind} has no argument {', '.join(sorted(map(str, unknown)))}")
    if missing := required - content.keys():
        raise EditError(f"edits.{kind.kind} needs {', '.join(sorted(missing))}")
    return kind(**content)


def tensor_fields(value: Any) -> dict[str, Any]:
    """`shape` and `values` of a Patch, from any array of numbers."""
    try:
        tensor = torch.as_tensor(value, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise EditError("edits.patch: value must be a number or an array of numbers") from error
    return {"shape": tuple(tensor.shape), "values": tuple(tensor.flatten().tolist())}


def _selection(kind: str, name: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers = [value] if isinstance(value, int) else list(_items(kind, value))
    if not numbers:
        raise EditError(f"edits.{kind}: {name} names none; leave it out for all")
    for number in numbers:
        if _integer(kind, name, number) < 0:
            raise EditError(f"edits.{kind}: {name} counts from 0, so it cannot be {number}")
    return tuple(sorted({int(number) for number in numbers}))


def _items(kind: str, value: Any) -> Sequence[Any]:
    try:
        return list(value)
    except TypeError as error:
        raise EditError(f"edits.{kind}: {value!r} is no number and no list of them") from error


def _integer(kind: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise EditError(f"edits.{kind}: {name} must be a whole number, not {value!r}")
    return int(value)


def _number(kind: str, name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise EditError(f"edits.{kind}: {name} must be a number, not {value!r}") from error
    if not math.isfinite(number):
        raise EditError(f"edits.{kind}: {name} must be finite, not {number}")
    return number


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Edit):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
