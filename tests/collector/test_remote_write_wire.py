"""The column reader against the protobuf library: what one reads the other reads, and nothing breaks either."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ninesight_collector.errors import BodyError
from ninesight_collector.forward.decode import ShapeBook, outgoing_of
from ninesight_collector.forward.encode import V1Encoder, V2Encoder
from ninesight_collector.remote_write.book import SeriesBook
from ninesight_collector.remote_write.refusals import LabelsError
from ninesight_collector.remote_write.request import read_request
from ninesight_collector.remote_write.series import Taker
from ninesight_collector.remote_write.settings import ReceiverSettings
from ninesight_store.contract import labels_of
from ninesight_store.testing import RecordingSink

from .prw_messages import Request, WriteRequest, request_v1, request_v2

NOW_MS = 1_700_000_000_000
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
LABELS = st.dictionaries(TEXT.filter(lambda name: name != "__name__"), TEXT, max_size=4)
SAMPLES = st.lists(
    st.tuples(st.integers(-(2**53), NOW_MS + 1000), st.floats(allow_nan=False)), min_size=1, max_size=4
)
SERIES = st.lists(st.tuples(LABELS, SAMPLES), max_size=40)


def named(series):
    """The same with a metric name each."""
    return [({**labels, "__name__": "m"}, samples) for labels, samples in series]


@settings(max_examples=150)
@given(SERIES, st.sampled_from([request_v1, request_v2]))
def test_every_sample_is_read(series, make):
    """Whatever series and samples: the batch holds what the message holds, bit for bit."""
    request = make(*named(series))
    raw = read_request(request.SerializeToString(), 1 if make is request_v1 else 2, 1 << 20)
    taken = Taker(ReceiverSettings()).take(raw, NOW_MS)
    assert not taken.refusals
    sink = RecordingSink()
    sink.write(taken.batch)
    found = sorted((labels, time, np.float64(value).tobytes()) for labels, time, value in sink.samples)
    wanted = sorted(
        (
            labels_of("m", {k: v for k, v in labels.items() if k != "__name__"}),
            time,
            np.float64(value).tobytes(),
        )
        for labels, samples in named(series)
        for time, value in samples
    )
    assert found == wanted


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([1, 2]))
def test_no_bytes_break_the_reader(body, version):
    """Random bytes are a BodyError or a request; no other error, no hang."""
    try:
        raw = read_request(body, version, 1 << 16)
    except BodyError:
        return
    RecordingSink().write(Taker(ReceiverSettings()).take(raw, NOW_MS).batch)


def whole():
    """One request of each version with everything in it."""
    first = request_v1(*named([({"a": str(n)}, [(NOW_MS, 1.0)]) for n in range(30)]))
    one = first.timeseries[3]
    point = one.histograms.add(timestamp=NOW_MS, count_int=6, sum=1.0, schema=3)
    point.positive_spans.add(offset=-2, length=3)
    point.positive_deltas.extend([1, 1, 1])
    one.exemplars.add(value=1.0, timestamp=NOW_MS).labels.add(name="t", value="x")
    second = request_v2(*named([({"a": str(n)}, [(NOW_MS, 1.0)]) for n in range(30)]))
    second.timeseries[3].histograms.add().ParseFromString(point.SerializeToString())
    second.timeseries[4].exemplars.add(value=1.0, timestamp=NOW_MS, labels_refs=[1, 2])
    second.timeseries[5].metadata.type = 1
    return {1: first.SerializeToString(), 2: second.SerializeToString()}


WHOLE = whole()


@settings(max_examples=400)
@given(st.data(), st.sampled_from([1, 2]))
def test_a_damaged_request_is_refused_or_read(data, version):
    """Bytes changed, cut or put in: the store's own checks hold for whatever comes through."""
    body = bytearray(WHOLE[version])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body) - 1))
        what = data.draw(st.sampled_from(["change", "cut", "put"]))
        if what == "change":
            body[at] = data.draw(st.integers(0, 255))
        elif what == "cut":
            del body[at : at + data.draw(st.integers(1, 9))]
        else:
            body[at:at] = data.draw(st.binary(max_size=9))
        if not body:
            return
    try:
        raw = read_request(bytes(body), version, 1 << 16)
    except BodyError:
        return
    RecordingSink().write(Taker(ReceiverSettings()).take(raw, NOW_MS).batch)


@settings(max_examples=100)
@given(SERIES.filter(bool))
def test_what_is_sent_on_is_what_came(series):
    """2.0 bytes read and written again, as 2.0 and as 1.0, say the same to the protobuf library."""
    request = request_v2(*named(series))
    outgoing = outgoing_of(request.SerializeToString(), ShapeBook())
    again = Request.FromString(V2Encoder().encode(outgoing))
    older = WriteRequest.FromString(V1Encoder().encode(outgoing))

    def texts(message, one):
        return [message.symbols[ref] for ref in one.labels_refs]

    wanted = [
        (texts(request, one), [(s.timestamp, s.value) for s in one.samples]) for one in request.timeseries
    ]
    assert [
        (texts(again, one), [(s.timestamp, s.value) for s in one.samples]) for one in again.timeseries
    ] == wanted
    assert [
        (
            [text for pair in one.labels for text in (pair.name, pair.value)],
            [(s.timestamp, s.value) for s in one.samples],
        )
        for one in older.timeseries
    ] == wanted


def test_a_request_of_countless_fields_is_refused():
    """A small body may hold millions of empty messages; they are counted before each costs time."""
    for body in (b"\x0a\x00" * 50_000, b"\x0a\xd0\x86\x03" + b"\x12\x00" * 25_000):
        with pytest.raises(BodyError, match="at most 10000 fields"):
            read_request(body, 1, 10_000)


class Reads:
    """Counts how often labels are read."""

    def __init__(self):
        self.count = 0

    def place(self, book, names, now_ms=NOW_MS):
        """Place series by their names; return their labels by row."""
        keys = [name.encode() for name in names]

        def read(place):
            self.count += 1
            if names[place].startswith("bad"):
                raise LabelsError("no", "labels")
            return labels_of("m", {"n": names[place].lower()})

        placed = book.place(keys, read, now_ms)
        return [None if row < 0 else placed.table.labels[row] for row in placed.rows.tolist()], placed


def expected(names):
    """Labels of names."""
    return [None if name.startswith("bad") else labels_of("m", {"n": name.lower()}) for name in names]


def test_the_book_reads_each_series_once_and_settles():
    """Any mixture of known, new, bad and doubled series gets its labels; in the end one table serves all requests."""
    rng = np.random.default_rng(3)
    book, reads = SeriesBook(10_000), Reads()
    for _ in range(200):
        names = [f"s{n}" for n in rng.integers(0, 500, 60)] + ["S1", "bad"]
        labels, _ = reads.place(book, names)
        assert labels == expected(names)
    assert reads.count == 500 + 1 + 200
    tables = {id(reads.place(book, [f"s{n}" for n in rng.integers(0, 500, 60)])[1].table) for _ in range(20)}
    assert len(tables) == 1


def test_the_book_stays_within_its_bounds():
    """Series that come and go for ever are forgotten again; those in use stay right."""
    book, reads = SeriesBook(300), Reads()
    for hour in range(50):
        names = [f"s{hour}-{n}" for n in range(100)] + ["always"]
        for _ in range(3):
            assert reads.place(book, names, NOW_MS + hour * 3_600_000)[0] == expected(names)
        assert len(book._table) <= 450
        assert len(book._row_of_key) <= 450
    assert reads.count < 50 * 101 * 2
