"""Markdown → blocks, and what is taken out of it."""

import pytest

from corpus.clean.cleaner import clean_text
from corpus.clean.markdown import markdown_blocks, without_markdown_noise
from tests.support.blocks import kinds, texts
from tests.support.work import count_calls


def blocks(text: str) -> list[tuple[str, int, str]]:
    return kinds(clean_text(text, "markdown"))


def cleaned(text: str) -> str:
    return clean_text(text, "markdown").text


# Structure


def test_structure() -> None:
    text = (
        "---\ntitle: x\n---\n# Weir\nSluices:\n\n- one\n- two\n\n"
        "```sh\n# no heading\n\n<!-- kept -->\n```\n\nSetext\n------\n\n"
        "| a | b |\n|---|---|\n\n<script>leak()</script>\nprose <!-- gone -->here, `<script>` stays"
    )
    assert blocks(text) == [
        ("heading", 1, "# Weir"),
        ("paragraph", 0, "Sluices:"),
        ("list_item", 0, "- one"),
        ("list_item", 0, "- two"),
        ("code", 0, "```sh\n# no heading\n\n<!-- kept -->\n```"),
        ("heading", 2, "Setext\n------"),
        ("table", 0, "| a | b |\n|---|---|"),
        ("paragraph", 0, "prose here, `<script>` stays"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# a #", [("heading", 1, "# a #")]),
        ("####### a", [("paragraph", 0, "####### a")]),
        ("#a", [("paragraph", 0, "#a")]),
        ("a\nb\n===", [("heading", 1, "a\nb\n===")]),
        ("> # a", [("paragraph", 0, "> # a")]),  # not in the document's outline
        ("- # a", [("list_item", 0, "- # a")]),
        ("a\n***\nb", [("paragraph", 0, "a"), ("paragraph", 0, "***"), ("paragraph", 0, "b")]),
        ("    a\n\n    b", [("code", 0, "    a\n\n    b")]),
        ("~~~\n```\n~~~", [("code", 0, "~~~\n```\n~~~")]),
        ("```\nnever ends\n\n# a", [("code", 0, "```\nnever ends\n\n# a")]),
        ("> ```\n> a\n> ```", [("code", 0, "> ```\n> a\n> ```")]),
        ("- ```\n  a\n  ```", [("code", 0, "- ```\n  a\n  ```")]),
        ("|a|\n|b|", [("paragraph", 0, "|a|\n|b|")]),  # no delimiter row
        ("a|b\n-|-\nc|d", [("table", 0, "a|b\n-|-\nc|d")]),
        ("> a\n>\n> b", [("paragraph", 0, "> a\n>"), ("paragraph", 0, "> b")]),
        ("- a\n-\n- b", [("list_item", 0, "- a\n-"), ("list_item", 0, "- b")]),
        ("[a]: b", [("paragraph", 0, "[a]: b")]),
        ("[^1]: a\n\n    b", [("paragraph", 0, "[^1]: a"), ("paragraph", 0, "b")]),
        ("<div>\n# a\n\n# b\n</div>", ["<div>\n# a", "# b", "</div>"]),
        ("<p>a\n- b", ["<p>a", "- b"]),
        ("\\# a", [("paragraph", 0, "\\# a")]),
        ("", []),
    ],
)
def test_blocks(text: str, expected: list[object]) -> None:
    assert expected in (blocks(text), texts(clean_text(text, "markdown")))


def test_a_list_in_a_list_has_items_of_its_own() -> None:
    text = "1. a\n\n   more\n\n   - b\n     lazy\n2. c"
    assert blocks(text) == [
        ("list_item", 0, "1. a"),
        ("paragraph", 0, "more"),
        ("list_item", 0, "- b\n     lazy"),
        ("list_item", 0, "2. c"),
    ]


def test_what_nests_deeper_than_the_parser_reads_is_plain_text() -> None:
    text = "- " * 30 + "deep\n\n# After\n\ntext\n\n- item"
    assert texts(clean_text(text, "markdown"))[1:] == ["# After", "text", "- item"]
    assert cleaned(text) == text


