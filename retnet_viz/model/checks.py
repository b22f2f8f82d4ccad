"""Checks of the fields of a configuration; each error names the field and the valid values."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any


class ConfigError(ValueError):
    """A configuration that no model can have; the message names the field."""


def check_integer(config: Any, *names: str) -> None:
    """Raise ConfigError unless these fields are integers of 1 or more."""
    for name in names:
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}")


def check_positive(config: Any, *names: str) -> None:
    """Raise ConfigError unless these fields are finite numbers above 0."""
    for name in names:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"{name} must be a number, not {value!r}")
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} must be a finite number above 0, not {value!r}")


def check_choice(config: Any, name: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless this field is one of the `allowed`."""
    if getattr(config, name) not in allowed:
        raise ConfigError(f"{name} must be one of {allowed}, not {getattr(config, name)!r}")


def check_bool(config: Any, *names: str) -> None:
    """Raise ConfigError unless these fields are true or false."""
    for name in names:
        if not isinstance(getattr(config, name), bool):
            raise ConfigError(f"{name} must be true or false, not {getattr(config, name)!r}")


def check_heads(d_model: int, n_heads: int) -> None:
    """Raise ConfigError unless the width divides into heads."""
    if d_model % n_heads:
        raise ConfigError(f"d_model {d_model} does not divide into n_heads {n_heads} equal heads")


def check_names(fields: Collection[str], known: Collection[str]) -> None:
    """Raise ConfigError where a field has a name that is not `known`."""
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise ConfigError(f"unknown fields in the model's config: {', '.join(unknown)}")
