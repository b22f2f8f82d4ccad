"""Where a server listens, and how a person reaches it."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys

from tornado.netutil import bind_sockets


class AddressError(ValueError):
    """The address cannot be listened on; the message says what to do."""


def open_sockets(host: str, port: int) -> list[socket.socket]:
    """Bound, listening sockets for `host` and `port`; port 0 takes any free one.

    Raises:
        AddressError: the port is taken or forbidden, or this machine does not have the address.
    """
    if not 0 <= port <= 65535:  # the system would take its last 16 bits
        raise AddressError(f"a port is a number from 0 to 65535, not {port}.")
    try:
        return bind_sockets(port, host)
    except socket.gaierror:
        raise AddressError(f"there is no host named {host!r}.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is taken; choose another with --port, or any free one: --port 0."
        elif error.errno == errno.EACCES:
            reason = f"port {port} is not permitted; choose one above 1023 with --port."
        elif error.errno == errno.EADDRNOTAVAIL:
            reason = f"this machine does not have the address {host}."
        else:
            reason = f"cannot listen on {host} port {port}: {error.strerror}."
        raise AddressError(reason) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`. A name other than localhost counts as open."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reachable_host(host: str) -> str:
    """`host` as it stands in a URL that this machine can open."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "[::1]"
    return host if address.version == 4 else f"[{host}]"


def warn_if_open(host: str, consequence: str) -> None:
    """Print a warning with this `consequence` when others than this machine can reach `host`."""
    if not is_loopback(host):
        print(f"Warning: {host} can be reached from other machines. {consequence}", file=sys.stderr)
