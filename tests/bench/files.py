"""Files of every format, made and shipped, through the processes that read them: recall, places, hostile ones in time.

`made`: the files of `tests/support/files`, whose every word is known. `shipped`: the e-mails that Python's own tests
ship, where they are installed, against what Python reads of their texts. `damaged`: `DAMAGED` files with random damage.
"""

import random
import re
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from corpus.clean.blocks import CleanedDocument
from corpus.clean.cleaner import Cleaned, Cleaner, RawDocument
from tests.support.files.all import FILES, made
from tests.support.files.judged import (
    DAMAGED_KINDS,
    REASONS_OF_DAMAGE,
    SPEC,
    Judged,
    judge,
    with_damage,
)
from tests.support.files.made import MAIL, MadeFile

SEED = 11
DAMAGED = 600
_TOGETHER = 60


def run() -> dict[str, Any]:
    """Measure."""
    with Cleaner() as cleaner:
        cleaner.clean([RawDocument("The processes run.")], SPEC)
        judged = [(file, judge(cleaner, file)) for file in FILES]
        shipped = _shipped(cleaner)
        damaged = _damaged(cleaner)
    wrong = [file.name for file, each in judged if not each.is_right(file)]
    read = [(file, each) for file, each in judged if not file.reason]
    refused = [(file, each) for file, each in judged if file.reason]
    return {
        "holds": not wrong and not shipped["wrong"] and not damaged["wrong"],
        "files": len(judged),
        "wrong": wrong,
        "read": _by_format(read),
        "refused": {file.name: _ended(each) for file, each in refused},
        "shipped": shipped,
        "damaged": damaged,
    }


def _by_format(read: Sequence[tuple[MadeFile, Judged]]) -> dict[str, dict[str, Any]]:
    """Per media type: words read of words there, words below their heading (page, sheet) of those with one."""
    rows: dict[str, dict[str, Any]] = {}
    for content_type in sorted({file.content_type for file, _ in read}):
        of_type = [pair for pair in read if pair[0].content_type == content_type]
        words = sum(len(file.words) for file, _ in of_type)
        placed = sum(len(some) for file, _ in of_type for some in file.places.values())
        missing = sum(len(each.missing) for _, each in of_type)
        misplaced = sum(len(each.misplaced) for _, each in of_type)
        rows[content_type.rpartition("/")[2]] = {
            "files": len(of_type),
            "words": f"{words - missing} of {words}",
            "in their places": f"{placed - misplaced} of {placed}",
            "unwanted": sum(len(each.unwanted) for _, each in of_type),
            "slowest seconds": round(max(each.seconds for _, each in of_type), 2),
        }
    return rows


def _ended(judged: Judged) -> str:
    return f"{judged.reason or 'read'} after {judged.seconds:.2f} s"


# ── shipped ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _shipped(cleaner: Cleaner) -> dict[str, Any]:
    """The e-mails of Python's tests: each is read with all words of its texts, or has a reason."""
    folder = Path(sysconfig.get_path("stdlib")) / "test" / "test_email" / "data"
    paths = sorted(folder.glob("msg_*.txt"))
    contents = [path.read_bytes() for path in paths]
    results = cleaner.clean([RawDocument(content, MAIL) for content in contents], SPEC)
    there, kept, wrong = 0, 0, list[str]()
    for path, content, result in zip(paths, contents, results, strict=True):
        if not isinstance(result, CleanedDocument):
            continue
        expected = list(_words_of(content))
        text = result.text.lower()
        found = [word for word in expected if word in text]
        there += len(expected)
        kept += len(found)
        if len(found) < len(expected):
            wrong.append(path.name)
    return {
        "e-mails": len(paths),
        "words": f"{kept} of {there}",
        "wrong": wrong,
        "ended as": _counted(results),
    }


def _words_of(content: bytes) -> Iterator[str]:
    """Words of the plain texts of an e-mail, as Python reads them."""
    message = message_from_bytes(content, policy=policy.default)
    body = message.get_body(preferencelist=("plain",))
    if body is None:
        return
    try:
        text = body.get_content()
    except (LookupError, ValueError):
        return
    yield from re.findall(r"[a-z]{4,}", text.lower())


# ── damaged ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _damaged(cleaner: Cleaner) -> dict[str, Any]:
    """Files with a random place changed, left out, repeated, or cut off there."""
    rng = random.Random(SEED)
    whole = [(made(name).make(), made(name).content_type) for name in DAMAGED_KINDS]
    files: list[RawDocument] = []
    for number in range(DAMAGED):
        content, content_type = whole[number % len(whole)]
        files.append(RawDocument(with_damage(content, rng), content_type))
    started = time.monotonic()
    results: list[Cleaned] = []
    for at in range(0, len(files), _TOGETHER):
        results += cleaner.clean(files[at : at + _TOGETHER], SPEC)
    seconds = time.monotonic() - started
    refused = [result for result in results if not isinstance(result, CleanedDocument)]
    return {
        "seed": SEED,
        "files": len(files),
        "ended as": _counted(results),
        "wrong": [str(each.reason) for each in refused if each.reason not in REASONS_OF_DAMAGE],
        "seconds": round(seconds, 1),
    }


def _counted(results: Sequence[Cleaned]) -> dict[str, int]:
    """How many were read, and how many have each reason."""
    names = (
        "read" if isinstance(result, CleanedDocument) else str(result.reason) for result in results
    )
    return dict(Counter(names).most_common())
