"""reStructuredText → text without its marks, and blocks."""

import pytest

from corpus.clean.account import DropRule, visible_length
from corpus.clean.cleaner import clean_text
from corpus.clean.normalise import normalise
from tests.support.blocks import kinds
from tests.support.work import count_calls


def test_rst_structure() -> None:
    text = (
        "=====\nTitle\n=====\n\nIntro::\n\n    code 1\n\n      code 2\n\n"
        "Part\n----\n\n1. one\n2. two\n\n+---+---+\n| a | b |\n+---+---+\n"
    )
    assert kinds(clean_text(text, "rst")) == [
        ("heading", 1, "Title"),
        ("paragraph", 0, "Intro:"),
        ("code", 0, "    code 1\n\n      code 2"),
        ("heading", 2, "Part"),
        ("list_item", 0, "1. one"),
        ("list_item", 0, "2. two"),
        ("table", 0, "+---+---+\n| a | b |\n+---+---+"),
    ]


def levels(text: str) -> list[tuple[str, int]]:
    blocks = kinds(clean_text(text, "rst"))
    return [(content, level) for kind, level, content in blocks if kind == "heading"]


def test_levels_follow_the_order_in_which_styles_appear() -> None:
    text = "A\n~~~\n\nB\n===\n\nC\n~~~\n\n===\nD\n===\n\nE\n---"
    assert levels(text) == [
        ("A", 1),
        ("B", 2),
        ("C", 1),
        ("D", 3),
        ("E", 4),
    ]


def test_a_seventh_style_is_of_level_six() -> None:
    text = "\n\n".join(f"T\n{mark * 3}" for mark in "=-~^\"'`")
    assert [level for _, level in levels(text)] == [1, 2, 3, 4, 5, 6, 6]


@pytest.mark.parametrize(
    "text",
    [
        "word\n\n---\n\nword",  # a transition
        "long title here\n---",  # too short an underline
        " indented\n---------",
        "---\n\n---",
        "text\nTitle\n=====",  # in the middle of a paragraph
        "===",
        "=====\nTitle\n---",  # over and under differ
    ],
)
def test_no_heading(text: str) -> None:
    assert levels(text) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x::\n\n  a\n\n\n  b\n\nend", ["  a\n\n\n  b"]),
        (".. code-block:: sh\n   :x: y\n\n   run\n\nend", ["   run"]),
        (
            ".. code::\n\n   a `b`_ :c:`d`\n\n     .. note:: e\n\nend",
            ["   a `b`_ :c:`d`\n\n     .. note:: e"],
        ),
        ("* x::\n\n    a\n\n* y::\n\n  b", ["    a"]),
        ("x::\n\n> a\n> b\n\nc", ["> a\n> b"]),
        ("x::\n  a", ["  a"]),
        ("::\n\n  `a`_", ["  `a`_"]),
        (">>> a_\n1\n\nb", [">>> a_\n1"]),
        (".. math:: a = b_", ["a = b_"]),
        ("  x::\n\n    a\n\n  b", ["    a"]),
        ("x::\n\nnot indented", []),
        ("x::", []),
        (".. note::\n\n   text", []),
        ("x::\n\n  Title\n  =====", ["  Title\n  ====="]),
        ("x::\n\n\ty", ["\ty"]),
    ],
)
def test_literal_blocks(text: str, code: list[str]) -> None:
    blocks = kinds(clean_text(text, "rst"))
    assert [content for kind, _, content in blocks if kind == "code"] == code


def test_a_table_holds_no_list_items() -> None:
    table = "=== ===\n- a b\n1. c\n=== ==="
    assert kinds(clean_text(table, "rst")) == [("table", 0, table)]


def cleaned(text: str) -> str:
    return clean_text(text, "rst").text


