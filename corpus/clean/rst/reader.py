"""reStructuredText → text without its marks, and its blocks.

A scanner of our own, which looks at each line a fixed number of times. docutils, the reference parser, gives no line
ranges (only the line near which a node begins, for some nodes none), may read files that a document includes, and takes
19 times as long. What is a title, a comment or a literal block is as docutils reads it.
"""

import re

from corpus.clean.account import AccountBuilder, DropRule, visible_length
from corpus.clean.blocks import Block, BlockKind
from corpus.clean.html_depth import strip_tags
from corpus.clean.normalise import tidy_lines
from corpus.clean.payload import MIN_IN_CODE, without_payloads
from corpus.clean.plain import LIST_ITEM
from corpus.clean.rst import directives
from corpus.clean.rst.inline import InlineReader
from corpus.clean.rst.lines import (
    DIRECTIVE,
    EXPLICIT,
    FOOTNOTE,
    GRID,
    RULE,
    SIMPLE,
    SUBSTITUTION,
    TARGET,
    header_lines,
    heading_at,
    indentation_of,
    is_explicit_inside,
    list_pieces,
)
from corpus.clean.rst.names import defined_names
from corpus.clean.rst.output import Output

_MIN_TRANSITION = 4
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]")
_MAX_LEVEL = 6

_OPTION = re.compile(r"\s*:(?P<name>[A-Za-z][\w-]{0,60}):(?:\s+(?P<value>.*))?$")
_CSS_CLASS = re.compile(r"[a-z][a-z0-9 -]*$")
# Fields at the beginning of a file that are for programs.
_FILE_FIELD = re.compile(r":(?:orphan|tocdepth|nocomments|nosearch):")


def read_rst(text: str, account: AccountBuilder) -> tuple[str, tuple[Block, ...], int]:
    """Return the text, its blocks, and how many characters of it are no characters of the document.

    Blocks are headings (with or without overline), literal blocks, tables, list items, paragraphs. A heading's level is
    the order in which its underline style first appears, as docutils has it.
    """
    return _Scanner(text, account).read()


