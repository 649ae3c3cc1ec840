"""A `host:port` to listen on: parsed, checked, and tried before anything is started."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from ninesight_suite.errors import PortError

__all__ = ["Address", "listen", "parse_address"]


@dataclass(frozen=True, slots=True)
class Address:
    """Host and TCP port; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a browser on this machine would open it."""
        host = "127.0.0.1" if self.host in {"0.0.0.0", ""} else self.host  # noqa: S104 - compared, not bound
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """True where only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `127.0.0.1:9901`, `[::1]:9901` or a bare port (then on 127.0.0.1).

    Raises ValueError saying what must hold.
    """
    host, _, port_text = text.strip().rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise ValueError(f"an address must be host:port with a port from 0 to 65535, got {text!r}")
    return Address(host, int(port_text))


def listen(address: Address, key: str) -> socket.socket:
    """Return a listening socket, so that a taken port is found before children start.

    Raises PortError naming the configuration key to change.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's delay off only where it is.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address.host, address.port))
        sock.listen(1024)
    except OSError as error:
        sock.close()
        raise PortError(
            f"cannot listen on {address}: {error.strerror or error}; "
            f"stop what uses it, or set {key} to another address"
        ) from error
    sock.set_inheritable(True)
    return sock
