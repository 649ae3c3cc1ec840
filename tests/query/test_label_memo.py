"""What is worked out of label sets once."""

from ninesight_query.label_memo import LabelMemo, keep_labels
from ninesight_query.labels import ascending, distinct, without_metadata
from ninesight_store import labels_of


def series(count, start=0):
    return [labels_of("m", {"k": str(start + k)}) for k in range(count)]


def test_kept_labels_are_worked_on_once():
    """The same kept sequence and the same question give the same object; an equal sequence is another one."""
    memo, made = LabelMemo(), []
    labels = series(20)
    memo.keep(labels)
    for _ in range(3):
        memo.get(labels, "a", lambda: made.append(1))
        memo.get(list(labels), "a", lambda: made.append(2))
    memo.get(labels, "b", lambda: made.append(3))
    assert made == [1, 2, 2, 2, 3]
    assert len(memo) == 1


def test_labels_made_of_kept_ones_are_kept():
    """A chain of steps is remembered from its first one on."""
    memo, made = LabelMemo(), []
    labels = series(20)
    memo.keep(labels)
    for _ in range(3):
        bare = memo.get(labels, "bare", lambda: [each[1:] for each in labels], lambda found: found)
        memo.get(bare, "a", lambda: made.append(1))
    assert made == [1]


def test_memory_is_bounded():
    """Beyond so many labels the least recently used go."""
    memo = LabelMemo(labels_max=150)
    kept = [series(20, start) for start in range(10)]
    for labels in kept:
        memo.keep(labels)
        memo.get(labels, "a", list)
    assert len(memo) == 2
    made = []
    memo.get(kept[-1], "a", lambda: made.append(1))
    memo.get(kept[0], "a", lambda: made.append(2))
    assert made == [2]


def test_labels_that_died_leave_nothing_behind():
    """A new sequence in the place of an old one is never taken for it."""
    for start in range(200):
        labels = series(10, start)
        if start % 3:
            keep_labels(labels)
        assert without_metadata(labels) == [(("k", str(start + k)),) for k in range(10)]
        assert distinct(labels)
        assert ascending(labels) == sorted(range(10), key=labels.__getitem__)
