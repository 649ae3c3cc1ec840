"""Where a webhook may go, so that a rule's receiver cannot be turned against the inside of a network.

Link-local, multicast, unspecified, reserved and cloud-metadata addresses are refused always;
loopback and private ones unless the receiver says `allow_private: true`. Checked when the receiver
is configured and again for the very address each connection is made to, so that a name that
changes its address in between gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from ninesight_alerts.errors import ReceiverError, TargetError

__all__ = ["Resolve", "allowed_addresses", "check_url", "resolve"]

Resolve = Callable[[str, int], Sequence[str]]
"""Gives the addresses of a host name, best first; raises OSError."""

_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",
            "169.254.170.2",
            "fd00:ec2::254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
        ),
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_url(url: str, *, allow_private: bool) -> None:
    """Raise ReceiverError unless the URL is http(s), with a host, without credentials, and not a refused address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ReceiverError(f"url must be a valid URL: {error}") from None
    if parts.scheme not in {"http", "https"}:
        raise ReceiverError(f"url must begin with http:// or https://, got {parts.scheme or 'no scheme'}")
    if not parts.hostname or port == 0:
        raise ReceiverError("url must name a host, and a port from 1 on")
    if parts.username or parts.password:
        raise ReceiverError("url must not hold a user or password; use secret to sign what is sent")
    try:
        _check(ipaddress.ip_address(parts.hostname), parts.hostname, allow_private=allow_private)
    except ValueError:
        return


def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses the system's resolver gives."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def allowed_addresses(
    host: str, port: int, *, allow_private: bool, resolver: Resolve = resolve
) -> Sequence[str]:
    """Return the addresses of the host. Raises TargetError if any is refused, OSError if none is known.

    One refused address refuses the host: an attacker's name would mix good and bad ones.
    """
    found = resolver(host, port)
    for text in found:
        _check(ipaddress.ip_address(text.partition("%")[0]), host, allow_private=allow_private)
    return found


def _check(given: Address, host: str, *, allow_private: bool) -> None:
    address = _inner(given)
    kind = _refused(address)
    if kind:
        raise TargetError(f"a receiver must not be a {kind} address, got {host} ({address})")
    if (address.is_private or address.is_loopback or not address.is_global) and not allow_private:
        raise TargetError(
            f"{host} is the private address {address}; set allow_private: true if that is meant"
        )


def _refused(address: Address) -> str:
    if address in _METADATA:
        return "cloud metadata"
    kinds = ("link_local", "multicast", "unspecified", "reserved")
    # ::1 counts as reserved too, but it is loopback first.
    found = next((kind for kind in kinds if getattr(address, f"is_{kind}")), "")
    return "" if address.is_loopback else found.replace("_", "-")


def _inner(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one wraps (mapped, 6to4, Teredo, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if wrapped is None and address in _NAT64:
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return wrapped or address
    return address