# Noise


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a <!-- b --> c", "a  c"),
        ("a <!-- b\nc --> d", "a  d"),
        ("a <!-- b\n\nc --> d", "a <!-- b\n\nc --> d"),  # a paragraph's comment ends with it
        ("<!-- a\n\nb\n-->\nc", "c"),  # a block's may hold blank lines
        ("a <!--> b --> c", "a  b --> c"),  # two short forms of CommonMark
        ("a <!---> b --> c", "a  b --> c"),
        ("a\n<!-- b -->\nc", "a\n\nc"),
        ("- a\n  <!-- b\n\n  c -->\n- d", "- a\n\n- d"),
        ("> <!-- a\n> b -->\n> c", ">\n> c"),
        ("# a <!-- b -->", "# a"),
        ("|a <!-- b -->|c|\n|-|-|", "|a |c|\n|-|-|"),
        ("a <script>b()</script> c", "a  c"),
        ("<SCRIPT src=x>\n\nb()\n\n</SCRIPT>\nc", "c"),
        ("<style>\n\na {}\n</style >\n\nc", "c"),
        ("<script-x>a</script-x>", "<script-x>a</script-x>"),
        ("a `b\n<script>c</script>` d", "a `b\n` d"),  # blocks come before what is inside a line
        ("<pre><!-- a --></pre>", "<pre></pre>"),
    ],
)
def test_comments_scripts_and_style_sheets_go(text: str, left: str) -> None:
    assert cleaned(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "`<!-- a -->`",
        "``<!-- ` -->``",
        "\\<!-- a -->",
        "    <!-- a -->",
        "```\n<!-- a -->\n```",
        "1. a\n\n    ```html\n    <!-- b -->\n    <script>\n\n    c()\n    </script>\n    ```",
        "> ~~~\n> <style>a {}</style>\n> ~~~",
        "- a\n\n      <!-- b -->",
        "[^1]: a\n\n        <!-- b -->",
        "a <!-- b",
        "a <!-- b `c` -- > d",
        "<!-- a\n\n# b\n\n```\nc --x\n```",
        "<script>\n\na()\n\n# b",
        "|a <!-- b|c -->|\n|-|-|",
        "a <script>b",
        "<a title='<!-- b -->'>c</a>",
        "a `<script>` b `</script>`",
    ],
)
def test_code_and_what_never_ends_stays(text: str) -> None:
    assert cleaned(text) == text


def test_after_a_comment_that_never_ends_there_is_structure() -> None:
    text = "# a\n\n<!-- gone -->\n\nb\n\n<!-- open\n\n## c\n\n```\n<style>d</style>\n```\n\n- e"
    assert blocks(text) == [
        ("heading", 1, "# a"),
        ("paragraph", 0, "b"),
        ("paragraph", 0, "<!-- open"),
        ("heading", 2, "## c"),
        ("code", 0, "```\n<style>d</style>\n```"),
        ("list_item", 0, "- e"),
    ]


def test_an_unequal_run_of_ticks_ends_no_code() -> None:
    assert cleaned("`` a ` <!-- b --> ``` c") == "`` a `  ``` c"


def test_an_escaped_tick_begins_no_code() -> None:
    assert cleaned("\\` <!-- a --> `") == "\\`  `"


# Front matter


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("---\na: b\n---\nc", "c"),
        ("---\n# note\n\n'a b': c\n---\n\n\nd", "d"),
        ("---\na: b\n...\nc\n\n---\n\nd", "c\n\n---\n\nd"),  # YAML's other end
        ("+++\na = 1\n+++\nb", "b"),
        ("+++\n[a]\nb = 1\n+++\nc", "c"),
        ("---\na:\n---", ""),
    ],
)
def test_front_matter_goes(text: str, left: str) -> None:
    assert cleaned(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nJust text.\n\n---\nmore",
        "---\na: b\nnever ends",
        "a\n\n---\nb: c\n---",
        "+++\na = 1\n---\nb",
        "---\na: b\n----\nc",
        "---x\na: b\n---",
        "- - -\na: b\n---",
    ],
)
def test_a_thematic_break_is_no_front_matter(text: str) -> None:
    assert cleaned(text) == text


