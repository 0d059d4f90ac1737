"""An erasure for `tests.replay.record`: ordered twice, once while the source is paused; an expiry waits behind it."""

import asyncio
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from corpus.batch import Erase
from corpus.database import Connection, connect
from corpus.source import SourceSpec
from corpus.sql import query
from ingest.hand_over import send_order
from ingest.workflows import SourceWorkflow
from tests.support.orders import make_expiry
from tests.support.polling import until
from tests.support.team_env import Env, all_workers, fill, make_source

SPEC = SourceSpec(source="peps", topics=("t",))


async def record_erasures(env: Env, folder: Path, recorder: Any) -> None:
    """The entity that takes it before all else, and its batch."""
    with connect(env.database_url) as db:
        make_source(db)
        fill(db)
        async with all_workers(env, folder):
            order = await asyncio.to_thread(_order, db)
            await send_order(env.client, SPEC, "erase", order)
            entity = env.client.get_workflow_handle("source:peps")
            await until(lambda: _has_published(entity, 1))
            await entity.signal(SourceWorkflow.pause)
            await entity.signal(SourceWorkflow.expire, make_expiry())
            await send_order(env.client, SPEC, "erase", order)
            await until(lambda: _has_published(entity, 2))
            await entity.signal(SourceWorkflow.resume)
            await until(lambda: _has_published(entity, 3))
            await recorder.save(entity, "SourceWorkflow.erasure")
            batch = env.client.get_workflow_handle("batch:peps:2")
            await recorder.save(batch, "BatchWorkflow.erasure")


def _order(db: Connection) -> Erase:
    values = {
        "source": "peps",
        "document_ids": ["pep-1", "pep-2"],
        "dead_letters": [],
        "reason": "request 17",
        "requested_by": "op@machine",
        "out_of_reach": "[]",
    }
    row = db.execute(query("request_erasure"), values).fetchone()
    assert row is not None
    return Erase(erasure=row[0])


async def _has_published(entity: WorkflowHandle[Any, Any], batches: int) -> bool:
    state = await entity.query(SourceWorkflow.status)
    return state.published >= batches
