"""The text of a file: what was written comes back, what is no text is refused with a sentence."""

from __future__ import annotations

import codecs
import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from retnet_viz.trace import FileText, TextFileError, decode_text, read_text
from retnet_viz.trace.files import text_file

WRITABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
ENCODINGS = {
    "utf-8": (b"", "utf-8"),
    "utf-8 with a mark": (codecs.BOM_UTF8, "utf-8"),
    "utf-16 little": (codecs.BOM_UTF16_LE, "utf-16-le"),
    "utf-16 big": (codecs.BOM_UTF16_BE, "utf-16-be"),
}


def encode(text: str, encoding: str) -> bytes:
    mark, codec = ENCODINGS[encoding]
    return mark + text.encode(codec)


def decode(content: bytes) -> FileText:
    return decode_text(content, "a.txt", len(content))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(lines=st.lists(WRITABLE), line_end=st.sampled_from(["\n", "\r\n"]))
def test_what_was_written_comes_back(encoding: str, lines: list[str], line_end: str) -> None:
    text = "fox " + "\n".join(lines)
    file_text = decode(encode(text.replace("\n", line_end), encoding))
    assert file_text.text == text
    assert not file_text.cut
    assert file_text.size == len(encode(text.replace("\n", line_end), encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(text=st.text(st.sampled_from("aé字🦊\n"), min_size=1, max_size=20), most=st.integers(4, 70))
def test_a_long_file_is_cut_between_two_characters(encoding: str, text: str, most: int) -> None:
    assume(text.strip())
    content = encode("fox" + text.replace("\n", "\r\n"), encoding)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "MOST_DECODED", max(most, 8))
        file_text = decode(content)
        assert file_text.cut == (len(content) > max(most, 8))
        assert ("fox" + text).startswith(file_text.text)
        # no more than one character, or the half of a line end, is lost at the cut
        full = encode(file_text.text.replace("\n", "\r\n"), encoding)
        assert len(full) <= len(content)
        assert not file_text.cut or len(full) > max(most, 8) - 4
        # the page sends the beginning and tells the size
        assert decode_text(content[: max(most, 8)], "a.txt", len(content)) == file_text


@given(before=st.text(st.sampled_from("aé字"), max_size=8), bad=st.sampled_from([b"\xe9", b"\xff"]))
def test_the_first_byte_that_is_no_utf_8_is_named(before: str, bad: bytes) -> None:
    content = before.encode() + bad + b" and more"
    with pytest.raises(TextFileError, match=f"at byte {len(before.encode())}; save it as UTF-8"):
        decode(content)
    with pytest.raises(TextFileError, match=f"at byte {3 + len(before.encode())};.*converted"):
        decode(codecs.BOM_UTF8 + content)


def test_half_a_surrogate_pair_is_no_utf_16() -> None:
    content = codecs.BOM_UTF16_LE + "ab".encode("utf-16-le") + b"\x00\xd8" + b"c\x00"
    with pytest.raises(TextFileError, match="not valid UTF-16 at byte 6; save it as UTF-8"):
        decode(content)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; choose a file"),
        (b" \r\n\t ", "only white space; choose"),
        (codecs.BOM_UTF8, "only white space; choose"),
        (b"a\x00b", "holds bytes that no text has"),
        ("fox".encode("utf-16-le"), "UTF-16 needs a byte order mark"),
        (codecs.BOM_UTF32_LE + "fox".encode("utf-32-le"), "is in UTF-32; save it as UTF-8"),
        (codecs.BOM_UTF16_LE + "a\0b".encode("utf-16-le"), "holds bytes that no text has"),
        (b"fox\x01\x02\x03 and owl", "holds bytes that no text has"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is a PNG image, not plain text"),
        (b"\xff\xd8\xff\xe0rest", "is a JPEG image"),
        (b"GIF89a\x00\x01", "is a GIF image"),
        (b"BM\x9a\x00\x00", "is a bitmap image"),
        (b"PK\x03\x04rest", "is a zip archive"),
        (gzip.compress(b"fox", mtime=0), "is a gzip archive"),
        (b"BZh91AY&SY\xe9\x11", "is a bzip2 archive"),
        (b"%PDF-1.7 all of it printable", "is a PDF document"),
    ],
)
def test_what_is_no_text_is_refused_by_its_content(content: bytes, sentence: str) -> None:
    with pytest.raises(TextFileError, match=rf"^a\.txt .*{sentence}.*\.$"):
        decode(content)


