"""Read protobuf messages as columns: the k-th field of every message at once.

A request holds thousands of messages of the same few kinds. Making an object of each costs more than
keeping its samples, so nothing is made: `walk` moves one cursor per message through the bytes with numpy and
returns where each field lies, `numbers`, `doubles` and `packed` read what lies there.

    spans of the messages ──walk──► Fields (owner, number, start, end) ──► numpy columns

Bytes after the body are padding, so that a cursor may look ahead without asking. Wire format:
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ninesight_store.contract import Float64, Int64

__all__ = [
    "Bytes",
    "Fields",
    "WireError",
    "doubles",
    "fields_of",
    "numbers",
    "packed",
    "padded",
    "signed",
    "varint_of",
    "walk",
]

Bytes = npt.NDArray[np.uint8]

_PADDING = 16
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES_MAX = 10
_FEW = 24
"""Below this many open messages a plain loop is faster than numpy."""


class WireError(ValueError):
    """The bytes are no protobuf message, or hold more fields than allowed."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of many messages. Those of one message are in the order they were written."""

    owner: Int64
    """[F] which message."""
    number: Int64
    """[F] field number."""
    head: Int64
    """[F] where the field begins, tag included."""
    start: Int64
    """[F] where its value begins."""
    end: Int64
    """[F] where its value ends."""

    def of(self, number: int) -> Fields:
        """Return the fields of one number, sorted by message."""
        rows = np.flatnonzero(self.number == number)
        owner = self.owner[rows]
        if len(owner) > 1 and (owner[1:] < owner[:-1]).any():
            rows = rows[np.argsort(owner, kind="stable")]
        return Fields(self.owner[rows], self.number[rows], self.head[rows], self.start[rows], self.end[rows])

    def __len__(self) -> int:
        return len(self.owner)


def padded(body: bytes) -> Bytes:
    """Return the body as an array that may be read a little past its end."""
    return np.frombuffer(body + bytes(_PADDING), np.uint8)


def walk(body: bytes, buffer: Bytes, starts: Int64, ends: Int64, fields_max: int) -> Fields:
    """Return the fields of the messages that lie at these spans. Raises WireError."""
    owner = np.arange(len(starts), dtype=np.int64)
    at, stop = starts.astype(np.int64), ends.astype(np.int64)
    rounds: list[tuple[Int64, ...]] = []
    total = 0
    while True:
        open_ = at < stop
        if not open_.all():
            owner, at, stop = owner[open_], at[open_], stop[open_]
        total += len(at)
        if total > fields_max:
            raise _too_many(fields_max)
        if len(at) <= _FEW:
            break
        number, start, end = _step(buffer, at)
        if (end > stop).any():
            raise _cut()
        rounds.append((owner, number, at, start, end))
        at = end
    rounds.append(_walk_few(body, owner, at, stop, total, fields_max))
    return Fields(*(np.concatenate(column) for column in zip(*rounds, strict=True)))


