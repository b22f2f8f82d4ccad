"""State files: what a link holds, as a file, for texts that are too long for one.

A file is checked as a link is, and as little trusted. It is JSON that begins with its format, so
that it is told from a text, also where its end is missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from retnet_viz.ui.core.state.link import (
    VERSION,
    Link,
    LinkError,
    check_version,
    damaged_error,
    decode_json,
    incomplete_error,
    link_of,
)
from retnet_viz.ui.core.state.page_layout import PageLayout, read_page_layout

NAME = "retnet-viz-state.json"
MOST_BYTES = 4 * 2**20
_FORMAT = "retnet-viz state"
_START = re.compile(rb'\s*{\s*"format"\s*:\s*"retnet-viz state"')


def encode(parts: Mapping[str, Any], look: PageLayout) -> str:
    """The text of a file that holds the parts of apps, and how the page looks."""
    content = {"format": _FORMAT, "version": VERSION, "look": look.query(), "state": parts}
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


def is_state(content: bytes) -> bool:
    """Whether a file that begins with these bytes is a state file, or was one."""
    return _START.match(content) is not None


def decode(content: bytes, name: str, size: int) -> Link:
    """What a state file of `size` bytes holds. Raises LinkError where it cannot be read."""
    if size > MOST_BYTES:
        raise LinkError(
            f"{name} has {size / 2**20:,.1f} MB, and a state file {MOST_BYTES >> 20} at most. "
            "Nothing of it was opened."
        )
    if len(content) < size:
        raise incomplete_error(name)
    file = decode_json(content, name)
    check_version(file.get("version"), name)
    parts, look = file.get("state"), file.get("look")
    if not isinstance(parts, dict) or not isinstance(look, str):
        raise damaged_error(name)
    link = link_of(parts)
    layout, ignored = read_page_layout(look)
    unknown = [key for key in file if key not in ("format", "version", "look", "state")]
    return replace(link, look=layout, ignored=(*link.ignored, *ignored, *unknown))
