"""From a failed call to the dot over a panel: the SDK's exemplar leads to its trace, pushed and scraped."""

import subprocess
import sys

import pytest
from ninesight_query.testing_servers import free_port
from ninesight_suite.testing import eventually, now_ms, running_suite

TRACE = "0af7651916cd43dd8448eb211c80319c"
PROGRAM = """
import contextlib, sys
import ninesight

api, port, trace = sys.argv[1:]
ninesight.configure(service_name="pushed", otlp_endpoint=api, export_interval_s=0.2, traces=True, trace_window_s=0.1)
ninesight.serve_metrics(int(port))
with contextlib.suppress(ValueError), ninesight.call("ranker", traceparent=f"00-{trace}-b7ad6b7169203331-01"):
    raise ValueError
print("called", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `query_exemplars` answers for the call's duration once both ways brought it: {job: reply row}."""
    port = free_port()
    scrape = {"job": "pulled", "targets": [f"127.0.0.1:{port}"], "interval": "500ms"}
    folder = tmp_path_factory.mktemp("exemplars")
    with running_suite(folder, {"collector": {"scrape": [scrape]}}) as suite:
        command = [sys.executable, "-c", PROGRAM, suite.api_url, str(port), TRACE]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout.readline() == "called\n"

            def look():
                form = {
                    "query": "histogram_quantile(0.99, sum(rate(model_request_duration_seconds[5m])))",
                    "start": str(now_ms() / 1000 - 600),
                    "end": str(now_ms() / 1000 + 60),
                }
                reply = suite.client.post(f"{suite.api_url}/api/v1/query_exemplars", data=form)
                rows = {row["seriesLabels"]["job"]: row for row in reply.json()["data"]}
                return rows if len(rows) == 2 else None

            yield eventually(look, timeout_s=60, what="the exemplar by both ways")
        finally:
            process.communicate("")


@pytest.mark.parametrize("job", ["pushed", "pulled"])
def test_a_failed_calls_trace_is_found(found, job):
    """Its trace id stands at the native histogram of its model, with the duration as value."""
    row = found[job]
    assert row["seriesLabels"]["__name__"] == "model_request_duration_seconds"
    assert row["seriesLabels"]["model"] == "ranker"
    exemplars = [one for one in row["exemplars"] if one["labels"]["trace_id"] == TRACE]
    assert len(exemplars) == 1
    assert len(exemplars[0]["labels"]["span_id"]) == 16
    assert 0 < float(exemplars[0]["value"]) < 60
    assert abs(exemplars[0]["timestamp"] - now_ms() / 1000) < 600
