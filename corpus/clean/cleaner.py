"""Documents as received → cleaned documents, or the reason why not.

HTML and Markdown are read by parsers of others, in a pool of processes that can be killed: no input can block a worker
or its heartbeats for longer than its time limit. Plain text and reStructuredText are read by scanners that look at each
line once, in the calling process.
"""

import multiprocessing
import os
import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from corpus.clean.account import AccountBuilder, visible_length
from corpus.clean.blocks import Block, CleanedDocument, CleaningFailure
from corpus.clean.html import clean_html
from corpus.clean.markdown.noise import without_noise
from corpus.clean.markdown.structure import markdown_blocks
from corpus.clean.normalise import normalise
from corpus.clean.payload import without_payloads
from corpus.clean.plain import plain_blocks
from corpus.clean.rst.reader import read_rst
from corpus.dead_letter import DeadLetterReason
from corpus.preparation import PreparationSpec

# Documents that share one task of the pool: enough that handing over costs little, few enough to share a time limit.
_GROUP_DOCUMENTS = 32
_GROUP_CHARACTERS = 1_000_000
# Address space of a cleaning process; a parser that is tricked into more dies alone.
_POOL_MEMORY_BYTES = 6 * 1024**3


@dataclass(frozen=True, slots=True)
class RawDocument:
    """A document as an event carries it."""

    content: str
    content_type: str | None = None
    """Media type, with or without parameters; None: plain text."""


_FORMATS = {
    "text/plain": "plain",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/mdx": "markdown",
    "text/x-mdx": "markdown",
    "text/x-rst": "rst",
    "text/prs.fallenstein.rst": "rst",
    "text/html": "html",
    "application/xhtml+xml": "html",
}
_POOLED_FORMATS = frozenset(("markdown", "html", "rst"))
# The text, its blocks, and how many characters of it the cleaner added.
_ReadText = tuple[str, tuple[Block, ...], int]
_MEDIA_TYPE = re.compile(
    r"\s*([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)\s*(?:;|$)", re.IGNORECASE
)

Cleaned = CleanedDocument | CleaningFailure


@dataclass(frozen=True, slots=True)
class _Work:
    """A document for the pool."""

    content: str
    text_format: str


def format_of(content_type: str | None, spec: PreparationSpec) -> str | CleaningFailure:
    """Return "plain", "markdown", "rst" or "html" for a media type."""
    stated = spec.content_type or content_type
    if stated is None or not stated.strip():
        return "plain"
    match = _MEDIA_TYPE.match(stated.lower())
    media_type = match[1] if match else ""
    if media_type in _FORMATS:
        return _FORMATS[media_type]
    if media_type.startswith("text/") or spec.unknown_content_type == "text":
        return "plain"
    return CleaningFailure(
        DeadLetterReason.UNSUPPORTED_CONTENT,
        f'content type {stated[:100]!r} is not text; send text, or set unknown_content_type = "text"',
    )


def clean_text(content: str, text_format: str) -> CleanedDocument:
    """Clean "plain", "markdown" or "rst" text in this process."""
    account = AccountBuilder()
    text = normalise(content, account)
    text, blocks, added = _READERS[text_format](text, account)
    added += account.count_undecodable(text)
    return CleanedDocument(text, blocks, account.finish(visible_length(text) - added))


def _read_plain(text: str, account: AccountBuilder) -> _ReadText:
    text, added = without_payloads(text, account)
    return text, plain_blocks(text), added


def _read_markdown(text: str, account: AccountBuilder) -> _ReadText:
    text, added = without_noise(text, account)
    return text, markdown_blocks(text), added


_READERS: dict[str, Callable[[str, AccountBuilder], _ReadText]] = {
    "plain": _read_plain,
    "markdown": _read_markdown,
    "rst": read_rst,
}


