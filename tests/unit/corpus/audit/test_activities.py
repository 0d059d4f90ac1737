"""The shells of an audit: a step that waits shows that its worker lives."""

import asyncio
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from corpus.audit import activities
from corpus.audit.activities import AuditEndActivities
from corpus.audit.audit import AuditCursor, AuditOrder
from tests.support.polling import until

CURSOR = AuditCursor(order=AuditOrder(source="s"))


async def test_a_look_for_staged_files_sends_heartbeats_until_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(activities, "HEARTBEAT_SECONDS", 0.01)
    beats: list[Any] = []
    environment = ActivityEnvironment()
    environment.on_heartbeat = lambda *details: beats.append(details)

    async def look(cursor: AuditCursor) -> AuditCursor:
        await until(lambda: len(beats) >= 3)
        return cursor

    shells = AuditEndActivities(staged=look, finish=_not_called, fail=_not_called)
    assert await environment.run(shells.staged_files, CURSOR) == CURSOR
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await until(lambda: all(task.done() for task in others))


def _not_called(*_: Any) -> Any:
    raise AssertionError
