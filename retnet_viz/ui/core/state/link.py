"""Links: what the apps show, as the query of an address, so that it can be sent and opened again.

`s=1.…` holds the state of every app by its name: the version of this format, then JSON, compressed
and written in the letters of an address. Beside it stands how the page looks, for a person to read
and write: `hide=cost,agree` and `present=1`.

A link is data that anyone may have written. Its size is limited before it is decompressed, it names
fields of states and nothing else, and a value that a field cannot have is ignored and reported.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar
from urllib.parse import parse_qs

from retnet_viz.ui.core.state.page_layout import PageLayout, read_page_layout

VERSION = 1
MOST_SHARED = 2_000  # characters of a link that is sent: mail and chat break longer ones
# Characters of any query: the pages hand each other longer texts than a person sends.
MOST_IN_QUERY = 32_000
MOST_JSON_BYTES = 2**18  # bytes of JSON
STATES = ("explorer", "cost", "training")  # what a link may hold

State = TypeVar("State")
_DEEPEST = 8  # levels of lists and objects in a field


class LinkError(ValueError):
    """A link or a state file that cannot be read; the message says why and what to do."""


@dataclass(frozen=True)
class Link:
    """What a link or a state file holds, not yet checked against what the states can be.

    parts    the fields of each app's state, by app
    theme    None where the link has none
    ignored  what stands in it and means nothing
    """

    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    theme: Any = None
    look: PageLayout = field(default_factory=PageLayout)
    ignored: tuple[str, ...] = ()

    def fields(self, app: str) -> dict[str, Any]:
        """The fields of an app's state with the theme, which all apps share."""
        theme = {} if self.theme is None else {"theme": self.theme}
        return {**self.parts.get(app, {}), **theme}

    def other_parts(self, app: str) -> dict[str, Any]:
        """The parts of the other apps, unchanged, for the links of this page."""
        return {name: part for name, part in self.parts.items() if name != app}


def query_of(parts: Mapping[str, Any]) -> str:
    """The query of a link that holds the parts of apps, and a theme; "" for nothing."""
    if not parts:
        return ""
    encoded = zlib.compress(_json(parts).encode(errors="replace"), 9)
    return f"s={VERSION}.{base64.urlsafe_b64encode(encoded).decode().rstrip('=')}"


def first_within(limit: int, *candidates: Mapping[str, Any], look: str = "") -> str:
    """The link to the first of these that has at most so many characters; "" where none has."""
    for parts in candidates:
        query = "&".join(part for part in (query_of(parts), look) if part)
        if len(query) <= limit and len(_json(parts).encode(errors="replace")) <= MOST_JSON_BYTES:
            return query
    return ""


def read_link(query: str) -> Link:
    """What a query holds, or an address with one; other parameters are left to others.

    Raises LinkError where it cannot be read: of such a link nothing is used.
    """
    query = re.sub(r"^[^=&]*\?", "", query).partition("#")[0]
    if len(query) > MOST_IN_QUERY:
        raise LinkError(_sentence("This link", f"is longer than {MOST_IN_QUERY:,} characters"))
    parameters = parse_qs(query, keep_blank_values=True)
    link = link_of(_decode(parameters["s"][0])) if "s" in parameters else Link()
    look, ignored = read_page_layout(query)
    return replace(link, look=look, ignored=(*link.ignored, *ignored))


def link_of(content: Mapping[str, Any]) -> Link:
    """Sort what a link holds into the parts of the apps, the theme and what means nothing."""
    parts, ignored = {}, []
    for name, value in content.items():
        if name in STATES and isinstance(value, dict) and _is_plain(value):
            parts[name] = value
        elif name != "theme":
            ignored.append(name)
    return Link(parts, content.get("theme"), ignored=tuple(ignored))


