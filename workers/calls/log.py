"""Writes what teams ask into the access log: one writer per process, many calls per transaction."""

import logging
import queue
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from psycopg_pool import ConnectionPool

from corpus.access import log
from corpus.access.log import OF_NO_SOURCE, Entry
from corpus.answer.gate import Decision
from corpus.database import Connection, database_errors_translated
from corpus.disclosure.error_text import public_text
from corpus.errors import DependencyError
from corpus.log_limit import LogLimit
from workers.calls.asked import MAX_CHARACTERS, asked

logger = logging.getLogger(__name__)
logger.addFilter(LogLimit())

_MAX_CALLS = 500  # of one transaction
_MAX_WAITING = 10_000  # calls that wait for the writer; further ones fail
_MAX_NAMES = 20  # of an entry about sources that are not granted
_POOL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    decision: Decision
    written: Future[None]


class AnswerLog:
    """Notes decisions; what each returns is done once its rows are durable.

    The rows of a call are handed over before the call is answered, so that they are written while it is. Refusals that
    read the same and wait at the same time are one row with a count: a stranger's flood does not become the log's.

    Args:
        pool: of connections to PostgreSQL.
    """

    def __init__(self, pool: ConnectionPool[Connection]) -> None:
        self._pool = pool
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name="access-log")

    def __enter__(self) -> "AnswerLog":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._queue.put(None)
        self._thread.join()

    def note(self, decision: Decision) -> Future[None]:
        """Hand a decision to the writer; never blocks."""
        if decision.refused:
            _show(decision)
        waiting = _Waiting(decision, Future())
        waiting.written.set_running_or_notify_cancel()  # a caller that leaves cancels no row
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            error = DependencyError("the access log cannot be written fast enough")
            waiting.written.set_exception(error)
        return waiting.written

    def _run(self) -> None:
        while True:
            calls, is_last = self._next()
            if calls:
                self._write(calls)
            if is_last:
                return

    def _next(self) -> tuple[list[_Waiting], bool]:
        """What waits, at least one call; and whether it is the last."""
        calls: list[_Waiting] = []
        waiting = self._queue.get()
        while waiting is not None:
            calls.append(waiting)
            if len(calls) == _MAX_CALLS or self._queue.empty():
                return calls, False
            waiting = self._queue.get()
        return calls, True

    def _write(self, calls: Sequence[_Waiting]) -> None:
        """Write calls in one transaction; a database that is away fails these calls, not the writer."""
        try:
            entries = entries_of([call.decision for call in calls])
            with (
                database_errors_translated(),
                self._pool.connection(_POOL_SECONDS) as connection,
            ):
                log.append(connection, entries)
        except Exception as error:  # whatever it is, the writer goes on
            context = {"action": "access_log_not_written", "error": public_text(error)}
            logger.warning("calls cannot be logged now", extra=context)
            for call in calls:
                call.written.set_exception(error)
            return
        for call in calls:
            call.written.set_result(None)


def entries_of(decisions: Sequence[Decision]) -> list[Entry]:
    """The rows of some decisions: one per granted source of a call, one for all that read the same of refusals."""
    entries: list[Entry] = []
    refused: Counter[tuple[str, str, str, str]] = Counter()
    for decision in decisions:
        if decision.refused:
            namespaces = ", ".join(sorted(decision.namespaces))[:MAX_CHARACTERS]
            reason = decision.refused[:MAX_CHARACTERS]
            key = (decision.actor, decision.operation, reason, namespaces)
            refused[key] += 1
        else:
            entries += _answered(decision)
    for (actor, operation, reason, namespaces), calls in refused.items():
        detail = {"refused": reason, "namespaces": namespaces, "calls": calls}
        entries.append(
            Entry(source=OF_NO_SOURCE, actor=actor, action=operation, detail=detail)
        )
    return entries


def _answered(decision: Decision) -> list[Entry]:
    detail = asked(decision.request)
    others = sorted(set(decision.sources) - decision.granted)
    sources = sorted(decision.granted.intersection(decision.sources))
    entries = [_entry(decision, source, detail) for source in sources]
    if others:
        names = [name[:MAX_CHARACTERS] for name in others[:_MAX_NAMES]]
        # Rows of granted sources do not name the others.
        detail = detail | {"not_granted": names, "not_granted_in_all": len(others)}
    if others or not sources:
        entries.append(_entry(decision, OF_NO_SOURCE, detail))
    return entries


def _entry(decision: Decision, source: str, detail: dict[str, Any]) -> Entry:
    return Entry(
        source=source,
        actor=decision.actor,
        action=decision.operation,
        detail=detail,
    )


def _show(decision: Decision) -> None:
    context = {
        "action": "call_refused",
        "team": decision.team,
        "namespaces": sorted(decision.namespaces),
        "operation": decision.operation,
        "reason": decision.refused,
        "kind": f"{decision.actor}/{decision.operation}",
    }
    logger.warning("a call is refused", extra=context)
