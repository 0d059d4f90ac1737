"""Workflow code must still go the way that recorded runs went; a change that does not needs `workflow.patched`."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.support.known import WORKFLOWS
from workers.temporal import sandbox
from workers.tracing import switch

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
async def test_replay(path):
    history = WorkflowHistory.from_json(path.stem, path.read_text(encoding="utf-8"))
    await Replayer(workflows=WORKFLOWS, workflow_runner=sandbox.runner()).replay_workflow(history)


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
