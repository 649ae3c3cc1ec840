"""Runs a command in a network namespace of its own, where there is nothing but loopback.

    python alone.py COMMAND [ARGUMENT ...]

What listens there is out of reach for everybody else, whatever address it binds. Ends with status 77 and the
reason where the system does not allow it: Linux does for root, and for others where it gives them namespaces of users.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

NOT_ALLOWED = 77

_NEW_USERS = 0x10000000
_NEW_NETWORK = 0x40000000
_SET_FLAGS_OF_INTERFACE = 0x8914
_UP_AND_RUNNING = 0x1 | 0x40


def unshare(flags):
    """Leave namespaces of the parent's; `os.unshare` is there from Python 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def leave():
    """Enter a new network, with loopback up. Raises OSError or AttributeError where there is no such thing."""
    try:
        unshare(_NEW_NETWORK)
    except PermissionError:
        user, group = os.getuid(), os.getgid()
        unshare(_NEW_USERS | _NEW_NETWORK)
        for name, told in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path("/proc/self", name).write_text(told)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS_OF_INTERFACE, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))


if __name__ == "__main__":
    try:
        leave()
    except (OSError, AttributeError) as error:
        sys.stderr.write(f"this system gives no network namespace: {error}\n")
        sys.exit(NOT_ALLOWED)
    os.execvp(sys.argv[1], sys.argv[1:])
