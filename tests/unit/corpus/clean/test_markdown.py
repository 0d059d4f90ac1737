"""Markdown → blocks, and what is taken out of it."""

import pytest

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.cleaner import clean_text
from corpus.clean.markdown.noise import without_noise
from corpus.clean.markdown.structure import markdown_blocks
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
        ("---\na:\n- b\n  c: d\n'e f': |\n  g\n\n  h\n---\n\ni", "i"),
        ('+++\na = """\nb\n"""\n+++\nc', "c"),
    ],
)
def test_front_matter_goes(text: str, left: str) -> None:
    assert cleaned(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nJust text.\n\n---\nmore",
        "---\na: b\nnever ends",
        "---\nNote: the gate is shut.\n\nNobody walks on the weir.\n---\nmore",
        "---\n- a\n- b: c\n---\nmore",
        "+++\nThe gate = shut, since\n+++\nmore",
        "a\n\n---\nb: c\n---",
        "+++\na = 1\n---\nb",
        "---\na: b\n----\nc",
        "---x\na: b\n---",
        "- - -\na: b\n---",
    ],
)
def test_a_thematic_break_is_no_front_matter(text: str) -> None:
    assert cleaned(text) == text


# MDX


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("import A from 'a'\nimport {B,\n  C as D} from \"b\";\n\n# E", "# E"),
        ("import 'a.css'\n\nb", "b"),
        ("import A, * as B from 'c'\nexport const meta = {\n  d: 'e',\n}\n\nf", "f"),
        ("export default function Page({a}) {\n  return a\n}\n\nb", "b"),
        ("export {a} from 'b'\n\nc", "c"),
        ("<Tabs>\n<Tab value='a'>\n\nOpen it.\n\n</Tab>\n</Tabs>", None),
        ("<Note type='a'>Mind the gap {1 + 1}.</Note>", None),
        ("<Script src='a' />\n\nb\n\n<Script>\nc()\n</Script>\n\nd", "b\n\n\nd"),
        ("```js\nimport A from 'a'\nexport const b = 1\n```", None),
        ('import duties rose from "2019" on', None),
        ("export of fish is good", None),
        ("- import A from 'a'", None),
    ],
)
def test_modules_of_mdx_go_and_its_text_stays(text: str, left: str | None) -> None:
    assert cleaned(text) == (text if left is None else left)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("---\na: b\n---\nc", DropRule.FRONT_MATTER),
        ("a <!-- b -->", DropRule.HIDDEN),
        ("a <script>b</script>", DropRule.MACHINE),
        ("<style>\na\n</style>\n\nb", DropRule.MACHINE),
        ("import a from 'b'\n\nc", DropRule.MACHINE),
        ("a \ufffd", DropRule.UNDECODABLE),
    ],
)
def test_what_is_dropped_is_counted_by_its_rule(text: str, rule: DropRule) -> None:
    account = clean_text(text, "markdown").account
    assert [each for each, _ in account.dropped] == [rule]
    assert (account.kept, account.received) == (1, visible_length(text))


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
    "imports": lambda n: "import a from 'b'\n" * n,
    "imports that never end": lambda n: "import {a,\n" * n,
    "import of spaces": lambda n: "import a" + " " * 4 * n,
    "exports": lambda n: "export const a = 1\n\n" * n,
    "export of spaces": lambda n: "export default function" + " " * 4 * n,
    "self-closed scripts": lambda n: "<Script a />\n\n" * n,
    "keys of front matter": lambda n: "---\n" + "a: b\n" * n + "---\nc",
    "no keys of front matter": lambda n: "---\na: b\n" + "a\n" * n + "---\nc",
    "quotes twenty deep": lambda n: (">" * 20 + "a\n") * (n // 10),
    "lists in lists": lambda n: stairs(int(n**0.5), "1. a") * 2,
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
    if not document.account.dropped:
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
    assert without_noise(text, AccountBuilder()) == (left, 0)
    assert markdown_blocks(text)
