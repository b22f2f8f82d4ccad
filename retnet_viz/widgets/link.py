"""Links: what the apps show, as the query of an address, so that it goes along from one to another.

The explorers' fields and the theme stand at the top, those of any other app under its name. What of
a link is not valid is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode

State = TypeVar("State")
_DEEPEST = 4  # levels of lists and objects in a field


def held_by(query: str) -> dict[str, Any]:
    """What a link's query holds, by name."""
    try:
        held = json.loads(parse_qs(query).get("state", ["{}"])[0])
    except (ValueError, RecursionError):
        return {}
    if not isinstance(held, dict):
        return {}
    return {name: value for name, value in held.items() if _is_flat(value)}


def query_of(held: Mapping[str, Any]) -> str:
    """The query of a link that holds this; "" for nothing."""
    return urlencode({"state": json.dumps(held, separators=(",", ":"))}) if held else ""


def elsewhere(held: Mapping[str, Any], own: Container[str]) -> dict[str, Any]:
    """What a link holds for the other apps, to be handed on as it came."""
    return {name: value for name, value in held.items() if name not in own}


def changed(state: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their default."""
    usual = asdict(type(state)())
    return {name: value for name, value in asdict(state).items() if value != usual[name]}


def part_of(state: Any, app: str) -> dict[str, Any]:
    """What a link holds of the state of an app, which has a theme."""
    own = changed(state)
    theme = {"theme": own.pop("theme")} if "theme" in own else {}
    return theme | ({app: own} if own else {})


def with_part(
    state: State, held: Mapping[str, Any], app: str, check: Callable[[State], State]
) -> State:
    """`state` with what a link holds of it; a field that `check` refuses stays as it was."""
    own = held.get(app)
    given = {"theme": held.get("theme"), **(own if isinstance(own, dict) else {})}
    for name, value in given.items():
        value = tuple(value) if isinstance(value, list) else value
        if type(value) is not type(vars(state).get(name)):
            continue
        field: dict[str, Any] = {name: value}
        try:
            state = check(replace(state, **field))  # type: ignore[type-var]
        except (TypeError, ValueError):
            continue
    return state


def _is_flat(value: Any, levels: int = _DEEPEST) -> bool:
    if not isinstance(value, (dict, list)):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_flat(each, levels - 1) for each in inside)
