"""Colours: contrast, stability, and never hue alone past six entities."""

import pytest
from ninesight_dashboards.palette import DARK, LIGHT, ColourBook, palette


def luminance(colour: str) -> float:
    """Relative luminance after WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio after WCAG 2."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(("colours", "background"), [(LIGHT, "#ffffff"), (DARK, "#181d23")])
def test_every_line_stands_out_from_its_background(colours, background):
    """Graphics keep 3:1; the two lightest quantiles of the light theme are thinner aids and keep 2:1."""
    strong = [*colours.slots, colours.others, colours.objective, colours.mean]
    strong += [colour for _, colour in (*colours.stages, *colours.outcomes)] + list(colours.quantiles[1:])
    weak = {
        colour: round(contrast(colour, background), 2)
        for colour in strong
        if contrast(colour, background) < 3
    }
    assert not weak
    assert contrast(colours.quantiles[0], background) > 2


def test_the_same_entity_keeps_its_colour():
    """A second look, another order and another theme do not move an entity to another slot."""
    book = ColourBook()
    first = {name: book.slot("model", name) for name in "abcdef"}
    assert {name: book.slot("model", name) for name in "fedcba"} == first
    assert sorted(first.values()) == list(range(6))
    assert book.stroke("model", "a", LIGHT).dash == book.stroke("model", "a", DARK).dash


def test_past_six_entities_the_line_style_differs():
    """No two of 24 entities share both colour and line style."""
    book = ColourBook()
    strokes = [book.stroke("model", f"m{number}", LIGHT) for number in range(24)]
    assert len({(stroke.colour, stroke.dash) for stroke in strokes}) == 24


def test_the_book_is_bounded():
    """Entities that come and go do not fill memory."""
    book = ColourBook(entities_max=10)
    for number in range(100):
        book.slot("model", f"m{number}")
    assert len(book._slots) == 10


def test_unknown_themes_are_light():
    """Only "dark" is dark; outcomes and stages have fixed colours in both."""
    assert palette("dark") is DARK
    assert palette("anything") is LIGHT
    assert LIGHT.named("outcome", "error").colour != LIGHT.named("outcome", "ok").colour
    assert LIGHT.named("stage", "brewing") is None