# Hostile input. The number of calls stands for the time, so that a busy machine changes nothing.


def stairs(steps: int, line: str) -> str:
    return "".join(f"{'  ' * step}{line}\n" for step in range(steps))


HOSTILE = {
    "open comments in one line": lambda n: "<!--" * n,
    "open comments in lines": lambda n: "<!--\n" * n,
    "open comments in paragraphs": lambda n: "x <!--\n\n" * n,
    "open comments in items": lambda n: "- <!--\n\n" * n,
    "open comments in cells": lambda n: "a|b\n-|-\n" + "<!--|<!--\n" * n,
    "open comments inside a paragraph": lambda n: "x " + "<!-- " * n,
    "closed comments": lambda n: "x " + "<!-- a --> " * n,
    "open scripts": lambda n: "x " + "<script>" * n,
    "code spans that never end": lambda n: (
        "x <!-- -->" + "".join("`" * (1 + number % 20) + "a" for number in range(n // 10))
    ),
    "code spans and comments": lambda n: "x " + "`a` <!-- b --> ``" * (n // 4),
    "tags and comments": lambda n: "x <!-- -->" + "<a b='<!--'>" * (n // 4),
    "ticks": lambda n: "`" * 4 * n,
    "fences": lambda n: "```\n" * n,
    "quotes in one line": lambda n: ">" * 4 * n,
    "quotes in lines": lambda n: (">" * 30 + "a\n") * (n // 10),
    "continued quotes": lambda n: ">" * 30 + "a\n" + "a\n" * (n // 10),
    "items in one line": lambda n: "- " * 2 * n,
    "items in lines": lambda n: "- a\n" * n,
    "loose items": lambda n: "1. a\n\n" * n,
    "empty items": lambda n: "-\n" * n,
    "nested items": lambda n: stairs(int(n**0.5), "- a") * 2,
    "quotes in items": lambda n: ("> - " * 9 + "a\n") * (n // 20),
    "columns": lambda n: "|a" * n + "\n" + "|-" * n,
    "rows": lambda n: "a|b\n-|-\n" + "|" * 3 * n,
    "heads of tables": lambda n: "a|b\n" * n,
    "underlines": lambda n: "a\n-\n" * n,
    "definitions": lambda n: "[a]: b\n" * n,
    "footnotes": lambda n: "[^1]: a\n" * n,
    "brackets": lambda n: "[" * 4 * n,
    "tags": lambda n: "<a b=" * n,
    "processing instructions": lambda n: "<?\n" * n,
    "one long line": lambda n: "a " * 2 * n,
    "tabs": lambda n: "\t" * 4 * n + "a",
    "comments in front matter": lambda n: "---\n" + "# a\n" * n,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_input_is_twice_the_work(name: str) -> None:
    make = HOSTILE[name]

    def work(size: int) -> int:
        text = make(size)
        return count_calls(lambda: clean_text(text, "markdown"))

    work(10)  # compiles patterns
    small, large = work(1_000), work(2_000)
    assert large <= 2.3 * small + 500


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_loses_nothing_visible(name: str) -> None:
    text = HOSTILE[name](300)
    document = clean_text(text, "markdown")
    shown = "".join("".join(texts(document)).split())
    assert shown == "".join(document.text.split())
    if "-->" not in text:
        assert shown == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<!--" * 160_000, "<!--" * 160_000),
        ("`" * 640_000, "`" * 640_000),
        ("x <!-- -->" + "`a``a" * 100_000, "x " + "`a``a" * 100_000),
        ("x " + "<!-- " * 100_000 + "-->", "x"),
    ],
    ids=["comments", "ticks", "code spans", "one comment"],
)
def test_large_hostile_inputs_take_less_than_the_time_limit(text: str, left: str) -> None:
    assert without_markdown_noise(text) == left
    assert markdown_blocks(text)
