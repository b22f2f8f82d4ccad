"""What a published layout is: how to know it, and what its config and its tensors mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from retnet_viz.checkpoints.errors import CheckpointError
from retnet_viz.checkpoints.weights import Weights
from retnet_viz.model import RetNetConfig


@dataclass(frozen=True)
class Layout:
    """A format of checkpoints.

    name        what it is called here
    recognises  whether the object in a config.json is of this format
    config_of   that object and the tensors -> the RetNetConfig that computes the same
    names       this package's name of a tensor -> that of the format, or several that it may have;
                {i} is the number of the layer
    ignored     names of tensors that are not loaded -> why not
    """

    name: str
    recognises: Callable[[Mapping[str, Any]], bool]
    config_of: Callable[[Fields, Weights], RetNetConfig]
    names: Mapping[str, str | tuple[str, ...]]
    ignored: Mapping[str, str]

    def alternatives(self, name: str, layers: Mapping[int, int]) -> list[str]:
        """What the format may call one of our tensors; `layers` gives its number of a layer."""
        parts = name.split(".")
        in_layer = parts[0] == "blocks"
        key = ".".join(["blocks", "{i}", *parts[2:]]) if in_layer else name
        theirs = self.names.get(key, ())
        found = (theirs,) if isinstance(theirs, str) else theirs
        return [each.format(i=layers[int(parts[1])]) if in_layer else each for each in found]


class Fields:
    """The fields of a config.json, each read with its kind, and errors that name the file."""

    def __init__(self, path: Any, fields: Mapping[str, Any]) -> None:
        self.path = path
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def whole(self, name: str, usual: int) -> int:
        """A whole number of 1 or more."""
        value = self._given(name, usual)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.error(f"{name} must be a whole number of 1 or more, not {value!r}")
        return value

    def number(self, name: str, usual: float) -> float:
        """A number."""
        value = self._given(name, usual)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(f"{name} must be a number, not {value!r}")
        return float(value)

    def switch(self, name: str, usual: bool) -> bool:
        """True or false."""
        value = self._given(name, usual)
        if not isinstance(value, bool):
            raise self.error(f"{name} must be true or false, not {value!r}")
        return value

    def choice(self, name: str, usual: str, meanings: Mapping[str, str]) -> str:
        """What a name of the format means here."""
        value = self._given(name, usual)
        if not isinstance(value, str) or value not in meanings:
            raise self.error(f"{name} must be one of {', '.join(meanings)}, not {value!r}")
        return meanings[value]

    def refuse(self, name: str, *harmless: Any) -> None:
        """Refuse a model that has something which a RetNet of this package has not."""
        value = self._fields.get(name)
        if value is not None and value not in harmless:
            raise self.error(f"{name} = {value!r} asks for what this program does not have")

    def error(self, said: str) -> CheckpointError:
        """The error with this sentence."""
        return CheckpointError(f"{self.path}: {said}")

    def _given(self, name: str, usual: Any) -> Any:
        value = self._fields.get(name)
        return usual if value is None else value
