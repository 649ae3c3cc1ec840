"""A regular expression as an automaton: every character of a value is looked at once, whatever the pattern.

    translated pattern ──parse──► tree ──assemble──► program ──► sets of places, made when first needed
                                                                 (`Automaton.accepts`), or ordered
                                                                 threads with groups (`Automaton.groups`)

Python's `re` tries one way after another, so `(a+)+b` on forty letters never ends, and no other thread
runs meanwhile. Here time grows with pattern x value only (Thompson 1968; priorities after Pike), as in RE2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ninesight_store.pattern_tree import Assert, Branch, Chain, Char, Group, Node, Repeat, char_test

__all__ = ["INSTRUCTIONS_MAX", "STEPS_MAX", "Automaton", "PatternCostError"]

INSTRUCTIONS_MAX = 20_000
"""A pattern that needs more, its counted repeats written out, is refused."""

STEPS_MAX = 3_000_000
"""Places of the program looked at for one value; about a second."""

_TRANSITIONS_MAX = 20_000


class PatternCostError(ValueError):
    """The pattern takes too much work; the message says how much is allowed."""


@dataclass(frozen=True, slots=True)
class _Read:
    test: int
    """Index of the character test."""


@dataclass(frozen=True, slots=True)
class _Split:
    """Go on at each of `targets`, the first preferred."""

    targets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Save:
    slot: int


_Instruction = _Read | _Split | _Save | Assert | None
"""None is the end: the whole value was read."""


@dataclass(slots=True, eq=False)
class _State:
    places: tuple[int, ...]
    previous: str
    """The character before, where assertions need it, else ""."""
    following: dict[str, _State] = field(default_factory=dict)


class Automaton:
    """One compiled pattern. Safe to share between threads."""

    def __init__(self, tree: Node) -> None:
        """Assemble the program. Raises PatternCostError."""
        self._program: list[_Instruction] = []
        self._tests: dict[str, int] = {}
        self._asserts = False
        self._emit(tree)
        self._add(None)
        self._accepts_char = [char_test(source) for source in self._tests]
        self._known: list[dict[str, bool]] = [{} for _ in self._tests]
        self._forget()

    def accepts(self, value: str) -> bool:
        """Return whether the pattern matches the whole value. Raises PatternCostError."""
        state, spent = self._start, 0
        for char in value:
            following = state.following.get(char)
            if following is None:
                following, steps = self._advance(state, char)
                spent = _checked(spent + steps)
            if not following.places:
                return False
            state = following
        places, _ = self._closure(state.places, state.previous, "")
        return any(self._program[place] is None for place in places)

    def groups(self, value: str) -> dict[int, tuple[int, int]] | None:
        """Return (start, end) of each group that took part, 0 the whole; None without a match.

        Of several ways to match, the one that Python's and Go's engines prefer. Raises PatternCostError.
        """
        threads: dict[int, tuple[tuple[int, int], ...]] = {0: ()}
        spent, previous = 0, ""
        for at, char in enumerate(value):
            spent = _checked(spent + len(threads))
            following: dict[int, tuple[tuple[int, int], ...]] = {}
            closed = self._threads(threads, previous, char, at)
            spent += len(closed)
            for place, saved in closed.items():
                one = self._program[place]
                if isinstance(one, _Read) and self._reads(one.test, char):
                    following.setdefault(place + 1, saved)
            if not following:
                return None
            threads, previous = following, char
        for place, saved in self._threads(threads, previous, "", len(value)).items():
            if self._program[place] is None:
                slots = dict(saved)
                found = {slot // 2: (at, slots[slot + 1]) for slot, at in slots.items() if slot % 2 == 0}
                return found | {0: (0, len(value))}
        return None

    def _forget(self) -> None:
        self._states: dict[tuple[tuple[int, ...], str], _State] = {}
        self._transitions = 0
        self._start = _State((0,), "")

    def _advance(self, state: _State, char: str) -> tuple[_State, int]:
        """Return the state after a character, remembered for the next time, and the work it took."""
        places, steps = self._closure(state.places, state.previous, char)
        after = []
        for place in places:
            one = self._program[place]
            if isinstance(one, _Read) and self._reads(one.test, char):
                after.append(place + 1)
        if self._transitions >= _TRANSITIONS_MAX:
            self._forget()
        self._transitions += 1
        key = (tuple(after), char if self._asserts else "")
        found = self._states.setdefault(key, _State(*key))
        state.following[char] = found
        return found, steps

    def _closure(self, places: tuple[int, ...], previous: str, char: str) -> tuple[list[int], int]:
        """Return the reading and ending places reached without reading, and how many were looked at."""
        seen: set[int] = set()
        out, stack = [], list(reversed(places))
        while stack:
            place = stack.pop()
            if place in seen:
                continue
            seen.add(place)
            one = self._program[place]
            if one is None or isinstance(one, _Read):
                out.append(place)
            elif isinstance(one, _Split):
                stack.extend(reversed(one.targets))
            elif isinstance(one, _Save) or one.holds(previous, char):
                stack.append(place + 1)
        return out, len(seen)

    def _threads(
        self, threads: dict[int, tuple[tuple[int, int], ...]], previous: str, char: str, at: int
    ) -> dict[int, tuple[tuple[int, int], ...]]:
        """As `_closure`, with the groups of the preferred way to each place."""
        out: dict[int, tuple[tuple[int, int], ...]] = {}
        stack = list(reversed(threads.items()))
        while stack:
            place, saved = stack.pop()
            if place in out:
                continue
            out[place] = saved
            one = self._program[place]
            if isinstance(one, _Split):
                stack.extend((target, saved) for target in reversed(one.targets))
            elif isinstance(one, _Save):
                slot = one.slot
                stack.append((place + 1, (*(pair for pair in saved if pair[0] != slot), (slot, at))))
            elif isinstance(one, Assert) and one.holds(previous, char):
                stack.append((place + 1, saved))
        return out

    def _reads(self, test: int, char: str) -> bool:
        known = self._known[test]
        found = known.get(char)
        if found is None:
            found = self._accepts_char[test](char)
            if len(known) < _TRANSITIONS_MAX:
                known[char] = found
        return found

    def _add(self, instruction: _Instruction) -> int:
        if len(self._program) >= INSTRUCTIONS_MAX:
            raise PatternCostError(
                f"with its counted repeats written out it must stay under {INSTRUCTIONS_MAX} characters; "
                "use smaller repeats"
            )
        self._program.append(instruction)
        return len(self._program) - 1

    def _emit(self, node: Node) -> None:
        if isinstance(node, Char):
            self._add(_Read(self._tests.setdefault(node.source, len(self._tests))))
        elif isinstance(node, Assert):
            self._asserts = True
            self._add(node)
        elif isinstance(node, Chain):
            for part in node.parts:
                self._emit(part)
        elif isinstance(node, Branch):
            self._emit_branch(node)
        elif isinstance(node, Group):
            self._add(_Save(2 * node.index))
            self._emit(node.inner)
            self._add(_Save(2 * node.index + 1))
        else:
            self._emit_repeat(node)

    def _emit_branch(self, node: Branch) -> None:
        head = self._add(_Split(()))
        targets, ends = [], []
        for part in node.parts:
            targets.append(len(self._program))
            self._emit(part)
            ends.append(self._add(_Split(())))
        self._program[head] = _Split(tuple(targets))
        for end in ends:
            self._program[end] = _Split((len(self._program),))

    def _emit_repeat(self, node: Repeat) -> None:
        for _ in range(node.least):
            self._emit(node.inner)
        if node.most is None:
            head = self._add(_Split(()))
            self._emit(node.inner)
            self._add(_Split((head,)))
            self._program[head] = _choice(node, head + 1, len(self._program))
            return
        heads = []
        for _ in range(node.most - node.least):
            heads.append(self._add(_Split(())))
            self._emit(node.inner)
        for head in heads:
            self._program[head] = _choice(node, head + 1, len(self._program))


def _choice(node: Repeat, again: int, on: int) -> _Split:
    return _Split((again, on) if node.greedy else (on, again))


def _checked(spent: int) -> int:
    if spent > STEPS_MAX:
        raise PatternCostError(
            f"matching one value must take at most {STEPS_MAX} steps; use a shorter pattern or smaller repeats"
        )
    return spent