def test_a_text_may_begin_as_an_image_does_and_have_a_control_character() -> None:
    for text in ("BMW", "RIFFs", "BZh", "GIF8", "a\x1b[1m colour \x1b[0m", "page\f" + "x" * 99):
        assert decode(text.encode()).text == text
    assert decode(b"x" * 99 + b"\x01").text.endswith("\x01")


def no_reading(patch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the file was opened")

    patch.setattr(os, "open", fail)


def test_a_file_is_read_no_further_than_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.txt"
    path.write_bytes(b"fox " * 25)
    monkeypatch.setattr(text_file, "MOST_DECODED", 10)
    # bytes that are not read may be anything
    with path.open("r+b") as file:
        file.seek(11)
        file.write(b"\x00\xff")
    assert read_text(path) == FileText("fox fox fo", "long.txt", 100, True)
    assert read_text(str(path)).cut
    monkeypatch.setattr(text_file, "LARGEST_FILE", 99)
    with pytest.raises(TextFileError, match="are the most that is taken; cut it into smaller"):
        read_text(path)
    with pytest.raises(TextFileError, match=r"^b has .*; cut it into smaller files\.$"):
        decode_text(b"", "b", 100)


def test_a_large_file_is_refused_by_its_size(tmp_path: Path) -> None:
    path = tmp_path / "sparse.txt"
    with path.open("wb") as file:
        file.truncate(text_file.LARGEST_FILE + 1)
    with pytest.raises(TextFileError, match=r"sparse.txt has 64\.0 MB and 64 MB are the most"):
        read_text(path)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize("make", [fifo, bound_socket])
def test_a_pipe_or_socket_is_refused_and_not_waited_for(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    make(Path("it"))
    no_reading(monkeypatch)
    with pytest.raises(TextFileError, match="is a pipe, socket or device; save the text"):
        read_text("it")


def test_a_device_a_folder_and_a_missing_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TextFileError, match=r"There is no file .*gone\.txt; check its name"):
        read_text(tmp_path / "gone.txt")
    (tmp_path / "file").write_text("x")
    with pytest.raises(TextFileError, match=r"cannot be read .*; check its name"):
        read_text(tmp_path / "file" / "below")
    with pytest.raises(TextFileError, match="There can be no file"):
        read_text("a\0b")
    no_reading(monkeypatch)
    with pytest.raises(TextFileError, match="is a folder; choose a text file in it"):
        read_text(tmp_path)
    with pytest.raises(TextFileError, match="is a pipe, socket or device"):
        read_text("/dev/zero")


def test_a_pipe_that_takes_the_place_of_the_file_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, status = tmp_path / "it", os.stat(__file__)
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda _: status)  # a regular file, a moment ago
    with pytest.raises(TextFileError, match="is a pipe, socket or device"):
        read_text(path)


def test_a_file_that_may_not_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret.txt"
    path.write_text("x")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # whoever runs the tests may be allowed everything
    with pytest.raises(TextFileError, match="may not be read; change its permissions"):
        read_text(path)


@given(content=st.binary(max_size=60))
def test_any_bytes_are_a_text_or_refused_with_a_sentence(content: bytes) -> None:
    try:
        file_text = decode(content)
    except TextFileError as error:
        sentence = str(error)
    else:
        assert file_text.text.strip()
        assert "\r\n" not in file_text.text
        return
    assert sentence.startswith("a.txt ")
    assert sentence.endswith(".")
