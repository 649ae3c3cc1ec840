"""The `ninesight` command. Each subcommand lives in `commands/` and imports its parts when it runs."""

from __future__ import annotations

import sys

__all__ = ["main"]

_NEEDS = (
    "the ninesight command needs the suite, and only the SDK is installed here;\n"
    "install it with: pip install 'ninesight[suite]'   (or 'ninesight[all]' with the reference server)"
)


def main() -> None:
    """Run the command line; one line on standard error and exit code 2 for what a person can mend."""
    try:
        import typer  # noqa: F401
    except ModuleNotFoundError:
        sys.stderr.write(_NEEDS + "\n")
        raise SystemExit(2) from None
    from ninesight_suite.commands import app
    from ninesight_suite.errors import SuiteError

    try:
        app()
    except SuiteError as error:
        sys.stderr.write(f"ninesight: {error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
