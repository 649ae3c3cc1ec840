"""What waits in a thread's buffer beside plain durations: tuples, the first item says which."""

from __future__ import annotations

__all__ = ["BATCH", "CALL", "DEVICE", "LOOKUP", "OWN", "STAGE", "TOKENS"]

CALL = 0
"""(CALL, series, outcome, served_by, duration_s, predictions)."""
STAGE = 1
"""(STAGE, series, stage, duration_s)."""
BATCH = 2
"""(BATCH, series, members)."""
TOKENS = 3
"""(TOKENS, series, (input, output, cached), time_to_first_token_s or None, time_per_output_token_s or None)."""
DEVICE = 4
"""(DEVICE, ((series, share), ...), gpu, timer): accelerator time, split over series by shares that sum to 1."""
OWN = 5
"""(OWN, metric, label values, value, clock reading): one value of a user's own metric."""
LOOKUP = 6
"""(LOOKUP, series, cache, hit or miss)."""
