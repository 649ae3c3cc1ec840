"""A slow, obvious PromQL evaluator, against which the fast one is tested.

Written from the language's documentation, one series, one step and one sample at a time, in plain Python.
It shares the parsed tree with the fast evaluator and nothing else. Floats only: no native histograms.

    slow = SlowEngine({labels_of("up"): [(0, 1.0), (60_000, 0.0)]})
    slow.instant("avg_over_time(up[5m])", 60_000)      # {(): 0.5}
"""

from ninesight_query.slow.walk import SlowEngine

__all__ = ["SlowEngine"]
