"""`ninesight store`: look after the embedded store: stat, verify, backup, restore, export."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ninesight_suite.errors import SuiteError

if TYPE_CHECKING:
    from ninesight_store import Damage, Labels, StoreStat
    from ninesight_store import Progress as Step
    from ninesight_store.progress import Told
    from rich.progress import TaskID

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Look after the embedded store: what it holds, whether it is sound, copies, export.",
)

_FILE = "ninesight.db"
_SHOWN_MAX = 50
_EVER_MS = 2**53

_Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="the YAML file given to `ninesight up`, to find its store"),
]
_Place = Annotated[
    str | None,
    typer.Option(
        "--store", help="the store: a file, a folder, or its SQLAlchemy address; instead of --config"
    ),
]


@app.command("stat")
def stat(config: _Config = None, place: _Place = None) -> None:
    """Print what the store holds: series, samples, bytes, ages. Works while the suite runs."""
    from ninesight_store import LocalStore
    from rich.console import Console
    from rich.table import Table

    with _plain_errors(), LocalStore(_store_of(config, place), read_only=True) as store:
        found = store.stat()
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _stat_lines(found):
        table.add_row(name, value)
    Console().print(table)


@app.command("verify")
def verify(config: _Config = None, place: _Place = None) -> None:
    """Read everything once and list what is damaged, with its series and span. Exit 1 if anything is.

    Changes nothing, and works while the suite runs.
    """
    from ninesight_store import verify as verify_store

    url = _store_of(config, place)
    with _plain_errors(), _bar() as told:
        report = verify_store(url, told=told)
    read = f"{report.rows:,} rows, {report.chunks:,} chunks and {report.rollups:,} rollups of {report.samples:,} samples read"
    unchecked = f", {report.unchecked:,} of them without a checksum" if report.unchecked else ""
    typer.echo(f"{read}{unchecked}")
    for one in report.damage[:_SHOWN_MAX]:
        typer.echo(_damage_line(one))
    if report.damaged > _SHOWN_MAX:
        typer.echo(f"... and {report.damaged - _SHOWN_MAX:,} more")
    typer.echo("sound" if report.sound else f"damaged: {report.damaged:,} parts; the rest is readable")
    raise typer.Exit(0 if report.sound else 1)


@app.command("backup")
def backup(
    target: Annotated[Path, typer.Argument(help="the new file; it must not exist yet")],
    config: _Config = None,
    place: _Place = None,
) -> None:
    """Copy the store as it is at this moment into a new file. Works while the suite runs and writes."""
    from ninesight_store import backup as copy_store

    url = _store_of(config, place)
    with _plain_errors(), _bar() as told:
        report = copy_store(url, target, told=told)
    typer.echo(f"{report.path}: {_bytes(report.bytes)}")


@app.command("restore")
def restore(
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a file that `backup` made")],
    target: Annotated[
        Path | None,
        typer.Argument(help="a file that is not there yet, or an empty folder; default: --config's"),
    ] = None,
    config: _Config = None,
    allow_damage: Annotated[
        bool,
        typer.Option("--allow-damage", help="restore a damaged backup too; reads leave out what is damaged"),
    ] = False,
) -> None:
    """Make a store of a backup, in a place that is absent or empty; verified before and after."""
    from ninesight_store import restore as restore_store

    if target is None:
        url = _configured(config)
        if not url.startswith("sqlite"):
            raise SuiteError(
                "store.url must name an SQLite file to restore to; use pg_restore for PostgreSQL"
            )
        target = _url_path(url)
    path = _file_of(target)
    with _plain_errors(), _bar() as told:
        report = restore_store(source, path, allow_damage=allow_damage, told=told)
    found = report.verified
    damaged = f", {found.damaged:,} parts damaged" if found is not None and found.damaged else ", verified"
    typer.echo(f"{report.path}: {_bytes(report.bytes)}{damaged}")


@app.command("export")
def export(
    selector: Annotated[
        str, typer.Argument(metavar="SELECTOR", help="which series, e.g. '{model=\"resnet\"}'")
    ],
    last: Annotated[
        str, typer.Option("--range", help="this long until --time, e.g. 24h; `all` is everything")
    ] = "1h",
    at: Annotated[
        float | None, typer.Option("--time", help="the end as Unix time in seconds, default now")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="jsonl (everything) or openmetrics (floats only)")
    ] = "jsonl",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="a new file; default: standard output")
    ] = None,
    config: _Config = None,
    place: _Place = None,
) -> None:
    """Write selected series over a span as JSON lines or OpenMetrics text, for other programs.

    Examples:

    - `ninesight store export '{__name__=~"model_.*"}' --range 24h --out models.jsonl`
    - `ninesight store export up --format openmetrics | head`
    """
    from ninesight_query import ParseError, parse_selector
    from ninesight_store import ExportFormat, LocalStore
    from ninesight_store import export as export_store

    if form not in set(ExportFormat):
        raise SuiteError(f"--format must be one of {', '.join(ExportFormat)}, got {form!r}")
    try:
        matchers = parse_selector(selector)
    except ParseError as error:
        raise SuiteError(f"SELECTOR: {error}") from None
    start_ms, end_ms = _span(last, at)
    with _plain_errors(), LocalStore(_store_of(config, place), read_only=True) as store, _bar() as told:
        try:
            with nullcontext(sys.stdout) if out is None else out.open("x", encoding="utf-8") as stream:
                report = export_store(
                    store, stream, matchers, start_ms, end_ms, form=ExportFormat(form), told=told
                )
        except FileExistsError:
            raise SuiteError(f"--out {out} must not exist yet; name another file") from None
        except BrokenPipeError:
            # Whoever read (head, less) has enough; Python would complain once more when it flushes.
            sys.stdout = None
            return
    left = [
        f"{count:,} {what}"
        for count, what in (
            (report.points_left_out, "histogram points"),
            (report.stale_left_out, "stale markers"),
            (report.starts_left_out, "start timestamps"),
            (report.exemplars_left_out, "exemplars"),
        )
        if count
    ]
    note = f"; left out, as OpenMetrics has no place for them: {', '.join(left)}" if left else ""
    typer.echo(
        f"{report.series:,} series, {report.samples:,} samples, {report.points:,} histogram points{note}",
        err=True,
    )


def _store_of(config: Path | None, place: str | None) -> str:
    """Return the address of the store that was named. Raises SuiteError if nothing is there."""
    if place is not None and config is not None:
        raise SuiteError("either --store or --config names the store, got both; leave one out")
    url = _configured(config) if place is None else place
    if place is not None and "://" not in place:
        path = Path(place)
        url = f"sqlite:///{(path / _FILE if path.is_dir() else path).resolve()}"
    path = _url_path(url)
    if url.startswith("sqlite") and not path.exists():
        raise SuiteError(f"no store at {path}; name it with --store FILE or --config FILE")
    return url


def _configured(config: Path | None) -> str:
    from ninesight_suite.config import load_config

    loaded = load_config(config)
    return loaded.store.url or f"sqlite:///{loaded.data_dir.resolve() / _FILE}"


def _url_path(url: str) -> Path:
    return Path(re.sub(r"^sqlite(\+\w+)?:///", "", url).partition("?")[0])


def _file_of(target: Path) -> Path:
    """Return the file to restore to: in an empty folder it has the usual name."""
    if not target.is_dir():
        return target
    if any(target.iterdir()):
        raise SuiteError(f"{target} must be empty or absent, it holds files; name another place")
    return target / _FILE


def _span(last: str, at: float | None) -> tuple[int, int]:
    from ninesight_suite.commands.query import seconds_of

    end_ms = int((time.time() if at is None else at) * 1000)
    if last == "all":
        return -_EVER_MS, _EVER_MS
    return end_ms - int(seconds_of(last, "--range") * 1000), end_ms


@contextmanager
def _plain_errors() -> Iterator[None]:
    """What the store raises, in one line."""
    from ninesight_store import StoreError

    try:
        yield
    except StoreError as error:
        raise SuiteError(str(error)) from None
    except OSError as error:
        raise SuiteError(f"{error.filename or 'the store'}: {error.strerror or error}") from None


@contextmanager
def _bar() -> Iterator[Told]:
    """Draw a bar on standard error for what a job tells; nothing where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as drawn:
        tasks: dict[str, TaskID] = {}

        def told(at: Step) -> None:
            if at.step not in tasks:
                tasks[at.step] = drawn.add_task(at.step, total=at.total)
            drawn.update(tasks[at.step], completed=at.done, total=at.total)

        yield told


