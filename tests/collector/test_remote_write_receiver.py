"""The remote-write receiver over real HTTP: what is kept, what is answered, and when."""

import contextlib
import math

import cramjam
import httpx2
import numpy as np
import pytest
from ninesight_collector import Counters
from ninesight_collector.remote_write import ReceiverSettings, routes
from ninesight_store import LocalStore, StoreSettings
from ninesight_store.contract import Metadata, ResetHint, labels_of
from ninesight_store.errors import PermanentError, RetryableError
from ninesight_store.testing import RecordingSink

from .prw_messages import Symbols, request_v1, request_v2

NOW_MS = 1_700_000_000_000
V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
WRITTEN = "x-prometheus-remote-write-{}-written"


def packed(body):
    """One snappy block."""
    return bytes(cramjam.snappy.compress_raw(body))


class Bench:
    """A served receiver with a recording sink."""

    def __init__(self, address, client, sink, counters):
        self.url, self.client = f"{address}/api/v1/write", client
        self.sink, self.counters = sink, counters

    def post(self, request, **headers):
        body = request if isinstance(request, bytes) else packed(request.SerializeToString())
        kind = V2 if hasattr(request, "symbols") else V1
        given = {"Content-Type": kind, "Content-Encoding": "snappy", **headers}
        return self.client.post(self.url, content=body, headers=given)


@pytest.fixture(scope="module")
def client():
    """One client: making its TLS context is what costs."""
    with httpx2.Client(trust_env=False) as client:
        yield client


@pytest.fixture
def bench(serve, client):
    """`with bench(sink, **settings) as b:`."""

    @contextlib.contextmanager
    def begin(sink=None, **given):
        sink, counters = sink or RecordingSink(), Counters()
        with serve(routes(sink, ReceiverSettings(**given), counters, lambda: NOW_MS)) as address:
            yield Bench(address, client, sink, counters)

    return begin


def written(answer):
    """Return the three numbers of the headers."""
    return tuple(int(answer.headers[WRITTEN.format(kind)]) for kind in ("samples", "histograms", "exemplars"))


SERIES = ({"__name__": "up", "job": "a"}, [(NOW_MS - 1000, 0.0), (NOW_MS, 1.5)])


@pytest.mark.parametrize("make", [request_v1, request_v2], ids=["1.0", "2.0"])
def test_samples_are_kept_before_the_answer(bench, make):
    """204 with what was written; every sample is in the sink, a value of 0 included."""
    with bench() as b:
        answer = b.post(make(SERIES, ({"__name__": "down"}, [(NOW_MS, -1.0)])))
        assert sorted(b.sink.samples) == sorted(
            [
                (labels_of("up", {"job": "a"}), NOW_MS - 1000, 0.0),
                (labels_of("up", {"job": "a"}), NOW_MS, 1.5),
                (labels_of("down"), NOW_MS, -1.0),
            ]
        )
    assert (answer.status_code, answer.content) == (204, b"")
    assert written(answer) == (3, 0, 0)
    assert b.counters.get("received_samples_total", source="remote_write") == 3
    assert b.counters.get("remote_write_requests_total", code="204") == 1


@pytest.mark.parametrize("make", [request_v1, request_v2], ids=["1.0", "2.0"])
def test_bits_and_times_travel_exactly(bench, make):
    """Stale markers, other NaNs, -0.0, infinities and times before 1970 arrive as they were sent."""
    stale = float(np.uint64(0x7FF0000000000002).view(np.float64))
    values = [stale, math.nan, -0.0, math.inf, 5e-324]
    times = [-5, -(2**40), 0, 1, NOW_MS + 60_000]
    with bench() as b:
        assert b.post(make(({"__name__": "odd"}, list(zip(times, values, strict=True))))).status_code == 204
        (batch,) = b.sink.batches
    assert batch.timestamps.tolist() == times
    assert batch.values.view(np.uint64).tolist() == np.array(values).view(np.uint64).tolist()