# Marks inside a line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("See `the manual <https://a.b/c>`_.", "See the manual."),
        ("See `the\nmanual <https://a.b/c\nd>`__.", "See the\nmanual."),
        ("`<https://a.b>`_", "https://a.b"),
        ("`a b`_ and `c`__", "a b and c"),
        ("Weir_ and other_\n\n.. _Weir: https://a.b", "Weir and other_"),
        ("Weir\n====\n\nSee Weir_.", "Weir\n\nSee Weir."),
        ("snake_case_ and __init__", "snake_case_ and __init__"),
        (":func:`open` of :py:mod:`weir.gate`", "open of weir.gate"),
        (":class:`~weir.gate.Gate`, :func:`!open`", "Gate, open"),
        (":ref:`the gates <gates>` `a`:kbd:", "the gates a"),
        (":pep:`8`, :rfc:`2822`, :pep:`style <8>`", "PEP 8, RFC 2822, style"),
        ("10\\ :sup:`6` l of H\\ :sub:`2`\\ O", "10^6 l of H_2O"),
        ("`title` and _`target`", "title and target"),
        ("a [1]_ b [#note]_ c [CIT]_", "a [1] b [#note] c [CIT]"),
        ("``:a:`b` `c <d>`_ e_`` and ``\\*``", "``:a:`b` `c <d>`_ e_`` and ``\\*``"),
        ("\\*a\\* C:\\dir ``Type``\\s", "*a* C:\\dir ``Type``s"),
        ("*a* **b** 2 * 3 `open", "*a* **b** 2 * 3 `open"),
        (
            "|north| |none| |c|\n\n.. |north| replace:: the north\n   gate\n.. |c| unicode:: U+00A9",
            None,
        ),
        ("|logo|\n\n.. |logo| image:: a.png\n   :alt: A weir", "A weir"),
    ],
)
def test_links_and_roles_keep_their_text(text: str, shown: str | None) -> None:
    assert cleaned(text) == (shown or "the north gate |none| ©")


# Explicit markup


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            ".. note:: Mind the gap,\n   always.\n\n   More.",
            "Note: Mind the gap,\n   always.\n\n   More.",
        ),
        (".. warning::\n   :class: red\n\n   Hot.", "Warning:\n\n   Hot."),
        (".. warning::\n   Hot.\n   - a", "Warning:\n   Hot.\n   - a"),
        (".. admonition:: By the way\n   :class: x\n\n   Text.", "By the way\n\n   Text."),
        (".. versionadded:: 3.2\n   The gate.", "Added in version 3.2\n   The gate."),
        (".. function:: open(gate)\n              close(gate)\n   :module: m\n\n   Opens.", None),
        (".. image:: a.png\n   :alt: The weir\n   :width: 3", "The weir"),
        (".. figure:: a.png\n   :scale: 5\n\n   A caption.", "A caption."),
        (".. code-block:: sh\n   :caption: Run\n\n   run", "Run\n\n   run"),
        (".. csv-table:: Levels\n   :header: a, b\n\n   1, 2", "Levels\na, b\n   1, 2"),
        (".. raw:: html\n\n   <b>bold</b>", "bold"),
        (".. raw:: latex\n\n   \\bigskip\n\nb", "b"),
        (".. class:: special\n\ntext", "text"),
        (".. class:: Gate(name)\n\n   text", "Gate(name)\n\n   text"),
        (".. only:: html\n\n   text", "text"),
        (".. unknown:: title\n   :x: y\n\n   text", "title\n\n   text"),
        (".. toctree::\n   :maxdepth: 2\n\n   a\n   b\n\nc", "c"),
        (".. contents:: Table\n   :local:\n\nc", "c"),
        (".. _a: https://b\n.. __: c\n.. _`d: e`: f\n\ng", "g"),
        (".. [1] A note\n   goes on.\n.. [CIT] b", "[1] A note\n   goes on.\n[CIT] b"),
        (".. hidden\n   more\n\n   more\n\nshown", "shown"),
        ("..\n   hidden\n\nshown", "shown"),
        ("..\n\n   shown", "shown"),
        (".. note: a comment\n\nshown", "shown"),
        ("text\n.. not a comment", "text\n.. not a comment"),
        ("a\n\n----\n\nb", "a\n\n\nb"),
        (":orphan:\n\na", "a"),
        ("1. a\n\n   .. note:: b\n\n      c\n\n2. d", "1. a\n\nNote: b\n\n      c\n\n2. d"),
    ],
)
def test_directives_keep_their_titles_and_text(text: str, shown: str | None) -> None:
    if shown is None:
        shown = "open(gate)\n              close(gate)\n\n   Opens."
    assert cleaned(text).strip() == shown


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a\n=\n\nTitle\n=====", DropRule.MARKUP),
        ("`a <b>`_", DropRule.MARKUP),
        (".. a comment", DropRule.HIDDEN),
        (".. toctree::\n\n   a", DropRule.NAVIGATION),
        ("a\x1b[31mb", DropRule.MACHINE),
    ],
)
def test_what_is_dropped_is_counted_by_its_rule(text: str, rule: DropRule) -> None:
    account = clean_text(text, "rst").account
    assert [each for each, _ in account.dropped] == [rule]
    assert account.received == visible_length(text.replace("\x1b", ""))


