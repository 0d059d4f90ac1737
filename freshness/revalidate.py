"""Ask the origins of documents that age would withdraw whether they are still the same.

1. read which documents are due, as many as one check may ask for
2. ask by what their origins sent with them, as the source fetches: guarded, side by side by host, slow hosts left alone
3. note what was said, some documents at a time, so that an attempt that ends early has not asked in vain
4. judge what has changed together, at the end: one page for many documents is no change of theirs
"""

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace

from psycopg.rows import class_row, scalar_row
from psycopg_pool import ConnectionPool

from corpus.database import Connection, database_errors_translated, fetch_all, fetch_one
from corpus.errors import ConfigurationError
from corpus.fetch.address import host_of
from corpus.fetch.fetcher import Fetcher
from corpus.fetch.result import (
    Fetched,
    FetchRequest,
    NotFetched,
    Result,
    StillTheSame,
    Validators,
)
from corpus.source import SourceSpec
from freshness.revalidation import Revalidation, problem_of
from freshness.same_page import Change, alike, same_page, shape_of

# How often the record of a document that has changed is read again, before its change counts as lost.
MAX_READ_AGAIN = 3
_ASK_SECONDS = 60.0
# Of one document. Whether it is unchanged is said sooner; a change is read by the backfill, which takes its time.
_MAX_TIMEOUT_SECONDS = 30.0
_NOTED_TOGETHER = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDocument:
    """A row of the query `documents_to_ask`."""

    document_key: int
    url: str
    content_sha256: bytes
    etag: str | None
    last_modified: str | None
    asked_at_ms: int

    @property
    def validators(self) -> Validators:
        """What its origin sent with it."""
        return Validators(etag=self.etag, last_modified=self.last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noted:
    """A row of the query `note_answers`."""

    answer: str
    documents: int


@dataclass(slots=True)
class _Answers:
    """What origins have said, and what of it is noted."""

    waiting: list[tuple[DueDocument, str, Validators]] = field(
        default_factory=list[tuple[DueDocument, str, Validators]]
    )
    changes: list[tuple[DueDocument, Change]] = field(
        default_factory=list[tuple[DueDocument, Change]]
    )
    asked: int = 0
    noted: Counter[str] = field(default_factory=Counter[str])
    reasons: Counter[str] = field(default_factory=Counter[str])
    refusals: Counter[str] = field(default_factory=Counter[str])

    def revalidation(self) -> Revalidation:
        """In numbers."""
        unanswered = self.noted["unanswered"]
        refused = min(self.refusals.total(), unanswered)
        return Revalidation(
            asked=self.asked,
            renewed=self.noted["unchanged"],
            changed=self.noted["changed"],
            gone=self.noted["gone"],
            unanswered=unanswered,
            refused=refused,
            lost=self.noted["lost"],
            left=self.asked - self.noted.total(),
            problem=problem_of(
                unanswered,
                _most_common(self.reasons),
                refused,
                _most_common(self.refusals),
            ),
        )


class Revalidator:
    """Asks origins.

    Args:
        pool: of connections to PostgreSQL.
        seconds: after which no more is asked; the next check asks for the rest.
    """

    def __init__(
        self, pool: ConnectionPool[Connection], seconds: float = _ASK_SECONDS
    ) -> None:
        self._pool = pool
        self._seconds = seconds

    def revalidate(self, source: str) -> Revalidation:
        """Ask for the documents of a source that are due.

        Raises:
            ConfigurationError: there is no such source.
            DependencyError: PostgreSQL does not answer.
        """
        # Step 1.
        spec = self._spec_of(source)
        limit = spec.fetch.revalidate_per_check
        values = {"source": source, "limit": limit}
        with database_errors_translated(), self._pool.connection() as connection:
            factory = class_row(DueDocument)
            documents = fetch_all(connection, factory, "documents_to_ask", values)
        answers = _Answers()
        # Step 2.
        timeout = min(spec.fetch.timeout_seconds, _MAX_TIMEOUT_SECONDS)
        fetch = replace(spec.fetch, timeout_seconds=timeout)
        fetcher = Fetcher(fetch, spec.pipeline.max_document_bytes)
        until = time.monotonic() + self._seconds
        requests = [_request(*each) for each in enumerate(documents)]
        with closing(fetcher.fetch(requests)) as results:
            for result in results:
                _take(answers, documents[result.request.row], result)
                # Step 3.
                if len(answers.waiting) >= _NOTED_TOGETHER:
                    self._note(answers)
                if time.monotonic() > until:
                    break
        # Step 4.
        self._judge_changes(answers)
        self._note(answers)
        with database_errors_translated(), self._pool.connection() as connection:
            changed = "count_changed_at_origin"
            to_read = fetch_one(connection, scalar_row, changed, {"source": source})
        return replace(answers.revalidation(), to_read=to_read or 0)

    def _spec_of(self, source: str) -> SourceSpec:
        values = {"source": source}
        with database_errors_translated(), self._pool.connection() as connection:
            stored = fetch_one(connection, scalar_row, "source_spec", values)
        if stored is None:
            raise ConfigurationError(
                f"there is no source {source!r}; see `freshet sources`"
            )
        return SourceSpec.from_json(stored)

    def _judge_changes(self, answers: _Answers) -> None:
        """Believe a change, unless it is a page that other documents have, too."""
        if not answers.changes:
            return
        changes = [change for _, change in answers.changes]
        values = {
            "document_keys": [change.document_key for change in changes],
            "contents": [change.after for change in changes],
        }
        with database_errors_translated(), self._pool.connection() as connection:
            others = fetch_all(connection, scalar_row, "pages_of_others", values)
        refused = alike(changes)
        for document, change in answers.changes:
            why = refused.get(change.document_key)
            if change.document_key in others:
                why = same_page(host_of(change.url))
            said = "unanswered" if why else "changed"
            if why:
                answers.reasons[why] += 1
            answers.waiting.append((document, said, document.validators))
        answers.changes.clear()

    def _note(self, answers: _Answers) -> None:
        if not answers.waiting:
            return
        documents, said, validators = zip(*answers.waiting, strict=True)
        values = {
            "document_keys": [each.document_key for each in documents],
            "answers": list(said),
            "etags": [each.etag for each in validators],
            "last_modified": [each.last_modified for each in validators],
            "asked_at_ms": documents[0].asked_at_ms,
            "most_read": MAX_READ_AGAIN,
        }
        with database_errors_translated(), self._pool.connection() as connection:
            rows = fetch_all(connection, class_row(_Noted), "note_answers", values)
        answers.noted.update({row.answer: row.documents for row in rows})
        answers.waiting.clear()


def _most_common(reasons: Counter[str]) -> list[str]:
    return [reason for reason, _ in reasons.most_common()]


def _request(number: int, document: DueDocument) -> FetchRequest:
    known = document.validators
    return FetchRequest(
        row=number, url=document.url, known=None if known.is_empty else known
    )


def _take(answers: _Answers, document: DueDocument, result: Result) -> None:
    """Count what was said of a document."""
    answers.asked += 1
    validators = document.validators
    match result.outcome:
        case StillTheSame():
            said = "unchanged"
        case Fetched() as fetched if fetched.sha256 == document.content_sha256:
            said = "unchanged"
            validators = fetched.validators
        case Fetched() as fetched:
            change = Change(
                document_key=document.document_key,
                url=document.url,
                before=document.content_sha256,
                after=fetched.sha256,
                shape=shape_of(result.content, document.url),
            )
            answers.changes.append((document, change))
            return
        case NotFetched() as missing if missing.is_missing:
            said = "gone"
        case NotFetched() as failed:
            said = "unanswered"
            # What may pass is asked for again; a refusal stays until a person changes something.
            why = answers.reasons if failed.may_pass else answers.refusals
            why[failed.detail] += 1
    answers.waiting.append((document, said, validators))