@pytest.mark.parametrize("make", [request_v1, request_v2], ids=["1.0", "2.0"])
def test_known_series_share_one_table(bench, make):
    """Requests over the same series share one table, whichever of them each holds; new ones come along."""
    series = [({"__name__": "m", "n": str(k)}, [(NOW_MS, float(k))]) for k in range(100)]
    with bench() as b:
        for part in (series, series[:40], series[60:], series[::-1], [*series, SERIES]):
            assert b.post(make(*part)).status_code == 204
        tables = {id(batch.series) for batch in b.sink.batches[:4]}
        assert len(tables) == 1
        for batch in b.sink.batches:
            for row, value in zip(batch.series_index.tolist(), batch.values.tolist(), strict=True):
                labels = dict(batch.series.labels[row])
                assert labels.get("n", str(value)) == str(int(value)) or labels["__name__"] == "up"


def histogram_of(one, **given):
    """Add a histogram of 12 observations at 1.0 buckets -1..3 and one negative."""
    point = one.histograms.add(timestamp=NOW_MS, sum=8.25, schema=1, zero_threshold=0.001, **given)
    point.positive_spans.add(offset=-1, length=2)
    point.positive_spans.add(offset=2, length=1)
    point.negative_spans.add(offset=3, length=1)
    return point


def filled(request, integer):
    """Return a request of either version with one histogram and one float series between two others."""
    symbols = None
    if hasattr(request, "symbols"):
        del request.symbols[:]
        symbols = Symbols(request)
    for name in ("before_total", "latency_seconds", "after_total"):
        labels = {"__name__": name, "model": "m"}
        one = request.timeseries.add()
        if symbols:
            one.labels_refs.extend(symbols.refs(labels))
        else:
            for pair in sorted(labels.items()):
                one.labels.add(name=pair[0], value=pair[1])
        if name != "latency_seconds":
            one.samples.add(timestamp=NOW_MS, value=3.0)
        elif integer:
            point = histogram_of(one, count_int=12, zero_count_int=2, reset_hint=2)
            point.positive_deltas.extend([4, -3, 2])
            point.negative_deltas.extend([2])
        else:
            point = histogram_of(one, count_float=10.5, zero_count_float=0.5, reset_hint=3)
            point.positive_counts.extend([4.0, 1.5, 2.5])
            point.negative_counts.extend([2.0])
    return request


@pytest.mark.parametrize("make", [request_v1, request_v2], ids=["1.0", "2.0"])
@pytest.mark.parametrize("integer", [True, False], ids=["integer", "float"])
def test_native_histograms_keep_every_bucket(bench, make, integer):
    """Spans and differences become indexes and counts; hint, zero bucket and negative buckets stay."""
    with bench() as b:
        answer = b.post(filled(make(), integer))
        assert answer.status_code == 204, answer.text
        assert written(answer) == (2, 1, 0)
        (batch,) = b.sink.batches
    points = batch.histograms
    assert batch.series.labels[points.series[0]] == labels_of("latency_seconds", {"model": "m"})
    assert points.positive_index.tolist() == [-1, 0, 3]
    assert points.positive_count.tolist() == ([4.0, 1.0, 3.0] if integer else [4.0, 1.5, 2.5])
    assert (points.negative_index.tolist(), points.negative_count.tolist()) == ([3], [2.0])
    assert points.zero_count.tolist() == ([2.0] if integer else [0.5])
    assert points.count.tolist() == ([12.0] if integer else [10.5])
    assert (points.schema.tolist(), points.sum.tolist()) == ([1], [8.25])
    assert points.hint.tolist() == [ResetHint.NOT_RESET if integer else ResetHint.GAUGE]
    assert (points.timestamps.tolist(), points.zero_threshold.tolist()) == ([NOW_MS], [0.001])