def _stat_lines(found: StoreStat) -> Iterator[tuple[str, str]]:
    yield "format", str(found.format)
    yield "series", f"{found.series:,}"
    yield (
        "samples",
        f"{found.hot_samples + found.sealed_samples:,} ({found.hot_samples:,} not compressed yet)",
    )
    yield (
        "histogram points",
        f"{found.hot_points + found.sealed_points:,} ({found.hot_points:,} not compressed yet)",
    )
    yield "exemplars", f"{found.exemplars:,}"
    held = found.hot_samples + found.sealed_samples + found.hot_points + found.sealed_points
    if held:
        used = found.size_bytes - found.free_bytes
        yield "bytes a sample", f"{used / held:.2f} on the disk, points and everything else included"
    yield "rows, chunks", f"{found.hot_rows:,}, {found.chunks:,}"
    yield "rollups", f"{found.rollups:,} of chunks, {_bytes(found.rollup_bytes)}"
    yield "on the disk", f"{_bytes(found.size_bytes)}, {_bytes(found.free_bytes)} of it free"
    yield "oldest", _time(found.oldest_ms)
    yield "newest", _time(found.newest_ms)


def _damage_line(one: Damage) -> str:
    names = [_selector(labels) for labels in one.series[:3]]
    more = f" and {len(one.series) - 3} more" if len(one.series) > 3 else ""
    span = f"{_time(one.start_ms)} .. {_time(one.end_ms)}: " if one.start_ms is not None else ""
    whose = f" [{', '.join(names)}{more}]" if names else ""
    return f"{one.part} {one.id}: {span}{one.reason}{whose}"


def _selector(labels: Labels) -> str:
    pairs = ", ".join(f'{name}="{value}"' for name, value in labels if name != "__name__")
    return f"{dict(labels).get('__name__', '')}{{{pairs}}}"


def _bytes(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def _time(time_ms: int | None) -> str:
    if time_ms is None:
        return "none"
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(time_ms / 1000))
