"""The host sampler against what psutil says."""

import numpy as np
import psutil
from ninesight_collector.host_sampler import HostSampler
from ninesight_collector.testing import check_sampler, latest
from ninesight_store.contract import labels_of

NOW_MS = 1_700_000_000_000


def test_cpu_and_memory_are_sane():
    """Ratios within 0-1, memory within the machine's, names and labels canonical."""
    sampler = HostSampler("here")
    sum(range(2_000_000))
    values = latest(check_sampler(sampler))
    own = {"job": "host", "instance": "here"}
    total = values[labels_of("host_memory_total_bytes", own)]
    assert total == psutil.virtual_memory().total
    assert 0 < values[labels_of("host_memory_used_bytes", own)] < total
    assert values[labels_of("up", own)] == 1.0
    first = latest(HostSampler("here").sample(NOW_MS))
    cpu = values.get(labels_of("host_cpu_utilization_ratio", own), 0.0)
    assert np.isnan(cpu) or 0 <= cpu <= 1
    assert labels_of("host_memory_total_bytes", own) in first


def test_cpu_follows_the_work_done(until):
    """After 0.3 s of work the ratio is the share of time that was not idle, between psutil's own readings around it."""
    first = psutil.cpu_times()
    sampler = HostSampler("here")
    second = psutil.cpu_times()
    until(
        lambda: sum(range(200_000)) and psutil.cpu_times().user - second.user > 0.3, what="0.3 s of CPU time"
    )
    third = psutil.cpu_times()
    values = latest(sampler.sample(NOW_MS))
    last = psutil.cpu_times()
    busy = values[labels_of("host_cpu_utilization_ratio", {"job": "host", "instance": "here"})]
    # However long the machine pauses us in between, what the sampler read lies between what was read around it.
    least, most = (
        1 - idle_of(first, last) / total_of(second, third),
        1 - idle_of(second, third) / total_of(first, last),
    )
    assert least - 0.02 <= busy <= most + 0.02
    assert busy > 0


def idle_of(one, other):
    return other.idle - one.idle + getattr(other, "iowait", 0.0) - getattr(one, "iowait", 0.0)


def total_of(one, other):
    return sum(other) - sum(one)


def test_a_host_that_cannot_be_read_is_reported(monkeypatch):
    """The sampler does not raise; up is 0 and says why."""

    def broken():
        raise OSError("no /proc")

    sampler = HostSampler("here")
    monkeypatch.setattr(psutil, "virtual_memory", broken)
    values = latest(sampler.sample(NOW_MS))
    assert values[labels_of("up", {"job": "host", "instance": "here"})] == 0.0
    assert "no /proc" in sampler.health().error