def custom(request, bounds, deltas, **given):
    """Return a 1.0 request with one histogram of custom bounds."""
    one = request.timeseries.add()
    one.labels.add(name="__name__", value="custom")
    point = one.histograms.add(timestamp=NOW_MS, schema=-53, sum=1.0, custom_values=bounds, **given)
    point.positive_spans.add(offset=0, length=len(deltas))
    point.positive_deltas.extend(deltas)
    return request


def test_custom_bounds_arrive(bench):
    """Schema -53 keeps its bounds; the last bucket reaches to infinity."""
    with bench() as b:
        assert b.post(custom(request_v1(), [0.1, 0.5], [1, 1, 1], count_int=6)).status_code == 204
        points = b.sink.batches[0].histograms
    assert points.bounds.tolist() == [0.1, 0.5]
    assert (points.positive_index.tolist(), points.positive_count.tolist()) == ([0, 1, 2], [1.0, 2.0, 3.0])


def mend(**changes):
    """Return a change of the integer histogram."""

    def change(point):
        for name, value in changes.items():
            if isinstance(value, list):
                del getattr(point, name)[:]
                getattr(point, name).extend(value)
            else:
                setattr(point, name, value)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (mend(count_int=13), "sum of its buckets"),
        (mend(schema=9), "-4..8"),
        (mend(schema=-5), "-4..8"),
        (mend(positive_deltas=[4, -3]), "cover as many"),
        (mend(positive_deltas=[4, -5, 2]), "below 0"),
        (mend(reset_hint=7), "0..3"),
        (mend(custom_values=[1.0]), "custom bounds"),
        (mend(schema=-53), "neither a zero bucket"),
        (lambda point: setattr(point.positive_spans[1], "offset", -1), "offset below 0"),
        (lambda point: setattr(point.positive_spans[1], "length", 2**32 - 1), "cover as many"),
        (lambda point: setattr(point.positive_spans[0], "offset", 2**31 - 2), "32 bits"),
    ],
)
def test_a_broken_histogram_costs_itself(bench, change, words):
    """It is named with its series in a 400; the float series around it are kept, as the headers say."""
    request = filled(request_v1(), integer=True)
    change(request.timeseries[1].histograms[0])
    with bench() as b:
        answer = b.post(request)
    assert answer.status_code == 400
    assert words in answer.text
    assert "latency_seconds" in answer.text
    assert written(answer) == (2, 0, 0)
    assert len(b.sink.samples) == 2
    assert b.counters.get("rejected_samples_total", source="remote_write", reason="histogram") == 1


@pytest.mark.parametrize("bounds", [[0.5, 0.1], [0.1, 0.1], [0.1, math.inf], [math.nan]])
def test_broken_custom_bounds_are_refused(bench, bounds):
    """Custom bounds must be finite and ascend."""
    with bench() as b:
        answer = b.post(custom(request_v1(), bounds, [1], count_int=1))
    assert (answer.status_code, b.sink.batches) == (400, [])
    assert "bounds" in answer.text


def test_metadata_is_kept_by_metric(bench):
    """1.0 names the metric; 2.0 says it beside the series, where buckets belong to their histogram."""
    first = request_v1()
    first.metadata.add(type=1, metric_family_name="hits_total", help="Hits.", unit="")
    second = request_v2(({"__name__": "wait_seconds_bucket", "le": "1"}, [(NOW_MS, 1.0)]))
    second.symbols.extend(["How long.", "seconds"])
    meta = second.timeseries[0].metadata
    meta.type, meta.help_ref, meta.unit_ref = 3, len(second.symbols) - 2, len(second.symbols) - 1
    with bench() as b:
        assert b.post(first).status_code == b.post(second).status_code == 204
        told = [batch.metadata for batch in b.sink.batches]
    assert told[0] == (Metadata("hits_total", "counter", "", "Hits."),)
    assert told[1] == (Metadata("wait_seconds", "histogram", "seconds", "How long."),)


GOOD = ({"__name__": "good"}, [(NOW_MS, 1.0)])


