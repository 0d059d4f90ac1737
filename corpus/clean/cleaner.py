"""Documents as received → cleaned documents, or the reason why not.

Every format is read in processes with limits (`corpus.limits`), whoever wrote its parser: no input can block a worker
or its heartbeats, and none takes more than its time and its memory.
"""

import re
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TypeVar

from corpus.clean.blocks import CleanedDocument, CleaningFailure
from corpus.clean.files.kinds import KINDS
from corpus.clean.files.limits import FileLimits
from corpus.clean.files.work import READER, FileWork
from corpus.clean.html import clean_html
from corpus.clean.text_formats import TEXT_FORMATS, clean_text
from corpus.dead_letter import DeadLetterReason, Quoting
from corpus.limits.fair_queue import QueuedBatch
from corpus.limits.messages import Boxed
from corpus.limits.processes import DEFAULT_MEMORY_MB, LimitedProcesses
from corpus.limits.work import Limit, Overrun
from corpus.preparation import PreparationSpec

# Why a document has no result, by what ended the work on it; the braces stand for the detail.
_OVERRUNS = {
    Limit.TIME: (
        DeadLetterReason.CLEANING_TIMEOUT,
        "cleaning and splitting took longer than clean_timeout = {}",
    ),
    Limit.MEMORY: (
        DeadLetterReason.CLEANING_FAILED,
        "cleaning and splitting take more memory than FRESHET_PREPARE_MEMORY = {}",
    ),
    Limit.PROCESS: (
        DeadLetterReason.CLEANING_FAILED,
        "the process that cleaned and split it died with {}",
    ),
    Limit.ERROR: (DeadLetterReason.CLEANING_FAILED, "the cleaner raised {}"),
}

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Step(Protocol[Result_co]):
    """What follows the cleaning of a document: a dataclass of plain values."""

    @property
    def results(self) -> tuple[type[Any], ...]:
        """The types that its result may have."""
        ...

    def __call__(self, document: CleanedDocument) -> Result_co: ...


@dataclass(frozen=True, slots=True)
class RawDocument:
    """A document as an event carries it."""

    content: str | bytes
    """Bytes: a file that is no text, such as a PDF."""
    content_type: str | None = None
    """Media type, with or without parameters; None: plain text, or what a file is by its content."""


_MEDIA_TYPE = re.compile(
    r"\s*([a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+)\s*(?:;|$)", re.IGNORECASE
)

Cleaned = CleanedDocument | CleaningFailure


@dataclass(frozen=True, slots=True)
class _Work:
    """What is done to a document, in a process with limits."""

    content: bytes
    """UTF-8, in which halves of surrogate pairs are allowed."""
    text_format: str
    html: str
    max_nesting: int
    step: Boxed

    @property
    def results(self) -> tuple[type[Any], ...]:
        return self.step.value.results

    @property
    def characters(self) -> int:
        return len(self.content)

    def __call__(self) -> Any:
        return self.step.value(self._clean())

    def _clean(self) -> CleanedDocument:
        content = self.content.decode("utf-8", "surrogatepass")
        if self.text_format != "html":
            return clean_text(content, self.text_format)
        is_main = self.html == "main"
        return clean_html(content, main=is_main, max_nesting=self.max_nesting)


def format_of(content_type: str | None, spec: PreparationSpec) -> str | CleaningFailure:
    """Return "plain", "markdown", "html", ... for the media type of a text."""
    stated = spec.content_type or content_type
    if stated is None or not stated.strip():
        return "plain"
    media_type = _media_type(stated)
    if media_type in TEXT_FORMATS:
        return TEXT_FORMATS[media_type]
    if media_type.startswith("text/") or spec.unknown_content_type == "text":
        return "plain"
    if media_type in KINDS:
        return CleaningFailure(
            DeadLetterReason.UNSUPPORTED_CONTENT,
            f"the content is a text, and its content type is that of a file ({KINDS[media_type]}); send the bytes of "
            'the file, as the field content_base64 or in format "text"',
        )
    return CleaningFailure(
        DeadLetterReason.UNSUPPORTED_CONTENT,
        Quoting.CONTENT_TYPE.detail(value=repr(stated[:100])),
    )


def _media_type(stated: str) -> str:
    match = _MEDIA_TYPE.match(stated.lower())
    return match[1] if match else ""


