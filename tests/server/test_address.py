"""Where a server listens, who can reach it, and what it says of both."""

from __future__ import annotations

import socket

import pytest

from retnet_viz.server.address import (
    AddressError,
    is_loopback,
    open_sockets,
    reachable_host,
    warn_if_open,
)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_what_only_this_machine_can_reach_needs_no_warning(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_loopback(host)
    warn_if_open(host, "Mind it.")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "a-name", "localhost.example"])
def test_all_else_is_open_to_others_and_says_so(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not is_loopback(host)
    warn_if_open(host, "Mind it.")
    output = capsys.readouterr()
    assert output.err == f"Warning: {host} can be reached from other machines. Mind it.\n"
    assert output.out == ""


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "[::1]"),
        ("10.0.0.7", "10.0.0.7"),
        ("fe80::7", "[fe80::7]"),
        ("a-name", "a-name"),
    ],
)
def test_an_address_that_stands_for_all_is_reached_at_this_machine(host: str, reached: str) -> None:
    assert reachable_host(host) == reached


def test_any_free_port_can_be_had_and_a_taken_one_is_told() -> None:
    (listener,) = open_sockets("127.0.0.1", 0)
    with listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 5):
            pass
        with pytest.raises(AddressError, match=rf"port {port} is taken; choose another"):
            open_sockets("127.0.0.1", port)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("127.0.0.1", 65536, "from 0 to 65535, not 65536"),
        ("127.0.0.1", -1, "from 0 to 65535, not -1"),
        ("198.51.100.1", 0, "does not have the address 198.51.100.1"),  # kept for documentation
    ],
)
def test_an_address_that_cannot_be_had_is_told(host: str, port: int, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        open_sockets(host, port)
