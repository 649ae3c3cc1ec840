"""Colours: the same entity has the same colour everywhere, and status never speaks by hue alone.

The two palettes keep at least 3:1 contrast on their background and the largest worst-case distance
under the three forms of colour blindness. Past six entities the line style changes, not the hue.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["DARK", "LIGHT", "ColourBook", "Palette", "Stroke", "palette"]

_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True, slots=True)
class Stroke:
    """How one series is drawn."""

    colour: str
    dash: str = "solid"
    width: float = 1.75


@dataclass(frozen=True)
class Palette:
    """The colours of one theme."""

    name: str
    slots: tuple[str, ...]
    """Six qualitative colours for entities."""
    others: str
    """Grey: rolled-up rest, unknown, idle."""
    quantiles: tuple[str, ...]
    """Four steps of one hue, p50 to p99."""
    mean: str
    objective: str
    stages: tuple[tuple[str, str], ...]
    outcomes: tuple[tuple[str, str], ...]

    def quantile(self, position: int) -> Stroke:
        """Return the stroke of the n-th quantile; the higher, the heavier."""
        width = (1.25, 1.5, 2.0, 2.0)[position]
        return Stroke(self.quantiles[position], ("dot", "solid", "solid", "solid")[position], width)

    def named(self, kind: str, name: str) -> Stroke | None:
        """Return the fixed stroke of an outcome or stage, None if the name is not one."""
        table = dict(self.outcomes if kind == "outcome" else self.stages)
        return Stroke(table[name]) if name in table else None


LIGHT = Palette(
    name="light",
    slots=("#4477AA", "#882255", "#A6761D", "#332288", "#EE6677", "#9775FA"),
    others="#868E96",
    quantiles=("#74A9CF", "#2B8CBE", "#0570B0", "#023858"),
    mean="#A6761D",
    objective="#C92A2A",
    stages=(
        ("preprocess", "#9775FA"),
        ("queue", "#D97706"),
        ("batch", "#A6761D"),
        ("inference", "#4477AA"),
        ("postprocess", "#882255"),
        ("prefill", "#0B7285"),
        ("decode", "#332288"),
    ),
    outcomes=(
        ("ok", "#4477AA"),
        ("error", "#C92A2A"),
        ("timeout", "#D97706"),
        ("shed", "#9775FA"),
        ("cancelled", "#868E96"),
    ),
)

DARK = Palette(
    name="dark",
    slots=("#63E6BE", "#F0E442", "#9775FA", "#5C95D6", "#E0698B", "#E8590C"),
    others="#868E96",
    quantiles=("#4A7FB0", "#5FA3D8", "#8CC5F0", "#E1F1FF"),
    mean="#F0B429",
    objective="#FF8787",
    stages=(
        ("preprocess", "#9775FA"),
        ("queue", "#F0B429"),
        ("batch", "#B08968"),
        ("inference", "#5C95D6"),
        ("postprocess", "#E0698B"),
        ("prefill", "#63E6BE"),
        ("decode", "#8CC5F0"),
    ),
    outcomes=(
        ("ok", "#5C95D6"),
        ("error", "#FF6B5E"),
        ("timeout", "#F0B429"),
        ("shed", "#9775FA"),
        ("cancelled", "#868E96"),
    ),
)


def palette(theme: str) -> Palette:
    """Return the palette of a theme; anything but "dark" is light."""
    return DARK if theme == "dark" else LIGHT


class ColourBook:
    """Gives each entity a slot and keeps it. Safe from many threads; remembers at most `entities_max`.

    A new entity prefers the slot its name hashes to, so that colours mostly survive a restart, and
    takes the next free one where that is used.
    """

    def __init__(self, *, entities_max: int = 4096) -> None:
        self._slots: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._entities_max = entities_max
        self._lock = threading.Lock()

    def slot(self, kind: str, entity: str) -> int:
        """Return the entity's slot among its kind, 0..23: colour is slot % 6, line style slot // 6."""
        with self._lock:
            key = (kind, entity)
            if key in self._slots:
                self._slots.move_to_end(key)
                return self._slots[key]
            chosen = self._free(kind, entity)
            self._slots[key] = chosen
            while len(self._slots) > self._entities_max:
                self._slots.popitem(last=False)
            return chosen

    def stroke(self, kind: str, entity: str, colours: Palette) -> Stroke:
        """Return how to draw the entity in a theme."""
        slot = self.slot(kind, entity)
        return Stroke(colours.slots[slot % 6], _DASHES[slot // 6])

    def _free(self, kind: str, entity: str) -> int:
        preferred = int.from_bytes(hashlib.blake2b(entity.encode(), digest_size=4).digest(), "big") % 6
        taken = {slot for (of, _), slot in self._slots.items() if of == kind}
        for dash in range(len(_DASHES)):
            for step in range(6):
                slot = dash * 6 + (preferred + step) % 6
                if slot not in taken:
                    return slot
        return preferred
