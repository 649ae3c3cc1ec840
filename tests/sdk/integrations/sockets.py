"""Which processes are in which network, and what they listen on: read from /proc, nothing where there is none."""

import contextlib
import ipaddress
import os
import sys
from pathlib import Path
from typing import NamedTuple

_LISTENS = "0A"


class Listening(NamedTuple):
    """One TCP socket that takes connections."""

    inode: str
    address: str
    port: int

    @property
    def loopback(self):
        return ipaddress.ip_address(self.address).is_loopback


def network_of(pid="self"):
    """The network namespace of a process, as the kernel names it; None for one that is gone."""
    with contextlib.suppress(OSError):
        return str(Path(f"/proc/{pid}/ns/net").readlink())


def processes():
    return [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]


def processes_in(network):
    """Every process of a network namespace."""
    return [pid for pid in processes() if network_of(pid) == network]


def processes_of(session):
    """Every process of a session; where there is no /proc, its leader alone."""
    for pid in processes() or [session]:
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == session:
                yield pid


def listening(pids, table="self"):
    """The listening sockets of these processes, of those in the network of the process `table`."""
    theirs = set().union(*map(_sockets_of, pids))
    return [each for each in listening_in(table) if each.inode in theirs]


def _sockets_of(pid):
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found


def listening_in(pid="self"):
    """Everybody's listening sockets in the network of a process."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTENS:
                    address, port = words[1].split(":")
                    yield Listening(words[9], _address(address), int(port, 16))


def _address(told):
    """The kernel writes an address as words of 32 bits in the machine's own order."""
    words = [int(told[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(told), 8)]
    found = ipaddress.ip_address(b"".join(words))
    return str(getattr(found, "ipv4_mapped", None) or found)
