"""A published layout: how to recognise it, and what its config and its tensors mean."""

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

    name         its name in this package
    matches      whether the object in a config.json is of this format
    read_config  that object and the tensors -> the RetNetConfig that computes the same
    names        this package's name of a tensor -> that of the format, or several possible ones;
                 {i} is the number of the layer
    ignored      names of tensors that are not loaded -> why not
    """

    name: str
    matches: Callable[[Mapping[str, Any]], bool]
    read_config: Callable[[Fields, Weights], RetNetConfig]
    names: Mapping[str, str | tuple[str, ...]]
    ignored: Mapping[str, str]

    def alternatives(self, name: str, layers: Mapping[int, int]) -> list[str]:
        """The format's possible names of one of our tensors; `layers` maps our layers to its."""
        parts = name.split(".")
        in_layer = parts[0] == "blocks"
        key = ".".join(["blocks", "{i}", *parts[2:]]) if in_layer else name
        entry = self.names.get(key, ())
        patterns = (entry,) if isinstance(entry, str) else entry
        if not in_layer:
            return list(patterns)
        return [pattern.format(i=layers[int(parts[1])]) for pattern in patterns]


class Fields:
    """The fields of a config.json, read with a type check; errors name the file."""

    def __init__(self, path: Any, fields: Mapping[str, Any]) -> None:
        self.path = path
        self._fields = fields

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def integer(self, name: str, default: int) -> int:
        """An integer of 1 or more."""
        value = self._get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.error(f"{name} must be a whole number of 1 or more, not {value!r}")
        return value

    def number(self, name: str, default: float) -> float:
        """A number."""
        value = self._get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(f"{name} must be a number, not {value!r}")
        return float(value)

    def boolean(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self.error(f"{name} must be true or false, not {value!r}")
        return value

    def choice(self, name: str, default: str, meanings: Mapping[str, str]) -> str:
        """Our name for a value of the format: `meanings[value]`."""
        value = self._get(name, default)
        if not isinstance(value, str) or value not in meanings:
            raise self.error(f"{name} must be one of {', '.join(meanings)}, not {value!r}")
        return meanings[value]

    def refuse(self, name: str, *harmless: Any) -> None:
        """Refuse a feature that a RetNet of this package does not have."""
        value = self._fields.get(name)
        if value is not None and value not in harmless:
            raise self.error(f"{name} = {value!r} asks for what this program does not have")

    def error(self, message: str) -> CheckpointError:
        """The error with this message, which names the file."""
        return CheckpointError(f"{self.path}: {message}")

    def _get(self, name: str, default: Any) -> Any:
        value = self._fields.get(name)
        return default if value is None else value
