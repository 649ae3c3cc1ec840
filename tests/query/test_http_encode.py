"""Answers as JSON: floats, times, histograms, rows."""

import json
import math
import time

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight_query.contract import Answer, Matrix, Ragged, Scalar, String, Vector, labels_of
from ninesight_query.encode import (
    encode_answer,
    encode_error,
    encode_histogram,
    encode_labels,
    encode_value,
    format_float,
)
from ninesight_query.histogram import Histogram

UP = labels_of("up", {"job": "a"})


def matrix(values, present=None, histograms=None, start=0, step=1000):
    """A matrix with one row per list."""
    values = np.array(values, np.float64)
    there = np.ones(values.shape, np.bool_) if present is None else np.array(present, np.bool_)
    labels = tuple(labels_of("up", {"row": str(k)}) for k in range(len(values)))
    return Matrix(start + step * np.arange(values.shape[1]), labels, values, there, histograms or {})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5.0, "5"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (1e-5, "0.00001"),
        (-1.5e-6, "-0.0000015"),
        (1e-7, "1e-07"),
        (5e-324, "5e-324"),
        (1e15, "1000000000000000"),
        (1e16, "10000000000000000"),
        (1.2345e20, "123450000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (123456789012345680.0, "123456789012345680"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_floats_are_written_as_go_writes_them(value, text):
    """Shortest digits; plain from 1e-6 up to 1e21, else with an exponent of two digits at least."""
    assert format_float(value) == text


@given(st.lists(st.floats(width=64), min_size=1, max_size=30))
def test_a_row_of_floats_is_written_as_each_alone(values):
    """The fast path of whole rows and the exact path of single values agree, and read back."""
    (row,) = json.loads(encode_value(matrix([values])))["result"]
    texts = [text for _, text in row["values"]]
    assert texts == [format_float(value) for value in values]
    for text, value in zip(texts, values, strict=True):
        assert float(text) == value or (math.isnan(float(text)) and math.isnan(value))


def test_times_are_seconds_with_three_decimals():
    """Whole seconds stay whole; milliseconds are padded; before 1970 the sign leads."""
    body = encode_value(matrix([[1, 2, 3]], start=-1500, step=1505)).decode()
    assert '[-1.500,"1"],[0.005,"2"],[1.510,"3"]' in body
    assert b'[1700000000,"1"]' in encode_value(Scalar(1_700_000_000_000, 1.0))


def test_the_envelope():
    """Status, data, and warnings and infos only where there are any."""
    body = json.loads(encode_answer(Answer(String(2000, 'a"b'), ("w",), ("i",))))
    assert body == {
        "status": "success",
        "data": {"resultType": "string", "result": [2, 'a"b']},
        "warnings": ["w"],
        "infos": ["i"],
    }
    assert set(json.loads(encode_answer(Answer(Scalar(0, math.inf))))) == {"status", "data"}
    assert json.loads(encode_error("bad_data", "no")) == {
        "status": "error",
        "errorType": "bad_data",
        "error": "no",
    }


def test_absent_points_and_empty_rows_are_left_out():
    """Only present points are written; a row without any is not there."""
    body = json.loads(encode_value(matrix([[1, 2], [3, 4]], [[True, False], [False, False]])))
    assert body == {
        "resultType": "matrix",
        "result": [{"metric": dict(labels_of("up", {"row": "0"})), "values": [[0, "1"]]}],
    }


def test_histograms_stand_beside_values():
    """A histogram point goes under "histograms", with boundary rule, bounds and count of filled buckets."""
    histogram = Histogram(
        count=6,
        sum=-1.5,
        zero_threshold=0.001,
        zero_count=1,
        positive_start=1,
        positive=np.array([2.0, 0.0, 1.0]),
        negative_start=1,
        negative=np.array([2.0]),
    )
    body = json.loads(encode_value(matrix([[1, 0]], [[True, False]], {(0, 1): histogram})))
    (row,) = body["result"]
    assert row["values"] == [[0, "1"]]
    ((at, point),) = row["histograms"]
    assert (at, point["count"], point["sum"]) == (1, "6", "-1.5")
    assert point["buckets"] == [
        [1, "-2", "-1", "2"],
        [3, "-0.001", "0.001", "1"],
        [0, "1", "2", "2"],
        [0, "4", "8", "1"],
    ]


def test_custom_buckets_are_encoded_with_their_bounds():
    """The first bucket is closed at -Inf, the last open up to +Inf; empty ones are left out."""
    custom = Histogram(schema=-53, count=3, positive=np.array([1.0, 0.0, 2.0]), bounds=(5.0, 10.0))
    body = json.loads(encode_histogram(custom))
    assert body["buckets"] == [[3, "-Inf", "5", "1"], [0, "10", "+Inf", "2"]]
    assert "buckets" not in json.loads(encode_histogram(Histogram()))


def test_vectors_and_ragged_rows():
    """A vector row has one value or one histogram; raw samples keep their own times."""
    vector = Vector(1000, (UP, UP), np.array([1.5, 0.0]), {1: Histogram(count=1)})
    first, second = json.loads(encode_value(vector))["result"]
    assert first["value"] == [1, "1.5"]
    assert second["histogram"] == [1, {"count": "1", "sum": "0"}]
    own = Vector(1000, (UP,), np.array([1.0]), timestamps=np.array([250]))
    assert json.loads(encode_value(own))["result"][0]["value"] == [0.25, "1"]
    ragged = Ragged((UP,), (np.array([1, 2]),), (np.array([3.0, 4.0]),), (((5, Histogram()),),))
    body = json.loads(encode_value(ragged))
    assert body["resultType"] == "matrix"
    assert body["result"][0]["values"] == [[0.001, "3"], [0.002, "4"]]
    assert body["result"][0]["histograms"][0][0] == 0.005


def test_labels_that_are_no_utf8_do_not_break_a_reply():
    """Half a surrogate pair is replaced; everything else stays."""
    assert orjson.loads(encode_labels((("a", "x\ud800"), ("b", "é")))) == {"a": "x?", "b": "é"}


def test_a_large_matrix_is_encoded_quickly():
    """A million points take well under two seconds: whole rows at once, not one object after another."""
    rng = np.random.default_rng(1)
    large = matrix(rng.random((100, 10_000)) * 100)
    started = time.process_time()
    body = encode_value(large)
    assert time.process_time() - started < 2.0
    assert body.count(b"],[") == 100 * 9_999