def fields_of(message: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, end) of the fields of one message. Raises WireError."""
    at = 0
    while at < len(message):
        try:
            number, _, start, at = _field(message, at)
        except IndexError as error:
            raise _cut() from error
        if at > len(message):
            raise _cut()
        yield number, start, at


def varint_of(raw: bytes) -> int:
    """Return the one varint that these bytes hold. Raises WireError."""
    try:
        return _varint(raw, 0)[0]
    except IndexError as error:
        raise _cut() from error


def numbers(buffer: Bytes, starts: Int64, ends: Int64) -> Int64:
    """Return the varints at these spans, one each, as int64 (two's complement)."""
    value, end = _varints(buffer, starts)
    if (end != ends).any():
        raise _cut()
    return value


def signed(values: Int64) -> Int64:
    """Undo the zigzag of sint32 and sint64."""
    unsigned = values.view(np.uint64)
    halved: Int64 = (unsigned >> np.uint64(1)).view(np.int64)
    return halved ^ -(values & 1)


def doubles(buffer: Bytes, starts: Int64, ends: Int64) -> tuple[Float64, Int64]:
    """Return the float64s of spans that hold any number of them, and how many each holds."""
    sizes = ends - starts
    if (sizes & 7).any():
        raise WireError("a double takes 8 bytes")
    counts = sizes >> 3
    first = starts if (counts == 1).all() else _spread(starts, counts, 8)
    raw = buffer[first[:, None] + np.arange(8)]
    return np.ascontiguousarray(raw).view("<f8")[:, 0].astype(np.float64), counts


def packed(buffer: Bytes, starts: Int64, ends: Int64) -> tuple[Int64, Int64]:
    """Return the varints of spans that hold any number of them, and how many each holds."""
    sizes = ends - starts
    flat = buffer[_spread(starts, sizes, 1)]
    last = np.flatnonzero(flat < 0x80)
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    # A span must not end inside a number.
    filled = bounds[1:][sizes > 0]
    if len(filled) and (flat[filled - 1] >= 0x80).any():
        raise _cut()
    counts: Int64 = np.diff(np.searchsorted(last, bounds))
    if not len(last):
        return np.zeros(0, np.int64), counts
    first = np.concatenate(([0], last[:-1] + 1))
    value, end = _varints(np.concatenate((flat, np.zeros(_PADDING, np.uint8))), first)
    assert (end == last + 1).all()
    return value, counts


def _step(buffer: Bytes, at: Int64) -> tuple[Int64, Int64, Int64]:
    """Return number, start and end of the field at each cursor."""
    tag = buffer[at].astype(np.int64)
    after = at + 1
    if (tag >= 0x80).any():
        tag, after = _varints(buffer, at)
    wire, number = tag & 7, tag >> 3
    if (number <= 0).any():
        raise WireError("a field number must be above 0")
    plain = wire == _LENGTH
    if plain.all():
        size, start = _varints(buffer, after)
        return number, start, _ends(start, size)
    fixed = np.where(wire == _FIXED64, 8, np.where(wire == _FIXED32, 4, 0))
    written = plain | (wire == _VARINT)
    if (~written & (fixed == 0)).any():
        raise WireError("groups are not read")
    start, end = after, after + fixed
    rows = np.flatnonzero(written)
    value, next_ = _varints(buffer, after[rows])
    long = plain[rows]
    start[rows] = np.where(long, next_, after[rows])
    end[rows] = np.where(long, _ends(next_, np.where(long, value, 0)), next_)
    return number, start, end


def _ends(start: Int64, size: Int64) -> Int64:
    if ((size < 0) | (size >= 1 << 31)).any():
        raise _cut()
    return start + size


def _varints(buffer: Bytes, at: Int64) -> tuple[Int64, Int64]:
    """Return the varint at each cursor and where it ends."""
    byte = buffer[at]
    value = (byte & 0x7F).astype(np.int64)
    end = at + 1
    more = np.flatnonzero(byte >= 0x80)
    shift = 7
    while len(more):
        if shift >= 7 * _VARINT_BYTES_MAX:
            raise WireError("a varint takes at most 10 bytes")
        byte = buffer[end[more]]
        value[more] |= (byte & 0x7F).astype(np.int64) << shift
        end[more] += 1
        more = more[byte >= 0x80]
        shift += 7
    return value, end


def _spread(starts: Int64, counts: Int64, step: int) -> Int64:
    """Return starts[0], starts[0]+step, ... (counts[0] of them), starts[1], ..."""
    total = int(counts.sum())
    before = np.cumsum(counts) - counts
    spread: Int64 = np.repeat(starts - before * step, counts) + np.arange(total, dtype=np.int64) * step
    return spread


def _walk_few(
    body: bytes, owner: Int64, at: Int64, stop: Int64, total: int, fields_max: int
) -> tuple[Int64, ...]:
    rows: list[tuple[int, int, int, int, int]] = []
    for whose, begin, until in zip(owner.tolist(), at.tolist(), stop.tolist(), strict=True):
        here = begin
        while here < until:
            try:
                number, _, start, end = _field(body, here)
            except IndexError as error:
                raise _cut() from error
            if end > until:
                raise _cut()
            rows.append((whose, number, here, start, end))
            here = end
            if total + len(rows) > fields_max + len(owner):
                raise _too_many(fields_max)
    columns: npt.NDArray[Any] = np.array(rows, np.int64).reshape(-1, 5)
    return tuple(columns.T)


def _field(body: bytes, at: int) -> tuple[int, int, int, int]:
    """Return number, wire type, start and end of the field at one place. Raises IndexError past the end."""
    tag, at = _varint(body, at)
    number, wire = tag >> 3, tag & 7
    if not number:
        raise WireError("a field number must be above 0")
    if wire == _LENGTH:
        size, at = _varint(body, at)
        return number, wire, at, at + size
    if wire == _VARINT:
        return number, wire, at, _varint(body, at)[1]
    if wire in (_FIXED64, _FIXED32):
        return number, wire, at, at + (8 if wire == _FIXED64 else 4)
    raise WireError("groups are not read")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_VARINT_BYTES_MAX):
        byte = body[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise WireError("a varint takes at most 10 bytes")


def _cut() -> WireError:
    return WireError("a field must end within its message")


def _too_many(fields_max: int) -> WireError:
    return WireError(f"a request must hold at most {fields_max} fields")