class _Scanner:
    def __init__(self, text: str, account: AccountBuilder) -> None:
        self._lines = text.split("\n")
        self._account = account
        self._inline = InlineReader(defined_names(text), account)
        self._output = Output()
        self._levels: dict[str, int] = {}
        # Indentation of the line that announced a literal block, which is indented more; None: no such line.
        self._announced: int | None = None

    def read(self) -> tuple[str, tuple[Block, ...], int]:
        number = 0
        while number < len(self._lines):
            number = self._read_block(number)
        text, blocks = self._output.finish()
        return text, blocks, self._inline.added

    def _read_block(self, number: int) -> int:
        """Read what starts at a line; return the line behind it."""
        line = self._lines[number]
        if not line:
            self._output.blank()
            return number + 1
        announced = self._announced
        self._announced = None
        if announced is not None:
            end = self._literal_end(number, announced)
            if end > number:
                return self._read_code(number, end)
        is_doctest = line.lstrip().startswith(">>> ")
        if is_doctest:
            end = self._paragraph_end(number)
            return self._read_code(number, end)
        if EXPLICIT.match(line):
            return self._read_explicit(number)
        end = self._read_heading(number)
        if not end:
            end = self._read_rule(number)
        if not end:
            end = self._read_text(number)
        return end

    # Where something ends

    def _paragraph_end(self, number: int) -> int:
        while number < len(self._lines) and self._lines[number]:
            number += 1
        return number

    def _body_end(self, number: int, indentation: int) -> int:
        """The line behind what is indented more, from line `number` on; without blank lines at the end."""
        end = number
        while number < len(self._lines):
            line = self._lines[number]
            number += 1
            if not line:
                continue
            if indentation_of(line) <= indentation:
                break
            end = number
        return end

    def _header_end(self, number: int, indentation: int) -> int:
        """The line behind those that are indented more, up to the next blank line."""
        while number < len(self._lines):
            line = self._lines[number]
            if not line:
                break
            if indentation_of(line) <= indentation:
                break
            number += 1
        return number

    def _literal_end(self, number: int, announced: int) -> int:
        line = self._lines[number]
        indentation = indentation_of(line)
        if indentation > announced:
            return self._body_end(number, announced)
        if indentation < announced or not _PUNCTUATION.match(line, indentation):
            return number
        start = line[: indentation + 1]  # each line is quoted by one mark
        while number < len(self._lines) and self._lines[number].startswith(start):
            number += 1
        return number

    # Blocks

    def _read_code(self, number: int, end: int) -> int:
        code = "\n".join(self._lines[number:end])
        code, added = without_payloads(code, self._account, MIN_IN_CODE)
        self._inline.added += added
        self._output.add(BlockKind.CODE, code)
        return end

    def _read_heading(self, number: int) -> int:
        """Read the heading that starts at a line; return the line behind it, 0 if there is none."""
        heading = heading_at(self._lines[number : number + 3])
        if heading is None:
            return 0
        title = self._lines[number + (heading.lines == 3)]
        level = self._levels.setdefault(heading.style, len(self._levels) + 1)
        rule = self._lines[number + heading.lines - 1]
        for _ in range(heading.lines - 1):
            self._account.drop(DropRule.MARKUP, rule)
        title = self._inline.read(title.strip())
        self._output.add(BlockKind.HEADING, title, min(level, _MAX_LEVEL))
        return number + heading.lines

    def _read_rule(self, number: int) -> int:
        """Read a transition or a table; return the line behind it, 0 if there is none."""
        line = self._lines[number]
        end = self._paragraph_end(number)
        is_alone = end == number + 1
        if is_alone and RULE.match(line) and len(line) >= _MIN_TRANSITION:
            self._account.drop(DropRule.MARKUP, line)
            return end
        if SIMPLE.match(line):
            end = self._simple_table_end(number)
        elif not GRID.match(line):
            return 0
        lines = self._lines[number:end]
        rows = "\n".join(map(self._inline.read, lines))
        self._output.add(BlockKind.TABLE, rows, header_lines=header_lines(lines))
        return end

    def _simple_table_end(self, number: int) -> int:
        """The line behind the second border after the first one, or behind a border before a blank line."""
        borders = 0
        for line in range(number + 1, len(self._lines)):
            if SIMPLE.match(self._lines[line]):
                borders += 1
                if borders == 2 or self._lines[line + 1 : line + 2] in ([], [""]):
                    return line + 1
        return self._paragraph_end(number)

    def _read_text(self, number: int) -> int:
        """Read lines up to a blank one, or up to one that begins something else."""
        end = number + 1
        while end < len(self._lines) and self._lines[end]:
            if is_explicit_inside(self._lines[end]) or self._begins_literal(end):
                break
            end += 1
        lines = self._lines[number:end]
        if number == 0:
            lines = self._without_file_fields(lines)
        self._add_text(lines)
        return end

    def _begins_literal(self, number: int) -> bool:
        before = self._lines[number - 1]
        line = self._lines[number]
        is_deeper = indentation_of(line) > indentation_of(before)
        return is_deeper and before.endswith("::")

    def _without_file_fields(self, lines: list[str]) -> list[str]:
        for line in filter(_FILE_FIELD.match, lines):
            self._account.drop(DropRule.MARKUP, line)
        return [line for line in lines if not _FILE_FIELD.match(line)]

    def _add_text(self, lines: list[str]) -> None:
        """Add list items and a paragraph, each without its marks."""
        if not lines:
            return
        lines = [*lines[:-1], *self._without_announcement(lines[-1])]
        for kind, piece in list_pieces(lines):
            shown = self._inline.read(piece)
            shown, added = without_payloads(shown, self._account)
            self._inline.added += added
            self._output.add(kind, shown)

    def _without_announcement(self, line: str) -> list[str]:
        """A line without the colons that announce a literal block, of which one is shown where text is before them."""
        if not line.endswith("::"):
            return [line]
        item = LIST_ITEM.match(line)
        self._announced = item.end() - 1 if item else indentation_of(line)
        text = line.removesuffix("::")
        shown = f"{text}:" if text == text.rstrip() else text.rstrip()
        if not text.strip():
            shown = ""
        self._drop_but(shown, line)
        return [shown] if shown else []

    def _drop_but(self, kept: str, line: str) -> None:
        dropped = visible_length(line) - visible_length(kept)
        self._account.count(DropRule.MARKUP, dropped, line)

    # Explicit markup: comments, targets, footnotes, substitutions, directives

    def _read_explicit(self, number: int) -> int:
        line = self._lines[number]
        indentation = indentation_of(line)
        marked = line[indentation + 3 :]
        header_end = self._header_end(number + 1, indentation)
        if FOOTNOTE.match(marked):
            self._account.drop(DropRule.MARKUP, "..")
            self._add_text([marked, *self._lines[number + 1 : header_end]])
            return header_end
        if TARGET.match(marked):
            return self._drop(number, header_end, DropRule.MARKUP)
        directive = DIRECTIVE.match(marked)
        if directive is not None:
            return self._read_directive(number, indentation, directive)
        end = self._body_end(number + 1, indentation)
        if SUBSTITUTION.match(marked):
            return self._drop(number, end, DropRule.MARKUP)
        is_empty = not marked and header_end == number + 1
        return self._drop(number, number + 1 if is_empty else end, DropRule.HIDDEN)

    def _drop(self, number: int, end: int, rule: DropRule) -> int:
        self._account.drop(rule, "\n".join(self._lines[number:end]))
        return end

    def _read_directive(
        self, number: int, indentation: int, directive: re.Match[str]
    ) -> int:
        name = directive["name"].lower()
        argument = directive["argument"] or ""
        end = self._body_end(number + 1, indentation)
        if name in directives.NAVIGATION:
            return self._drop(number, end, DropRule.NAVIGATION)
        if name in directives.HIDDEN:
            return self._drop(number, end, DropRule.HIDDEN)
        if name == directives.RAW:
            return self._read_raw(number, end, argument)
        if not self._is_text(name, argument, has_content=end > number + 1):
            argument = ""
        self._drop_but(argument, self._lines[number])
        if name in directives.CODE:
            return self._read_code_directive(number, end, argument)
        return self._read_text_directive(number, end, indentation, name, argument)

    @staticmethod
    def _is_text(name: str, argument: str, *, has_content: bool) -> bool:
        if name in directives.CODE:
            return name in directives.CODE_IN_ARGUMENT
        if name == directives.CLASS and not has_content:
            return _CSS_CLASS.match(argument) is None
        return name not in directives.WITHOUT_ARGUMENT

    def _read_raw(self, number: int, end: int, output_format: str) -> int:
        """The text of HTML; other formats are not what a reader sees."""
        if output_format.strip().lower() != "html":
            return self._drop(number, end, DropRule.HIDDEN)
        start = self._options_end(number + 1, end)
        self._drop(number, start, DropRule.MARKUP)
        content = "\n".join(self._lines[start:end])
        shown = strip_tags(content)
        self._drop_but(shown, content)
        self._output.add(BlockKind.PARAGRAPH, tidy_lines(shown))
        return end

    def _read_code_directive(self, number: int, end: int, argument: str) -> int:
        if argument:
            self._output.add(BlockKind.CODE, argument)
        start = self._options_end(number + 1, end)
        self._add_options(number + 1, start)
        while start < end and not self._lines[start]:
            self._output.blank()
            start += 1
        return self._read_code(start, end) if start < end else end

    def _read_text_directive(
        self, number: int, end: int, indentation: int, name: str, argument: str
    ) -> int:
        """Add label, argument and shown options; the content is read like any text."""
        header_end = min(self._header_end(number + 1, indentation), end)
        label = directives.LABELS.get(name, "")
        self._inline.added += visible_length(label)
        options = number + 1
        more: list[str] = []
        if argument:
            while options < header_end and not _OPTION.match(self._lines[options]):
                options += 1
            more = self._lines[number + 1 : options]
        self._add_text(
            [line for line in (f"{label} {argument}".strip(), *more) if line]
        )
        start = self._options_end(options, header_end)
        self._add_options(options, start)
        if name == directives.ROWS:
            rows = self._inline.read("\n".join(self._lines[start:end]))
            self._output.add(BlockKind.TABLE, rows)
            return end
        return start

    def _options_end(self, number: int, end: int) -> int:
        """The line behind the options that begin at a line, with the lines that continue them."""
        if number >= end or not _OPTION.match(self._lines[number]):
            return number
        while number < end and self._lines[number]:
            number += 1
        return number

    def _add_options(self, number: int, end: int) -> None:
        """Add the values of options that people read."""
        shown = False
        for line in self._lines[number:end]:
            option = _OPTION.match(line)
            if option is not None:
                shown = option["name"].lower() in directives.SHOWN_OPTIONS
            value = line.strip() if option is None else option["value"] or ""
            if not shown:
                value = ""
            self._drop_but(value, line)
            self._output.add(BlockKind.PARAGRAPH, self._inline.read(value))
