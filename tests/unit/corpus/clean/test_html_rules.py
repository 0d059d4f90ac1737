"""Each line of the rules about HTML, by a case of its own; a line without a case fails."""

from collections.abc import Iterable

import pytest

from corpus.clean.blocks import BlockKind
from corpus.clean.html import clean_html
from corpus.clean.page import marks, rules
from tests.support.blocks import kinds
from tests.unit.corpus.clean import html_cases as cases

PROSE = (
    "<p>The gauging station at the weir recorded its highest flow after the spring melt.</p>" * 3
)


def clean(markup: str, *, main: bool) -> str:
    return clean_html(markup, main=main, max_nesting=512).text


def check(text: str, snippet: str) -> None:
    assert "DROP" not in text
    assert ("KEEP" in text) == ("KEEP" in snippet)


def selectors(these: Iterable[rules.NotDocument]) -> set[str]:
    return {rule.selector for rule in these}


@pytest.mark.parametrize(
    ("lines", "with_cases"),
    [
        ([selector for selector, _ in rules.NEVER_TEXT], cases.NEVER_TEXT),
        (rules.RENDERED_FORMULAS, cases.RENDERED_FORMULAS),
        (rules.HIDDEN, cases.HIDDEN),
        (rules.OPENED_BY_READER, cases.OPENED_BY_READER),
        (rules.SHOWN_BY_SCRIPT, cases.SHOWN_BY_SCRIPT),
        ([*rules.NAMES_WHAT_IT_OPENS, rules.LINKS_WITHIN_PAGE], cases.NAMES_WHAT_IT_OPENS),
        (rules.CONTROLS, cases.CONTROLS),
        (rules.MOVING_PROPERTIES, cases.MOVING_PROPERTIES),
        (selectors(rules.IN_MAIN), cases.NOT_DOCUMENT),
        (selectors(rules.ANYWHERE), cases.NOT_DOCUMENT | cases.OUTSIDE_ONLY),
        (rules.EXPLICIT_MAIN, cases.EXPLICIT_MAIN),
        (rules.LIKELY_MAIN, cases.LIKELY_MAIN),
        (rules.NOTES, cases.NOTES),
        (marks.LAYOUT_TABLE, cases.LAYOUT_TABLE),
        (marks.DATA_TABLE, cases.DATA_TABLE),
        (marks.IN_LAYOUT_CELL, cases.IN_LAYOUT_CELL),
    ],
)
def test_each_line_has_a_case(lines: Iterable[str], with_cases: dict[str, str]) -> None:
    assert set(lines) == set(with_cases)


@pytest.mark.parametrize("main", [True, False])
@pytest.mark.parametrize(
    "snippet",
    [
        *cases.NEVER_TEXT.values(),
        *cases.RENDERED_FORMULAS.values(),
        *cases.HIDDEN.values(),
        *cases.OPENED_BY_READER.values(),
        *cases.SHOWN_BY_SCRIPT.values(),
        *cases.NAMES_WHAT_IT_OPENS.values(),
        *cases.CONTROLS.values(),
        *cases.MOVING_PROPERTIES.values(),
    ],
)
def test_what_is_never_text_or_hidden(snippet: str, main: bool) -> None:
    check(clean(f"{PROSE}{snippet}{PROSE}", main=main), snippet)


@pytest.mark.parametrize("snippet", cases.NOT_DOCUMENT.values())
def test_what_is_no_part_of_the_document_inside_its_main_part(snippet: str) -> None:
    check(clean(f"<main>{PROSE}{snippet}{PROSE}</main>", main=True), snippet)


@pytest.mark.parametrize("snippet", [*cases.NOT_DOCUMENT.values(), *cases.OUTSIDE_ONLY.values()])
def test_what_is_no_part_of_the_document_where_none_is_named(snippet: str) -> None:
    text = clean(f"{PROSE}{snippet}{PROSE}", main=True)
    assert "DROP" not in text
    assert "gauging station" in text


@pytest.mark.parametrize(
    "snippet", [*cases.EXPLICIT_MAIN.values(), *cases.LIKELY_MAIN.values(), *cases.NOTES.values()]
)
def test_the_main_part(snippet: str) -> None:
    check(clean(snippet, main=True), snippet)


@pytest.mark.parametrize(
    ("snippet", "is_data"),
    [
        *((snippet, False) for snippet in cases.LAYOUT_TABLE.values()),
        *((snippet, True) for snippet in cases.DATA_TABLE.values()),
        *((snippet, False) for snippet in cases.IN_LAYOUT_CELL.values()),
    ],
)
def test_tables_of_data_and_of_layout(snippet: str, is_data: bool) -> None:
    blocks = kinds(clean_html(snippet, main=False, max_nesting=512))
    tables = [text for kind, _, text in blocks if kind == BlockKind.TABLE.value]
    inner = tables == ["one"]  # a table in a table that lays out is data
    assert bool(tables) == is_data or inner


@pytest.mark.parametrize("tag", ["html", "body"])
@pytest.mark.parametrize(
    "attribute",
    ["class=linenos", "class=lineno", "class=MathJax", "class=nav", "hidden", "aria-hidden=true"],
)
def test_no_rule_takes_the_whole_page(tag: str, attribute: str) -> None:
    formula = "<script type='math/tex'>x</script>"
    page = f"<html><body>{PROSE}{formula}".replace(f"<{tag}", f"<{tag} {attribute}")
    assert "gauging station" in clean(page, main=True)
