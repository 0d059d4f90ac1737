"""Normal text → blocks, for plain text, Markdown and reStructuredText.

Line scanners: each looks at a line once, so no input is slow, and the text stays as its author wrote it: nothing is
rendered, included or fetched.
"""

import re
from bisect import bisect_right

from corpus.clean.blocks import Block, BlockKind
from corpus.clean.normalise import tidy_lines

_LIST_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,9}[.)]|#\.|\[\d+\]|\.\. \[[^\]\s]{1,40}\])\s+\S")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:\s|$)")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})$")
_RST_RULE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}$")
_RST_TABLE = re.compile(r"\s*(?:\+[-=+]+\+|={2,}(?: +={2,})+)$")
_RST_DIRECTIVE = re.compile(
    r"\s*\.\. (?:code|code-block|sourcecode|parsed-literal|productionlist)::"
)


class _Builder:
    """Collects lines into blocks; offsets are characters in the whole text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        self.blocks: list[Block] = []
        self._start = -1
        self._end = -1
        self._kind = BlockKind.PARAGRAPH

    def open(self, start: int, kind: BlockKind) -> None:
        self.close()
        self._start, self._kind = start, kind

    def extend(self, start: int, line: str, kind: BlockKind = BlockKind.PARAGRAPH) -> None:
        """Add a line that is not blank; opens a block of `kind` if none is open."""
        if self._start < 0:
            self.open(start, kind)
        self._end = start + len(line)

    def close(self) -> None:
        if self._start >= 0:
            self.blocks.append(_trimmed(self.text, self._start, self._end, self._kind))
        self._start = -1

    def heading(self, start: int, end: int, level: int) -> None:
        self.close()
        self.blocks.append(
            Block(_first_visible(self.text, start, end), end, BlockKind.HEADING, level)
        )

    def retract(self, start: int) -> None:
        """Give back the last line of the open block, which starts at `start`."""
        if start <= self._start:
            self._start = -1
        else:
            self._end = start - 1
            self.close()

    @property
    def kind(self) -> BlockKind | None:
        """Of the open block; None if none is open."""
        return self._kind if self._start >= 0 else None

    def finish(self) -> tuple[Block, ...]:
        self.close()
        return tuple(self.blocks)


def _first_visible(text: str, start: int, end: int) -> int:
    while start < end - 1 and text[start] in " \t":
        start += 1
    return start


def _trimmed(text: str, start: int, end: int, kind: BlockKind) -> Block:
    # Code keeps the indentation of its first line.
    return Block(start if kind is BlockKind.CODE else _first_visible(text, start, end), end, kind)


def plain_blocks(text: str) -> tuple[Block, ...]:
    """Paragraphs (between blank lines) and list items."""
    build = _Builder(text)
    offset = 0
    for line in build.lines:
        if not line:
            build.close()
        else:
            if _LIST_ITEM.match(line):
                build.open(offset, BlockKind.LIST_ITEM)
            build.extend(offset, line)
        offset += len(line) + 1
    return build.finish()


def markdown_blocks(text: str) -> tuple[Block, ...]:
    """Headings (both forms), fenced code, tables, list items, paragraphs."""
    build = _Builder(text)
    offset = 0
    fence = ""
    previous = ""
    for line in build.lines:
        if fence:
            if line:
                build.extend(offset, line, BlockKind.CODE)
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = ""
                build.close()
        elif opened := _FENCE.match(line):
            fence = opened.group(1)
            build.open(offset, BlockKind.CODE)
            build.extend(offset, line)
        else:
            _markdown_line(build, offset, line, previous)
        previous = "" if fence else line
        offset += len(line) + 1
    return build.finish()


def _markdown_line(build: _Builder, offset: int, line: str, previous: str) -> None:
    if not line:
        build.close()
    elif atx := _ATX.match(line):
        build.heading(offset, offset + len(line), len(atx.group(1)))
    elif (
        build.kind is BlockKind.PARAGRAPH and (rule := _SETEXT.match(line)) and "|" not in previous
    ):
        _underline(build, offset, line, previous, 1 if rule.group(1)[0] == "=" else 2)
    elif line.lstrip().startswith("|"):
        if build.kind is not BlockKind.TABLE:
            build.open(offset, BlockKind.TABLE)
        build.extend(offset, line)
    else:
        if _LIST_ITEM.match(line):
            build.open(offset, BlockKind.LIST_ITEM)
        elif build.kind is BlockKind.TABLE:
            build.close()
        build.extend(offset, line)


def _underline(build: _Builder, offset: int, line: str, title: str, level: int) -> None:
    """The open paragraph's last line was a title; what stood before it remains a paragraph."""
    title_start = offset - 1 - len(title)
    build.retract(title_start)
    build.heading(title_start, offset + len(line), level)


