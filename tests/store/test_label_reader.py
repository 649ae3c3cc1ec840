"""Labels are read as they were stored, and equal pairs are kept once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ninesight_store import labels_of
from ninesight_store.label_reader import LabelReader
from ninesight_store.pair_table import PairTable
from ninesight_store.stored_labels import labels_text

words = st.text(st.sampled_from(list('ab"\\,[]{}:\n\té€𝄞 ')), min_size=1, max_size=8)
labels = st.dictionaries(words, words, min_size=1, max_size=4).map(lambda pairs: tuple(sorted(pairs.items())))


@given(st.lists(labels, max_size=12))
def test_labels_are_read_as_they_were_stored(many):
    """Quotes, commas, brackets and escapes within names and values never confuse one pair with another."""
    pairs = PairTable()
    reader = LabelReader(pairs)
    for _ in range(2):
        assert [pairs.pairs(reader.read(labels_text(one))) for one in many] == many


def test_equal_pairs_are_one_number():
    """A pair that many series carry is in memory once, however its text was read."""
    reader = LabelReader(PairTable())
    first, second = (
        reader.read(labels_text(labels_of("up", {"job": "a", "pod": pod}))) for pod in ("1", "2")
    )
    assert first[:2] == second[:2]
    assert first[2] != second[2]
    assert reader.read('[["__name__","\\u0075p"],["job","a"],["pod","1"]]') == first


@pytest.mark.parametrize(
    "text", ["", "[]", "[]x", '[["a"]]', '[["a","b","c"]]', '[["a",1]]', "[[1,2]]", '[["a","b"],["c"]]']
)
def test_damaged_labels_are_refused(text):
    """What is no list of pairs of text is an error that the catalogue counts as damage."""
    with pytest.raises((ValueError, TypeError)):
        LabelReader(PairTable()).read(text)
