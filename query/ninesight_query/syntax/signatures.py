"""What functions take and give, as in Prometheus 3.14 (docs/querying/functions.md)."""

from __future__ import annotations

from dataclasses import dataclass

from ninesight_query.ir import ValueType
from ninesight_query.syntax import tree

__all__ = ["SIGNATURES", "Signature", "is_scalar"]

_KINDS = {
    "s": ValueType.SCALAR,
    "v": ValueType.VECTOR,
    "m": ValueType.MATRIX,
    "t": ValueType.STRING,
}


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's argument types, how often the last one may vary, and its result."""

    name: str
    args: tuple[ValueType, ...]
    variadic: int
    """0: all arguments are needed. n > 0: the last may be missing, or come up to n times. -1: any number."""
    returns: ValueType

    @property
    def least(self) -> int:
        """The smallest number of arguments."""
        return len(self.args) - (self.variadic != 0)

    @property
    def most(self) -> int | None:
        """The largest number of arguments, None for any."""
        return None if self.variadic < 0 else self.least + self.variadic

    def expects(self, index: int) -> ValueType:
        """Return the type of one argument."""
        return self.args[min(index, len(self.args) - 1)]


_VECTOR_TO_VECTOR = """
    abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count
    histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad sgn sin sinh sort sort_desc sqrt
    start_timestamp tan tanh timestamp
"""
_RANGE_TO_VECTOR = """
    absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate
    last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time
    stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time
    ts_of_min_over_time
"""
_DATES = "day_of_month day_of_week day_of_year days_in_month hour minute month year"
_OTHERS = {
    # name: (arguments, variadic, result)
    "clamp": ("vss", 0, "v"),
    "clamp_max": ("vs", 0, "v"),
    "clamp_min": ("vs", 0, "v"),
    "double_exponential_smoothing": ("mss", 0, "v"),
    "end": ("", 0, "s"),
    "histogram_fraction": ("ssv", 0, "v"),
    "histogram_quantile": ("sv", 0, "v"),
    "histogram_quantiles": ("vtss", 9, "v"),
    "info": ("vv", 1, "v"),
    "label_join": ("vttt", -1, "v"),
    "label_replace": ("vtttt", 0, "v"),
    "max_of": ("ss", 0, "s"),
    "min_of": ("ss", 0, "s"),
    "pi": ("", 0, "s"),
    "predict_linear": ("ms", 0, "v"),
    "quantile_over_time": ("sm", 0, "v"),
    "range": ("", 0, "s"),
    "round": ("vs", 1, "v"),
    "scalar": ("v", 0, "s"),
    "sort_by_label": ("vt", -1, "v"),
    "sort_by_label_desc": ("vt", -1, "v"),
    "start": ("", 0, "s"),
    "step": ("", 0, "s"),
    "time": ("", 0, "s"),
    "vector": ("s", 0, "v"),
}


def _signature(name: str, args: str, variadic: int, returns: str) -> Signature:
    return Signature(name, tuple(_KINDS[each] for each in args), variadic, _KINDS[returns])


SIGNATURES: dict[str, Signature] = {
    **{name: _signature(name, "v", 0, "v") for name in _VECTOR_TO_VECTOR.split()},
    **{name: _signature(name, "m", 0, "v") for name in _RANGE_TO_VECTOR.split()},
    **{name: _signature(name, "v", 1, "v") for name in _DATES.split()},
    **{name: _signature(name, *each) for name, each in _OTHERS.items()},
}


def is_scalar(node: tree.Node) -> bool:
    """Say whether an operand of a checked tree is a scalar; else it is a vector."""
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, tree.Binary):
            waiting += [each.left, each.right]
        elif isinstance(each, tree.Paren | tree.Unary):
            waiting.append(each.expr)
        elif isinstance(each, tree.Call):
            if SIGNATURES[each.name].returns is not ValueType.SCALAR:
                return False
        elif not isinstance(each, tree.Number):
            return False
    return True