@pytest.mark.parametrize("make", [request_v1, request_v2], ids=["1.0", "2.0"])
@pytest.mark.parametrize(
    ("series", "reason", "words"),
    [
        (({"job": "a"}, [(NOW_MS, 1.0)]), "name", "metric name"),
        (({"__name__": "", "job": "a"}, [(NOW_MS, 1.0)]), "name", "metric name"),
        (({"__name__": "x", "": "a"}, [(NOW_MS, 1.0)]), "labels", "must have a name"),
        (({"__name__": "x", "k": "v" * 5000}, [(NOW_MS, 1.0)]), "labels", "at most 4096"),
        (
            ({"__name__": "x", **{f"k{n}": "v" for n in range(70)}}, [(NOW_MS, 1.0)]),
            "labels",
            "at most 64 labels",
        ),
        (({"__name__": "x"}, [(NOW_MS + 3_600_000, 1.0)]), "timestamp", "in the future"),
        (({"__name__": "x"}, [(-(2**62), 1.0)]), "timestamp", "milliseconds"),
        (({"__name__": "x"}, [(NOW_MS * 1_000_000, 1.0)]), "timestamp", "milliseconds"),
    ],
)
def test_a_bad_series_costs_itself(bench, make, series, reason, words):
    """Partial write: the good series is kept, the bad one named in a 400 and counted by reason."""
    with bench() as b:
        for _ in range(2):
            answer = b.post(make(GOOD, series, GOOD))
            assert answer.status_code == 400
            assert words in answer.text
            assert written(answer) == (2, 0, 0)
    assert [labels for labels, _, _ in b.sink.samples] == [labels_of("good")] * 4
    assert b.counters.get("rejected_samples_total", source="remote_write", reason=reason) == 2


def test_labels_written_twice_or_out_of_order(bench):
    """A label that stands twice is refused; labels out of order are sorted; empty values are no labels."""
    request = request_v1()
    twice, loose = request.timeseries.add(), request.timeseries.add()
    for name, value in (("__name__", "x"), ("a", "1"), ("a", "2")):
        twice.labels.add(name=name, value=value)
    for name, value in (("b", "1"), ("__name__", "x"), ("a", "2"), ("c", "")):
        loose.labels.add(name=name, value=value)
    for one in (twice, loose):
        one.samples.add(timestamp=NOW_MS, value=1.0)
    with bench() as b:
        answer = b.post(request)
    assert answer.status_code == 400
    assert "stand once" in answer.text
    assert [labels for labels, _, _ in b.sink.samples] == [labels_of("x", {"a": "2", "b": "1"})]


def test_references_must_name_symbols(bench):
    """2.0: an odd number of references, one beyond the symbols, and a series with nothing cost themselves."""
    request = request_v2(GOOD)
    for refs in ([1], [1, 99], [1, 2]):
        request.timeseries.add(labels_refs=refs)
    request.timeseries[1].samples.add(timestamp=NOW_MS, value=1.0)
    request.timeseries[2].samples.add(timestamp=NOW_MS, value=1.0)
    with bench() as b:
        answer = b.post(request)
    assert answer.status_code == 400
    assert "pairs" in answer.text
    assert "at least one sample" in answer.text
    assert len(b.sink.samples) == 1
    assert b.counters.get("rejected_samples_total", source="remote_write", reason="labels") == 2


def no_first_symbol():
    """A 2.0 request whose first symbol is not empty."""
    request = request_v2(GOOD)
    request.symbols[0] = "x"
    return request


