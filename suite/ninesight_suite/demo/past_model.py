"""One model of the simulated past: the series it has, and its running totals as time goes on."""

from __future__ import annotations

import numpy as np
from ninesight_store.contract import Float64, Labels, labels_of

from ninesight_suite.demo.traffic_model import Distribution, ModelProfile, durations, sizes

__all__ = ["COMMON", "PastHistogram", "PastModel"]

COMMON = {"job": "demo-history", "instance": "simulated-0", "simulated": "true"}

_INCIDENT_STEPS = 101
"""Buckets that treble a duration: 64 double it."""
_BATCH_SIZES = {1: 0.8, 2: 0.15, 4: 0.04, 8: 0.01}


class PastHistogram:
    """A cumulative histogram that grows."""

    def __init__(self, labels: Labels, distribution: Distribution, *, slows: bool = True) -> None:
        self.labels = labels
        self.distribution = distribution
        self.slows = slows
        """Whether an incident moves its values up."""
        self.buckets: Float64 = np.zeros(len(distribution.index))
        self.sum = 0.0

    def advance(self, rng: np.random.Generator, observations: int, *, incident: bool) -> None:
        """Take new observations."""
        slower = _INCIDENT_STEPS if incident and self.slows else 0
        counts = self.distribution.draw(rng, observations, slower_steps=slower)
        self.buckets = self.buckets + counts
        self.sum += float(counts @ self.distribution.middle)


class PastModel:
    """Running totals of one model."""

    def __init__(self, profile: ModelProfile) -> None:
        self.profile = profile
        named = {"model": profile.model, "version": profile.version, **COMMON}
        requests = {**named, "served_by": "model"}
        self.labels = (
            labels_of("model_requests_total", {**requests, "outcome": "ok"}),
            labels_of("model_requests_total", {**requests, "outcome": "error"}),
            labels_of("model_predictions_total", named),
            labels_of("model_accelerator_seconds_total", {**named, "gpu": "0"}),
            labels_of("model_queue_depth", named),
            labels_of("model_requests_in_flight", named),
        )
        """The float series, in the order of `advance`."""
        self.histograms = (
            PastHistogram(
                labels_of("model_request_duration_seconds", named), durations(profile.median_s, profile.sigma)
            ),
            *(
                PastHistogram(
                    labels_of("model_stage_duration_seconds", {**named, "stage": stage}),
                    durations(seconds, profile.sigma),
                )
                for stage, seconds in profile.stages_s
            ),
            PastHistogram(labels_of("model_batch_size", named), sizes(_BATCH_SIZES), slows=False),
        )
        self._totals = np.zeros(4)

    def advance(self, rng: np.random.Generator, at_ms: int, step_s: float, *, incident: bool) -> Float64:
        """Live one step; return the values of the float series."""
        requests = int(rng.poisson(self.profile.rate_at((at_ms / 1000.0) % 86400.0) * step_s))
        errors = float(rng.binomial(requests, 0.03 if incident else self.profile.error_ratio))
        for histogram in self.histograms:
            histogram.advance(rng, requests, incident=incident)
        self._totals += [requests - errors, errors, requests - errors, requests * self.profile.accelerator_s]
        waiting = float(rng.poisson(6.0 if incident else 0.1))
        return np.concatenate([self._totals, [waiting, waiting + float(rng.poisson(0.2))]])