class Cleaner:
    """Cleans documents in processes with limits; use it in a `with` statement, once per process.

    Args:
        processes: side by side.
        memory_mb: what each may use, in megabytes.
        preload: modules of what else is done to a cleaned document.
    """

    def __init__(
        self,
        processes: int = 1,
        *,
        memory_mb: int = DEFAULT_MEMORY_MB,
        preload: Sequence[str] = (),
    ) -> None:
        self._processes = LimitedProcesses(
            processes, memory_mb=memory_mb, preload=[__name__, READER, *preload]
        )

    def __enter__(self) -> "Cleaner":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Start what the processes are forked from: `LimitedProcesses.open`."""
        self._processes.open()

    def close(self) -> None:
        """End the processes."""
        self._processes.close()

    def clean(
        self, documents: Sequence[RawDocument], spec: PreparationSpec
    ) -> list[Cleaned]:
        """Clean each document; results are in the documents' order. Failures are results, not errors."""
        batch = QueuedBatch("", 0, len(documents))
        steps = [_Unchanged()] * len(documents)
        return list(self.clean_then(documents, spec, steps, batch))

    def clean_then(
        self,
        documents: Sequence[RawDocument],
        spec: PreparationSpec,
        steps: Sequence[Step[Result]],
        batch: QueuedBatch,
    ) -> Generator[Result | CleaningFailure]:
        """Clean each document and do what follows in the same process, within the same limits.

        Args:
            documents: as received.
            spec: formats and limits.
            steps: what follows, one per document.
            batch: for whose sake.

        Yields:
            What the step returned, or why there is nothing, in the documents' order.

        Raises:
            DependencyError: the cleaner was closed.
        """
        tasks = [
            _task(document, spec, step)
            for document, step in zip(documents, steps, strict=True)
        ]
        work = [task for task in tasks if not isinstance(task, CleaningFailure)]
        outcomes = self._processes.run(work, spec.clean_timeout_seconds, batch)
        with closing(outcomes):
            for task in tasks:
                if isinstance(task, CleaningFailure):
                    yield task
                else:
                    outcome = next(outcomes)
                    yield _failure_or_result(outcome)


@dataclass(frozen=True, slots=True)
class _Unchanged:
    """Nothing follows."""

    @property
    def results(self) -> tuple[type[Any], ...]:
        return (CleanedDocument,)

    def __call__(self, document: CleanedDocument) -> CleanedDocument:
        return document


def _task(
    document: RawDocument,
    spec: PreparationSpec,
    step: Step[Any],
) -> _Work | FileWork | CleaningFailure:
    """What is to be done to a document, or why nothing is."""
    if isinstance(document.content, bytes):
        stated = spec.content_type or document.content_type
        return _file_task(document.content, stated, spec, step)
    text_format = format_of(document.content_type, spec)
    if isinstance(text_format, CleaningFailure):
        return text_format
    content = document.content.encode("utf-8", "surrogatepass")
    if text_format == "mail":
        return _file_task(content, "message/rfc822", spec, step)
    too_large = _too_large(content, spec)
    if too_large is not None:
        return too_large
    return _Work(
        content,
        text_format,
        spec.html,
        spec.max_nesting,
        Boxed(step),
    )


def _file_task(
    content: bytes, stated: str | None, spec: PreparationSpec, step: Step[Any]
) -> FileWork | CleaningFailure:
    too_large = _too_large(content, spec)
    if too_large is not None:
        return too_large
    limits = FileLimits(
        spec.max_pages, spec.max_unpacked_bytes, spec.max_nesting, spec.ocr
    )
    return FileWork(content, _media_type(stated or ""), limits, Boxed(step))


def _failure_or_result(outcome: Result | Overrun) -> Result | CleaningFailure:
    if not isinstance(outcome, Overrun):
        return outcome
    reason, message = _OVERRUNS[outcome.limit]
    detail = outcome.detail
    if outcome.limit is Limit.ERROR:
        # After the class comes the library's message, which may quote the document.
        detail = detail.partition(":")[0]
    return CleaningFailure(reason, message.format(detail))


def _too_large(content: bytes, spec: PreparationSpec) -> CleaningFailure | None:
    limit = spec.max_document_bytes
    size = len(content)
    if size <= limit:
        return None
    return CleaningFailure(
        DeadLetterReason.TOO_LARGE,
        f"the content has {size} bytes, more than max_document_bytes = {limit}",
    )