def test_what_the_cleaner_adds_is_in_no_figure() -> None:
    text = ".. note:: :pep:`8` |a| b\n\n.. |a| replace:: long text of a substitution\n"
    document = clean_text(text, "rst")
    assert document.text == "Note: PEP 8 long text of a substitution b"
    assert document.account.kept == 2  # "8" and "b"
    assert document.account.received == visible_length(normalise(text))


# Hostile input. The number of calls stands for the time, so that a busy machine changes nothing.

HOSTILE = {
    "back-ticks": lambda n: "`" * 4 * n,
    "open back-ticks": lambda n: "a `b " * n,
    "open literals": lambda n: "``a " * n,
    "roles": lambda n: ":a" * 2 * n,
    "substitutions": lambda n: "|a " * n,
    "dots": lambda n: "a." * 2 * n,
    "underscores": lambda n: "a_" * 2 * n,
    "brackets": lambda n: "[a" * n,
    "escapes": lambda n: "\\" * 4 * n,
    "comments": lambda n: ".. a\n" * n,
    "empty comments": lambda n: "..\n\n" * n,
    "directives": lambda n: ".. a:: b\n" * n,
    "directives in directives": lambda n: stairs(int(n**0.5), ".. note::") * 2,
    "literal blocks": lambda n: "a::\n\n  b\n\n" * n,
    "one literal block": lambda n: "a::\n\n" + "  b\n\n" * n,
    "quoted literal blocks": lambda n: "a::\n\n" + "> b\n" * n,
    "tables without an end": lambda n: "== ==\na b\n\n" * n,
    "grids": lambda n: "+--+\n|a |\n" * n,
    "titles": lambda n: "a\n=\nTitle\n=====\n\n" * n,
    "rules": lambda n: "----\n\n" * n,
    "items": lambda n: "- a\n" * n,
    "definitions": lambda n: ".. |a| replace:: b\n" * n,
    "targets": lambda n: ".. _a: b\n" * n,
    "long line": lambda n: "a " * 2 * n,
    "spaces": lambda n: "a" + " " * 4 * n + "b",
}


def stairs(steps: int, line: str) -> str:
    return "".join(f"{'   ' * step}{line}\n\n" for step in range(steps))


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_input_is_twice_the_work(name: str) -> None:
    make = HOSTILE[name]

    def work(size: int) -> int:
        text = make(size)
        return count_calls(lambda: clean_text(text, "rst"))

    work(10)  # compiles patterns
    small, large = work(1_000), work(2_000)
    assert large <= 2.3 * small + 500


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_read_well_within_the_time_limit(name: str) -> None:
    text = HOSTILE[name](40_000)
    document = clean_text(text, "rst")
    assert document.account.received == visible_length(normalise(text))
