"""Data that is written into a text for machines: data URIs, long base64, minified lines. Each becomes a placeholder.

What only resembles it stays: hashes and keys (too short), addresses, words without spaces in any script, sequences of
letters such as DNA. Each character is looked at a fixed number of times.
"""

import re
from collections.abc import Iterator

from corpus.clean.account import AccountBuilder, DropRule
from corpus.clean.cuts import Cut, apart, without

# Of a payload in text, in characters. A shorter one costs less than half a chunk.
_MIN_DATA_URI = 128
_MIN_BASE64 = 256
_MIN_MINIFIED_LINE = 2_000
# In code a person may have written a shorter one, to be read.
MIN_IN_CODE = 1_000
# An address may hold so long a part.
_MAX_IN_ADDRESS = 8_192

_DATA_URI = re.compile(
    r"\bdata:(?P<type>[a-z0-9.+-]+/[a-z0-9.+-]+)?(?P<parameters>(?:;[\w.=+-]+)*)"
    r",(?P<data>[^\s\"'<>()\[\]{}`\\|]*)",
    re.IGNORECASE,
)
_BASE64 = re.compile(rf"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{{{_MIN_BASE64},}}={{0,2}}")
# As in mail and certificates: lines of one length, and a last one.
_BASE64_LINES = re.compile(
    r"^(?:[ \t>]*[A-Za-z0-9+/]{48,100}\n){3,}[ \t>]*[A-Za-z0-9+/]{1,100}={0,2}$",
    re.MULTILINE,
)
_LONG_LINE = re.compile(rf"^[^\n]{{{_MIN_MINIFIED_LINE},}}$", re.MULTILINE)

# Shares of a text: base64 uses all of its alphabet, prose and sequences of letters do not.
_SAMPLE = 4_096
_MIN_DISTINCT = 30
_MIN_CASE_SHARE = 0.1
_MIN_DIGIT_SHARE = 0.02
_MAX_MARK_SHARE = 0.12
_WORD = re.compile("[a-z]{20}")
# Of a minified line.
_MAX_SPACE_SHARE = 0.05
_MIN_STATEMENT_SHARE = 0.015
_MIN_BRACE_SHARE = 0.01


def payloads(text: str) -> list[Cut]:
    """Return the payloads of a text in order, without overlap."""
    if not _may_hold_payload(text):
        return []
    return apart((*_data_uris(text), *_base64(text), *_minified_lines(text)))


def without_payloads(
    text: str, account: AccountBuilder, min_length: int = 0
) -> tuple[str, int]:
    """Put placeholders for payloads of at least so many characters.

    Returns:
        The text, and how many characters of it are placeholders.
    """
    chosen = [cut for cut in payloads(text) if cut.end - cut.start >= min_length]
    return without(text, chosen, account)


def _may_hold_payload(text: str) -> bool:
    if "data:" in text or "DATA:" in text:
        return True
    longest = max(map(len, text.split("\n")))
    return longest >= _MIN_BASE64 or _BASE64_LINES.search(text) is not None


def _data_uris(text: str) -> Iterator[Cut]:
    for uri in _DATA_URI.finditer(text):
        length = len(uri["data"])
        if length >= _MIN_DATA_URI:
            is_base64 = uri["parameters"].lower().endswith(";base64")
            size = length * 3 // 4 if is_base64 else length
            label = f"[data: {uri['type'] or 'text/plain'}, {_size(size)}]"
            yield Cut(*uri.span(), DropRule.MACHINE, label)


def _base64(text: str) -> Iterator[Cut]:
    for run in _BASE64.finditer(text):
        if _is_base64(run[0]) and not _is_in_address(text, run):
            yield Cut(*run.span(), DropRule.MACHINE, _base64_label(run[0]))
    for lines in _BASE64_LINES.finditer(text):
        block = _one_block(lines[0])
        content = "".join(block.replace(">", "").split())
        if len(content) >= _MIN_BASE64 and _is_base64(content):
            end = lines.start() + len(block)
            yield Cut(lines.start(), end, DropRule.MACHINE, _base64_label(content))


def _one_block(lines: str) -> str:
    """Return the lines of one width, and the last one if it is base64: a word may follow."""
    parts = lines.split("\n")
    width = len(parts[0])
    block: list[str] = []
    for line in parts:
        if len(line) == width:
            block.append(line)
            continue
        is_end = len(line) < width
        if is_end and _ends_base64(line):
            block.append(line)
        break
    return "\n".join(block)


def _ends_base64(line: str) -> bool:
    content = line.strip("> \t")
    return content.endswith("=") or (len(content) >= 16 and len(content) % 4 == 0)


def _base64_label(content: str) -> str:
    return f"[base64: {_size(len(content) * 3 // 4)}]"


def _is_base64(content: str) -> bool:
    sample = content[:_SAMPLE]
    length = len(sample)
    letters = [character for character in sample if character.isalpha()]
    upper = sum(map(str.isupper, letters))
    digits = sum(map(str.isdigit, sample))
    marks = length - len(letters) - digits
    return (
        len(set(sample)) >= _MIN_DISTINCT
        and min(upper, len(letters) - upper) >= _MIN_CASE_SHARE * length
        and digits >= _MIN_DIGIT_SHARE * length
        and marks <= _MAX_MARK_SHARE * length
        and _WORD.search(sample) is None
    )


def _is_in_address(text: str, run: re.Match[str]) -> bool:
    """Does the run belong to an address such as a signed link?"""
    if len(run[0]) > _MAX_IN_ADDRESS:
        return False
    before = text[max(run.start() - 2_000, 0) : run.start()]
    if not before or before[-1].isspace():
        return False
    return "://" in before.rsplit(None, 1)[-1]


def _minified_lines(text: str) -> Iterator[Cut]:
    for line in _LONG_LINE.finditer(text):
        if _is_minified(line[0]):
            label = f"[minified: {_size(len(line[0]))}]"
            indentation = len(line[0]) - len(line[0].lstrip())
            start = line.start() + indentation
            yield Cut(start, line.end(), DropRule.MACHINE, label)


def _is_minified(line: str) -> bool:
    """Is the line a program or a style sheet without spaces? Data (JSON, CSV) may be such a line as well, and stays."""
    length = len(line)
    spaces = line.count(" ") + line.count("\t")
    statements = line.count(";") + line.count("=")
    braces = line.count("{") + line.count("}")
    return (
        spaces <= _MAX_SPACE_SHARE * length
        and statements >= _MIN_STATEMENT_SHARE * length
        and braces >= _MIN_BRACE_SHARE * length
    )


def _size(size: int) -> str:
    unit = "bytes"
    for larger in ("KB", "MB"):
        if size < 1_000:
            break
        unit = larger
        size = round(size / 1_000)
    return f"{size} {unit}"
