"""What an engine has to say beside the answer: warnings and infos, in Prometheus' words.

Each ends with the place in the query that it is about, `(line:column)`, as Prometheus' do.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ninesight_query.ir import Position

__all__ = ["Annotations", "go_float", "quoted"]


def quoted(text: str) -> str:
    """Return the text in double quotes, escaped as Go's %q does."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'


def go_float(value: float) -> str:
    """Return a float as Go's %g prints it (shortest form that reads back)."""
    if value != value:  # noqa: PLR0124 - NaN
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    return text.removesuffix(".0")


@dataclass
class Annotations:
    """Collected while one query is evaluated; each text once, in order of first sight."""

    _warnings: dict[str, None] = field(default_factory=dict)
    _infos: dict[str, None] = field(default_factory=dict)
    position: Position | None = None
    """Of the operand that is worked on now."""
    parameter: Position | None = None
    """Of its scalar parameter."""

    @property
    def mark(self) -> tuple[int, int]:
        """What was said up to now."""
        return len(self._warnings), len(self._infos)

    def forget_from(self, mark: tuple[int, int]) -> None:
        """Take back what was said since then."""
        for said, before in zip((self._warnings, self._infos), mark, strict=True):
            while len(said) > before:
                said.popitem()

    def look_at(self, position: Position | None, parameter: Position | None = None) -> None:
        """Say what the next notes are about; operands must be evaluated before, they have their own."""
        self.position, self.parameter = position, parameter

    def warn(self, text: str, position: Position | None = None) -> None:
        """Add a warning about a place, by default the operand's."""
        self._warnings[f"PromQL warning: {text}{_place(position or self.position)}"] = None

    def info(self, text: str) -> None:
        """Add an info."""
        self._infos[f"PromQL info: {text}{_place(self.position)}"] = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings."""
        return tuple(self._warnings)

    @property
    def infos(self) -> tuple[str, ...]:
        """All infos."""
        return tuple(self._infos)

    def invalid_quantile(self, quantile: float) -> None:
        """A quantile outside 0..1."""
        self.warn(f"quantile value should be between 0 and 1, got {go_float(quantile)}", self.parameter)

    def invalid_ratio(self, ratio: float, capped: float) -> None:
        """A limit_ratio outside -1..1."""
        self.warn(
            f"ratio value should be between -1 and 1, got {go_float(ratio)}, capping to {go_float(capped)}",
            self.parameter,
        )

    def mixed_samples(self, metric: str) -> None:
        """Floats and histograms in one range."""
        self.warn(f"encountered a mix of histograms and floats for metric name {quoted(metric)}")

    def mixed_aggregation(self) -> None:
        """Floats and histograms in one group."""
        self.warn("encountered a mix of histograms and floats for aggregation")

    def mixed_schemas(self, metric: str) -> None:
        """Exponential and custom buckets together."""
        self.warn(
            "vector contains a mix of histograms with exponential and custom buckets schemas "
            f"for metric name {quoted(metric)}"
        )

    def mixed_classic_native(self, metric: str) -> None:
        """Classic and native histograms of equal labels."""
        self.warn("vector contains a mix of classic and native histograms" + _for_metric(metric))

    def bad_bucket_label(self, metric: str, value: str) -> None:
        """A series without a readable `le`."""
        self.warn(
            f'bucket label "le" is missing or has a malformed value of {quoted(value)}' + _for_metric(metric)
        )

    def not_counter(self, metric: str) -> None:
        """rate over a gauge histogram."""
        self.warn(f"this native histogram metric is not a counter: {quoted(metric)}")

    def not_gauge(self, metric: str) -> None:
        """delta over a counter histogram."""
        self.warn(f"this native histogram metric is not a gauge: {quoted(metric)}")

    def reset_collision(self, operation: str) -> None:
        """Histograms with contradicting reset hints were joined."""
        self.warn(f"conflicting counter resets during histogram {operation}")

    def incompatible_buckets(self, operator: str) -> None:
        """Histograms that cannot be added."""
        self.warn(f"incompatible bucket layout encountered for binary operator {operator}")

    def overlapping_start(self, metric: str) -> None:
        """A start timestamp that contradicts the sample before."""
        self.warn(
            f"sample has start time that overlaps with previous sample timestamp for metric {quoted(metric)}"
        )

    def possible_non_counter(self, metric: str) -> None:
        """rate over something not named like a counter."""
        self.info(
            "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
            + quoted(metric)
        )

    def possible_non_counter_type(self, metric: str, kind: str) -> None:
        """rate over something whose `__type__` is no counter's."""
        self.info(
            'metric might not be a counter, __type__ label is not set to "counter" or "histogram", '
            f"got {quoted(kind)}: {quoted(metric)}"
        )

    def incompatible_types(self, left: str, operator: str, right: str) -> None:
        """A binary operator on samples it does not take."""
        self.info(
            f"incompatible sample types encountered for binary operator {quoted(operator)}: {left} {operator} {right}"
        )

    def ignored_in_aggregation(self, aggregation: str) -> None:
        """A histogram under an aggregation of floats."""
        self.info(f"ignored histogram in {aggregation} aggregation")

    def ignored_in_range(self, metric: str) -> None:
        """Histograms in a range of floats."""
        self.info(
            f"ignored histograms in a range containing both floats and histograms for metric name {quoted(metric)}"
        )

    def reconciled(self, operation: str) -> None:
        """Custom buckets with different bounds were brought to common ones."""
        self.info(f"mismatched custom buckets were reconciled during {operation}")


def _place(position: Position | None) -> str:
    return f" ({position.line}:{position.column})" if position else ""


def _for_metric(metric: str) -> str:
    return f" for metric name {quoted(metric)}" if metric else ""
