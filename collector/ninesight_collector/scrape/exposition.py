"""Text exposition (Prometheus 0.0.4, OpenMetrics 1.0) into a builder, fast where nothing changed.

Most of a page is the same from scrape to scrape, but for the values. So the text before the
value is looked up in the last page's rows, and labels are only read for lines not seen before.
A page is taken whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ninesight_store.contract import Labels

from ninesight_collector.batch_builder import BatchBuilder
from ninesight_collector.errors import ExpositionError
from ninesight_collector.scrape.comments import HELP_MAX, Families
from ninesight_collector.scrape.series_key import read_key
from ninesight_collector.scrape.target_labels import TargetLabels

__all__ = ["HELP_MAX", "ExpositionLimits", "ExpositionParser", "check_time"]

_SHOWN = 120
_LINE_MAX = 1 << 17
_LABELS_MAX = 60_000  # Just under what the store takes: one series must not cost a whole batch.
_FUTURE_MS_MAX = 600_000


@dataclass(frozen=True, slots=True)
class ExpositionLimits:
    """What a page may hold at most; above it the whole page is refused."""

    series_max: int = 50_000
    labels_max: int = 64
    label_value_max: int = 4096

    def check(self, metric: str, labels: Mapping[str, str]) -> None:
        """Raise ExpositionError where a series has no, too many or too long labels."""
        if len(labels) > self.labels_max:
            raise ExpositionError(
                f"a series must have at most {self.labels_max} labels, got {len(labels)}", reason="labels"
            )
        total = 0
        for name, value in (("__name__", metric), *labels.items()):
            total += len(name) + len(value)
            size = max(len(name), len(value))
            if not name or size > self.label_value_max:
                raise ExpositionError(
                    f"a label must have a name and at most {self.label_value_max} characters, "
                    f'got {size} in "{name[:80]}"',
                    reason="labels",
                )
        if total > _LABELS_MAX:
            raise ExpositionError(
                f"the labels of a series must have at most {_LABELS_MAX} characters in all, got {total}",
                reason="labels",
            )


@dataclass(slots=True)
class ExpositionParser:
    """Parses the pages of one target. Used by one thread at a time."""

    target: TargetLabels
    limits: ExpositionLimits = field(default_factory=ExpositionLimits)
    _rows: dict[str, int] = field(default_factory=dict)
    _generation: int = -1

    def parse(self, text: str, builder: BatchBuilder, now_ms: int, *, open_metrics: bool = False) -> int:
        """Add every sample of the page to the builder; return their number.

        Raises ExpositionError for a page that cannot be read or is over a limit; the builder then
        holds part of it and must `discard`.
        """
        known = self._rows if self._generation == builder.generation else {}
        seen: dict[str, int] = {}
        families = Families(open_metrics=open_metrics)
        before = len(builder)
        ended = False
        for line in text.split("\n"):
            if not line or line.isspace():
                continue
            if ended:
                raise ExpositionError(f"nothing may follow # EOF, got {_shown(line)}")
            if line[0] == "#":
                ended = open_metrics and line.rstrip() == "# EOF"
                families.add(line)
                continue
            self._line(line, builder, now_ms, known, seen, open_metrics=open_metrics)
            if len(seen) > self.limits.series_max:
                raise ExpositionError(
                    f"a page must have at most {self.limits.series_max} series, got more", reason="series"
                )
        if open_metrics and not ended:
            raise ExpositionError("an OpenMetrics page must end with # EOF, got one that ends early")
        for metadata in families.metadata():
            builder.describe(metadata)
        self._rows, self._generation = seen, builder.generation
        return len(builder) - before

    def _line(
        self,
        line: str,
        builder: BatchBuilder,
        now_ms: int,
        known: dict[str, int],
        seen: dict[str, int],
        *,
        open_metrics: bool,
    ) -> None:
        exemplar = ""
        if open_metrics and " # " in line:
            # An exemplar may follow; only reading the labels tells where the value is.
            end = read_key(line, labels_max=self.limits.labels_max, value_max=self.limits.label_value_max)[2]
            sample, _, exemplar = line[end:].partition(" # ")
            rest = sample.split()
        else:
            end = line.rfind("}") + 1 or len(line) - len(line.lstrip()) + len(line.split(None, 1)[0])
            rest = line[end:].split()
        key = line[:end]
        row = known.get(key)
        if row is None:
            row = builder.row(self._series(line, key))
        seen[key] = row
        if len(rest) == 1:
            builder.add_row(row, now_ms, _value(rest[0], line))
        elif len(rest) == 2:
            timestamp_ms = _timestamp(rest[1], line, open_metrics=open_metrics)
            check_time(timestamp_ms, now_ms)
            builder.add_row(row, timestamp_ms, _value(rest[0], line), tracked=False)
        else:
            raise ExpositionError(f"a line must be: series value [timestamp], got {_shown(line)}")
        if exemplar:
            labels, value, at_ms = _exemplar(exemplar, line)
            builder.exemplars.add(row, labels, value, at_ms, now_ms)

    def _series(self, line: str, key: str) -> Labels:
        if len(line) > _LINE_MAX:
            raise ExpositionError(
                f"a line must have at most {_LINE_MAX} characters, got {len(line)}", reason="labels"
            )
        name, labels, end = read_key(
            key, labels_max=self.limits.labels_max, value_max=self.limits.label_value_max
        )
        if key[end:].strip():
            raise ExpositionError(f"a line must be: series value [timestamp], got {_shown(line)}")
        self.limits.check(name, labels)
        return self.target.series(name, labels)


def _exemplar(text: str, line: str) -> tuple[dict[str, str], float, int | None]:
    """Return (labels, value, milliseconds or None) of `{trace_id="..."} value [seconds]`."""
    if not text.startswith("{"):
        raise ExpositionError(f'an exemplar must be {{name="value"}} value [timestamp], got {_shown(line)}')
    # A metric name in front makes it a series key, which the reader knows.
    _, labels, end = read_key(f"x{text}")
    rest = text[end - 1 :].split()
    if len(rest) not in (1, 2):
        raise ExpositionError(f'an exemplar must be {{name="value"}} value [timestamp], got {_shown(line)}')
    at_ms = _timestamp(rest[1], line, open_metrics=True) if len(rest) == 2 else None
    return {name: value for name, value in labels.items() if value}, _value(rest[0], line), at_ms


def check_time(timestamp_ms: int, now_ms: int) -> None:
    """Raise ExpositionError for a sample's own time that cannot be."""
    if timestamp_ms - now_ms > _FUTURE_MS_MAX:
        raise ExpositionError("a timestamp must not be more than 10m in the future, got one that is")
    if abs(timestamp_ms) > 1 << 53:
        raise ExpositionError(
            "a timestamp must be within 2^53 milliseconds of the epoch, got one that is not"
        )


def _value(text: str, line: str) -> float:
    try:
        if "_" in text:
            raise ValueError(text)
        return float(text)
    except ValueError as error:
        raise ExpositionError(f"a value must be a number, NaN, +Inf or -Inf, got {_shown(line)}") from error


def _timestamp(text: str, line: str, *, open_metrics: bool) -> int:
    try:
        return int(float(text) * 1000) if open_metrics else int(text)
    except (ValueError, OverflowError) as error:
        unit = "seconds" if open_metrics else "whole milliseconds"
        raise ExpositionError(f"a timestamp must be {unit} since the epoch, got {_shown(line)}") from error


def _shown(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else line[:_SHOWN] + "...")
