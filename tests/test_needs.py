"""A missing component is a skip with its reason, and a failure where everything is required."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from . import needs

HERE = Path(__file__).parent

LACKING = {
    "executable": lambda: needs.executable("no-such-component", "no-such-program"),
    "package": lambda: needs.package("no_such_package", "pip install it"),
    "module of a package": lambda: needs.package("email.no_such_module"),
}
REASONS = {
    "executable": "no-such-component is not installed (looked for no-such-program)",
    "package": "no_such_package is not installed: pip install it",
    "module of a package": "email.no_such_module is not installed",
}


@pytest.mark.parametrize("kind", LACKING)
def test_what_is_missing_skips_with_its_reason(monkeypatch, kind):
    """Whatever the variable says, but for "1"."""
    monkeypatch.delenv("NINESIGHT_REQUIRE_REAL", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"^{re.escape(REASONS[kind])}$"):
        LACKING[kind]()
    monkeypatch.setenv("NINESIGHT_REQUIRE_REAL", "0")
    with pytest.raises(pytest.skip.Exception):
        LACKING[kind]()


@pytest.mark.parametrize("kind", LACKING)
def test_what_is_missing_fails_with_its_reason_where_it_is_required(monkeypatch, kind):
    """The same reason, and the variable that made it a failure."""
    monkeypatch.setenv("NINESIGHT_REQUIRE_REAL", "1")
    reason = f"^NINESIGHT_REQUIRE_REAL=1, but {re.escape(REASONS[kind])}$"
    with pytest.raises(pytest.fail.Exception, match=reason):
        LACKING[kind]()


@pytest.mark.parametrize("required", ["", "1"])
def test_what_nobody_can_install_is_a_skip_everywhere(monkeypatch, required):
    """A kernel without a feature, a checkout without the folder beside it."""
    monkeypatch.setenv("NINESIGHT_REQUIRE_REAL", required)
    with pytest.raises(pytest.skip.Exception, match=r"^no files are there$"):
        needs.given([], "no files are there")


@pytest.mark.parametrize("required", ["", "1"])
def test_what_is_there_is_given(monkeypatch, required):
    """Required or not."""
    monkeypatch.setenv("NINESIGHT_REQUIRE_REAL", required)
    assert needs.package("email.message").EmailMessage
    assert Path(needs.executable("python", "no-such-program", sys.executable)) == Path(sys.executable)
    needs.given([1], "a list")


def test_a_package_that_is_there_but_broken_is_no_skip(monkeypatch, tmp_path):
    """It lacks something itself, or raises: the test that needs it must not pass over it in silence."""
    (tmp_path / "half_installed.py").write_text("import no_such_package")
    (tmp_path / "broken.py").write_text("raise ImportError('libfoo.so.1 is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NINESIGHT_REQUIRE_REAL", raising=False)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        needs.package("half_installed")
    with pytest.raises(ImportError, match=r"libfoo\.so\.1"):
        needs.package("broken")


MODULE = """
import sys
sys.path.insert(0, {folder!r})
import needs

thing = needs.package("no_such_package")


def test_nothing():
    pass
"""


@pytest.mark.parametrize(("required", "code", "words"), [("", 5, "1 skipped"), ("1", 2, "1 error")])
def test_a_whole_file_skips_or_fails(tmp_path, required, code, words):
    """A package that a file asks for at its top: pytest's own exit status says which."""
    (tmp_path / "test_it.py").write_text(MODULE.format(folder=str(HERE)))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rsE", "-p", "no:cacheprovider", "--rootdir", "."],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "NINESIGHT_REQUIRE_REAL": required},
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert words in ran.stdout
    assert "no_such_package is not installed" in ran.stdout


OTHER_WAYS = re.compile(r"importorskip|skipif|skip\(|mark\.skip|SkipTest|xfail\b")


def test_no_test_skips_by_another_way():
    """One rule in one place: `needs` (or the fixture `real`)."""
    ours = {HERE / "needs.py", Path(__file__)}
    found = [
        f"{path.relative_to(HERE)}:{number}: {line.strip()}"
        for path in sorted(HERE.rglob("*.py"))
        if path not in ours
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if OTHER_WAYS.search(line)
    ]
    assert not found, "\n".join(["use tests/needs.py, which fails where everything is required:", *found])