def decode_json(content: bytes, what: str) -> dict[str, Any]:
    """The object that a JSON text is; LinkError about `what`, "This link", where it is none."""
    try:
        text = content.decode().rstrip()
        value = json.loads(text, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        raise (incomplete_error if error.pos >= len(text) else damaged_error)(what) from None
    except (ValueError, RecursionError):
        raise damaged_error(what) from None
    if not isinstance(value, dict):
        raise damaged_error(what)
    return value


def check_version(version: Any, what: str) -> None:
    """Raise LinkError where something was made by another version of this format."""
    if isinstance(version, bool) or not isinstance(version, int):
        raise damaged_error(what)
    if version > VERSION:
        raise LinkError(
            f"{what} was made by a newer version of RetNet Explorer: update this one to open it."
        )
    if version < VERSION:
        raise LinkError(
            f"{what} was made by an older version of RetNet Explorer, which wrote it in another "
            "way: make it again."
        )


def damaged_error(what: str) -> LinkError:
    """The error for a link or file that was changed since it was made."""
    return LinkError(_sentence(what, "was changed since it was made and cannot be read"))


def incomplete_error(what: str) -> LinkError:
    """The error for a link or file whose end is missing."""
    return LinkError(_sentence(what, "is incomplete, its end is missing"))


def non_default_fields(state: Any) -> dict[str, Any]:
    """The fields of a dataclass that are not at their default."""
    default = type(state)()
    return {
        field.name: _plain(value)
        for field in fields(state)
        if (value := getattr(state, field.name)) != getattr(default, field.name)
    }


def _plain(value: Any) -> Any:
    """A value of a field as JSON holds it."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def part_of(state: Any, app: str) -> dict[str, Any]:
    """What a link holds of the state of an app, which has a theme."""
    fields = non_default_fields(state)
    theme = {"theme": fields.pop("theme")} if "theme" in fields else {}
    return {app: fields} | theme


def with_fields(
    state: State,
    values: Mapping[str, Any],
    read_field: Callable[[str, Any], Any],
    check: Callable[[State], State],
) -> tuple[State, list[str]]:
    """`state` with the `values` of a link, and the names of the fields that cannot have theirs.

    `read_field` turns what JSON has into a field's value, `check` gives the state as it is shown;
    both raise ValueError where that cannot be.
    """
    refused = []
    for name, value in values.items():
        try:
            state = check(replace(state, **{name: read_field(name, value)}))  # type: ignore[type-var]
        except (TypeError, ValueError):
            refused.append(name)
    return state, refused


def reader_of_types(defaults: Any) -> Callable[[str, Any], Any]:
    """A `read_field` that accepts a value of the same type as the default."""

    def read_field(name: str, value: Any) -> Any:
        value = tuple(value) if isinstance(value, list) else value
        if type(value) is not type(vars(defaults).get(name)):
            raise ValueError(f"{name} cannot be {value!r}")
        return value

    return read_field


def quote_names(names: Iterable[str], most: int = 4) -> str:
    """Names from a link, which may be any text, quoted and shortened."""
    unique = list(dict.fromkeys(name if len(name) <= 24 else f"{name[:23]}…" for name in names))
    more = [f"{len(unique) - most} more"] if len(unique) > most else []
    return ", ".join([*(f"“{name}”" for name in unique[:most]), *more])


def _decode(encoded: str) -> dict[str, Any]:
    """What `query_of` encoded. Bounded: a small link may not become large."""
    what = "This link"
    version, dot, body = encoded.partition(".")
    if not dot and re.fullmatch("[0-9]{0,6}", version):
        raise incomplete_error(what)
    if not dot or not re.fullmatch("[0-9]{1,6}", version):
        raise damaged_error(what)
    check_version(int(version), what)
    if not re.fullmatch("[A-Za-z0-9_-]*", body):
        raise damaged_error(what)
    body = body[: len(body) - (len(body) % 4 == 1)]  # one character alone is no byte
    decompressor = zlib.decompressobj()
    try:
        compressed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        text = decompressor.decompress(compressed, MOST_JSON_BYTES + 1)
    except zlib.error:
        raise damaged_error(what) from None
    if len(text) > MOST_JSON_BYTES:
        raise LinkError(_sentence(what, "holds more than a link can hold"))
    if not decompressor.eof:
        raise incomplete_error(what)
    if decompressor.unused_data:
        raise damaged_error(what)
    return decode_json(text, what)


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _sentence(what: str, reason: str) -> str:
    return f"{what} {reason}. Nothing of it was opened: make it again."


def _reject_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")


def _is_plain(value: Any, levels: int = _DEEPEST) -> bool:
    """Whether a value can be handed on in another link: few levels, finite numbers."""
    if isinstance(value, float):
        return math.isfinite(value)
    if not isinstance(value, (dict, list)):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_plain(item, levels - 1) for item in inside)
