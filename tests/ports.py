"""Ports for servers that must be told one: nobody takes them between the choice and the server's start."""

import random
import socket

# Below the range from which systems give ports to outgoing connections and to whoever binds port 0.
_FROM, _TO = 15_000, 32_000


def free_port():
    """Return a port of 127.0.0.1 that nobody has, out of those that nobody gets by chance."""
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(_FROM, _TO)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