def rst_blocks(text: str) -> tuple[Block, ...]:
    """Headings (with or without overline), literal blocks, tables, list items, paragraphs.

    A heading's level is the order in which its underline style first appears, as docutils has it.
    """
    build = _Builder(text)
    lines = build.lines
    styles: dict[str, int] = {}
    literal = (
        -1
    )  # indentation of the line that announced a literal block, which is deeper; -1: none
    offset = number = 0
    while number < len(lines):
        line = lines[number]
        used = 1
        if not line:
            if build.kind is not BlockKind.CODE:
                build.close()
        elif literal >= 0 and _indent(line) > literal:
            if build.kind is not BlockKind.CODE:
                build.open(offset, BlockKind.CODE)
            build.extend(offset, line)
        else:
            if build.kind is BlockKind.CODE:
                build.close()
            used = _rst_heading(build, offset, lines, number, styles)
            if not used:
                _rst_line(build, offset, line)
            announces = not used and (
                _RST_DIRECTIVE.match(line) or (line.endswith("::") and ".. " not in line)
            )
            literal = _indent(line) if announces else -1
            used = used or 1
        offset += sum(len(lines[at]) + 1 for at in range(number, number + used))
        number += used
    return build.finish()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _rst_heading(
    build: _Builder, offset: int, lines: list[str], number: int, styles: dict[str, int]
) -> int:
    """Add the heading that starts at this line, if one does; return how many lines it has."""
    line, after, third = (
        lines[at] if at < len(lines) else "" for at in (number, number + 1, number + 2)
    )
    if build.kind is not None or not after:
        return 0
    if _RST_RULE.match(line) and after.strip() and third == line:
        style, used, end = line[0] * 2, 3, offset + len(line) + 1 + len(after) + 1 + len(third)
    elif (
        _RST_RULE.match(after)
        and len(after) >= len(line) - 3
        and not _RST_RULE.match(line)
        and line[0] != " "
    ):
        style, used, end = after[0], 2, offset + len(line) + 1 + len(after)
    else:
        return 0
    build.heading(offset, end, min(styles.setdefault(style, len(styles) + 1), 6))
    return used


def _rst_line(build: _Builder, offset: int, line: str) -> None:
    if _RST_TABLE.match(line) and build.kind is not BlockKind.TABLE:
        build.open(offset, BlockKind.TABLE)
    elif _LIST_ITEM.match(line) and build.kind is not BlockKind.TABLE:
        build.open(offset, BlockKind.LIST_ITEM)
    build.extend(offset, line)


# What is not text in Markdown

# A thematic break looks like the start of YAML; only a key after it tells.
_FRONT_MATTER = re.compile(
    r"(?:(---)\n(?:#.*\n|\n)*[\w\"'-][\w \"'.-]*:(?:\s|$)|(\+\+\+)\n(?:#.*\n|\n)*[\w\"'.\[-]+\s*[=\].])"
)
_NOISE = re.compile(r"<!--|<(script|style)(?=[\s>/])", re.IGNORECASE)
_NOISE_END = {kind: re.compile(rf"</{kind}\s*>", re.IGNORECASE) for kind in ("script", "style")}


def without_markdown_noise(text: str) -> str:
    """Take out front matter, comments, scripts and style sheets; code keeps them, since there they are text."""
    text = _without_front_matter(text)
    if _NOISE.search(text) is None:
        return text
    parts: list[str] = []
    code = _code_ranges(text)
    endless: set[str | None] = set()
    kept = at = 0
    while (start := _NOISE.search(text, at)) is not None:
        at = start.end()
        inside = bisect_right(code, start.start()) % 2 == 1
        line = text.rfind("\n", 0, start.start()) + 1
        if inside or start.group(1) in endless or text.count("`", line, start.start()) % 2:
            continue
        end = _noise_end(text, start)
        if end < 0:
            endless.add(start.group(1))
            continue
        parts.append(text[kept : start.start()])
        kept = at = end
    parts.append(text[kept:])
    return tidy_lines("".join(parts))


def _without_front_matter(text: str) -> str:
    """YAML or TOML between two marks at the very beginning."""
    mark = _FRONT_MATTER.match(text)
    if mark is None:
        return text
    fence = mark.group(1) or mark.group(2)
    end = re.compile(rf"\n{re.escape(fence)}(?:\n|$)").search(text, 3)
    return text[end.end() :].strip("\n") if end else text


def _code_ranges(text: str) -> list[int]:
    """Offsets where fenced code starts and ends, in turn."""
    return [
        edge
        for block in markdown_blocks(text)
        if block.kind is BlockKind.CODE
        for edge in (block.start, block.end)
    ]


def _noise_end(text: str, start: re.Match[str]) -> int:
    """Offset behind a comment, script or style sheet; -1 if it never ends."""
    if start.group(1) is None:
        end = text.find("-->", start.end())
        return end + 3 if end >= 0 else -1
    closing = _NOISE_END[start.group(1).lower()].search(text, start.end())
    return closing.end() if closing else -1
