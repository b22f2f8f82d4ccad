"""Read the text of a file, or say in a sentence why that fails and what to do.

What is read is bounded: by a limit on the size of the file, before anything is read, and by how
many bytes of it are decoded.
"""

from __future__ import annotations

import codecs
import os
import stat
from dataclasses import dataclass
from pathlib import Path

LARGEST_FILE = 64 * 2**20  # bytes; a larger file is refused
MOST_DECODED = 4 * 2**20  # bytes; what comes after them is cut off
_CONTROLS = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b"))
_MOST_CONTROLS = 0.02  # of all bytes; text has next to none
_SIGNATURES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"BM": "a bitmap image",
    b"RIFF": "a sound, a film or a WebP image",
    b"PK\x03\x04": "a zip archive, as many kinds of documents are",
    b"\x1f\x8b": "a gzip archive",
    b"\xfd7zXZ\x00": "an xz archive",
    b"BZh": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a zstandard archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"%PDF-": "a PDF document",
    b"\xd0\xcf\x11\xe0": "an office document",
    b"\x7fELF": "a program",
}
_MAY_BEGIN_A_TEXT = {b"GIF8", b"BM", b"RIFF", b"BZh"}


class TextFileError(ValueError):
    """The text of a file cannot be read; the message names the file and says what to do."""


@dataclass(frozen=True)
class FileText:
    """The text of a file.

    name  of the file, without its folder
    size  bytes of the whole file
    cut   whether `text` is only that of its first MOST_DECODED bytes
    """

    text: str
    name: str
    size: int
    cut: bool


def read_text(path: str | Path) -> FileText:
    """The text of the file at `path`; no more bytes are read than are decoded.

    UTF-8, or UTF-16 that begins with a byte order mark; line ends become "\\n". Raises
    TextFileError where the file is missing, a folder, no regular file, not readable, larger than
    LARGEST_FILE, empty, or not text. It never waits for a pipe or a device.
    """
    path = Path(path)
    try:
        _check_kind(path, os.stat(path).st_mode)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            _check_kind(path, status.st_mode)  # the file may have been replaced since
            _check_size(path.name, status.st_size)
            content = file.read(MOST_DECODED + 1) or b""
    except FileNotFoundError as error:
        raise TextFileError(f"There is no file {path}; check its name and folder.") from error
    except PermissionError as error:
        raise TextFileError(
            f"{path} may not be read; change its permissions, or copy it to where it may."
        ) from error
    except OSError as error:
        raise TextFileError(
            f"{path} cannot be read ({error.strerror}); check its name, or copy it elsewhere."
        ) from error
    except TextFileError:
        raise
    except ValueError as error:  # a NUL in the name
        raise TextFileError(f"There can be no file {str(path)!r}; check its name.") from error
    return decode_text(content, path.name, max(status.st_size, len(content)))


def decode_text(content: bytes, name: str, size: int) -> FileText:
    """The text of a file of `size` bytes that begins with `content`: its first MOST_DECODED at
    least, all of it if it is no longer. Raises TextFileError as `read_text`.
    """
    _check_size(name, size)
    content = content[:MOST_DECODED]
    if not content:
        raise TextFileError(f"{name} is empty; choose a file that has text in it.")
    cut = len(content) < size
    kind, is_certain = _kind(content)
    if is_certain:
        raise _not_text_error(name, kind)
    encoding, mark = _encoding(name, content)
    if encoding == "utf-8" and _is_binary(content):
        raise _not_text_error(name, kind)
    try:
        # A text that was cut may end within a character, which is then dropped.
        text = codecs.getincrementaldecoder(encoding)().decode(content[mark:], final=not cut)
    except UnicodeDecodeError as error:
        if kind:
            raise _not_text_error(name, kind) from error
        raise TextFileError(
            f"{name} is not valid {'UTF-8' if encoding == 'utf-8' else 'UTF-16'} at byte "
            f"{mark + error.start:,}; save it as UTF-8. A file in another encoding, or in several, "
            "must be converted."
        ) from error
    if encoding != "utf-8" and _is_binary(text.encode("utf-8")):
        raise _not_text_error(name, kind)
    text = text.removesuffix("\r") if cut else text  # its "\n" may have been cut off
    if not text.strip():
        raise TextFileError(f"{name} holds only white space; choose a file that has text in it.")
    return FileText(text.replace("\r\n", "\n"), name, size, cut)


def _check_kind(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise TextFileError(f"{path} is a folder; choose a text file in it.")
    if not stat.S_ISREG(mode):
        raise TextFileError(
            f"{path} is a pipe, socket or device; save the text in a regular file first."
        )


def _check_size(name: str, size: int) -> None:
    if size > LARGEST_FILE:
        raise TextFileError(
            f"{name} has {size / 2**20:,.1f} MB and {LARGEST_FILE / 2**20:,.0f} MB are the most "
            "that is taken; cut it into smaller files."
        )


def _kind(content: bytes) -> tuple[str, bool]:
    """The kind of a file by its first bytes, "" if unknown, and whether it cannot be a text."""
    for signature, kind in _SIGNATURES.items():
        if content.startswith(signature):
            return kind, signature not in _MAY_BEGIN_A_TEXT
    return "", False


def _encoding(name: str, content: bytes) -> tuple[str, int]:
    """The encoding by the byte order mark, and how many bytes the mark has."""
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8", 3
    if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise TextFileError(f"{name} is in UTF-32; save it as UTF-8.")
    if content.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le", 2
    if content.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be", 2
    return "utf-8", 0


def _is_binary(content: bytes) -> bool:
    """Whether there are NUL bytes, or more control characters than a text has."""
    controls = len(content) - len(content.translate(None, _CONTROLS))
    return 0 in content or controls > _MOST_CONTROLS * len(content)


def _not_text_error(name: str, kind: str) -> TextFileError:
    if kind:
        return TextFileError(f"{name} is {kind}, not plain text; save its text as UTF-8 first.")
    return TextFileError(
        f"{name} holds bytes that no text has; save its text as UTF-8 (UTF-16 needs a byte order "
        "mark)."
    )
