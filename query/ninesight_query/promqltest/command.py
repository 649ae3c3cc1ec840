"""The command line of the runner: `python -m ninesight_query.promqltest PATH...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from ninesight_query.promqltest.errors import NotationError
from ninesight_query.promqltest.run import EngineFactory, FileResult, local_engine, run_file

__all__ = ["main", "run_paths", "scripts_in"]


def scripts_in(paths: Sequence[str]) -> Iterator[Path]:
    """Yield files as they are and the `*.test` files of folders, sorted."""
    for text in paths:
        path = Path(text)
        if path.is_dir():
            yield from sorted(path.rglob("*.test"))
        else:
            yield path


def run_paths(
    paths: Sequence[str],
    *,
    failures: int = 0,
    out: TextIO = sys.stdout,
    engine_factory: EngineFactory = local_engine,
) -> int:
    """Run every script and print `FILE passed/total` each, then a total; `failures` failed evals are shown per file.

    Returns the exit status: 0 only if there was an eval and all passed; 2 where a file is unreadable.
    """
    results: list[FileResult] = []
    broken = False
    for path in scripts_in(paths):
        try:
            result = run_file(path, engine_factory)
        except (NotationError, OSError, UnicodeDecodeError) as error:
            out.write(f"{path} unreadable: {error}\n")
            broken = True
            continue
        results.append(result)
        out.write(f"{path} {result.passed}/{result.total}\n")
        out.writelines(f"{failure}\n\n" for failure in result.failures[:failures])
        out.flush()
    passed, total = sum(r.passed for r in results), sum(r.total for r in results)
    out.write(f"total {passed}/{total}\n")
    if broken:
        return 2
    return 0 if total and passed == total else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="promqltest", description="Run PromQL test scripts (load, eval, clear) against the local engine."
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a script, or a folder of *.test files")
    parser.add_argument("-v", action="store_true", help="show every failed eval")
    parser.add_argument("--failures", type=int, default=0, metavar="N", help="show N failed evals per file")
    options = parser.parse_args(arguments)
    shown = 1 << 30 if options.v else options.failures
    return run_paths(options.paths, failures=shown)