def bomb():
    """A block that claims 4 GiB, followed by little."""
    return b"\xff\xff\xff\xff\x0f" + b"\x00" * 20


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (request_v1(GOOD), {"Content-Type": "application/json"}, 415, "application/x-protobuf"),
        (request_v1(GOOD), {"Content-Type": "text/plain"}, 415, "application/x-protobuf"),
        (request_v1(GOOD), {"Content-Type": f"{V1};proto=io.prometheus.write.v3.Request"}, 415, "v2.Request"),
        (request_v1(GOOD), {"Content-Encoding": "gzip"}, 415, "snappy"),
        (request_v1(GOOD), {"Content-Encoding": "zstd"}, 415, "snappy"),
        (b"", {}, 400, "snappy"),
        (b"garbage", {}, 400, "snappy"),
        (b"\xff" * 100, {}, 400, "snappy"),
        (packed(b"garbage"), {}, 400, "prometheus.WriteRequest"),
        (packed(b"\x0a\x05abc"), {}, 400, "prometheus.WriteRequest"),
        (packed(b"\x0a\x03\x0a\x05a"), {}, 400, "prometheus.WriteRequest"),
        (packed(b"\x0a\x02\x12\x7f"), {}, 400, "prometheus.WriteRequest"),
        (packed(b"garbage"), {"Content-Type": V2}, 400, "io.prometheus.write.v2.Request"),
        (no_first_symbol(), {}, 400, "first of the symbols"),
        (packed(request_v2(GOOD).SerializeToString()[:-3]), {"Content-Type": V2}, 400, "v2.Request"),
        (bomb(), {}, 413, "after decompression"),
        (packed(bytes(1 << 21)), {}, 413, "after decompression"),
        (np.random.default_rng(1).bytes(1 << 21), {}, 413, "must not be above"),
    ],
    ids=range(18),
)
def test_a_bad_request_is_refused_whole(bench, body, headers, status, words):
    """Each answer has its status and says what must hold; nothing is kept, and the next request is taken."""
    with bench(body_bytes_max=1 << 20) as b:
        answer = b.post(body, **headers)
        assert (answer.status_code, b.sink.batches) == (status, [])
        assert words in answer.text
        assert written(answer) == (0, 0, 0)
        assert b.post(request_v1(GOOD)).status_code == 204


@pytest.mark.parametrize(
    "kind", ["", V1, f"{V1};proto=prometheus.WriteRequest", f'{V1}; proto="prometheus.WriteRequest"']
)
def test_the_older_version_needs_no_parameter(bench, kind):
    """1.0 is what a sender writes that names no message."""
    with bench() as b:
        assert b.post(request_v1(GOOD), **{"Content-Type": kind}).status_code == 204


@pytest.mark.parametrize(
    ("failure", "status", "retry"),
    [
        (RetryableError("the disk is busy"), 503, "1"),
        (RuntimeError("boom"), 503, "1"),
        (PermanentError("too old", refused=1), 400, None),
    ],
)
def test_a_sink_that_does_not_take_it(bench, failure, status, retry):
    """Not durable is never acknowledged: 503 with Retry-After, or 400 where it will never be taken."""
    with bench(RecordingSink([failure])) as b:
        answer = b.post(request_v1(GOOD))
        assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry)
        assert written(answer) == (0, 0, 0)
        assert b.post(request_v1(GOOD)).status_code == 204


def test_the_token_is_asked_for(bench):
    """Without it, or with another one, 401 and a challenge; nothing of the body is read."""
    with bench(token="s3cret") as b:
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic s3cret"}):
            answer = b.post(request_v1(GOOD), **header)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "s3cret" not in answer.text
        assert b.post(request_v1(GOOD), Authorization="Bearer s3cret").status_code == 204


def test_the_last_of_two_samples_of_one_time_wins(bench):
    """Within a request the order of samples is kept, so that the store's rule (the last wins) holds."""
    twice = ({"__name__": "x"}, [(NOW_MS, 1.0), (NOW_MS, 2.0)])
    with bench() as b:
        assert b.post(request_v1(twice, GOOD, ({"__name__": "x"}, [(NOW_MS, 3.0)]))).status_code == 204
        mine = [value for labels, _, value in b.sink.samples if labels == labels_of("x")]
    assert mine == [1.0, 2.0, 3.0]


