"""What the suite may raise.

SuiteError
|- ConfigError   the configuration file is wrong; the message names file, key and way out
|- PortError     an address cannot be listened on
`- StartError    a child process did not become ready
"""

from __future__ import annotations

__all__ = ["ConfigError", "PortError", "StartError", "SuiteError"]


class SuiteError(Exception):
    """Base of every error of this part. The command line prints it as one line and exits with 2."""


class ConfigError(SuiteError):
    """The configuration is not valid."""


class PortError(SuiteError):
    """An address is already in use, or not ours to listen on."""


class StartError(SuiteError):
    """A process did not become ready in its time, or ended early."""
