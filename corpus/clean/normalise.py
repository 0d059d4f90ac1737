"""Received text → normal text: one form per character, one kind of line end, nothing invisible that is not spelling.

`normalise(normalise(x)) == normalise(x)`, and the time is linear in the text's length.
"""

import codecs
import re
import unicodedata
from functools import cache

from corpus.clean.account import AccountBuilder, DropRule
from corpus.clean.terminal import as_shown

# Loaded here: a process that reads documents can load nothing once it is confined.
_UTF_16 = codecs.lookup("utf-16-le").name

# Not text: C0 and C1 controls, soft hyphen, zero-width space and word joiner, byte order marks, direction marks and
# overrides, invisible operators, interlinear annotations, tags, noncharacters. Tab and newline stay.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e00ff]"
)
_INVISIBLE_ASCII = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_NEWLINES_ASCII = re.compile("\r\n?|[\x0b\x0c]")
_SPACES = re.compile("[\xa0\u2000-\u200a\u202f\u205f]")
# The only three flags that are spelled with tag characters: England, Scotland, Wales.
_TAG_FLAG = re.compile(
    "\U0001f3f4\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067"
    "|\U000e0073\U000e0063\U000e0074"
    "|\U000e0077\U000e006c\U000e0073)"
    "\U000e007f"
)
_OVERSTRIKE = (
    (re.compile("([^\n\b])(?:\b\\1)+"), r"\1"),
    (re.compile("_\b([^\n\b])"), r"\1"),
    (re.compile("([^\n\b])\b_"), r"\1"),
)
_MANY_BLANK_LINES = re.compile("\n{4,}")

_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_JOINERS = "\u200c\u200d"
# A class first: the search skips by it.
_JOINING_RUN = re.compile(f"[{_SELECTORS}{_JOINERS}][{_SELECTORS}{_JOINERS}]*")
# A joiner is spelling after letters of scripts that join or stack (Hebrew to Mongolian, and their later blocks) and in
# emoji.
_TAKES_JOINER = re.compile(
    "[\u0590-\u1cff\u2190-\u2bff\u3030\u303d\ufb1d-\ufdff\ufe70-\ufefc\ua800-\uabff"
    "\U00010800-\U0001ffff]"
)
# A selector chooses a form of an emoji, a symbol, a keycap's digit, or an ideograph; elsewhere it hides bytes.
_TAKES_SELECTOR = re.compile(
    "[#*0-9\xa9\xae\u1000-\u109f\u1820-\u18af\u2010-\u2027\u2030-\u205e\u20e3\u2100-\u2bff\u3000-\u303f"
    "\u3200-\u9fff\ua840-\ua877\uf900-\ufaff"
    "\U00010ac0-\U00010aff\U0001f000-\U0001faff\U00020000-\U0003ffff]"
)
_IDEOGRAPH = re.compile("[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")

# Marks on one letter that are kept: what Unicode's Stream-Safe Text Format allows. Ordering longer runs is quadratic.
_MARKS = 30
# Blocks of Unicode that have marks, letters among them: nine times as fast to search for as the marks themselves.
_SOME_MARKS = (
    "\u0300-\u1dff\u20d0-\u20ff\u2cef-\u2dff\u302a-\u309a\ua66f-\uabff\ufb1e\ufe20-\ufe2f"
    "\U000101fd-\U0001e94a"
)
_PERHAPS_MANY_MARKS = re.compile(f"[{_SOME_MARKS}][{_SOME_MARKS}]{{{_MARKS}}}")


def normalise(text: str, account: AccountBuilder | None = None) -> str:
    """Return the normal form of `text`, without blank lines around it.

    1. a terminal's escape sequences and overwritten states go; the account has them
    2. one code point per character (surrogates joined or replaced), one kind of line end
    3. what is not text goes; no one sees it, so no account has it
    4. NFC, marks capped, joiners and variation selectors only where they are spelling
    5. no space at a line's end, at most two blank lines together

    One line that Python calls printable has nothing for steps 1 to 3, and in ASCII nothing for step 4: so most lines.
    """
    is_line = text.isprintable()
    if is_line and text.isascii():
        return text.rstrip()
    account = account or AccountBuilder()
    if is_line:
        composed = _composed(text, account)
        joined = _joined_where_spelling(composed, account)
        return joined.rstrip()
    text = as_shown(text, account)  # 1.
    if text.isascii():
        visible = _visible_ascii(text)  # 2., 3.
    else:
        visible = _visible(text, account)  # 2., 3., 4.
    return tidy_lines(visible)  # 5.