class Cleaner:
    """Cleans documents; holds processes, so use it in a `with` statement, once per process.

    Its processes start with the first document that needs one.
    """

    def __init__(self, processes: int = 1) -> None:
        self._processes = processes
        self._pool: ProcessPool | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "Cleaner":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()

    def clean(
        self, documents: Sequence[RawDocument], spec: PreparationSpec
    ) -> list[Cleaned]:
        """Clean each document; results are in the documents' order. Failures are results, not errors."""
        results: dict[int, Cleaned] = {}
        pooled: dict[int, _Work] = {}
        for number, document in enumerate(documents):
            text_format = format_of(document.content_type, spec)
            if isinstance(text_format, CleaningFailure):
                results[number] = text_format
            elif (too_large := _too_large(document.content, spec)) is not None:
                results[number] = too_large
            elif text_format in _POOLED_FORMATS:
                pooled[number] = _Work(document.content, text_format)
            else:
                results[number] = clean_text(document.content, text_format)
        cleaned = self._clean_in_pool(list(pooled.values()), spec)
        results.update(zip(pooled, cleaned, strict=True))
        return [results[number] for number in range(len(documents))]

    def _clean_in_pool(self, work: list[_Work], spec: PreparationSpec) -> list[Cleaned]:
        """Hand groups to the pool; a group that fails is handed over again one by one, so that one document pays."""
        groups = _groups(work)
        futures = [self._schedule(group, spec) for group in groups]
        cleaned: list[Cleaned] = []
        for group, future in zip(groups, futures, strict=True):
            result = _result(future, spec)
            if not isinstance(result, CleaningFailure):
                cleaned += result
            elif len(group) == 1:
                cleaned.append(result)
            else:
                cleaned += [self._clean_alone(document, spec) for document in group]
        return cleaned

    def _clean_alone(self, document: _Work, spec: PreparationSpec) -> Cleaned:
        result = _result(self._schedule([document], spec), spec)
        return result if isinstance(result, CleaningFailure) else result[0]

    # The future is pebble's, which is generic in a private way.
    def _schedule(self, group: list[_Work], spec: PreparationSpec) -> Any:
        with self._lock:
            if self._pool is None or not self._pool.active:
                self._pool = _start_pool(self._processes)
            return self._pool.schedule(
                _clean_group,
                args=(group, spec.html, spec.max_nesting),
                timeout=spec.clean_timeout_seconds,
            )


def _too_large(content: str, spec: PreparationSpec) -> CleaningFailure | None:
    limit = spec.max_document_bytes
    if len(content) * 4 <= limit:  # no character has more than four bytes
        return None
    size = len(content.encode("utf-8", "surrogatepass"))
    if size <= limit:
        return None
    return CleaningFailure(
        DeadLetterReason.TOO_LARGE,
        f"the content has {size} bytes, more than max_document_bytes = {limit}",
    )


def _groups(work: list[_Work]) -> list[list[_Work]]:
    """Divide documents, in order, into groups that are small enough to share a task."""
    groups: list[list[_Work]] = []
    characters = 0
    for document in work:
        characters += len(document.content)
        full = not groups or len(groups[-1]) == _GROUP_DOCUMENTS
        if full or characters > _GROUP_CHARACTERS:
            groups.append([])
            characters = len(document.content)
        groups[-1].append(document)
    return groups


def _result(future: Any, spec: PreparationSpec) -> list[Cleaned] | CleaningFailure:
    try:
        return future.result()
    except FutureTimeoutError:
        return CleaningFailure(
            DeadLetterReason.CLEANING_TIMEOUT,
            f"cleaning took longer than clean_timeout = {spec.clean_timeout_seconds:g}s",
        )
    except ProcessExpired as error:
        return CleaningFailure(
            DeadLetterReason.CLEANING_FAILED,
            f"the cleaning process died with exit code {error.exitcode}",
        )
    except Exception as error:
        return CleaningFailure(
            DeadLetterReason.CLEANING_FAILED,
            f"{type(error).__name__}: {str(error)[:200]}",
        )


# What runs in the pool


def _start_pool(processes: int) -> ProcessPool:
    # A fork of a process with threads (this one has them) can hang; the fork server forks from a clean one, preloaded.
    has_fork_server = "forkserver" in multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if has_fork_server else "spawn")
    context.set_forkserver_preload(["corpus.clean.cleaner"])
    return ProcessPool(
        max_workers=processes, initializer=_start_process, context=context
    )


def _start_process() -> None:
    """End this process with its parent, and before it takes the machine's memory."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def end_with_parent() -> None:
            parent.join()
            os._exit(0)

        waiter = threading.Thread(target=end_with_parent, daemon=True)
        waiter.start()
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [_POOL_MEMORY_BYTES, hard]
    limit = min(limit for limit in limits if limit >= 0)  # -1: no limit
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _clean_group(group: list[_Work], html: str, max_nesting: int) -> list[Cleaned]:
    cleaned: list[Cleaned] = []
    for document in group:
        if document.text_format == "html":
            main = html == "main"
            cleaned.append(
                clean_html(document.content, main=main, max_nesting=max_nesting)
            )
        else:
            cleaned.append(clean_text(document.content, document.text_format))
    return cleaned
