"""Workflow code must still go the way that recorded runs went; a change that does not needs `workflow.patched`."""

import base64
import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.support.known import WORKFLOWS
from workers.temporal import sandbox
from workers.temporal.client import plain_converter
from workers.tracing import switch

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_replay(path):
    history = WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8"))
    replayer = Replayer(
        workflows=WORKFLOWS,
        workflow_runner=sandbox.runner(),
        data_converter=plain_converter(),
    )
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_replay_where_traces_are_made(path, spans):
    history = WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8"))
    replayer = Replayer(
        workflows=WORKFLOWS,
        workflow_runner=sandbox.runner(),
        interceptors=switch.interceptors(),
    )
    await replayer.replay_workflow(history)
    assert spans.ended == []


def test_every_workflow_has_a_history():
    recorded = {path.name.partition(".")[0] for path in HISTORIES}
    assert recorded >= {
        "DeliveryWorkflow",
        "AwaitFreshWorkflow",
        "FreshnessWorkflow",
        "SourceWorkflow",
        "BatchWorkflow",
        "AuditWorkflow",
        "PurgeWorkflow",
        "BackfillWorkflow",
    }


async def test_a_check_of_before_replays_where_a_newer_worker_measured():
    """While workers are replaced: the measure names documents to be asked for, and the workflow did not know of it."""
    [path] = [path for path in HISTORIES if path.stem == "FreshnessWorkflow.expiry"]
    text = path.read_text(encoding="utf-8")
    history = json.loads(text)
    changed = 0
    for event in history["events"]:
        result = event.get("activityTaskCompletedEventAttributes", {}).get("result")
        for payload in (result or {}).get("payloads", []):
            value = json.loads(base64.b64decode(payload.get("data", "")) or b"null")
            if isinstance(value, dict) and "overdue" in value:
                value["kept"] = 5
                payload["data"] = base64.b64encode(json.dumps(value).encode()).decode()
                changed += 1
    assert changed
    replayer = Replayer(workflows=WORKFLOWS, workflow_runner=sandbox.runner())
    await replayer.replay_workflow(WorkflowHistory.from_json("freshness/peps", json.dumps(history)))