def _visible_ascii(text: str) -> str:
    text = _one_line_end(text, _NEWLINES_ASCII)
    if _INVISIBLE_ASCII.search(text) is None:
        return text
    plain = _without_overstrike(text)
    return _INVISIBLE_ASCII.sub("", plain)


def _visible(text: str, account: AccountBuilder) -> str:
    text = _one_line_end(whole_code_points(text), _NEWLINES)
    text = _SPACES.sub(" ", text)
    if _INVISIBLE.search(text):
        text = _without_invisible(_without_overstrike(text))
    return _joined_where_spelling(_composed(text, account), account)


def tidy_lines(text: str) -> str:
    """Return the text with no space at a line's end, at most two blank lines together, none around it."""
    may_have_spaces = " \n" in text or "\t\n" in text or not text.isascii()
    if may_have_spaces:
        text = "\n".join(map(str.rstrip, text.split("\n")))
    text = text.rstrip()
    if "\n\n\n\n" in text:
        text = _MANY_BLANK_LINES.sub("\n\n\n", text)
    return text.lstrip("\n")


def _one_line_end(text: str, newlines: re.Pattern[str]) -> str:
    if newlines.search(text) is None:
        return text
    return newlines.sub("\n", text)


def whole_code_points(text: str) -> str:
    """Join surrogate pairs that came as two escapes; a lone half becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        pairs = text.encode(_UTF_16, "surrogatepass")
        return pairs.decode(_UTF_16, "replace")
    return text


def _without_overstrike(text: str) -> str:
    """Return the text with bold and underline of a line printer ("x BACKSPACE x") as plain letters."""
    if "\b" in text:
        for pattern, kept in _OVERSTRIKE:
            text = pattern.sub(kept, text)
    return text


def _without_invisible(text: str) -> str:
    if "\U000e007f" not in text:
        return _INVISIBLE.sub("", text)
    parts: list[str] = []
    after_flag = 0
    for flag in _TAG_FLAG.finditer(text):
        between = text[after_flag : flag.start()]
        parts += (_INVISIBLE.sub("", between), flag.group())
        after_flag = flag.end()
    parts.append(_INVISIBLE.sub("", text[after_flag:]))
    return "".join(parts)


@cache
def _too_many_marks() -> re.Pattern[str]:
    """Return the pattern of the marks after the thirtieth on one letter."""
    marks: list[str] = []
    first: int | None = None
    for code in range(0x300, 0x1E951):
        is_mark = unicodedata.combining(chr(code)) > 0
        if is_mark and first is None:
            first = code
        elif not is_mark and first is not None:
            marks.append(f"{chr(first)}-{chr(code - 1)}")
            first = None
    mark = f"[{''.join(marks)}]"
    return re.compile(f"({mark}{mark}{{{_MARKS - 1}}}){mark}+")


def _composed(text: str, account: AccountBuilder) -> str:
    """Return NFC; marks capped before, since ordering a long run is slow, and after, since some decompose into two."""
    text = _capped(text, account)
    if unicodedata.is_normalized("NFC", text):
        return text
    return _capped(unicodedata.normalize("NFC", text), account)


def _capped(text: str, account: AccountBuilder) -> str:
    if _PERHAPS_MANY_MARKS.search(text) is None:
        return text
    capped = _too_many_marks().sub(r"\1", text)
    account.count(DropRule.MACHINE, len(text) - len(capped), "marks on one letter")
    return capped


def _joined_where_spelling(text: str, account: AccountBuilder) -> str:
    if _JOINING_RUN.search(text) is None:
        return text
    return _composed(_JOINING_RUN.sub(_kept_of_run, text), account)


def _kept_of_run(run: re.Match[str]) -> str:
    """Return what stays of a run of joiners and selectors.

    At most one selector, then at most one joiner, each if the character before takes it.
    """
    before = run.string[run.start() - 1 : run.start()]
    joiners = [character for character in run.group() if character in _JOINERS]
    selector = _selector_before_joiners(run.group(), before)
    takes_joiner = selector or _TAKES_JOINER.match(before)
    if joiners and takes_joiner:
        return selector + joiners[0]
    return selector


def _selector_before_joiners(run: str, before: str) -> str:
    """Return the first selector of a run that the character before takes; none behind a joiner counts."""
    for character in run:
        if character in _JOINERS:
            break
        takes = _IDEOGRAPH if character >= "\U000e0100" else _TAKES_SELECTOR
        if takes.match(before):
            return character
    return ""
