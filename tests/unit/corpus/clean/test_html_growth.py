"""Twice the page is twice the work, also where it is hostile: counted in calls, not in seconds."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from corpus.clean.html import clean_html

MAX_GROWTH = 2.3
PROSE = "<p>The gauging station at the weir recorded its highest flow.</p>"


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions, Python's own among them, were called."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


HOSTILE: dict[str, Callable[[int], str]] = {
    "prose": lambda n: PROSE * n,
    "links": lambda n: "<p>" + "<a href='#x'>link</a> " * n,
    "unclosed inline elements": lambda n: "<p><b>x</p>" * min(n, 500) + PROSE * n,
    "menus": lambda n: f"<div class=nav><a>x</a><a>y</a></div>{PROSE}" * n,
    "menus in menus": lambda n: ("<div class=nav>" * 90 + "x" + "</div>" * 90) * (n // 50),
    "hidden elements": lambda n: "<p hidden>x</p><p style='display:none'>y</p>" * n + PROSE * n * 9,
    "hidden in hidden": lambda n: (
        ("<div hidden>" * 90 + "x" + "</div>" * 90) * (n // 50) + PROSE * n
    ),
    "letters without size": lambda n: (
        ("<div style='font-size:0'>" * 90 + "<i style='font-size:9px'>x</i>" + "</div>" * 90)
        * (n // 50)
    ),
    "scripts": lambda n: "<script>x()</script>" * n,
    "articles": lambda n: f"<article class=post>{PROSE}</article>" * n,
    "mains": lambda n: f"<main>{PROSE}</main>" * n,
    "raised": lambda n: "<p>" + "10<sup>6</sup> " * n,
    "terms": lambda n: "<dl>" + "<dt>a<dt>b<dd>c" * n,
    "terms only": lambda n: "<dl>" + "<dt>a" * n,
    "formulas": lambda n: "<p>" + "<math><msup><mi>x</mi><mn>2</mn></msup></math>" * n,
    "pictures": lambda n: "<figure>" + "<img alt='Red wire to pin four'>" * n,
    "cells": lambda n: "<table>" + "<tr><td>a<td>b<td>c" * n,
    "spans": lambda n: "<table>" + "<tr><td rowspan=65535 colspan=1000>x" * n,
    "tables in tables": lambda n: ("<table><tr><td>" * 60 + "x" + "</table>" * 60) * (n // 50),
    "buttons": lambda n: "<button>x</button>" * n + PROSE * n,
    "languages": lambda n: "<p><a hreflang=de>de</a><a hreflang=fr>fr</a></p>" * n,
    "CDATA": lambda n: "<p>a<![CDATA[ b ]]>" * n,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_page_is_twice_the_work(name: str) -> None:
    page = HOSTILE[name]

    def work(size: int) -> int:
        content = page(size)
        return calls_of(lambda: clean_html(content, main=True, max_nesting=512))

    work(100)
    assert work(800) <= MAX_GROWTH * work(400)


# What one call of a library does is not seen above: these are large, and end within the test's time.
@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "markup",
    [
        "<!--" * 160_000,
        "<![CDATA[" * 160_000,
        "<noscript>" * 160_000,
        "<script>" * 160_000,
        "<" * 400_000,
        "<a " * 160_000,
        "<p>" * 100_000 + PROSE,
        "<div>" * 100_000 + PROSE,
        "<b>" * 100_000 + PROSE,
        "&#" * 200_000,
        "<p style='" + " " * 40_000 + "display:none'>x</p>",
        "<p style='" + "/*" * 20_000 + "'>x</p>",
        "<p style='" + "color:red;font-size:9px;" * 20_000 + "'>x</p>",
        "<p style='font-size:1px'>x</p>" * 20_000,
        "".join(f"<p style='font-size:{n}px'>x</p>" for n in range(20_000)),
        "<table>" + "<tr><td>a" * 50_000,
        "<table>" + "<tr><td rowspan=65535 colspan=1000>x" * 5_000,
        "<p>" + "word " * 200_000,
        "<p>" + "x" * 1_000_000,
        "<?xml version='1.0'?>" + "<a" * 160_000,
        "<?xml version='1.0'?>" + "<a " + "b " * 160_000,
        "<p>" + "10<sup>6" * 20_000,
    ],
    ids=lambda markup: markup[:24],
)
def test_a_hostile_page_ends(markup: str) -> None:
    for main in (True, False):
        document = clean_html(markup, main=main, max_nesting=512)
        assert len(document.text) <= 9 * len(markup)
