"""The certificates that the system trusts, loaded once: every client with a context of its own takes 0.8 MB more."""

from __future__ import annotations

import functools
import ssl

import httpx2

__all__ = ["system_trust"]


@functools.cache
def system_trust() -> ssl.SSLContext:
    """Return the context that all clients share which were given no certificates. Nobody changes it."""
    # Variables that name other certificates are passed over, as the clients pass over those that name a proxy.
    return httpx2.create_ssl_context(trust_env=False)
