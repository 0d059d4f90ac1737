"""Documents as received → cleaned documents, or the reason why not.

Plain text, Markdown and reStructuredText are read by linear scanners in this process. HTML goes to a pool of processes
that can be killed: no input can block a worker or its heartbeats for longer than its time limit.
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

from corpus.clean.blocks import Block, CleanedDocument, CleaningFailure
from corpus.clean.html import clean_html
from corpus.clean.markup import markdown_blocks, plain_blocks, rst_blocks, without_markdown_noise
from corpus.clean.normalise import normalise
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
    content_type: str | None = None  # media type, with or without parameters; None: plain text


_FORMATS = {
    "text/plain": "plain",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/x-rst": "rst",
    "text/prs.fallenstein.rst": "rst",
    "text/html": "html",
    "application/xhtml+xml": "html",
}
_BLOCKS: dict[str, Callable[[str], tuple[Block, ...]]] = {
    "plain": plain_blocks,
    "markdown": markdown_blocks,
    "rst": rst_blocks,
}
_TYPE = re.compile(r"\s*([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)\s*(?:;|$)", re.IGNORECASE)

Cleaned = CleanedDocument | CleaningFailure


def format_of(content_type: str | None, spec: PreparationSpec) -> str | CleaningFailure:
    """Return "plain", "markdown", "rst" or "html" for a media type."""
    stated = spec.content_type or content_type
    if stated is None or not stated.strip():
        return "plain"
    match = _TYPE.match(stated)
    media_type = match.group(1).lower() if match else ""
    if media_type in _FORMATS:
        return _FORMATS[media_type]
    if media_type.startswith("text/") or spec.unknown_content_type == "text":
        return "plain"
    detail = f'content type {stated[:100]!r} is not text; send text, or set unknown_content_type = "text"'
    return CleaningFailure(DeadLetterReason.UNSUPPORTED_CONTENT, detail)


def clean_text(content: str, text_format: str) -> CleanedDocument:
    """Clean plain text, Markdown or reStructuredText."""
    text = normalise(content)
    if text_format == "markdown":
        text = without_markdown_noise(text)
    return CleanedDocument(text, _BLOCKS[text_format](text))


class Cleaner:
    """Cleans documents; holds processes, so use it in a `with` statement, once a process.

    The processes are started when the first HTML document comes.
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

    def clean(self, documents: Sequence[RawDocument], spec: PreparationSpec) -> list[Cleaned]:
        """Clean each document; results are in the documents' order. Failures are results, not errors."""
        results: list[Cleaned | None] = [None] * len(documents)
        markup: list[int] = []
        for number, document in enumerate(documents):
            text_format = format_of(document.content_type, spec)
            if isinstance(text_format, CleaningFailure):
                results[number] = text_format
            elif (too_large := _too_large(document.content, spec)) is not None:
                results[number] = too_large
            elif text_format == "html":
                markup.append(number)
            else:
                results[number] = clean_text(document.content, text_format)
        for number, cleaned in zip(
            markup,
            self._clean_html([documents[number].content for number in markup], spec),
            strict=True,
        ):
            results[number] = cleaned
        return [result for result in results if result is not None]

    def _clean_html(self, contents: list[str], spec: PreparationSpec) -> list[Cleaned]:
        """Hand groups to the pool; a group that fails is handed over again one by one, so that one document pays."""
        if not contents:
            return []
        groups = _groups(contents)
        futures = [self._schedule(contents[first:end], spec) for first, end in groups]
        results: list[Cleaned] = []
        for (first, end), future in zip(groups, futures, strict=True):
            found = _result(future, spec)
            if isinstance(found, CleaningFailure) and end - first > 1:
                for number in range(first, end):
                    alone = _result(self._schedule(contents[number : number + 1], spec), spec)
                    results += [alone] if isinstance(alone, CleaningFailure) else alone
            else:
                results += [found] if isinstance(found, CleaningFailure) else found
        return results

    def _schedule(
        self, contents: list[str], spec: PreparationSpec
    ) -> Any:  # pebble's future is generic in a private way
        with self._lock:
            if self._pool is None or not self._pool.active:
                self._pool = _start_pool(self._processes)
            return self._pool.schedule(
                _clean_group,
                args=(contents, spec.html, spec.max_nesting),
                timeout=spec.clean_timeout_seconds,
            )


def _too_large(content: str, spec: PreparationSpec) -> CleaningFailure | None:
    limit = spec.max_document_bytes
    if len(content) * 4 <= limit:
        return None
    size = len(content.encode("utf-8", "surrogatepass"))
    if size <= limit:
        return None
    return CleaningFailure(
        DeadLetterReason.TOO_LARGE,
        f"the content has {size} bytes, more than max_document_bytes = {limit}",
    )


def _groups(contents: list[str]) -> list[tuple[int, int]]:
    """Ranges of neighbours that are small enough to share a task."""
    groups: list[tuple[int, int]] = []
    first = characters = 0
    for number, content in enumerate(contents):
        if number > first and (
            number - first == _GROUP_DOCUMENTS or characters + len(content) > _GROUP_CHARACTERS
        ):
            groups.append((first, number))
            first, characters = number, 0
        characters += len(content)
    groups.append((first, len(contents)))
    return groups


def _result(future: Any, spec: PreparationSpec) -> list[Cleaned] | CleaningFailure:
    try:
        return future.result()
    except FutureTimeoutError:
        return CleaningFailure(
            DeadLetterReason.CLEANING_TIMEOUT,
            f"cleaning took longer than clean_timeout_seconds = {spec.clean_timeout_seconds:g}",
        )
    except ProcessExpired as error:
        return CleaningFailure(
            DeadLetterReason.CLEANING_FAILED,
            f"the cleaning process died with exit code {error.exitcode}",
        )
    except Exception as error:
        return CleaningFailure(
            DeadLetterReason.CLEANING_FAILED, f"{type(error).__name__}: {str(error)[:200]}"
        )


# What runs in the pool


def _start_pool(processes: int) -> ProcessPool:
    # A fork of a process with threads (this one has them) can hang; the fork server forks from a clean one, preloaded.
    context = multiprocessing.get_context(
        "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    )
    context.set_forkserver_preload(["corpus.clean.cleaner"])
    return ProcessPool(max_workers=processes, initializer=_start_process, context=context)


def _start_process() -> None:
    """Die with the parent, and before the machine's memory is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(0)), daemon=True).start()
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS,
        (_POOL_MEMORY_BYTES if hard < 0 else min(_POOL_MEMORY_BYTES, hard), hard),
    )


def _clean_group(contents: list[str], html: str, max_nesting: int) -> list[Cleaned]:
    return [
        clean_html(content, main=html == "main", max_nesting=max_nesting) for content in contents
    ]