def test_exemplars_arrive_and_a_bad_one_costs_only_itself(bench):
    """Labels, value and time of each; one with too long labels is left out and counted, and the answer is 204."""
    first = request_v1(GOOD)
    for trace in ("abc", "x" * 200):
        one = first.timeseries[0].exemplars.add(value=0.25, timestamp=NOW_MS - 1)
        one.labels.add(name="trace_id", value=trace)
    second = request_v2(GOOD)
    second.symbols.extend(["trace_id", "def"])
    last = len(second.symbols) - 1
    second.timeseries.add(labels_refs=[1, 2]).exemplars.add(labels_refs=[last - 1, last], value=0.5)
    with bench() as b:
        answers = [b.post(first), b.post(second)]
        told = [batch.exemplars for batch in b.sink.batches]
        names = [batch.series.labels[batch.exemplars.series[0]] for batch in b.sink.batches]
    assert [answer.status_code for answer in answers] == [204, 204]
    assert [written(answer) for answer in answers] == [(1, 0, 1), (1, 0, 1)]
    assert [one.labels for one in told] == [((("trace_id", "abc"),),), ((("trace_id", "def"),),)]
    assert [(one.values.tolist(), one.timestamps.tolist()) for one in told] == [
        ([0.25], [NOW_MS - 1]),
        ([0.5], [0]),
    ]
    assert names == [labels_of("good")] * 2
    assert b.counters.get("exemplars_left_out_total", source="remote_write", reason="labels") == 1


def test_start_timestamps_arrive(bench):
    """2.0: when a counter began travels with each sample and histogram, or once for a series in the older form."""
    request = filled(request_v2(), integer=True)
    request.timeseries[0].samples[0].start_timestamp = NOW_MS - 5000
    request.timeseries[1].histograms[0].start_timestamp = NOW_MS - 6000
    request.timeseries[2].created_timestamp = NOW_MS - 7000
    with bench() as b:
        assert b.post(request).status_code == 204
        assert b.post(request_v2(GOOD)).status_code == 204
        first, second = b.sink.batches
    assert first.start_timestamps.tolist() == [NOW_MS - 5000, NOW_MS - 7000]
    assert first.histograms.start_timestamps.tolist() == [NOW_MS - 6000]
    assert second.start_timestamps is None


def test_samples_past_the_stores_window_are_refused_and_the_rest_is_kept(bench, tmp_path):
    """The late window of the store is a partial write: 400, the headers say exactly what was kept, and it is."""
    settings = StoreSettings(retention_ms=7_200_000, late_ms_max=3_600_000)
    with LocalStore(f"sqlite:///{tmp_path / 's.db'}", settings=settings, now_ms=lambda: NOW_MS) as store:
        request = filled(request_v1(), integer=True)
        for one, hours in zip(request.timeseries, (0.5, 0, 2), strict=True):
            for sample in one.samples:
                sample.timestamp = int(NOW_MS - hours * 3_600_000)
        # The second exemplar is too old, though it is newer than the sample that is.
        for hours in (0.5, 1.5):
            one = request.timeseries[0].exemplars.add(value=1.0, timestamp=int(NOW_MS - hours * 3_600_000))
            one.labels.add(name="trace_id", value=f"t{hours}")
        with bench(store) as b:
            answer = b.post(request)
        assert answer.status_code == 400, answer.text
        assert "1 refused: samples must be at most 1 h old" in answer.text
        assert written(answer) == (1, 1, 1)
        assert b.counters.get("rejected_samples_total", source="remote_write", reason="late") == 1
        assert b.counters.get("received_samples_total", source="remote_write") == 2
        columns = store.select([], 0, NOW_MS + 1)
        assert (len(columns.timestamps), len(columns.histograms)) == (1, 1)
        assert [len(traces.exemplars) for traces in store.exemplars([[]], 0, NOW_MS + 1)] == [1]
