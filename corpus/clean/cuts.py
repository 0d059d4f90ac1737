"""Slices of a text that are left out, with the rule that says so."""

from collections.abc import Iterable
from typing import NamedTuple

from corpus.clean.account import AccountBuilder, DropRule, visible_length


class Cut(NamedTuple):
    """A slice that goes: `text[start:end]`."""

    start: int
    end: int
    rule: DropRule
    placeholder: str = ""
    """What takes its place; an addition of the cleaner."""


def apart(cuts: Iterable[Cut]) -> list[Cut]:
    """Return cuts in order; of two that overlap, the first."""
    kept: list[Cut] = []
    for cut in sorted(cuts):
        if not kept or cut.start >= kept[-1].end:
            kept.append(cut)
    return kept


def without(text: str, cuts: Iterable[Cut], account: AccountBuilder) -> tuple[str, int]:
    """Leave out what is cut; cuts are in order and apart.

    Returns:
        The text, and how many characters of it are placeholders.
    """
    parts: list[str] = []
    at = added = 0
    for cut in cuts:
        account.drop(cut.rule, text[cut.start : cut.end])
        parts += (text[at : cut.start], cut.placeholder)
        added += visible_length(cut.placeholder)
        at = cut.end
    parts.append(text[at:])
    return "".join(parts), added
