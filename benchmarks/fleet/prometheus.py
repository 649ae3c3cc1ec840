"""A real Prometheus filled by remote write: an hour's columns become protobuf messages without a loop over samples.

Numbers are written as varints of a fixed width (protobuf readers accept leading zeros), so a whole block of
samples is one numpy array. Source: prometheus/prompb, remote.proto and types.proto of 2.42.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import cramjam
import numpy as np
from ninesight_store import Labels

__all__ = ["RemoteWriter", "histogram_messages", "prometheus_binary", "sample_messages", "settled"]

_MESSAGE_BYTES = 1 << 20


def prometheus_binary() -> str:
    """Return the path of `prometheus`; ends the benchmark with a clear line where there is none."""
    found = shutil.which("prometheus")
    if found:
        return found
    required = os.environ.get("NINESIGHT_REQUIRE_REAL", "") not in ("", "0")
    print("skipped: prometheus is not installed (Debian: apt-get install prometheus)", file=sys.stderr)
    raise SystemExit(1 if required else 0)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _fixed(numbers: np.ndarray, width: int) -> np.ndarray:
    """Return varints of `width` bytes: [..., width] uint8."""
    shifts = np.arange(width, dtype=np.uint64) * np.uint64(7)
    digits = (numbers.astype(np.uint64)[..., None] >> shifts) & np.uint64(0x7F)
    digits[..., :-1] |= np.uint64(0x80)
    return digits.astype(np.uint8)


def _doubles(values: np.ndarray) -> np.ndarray:
    """Return little-endian doubles: [..., 8] uint8."""
    return np.ascontiguousarray(values, "<f8").view(np.uint8).reshape(*values.shape, 8)


def _labels(labels: Labels) -> bytes:
    pairs = (_field(1, name.encode()) + _field(2, value.encode()) for name, value in labels)
    return b"".join(_field(1, pair) for pair in pairs)


def sample_messages(labels: Sequence[Labels], times: np.ndarray, values: np.ndarray) -> Iterator[bytes]:
    """Yield one TimeSeries field of a WriteRequest for each series; times and values are [T, S]."""
    ticks, count = values.shape
    rows = np.empty((count, ticks, 20), np.uint8)
    # Sample{double value = 1; int64 timestamp = 2}, itself field 2 of TimeSeries.
    rows[:, :, :3] = (0x12, 18, 0x09)
    rows[:, :, 3:11] = _doubles(np.ascontiguousarray(values.T))
    rows[:, :, 11] = 0x10
    rows[:, :, 12:20] = _fixed(times.T, 8)
    for row, each in enumerate(labels):
        yield _field(1, _labels(each) + rows[row].tobytes())


def histogram_messages(
    labels: Sequence[Labels], times: np.ndarray, counts: np.ndarray, sums: np.ndarray, first: int, schema: int
) -> Iterator[bytes]:
    """Yield TimeSeries fields with native histograms: counts [T, H, B] absolute, one span from bucket `first`."""
    ticks, held, buckets = counts.shape
    deltas = np.diff(counts.astype(np.int64), axis=2, prepend=0)
    packed = _fixed((deltas << 1) ^ (deltas >> 63), 6).reshape(ticks, held, -1)
    zigzag = (first << 1) ^ (first >> 31)
    span = _field(11, b"\x08" + _varint(zigzag & 0xFFFFFFFF) + b"\x10" + _varint(buckets))
    schema_part = b"\x20" + _varint(schema << 1)
    head = _fixed(counts.sum(axis=2), 6)
    body = (
        np.full((ticks, held, 1), 0x08, np.uint8),
        head,
        np.full((ticks, held, 1), 0x19, np.uint8),
        _doubles(sums),
        np.broadcast_to(
            np.frombuffer(schema_part + b"\x30\x00" + span, np.uint8),
            (ticks, held, len(span) + len(schema_part) + 2),
        ),
        np.broadcast_to(
            np.frombuffer(_varint(12 << 3 | 2) + _varint(packed.shape[2]), np.uint8),
            (ticks, held, len(_varint(packed.shape[2])) + 1),
        ),
        packed,
        np.full((ticks, held, 1), 0x78, np.uint8),
        _fixed(times, 8),
    )
    rows = np.concatenate(body, axis=2)
    prefix = _varint(4 << 3 | 2) + _varint(rows.shape[2])
    lead = np.broadcast_to(np.frombuffer(prefix, np.uint8), (ticks, held, len(prefix)))
    rows = np.ascontiguousarray(np.concatenate([lead, rows], axis=2).transpose(1, 0, 2))
    for row, each in enumerate(labels):
        yield _field(1, _labels(each) + rows[row].tobytes())


class RemoteWriter:
    """Sends messages over one connection, in order."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)

    def send(self, messages: Iterator[bytes]) -> None:
        """Send series packed into requests of about a megabyte."""
        packed, size = [], 0
        for message in messages:
            packed.append(message)
            size += len(message)
            if size >= _MESSAGE_BYTES:
                self._post(b"".join(packed))
                packed, size = [], 0
        if packed:
            self._post(b"".join(packed))

    def _post(self, body: bytes) -> None:
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        self._connection.request("POST", "/api/v1/write", bytes(cramjam.snappy.compress_raw(body)), headers)
        reply = self._connection.getresponse()
        text = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"remote write answered {reply.status}: {text[:300].decode(errors='replace')}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def settled(address: str, *, quiet_s: float = 6.0) -> None:
    """Wait until the server compacts no more: no compaction began or ended for a while."""
    last, since = "", time.monotonic()
    while time.monotonic() - since < quiet_s:
        with urllib.request.urlopen(address + "/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        names = (
            "prometheus_tsdb_compactions_t",
            "prometheus_tsdb_blocks_l",
            "prometheus_tsdb_head_gc_duration_seconds_c",
        )
        seen = json.dumps([line for line in lines if line.startswith(names)])
        if seen != last:
            last, since = seen, time.monotonic()
        time.sleep(0.5)
