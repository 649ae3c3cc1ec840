"""What a test needs of its surroundings: an executable, a Python package, a folder of files, a feature of the system.

Where it is missing the test skips with the reason. Under `NINESIGHT_REQUIRE_REAL=1` a component that can be
installed fails with the same reason: there it is expected to be present, and a skip would hide that something was
not tried. What nobody can install (`given`) skips there as well.
`tests/test_needs.py` sees to it that no test skips by any other way.
"""

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skip with the reason, or fail with it where everything is required. In a test, a fixture or a module."""
    if os.environ.get("NINESIGHT_REQUIRE_REAL") == "1":
        pytest.fail(f"NINESIGHT_REQUIRE_REAL=1, but {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def executable(component: str, *names: str) -> str:
    """Return the path of the first of these executables that is found; the component's name is the default."""
    for name in names or (component,):
        if path := shutil.which(name):
            return path
    absent(f"{component} is not installed (looked for {', '.join(names or (component,))})")


def package(name: str, way_out: str = "") -> ModuleType:
    """Import a package or a module of one. An error that its import raises otherwise is a failure everywhere."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # It is there, and lacks something itself.
    absent(f"{name} is not installed{way_out and f': {way_out}'}")


def given(condition: object, reason: str) -> None:
    """Go on only where the condition holds, else skip: a feature of the system, files that lie beside the checkout."""
    if not condition:
        pytest.skip(reason, allow_module_level=True)
