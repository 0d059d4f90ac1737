"""Workflows by what a test needs of them; which ones queue `freshet` runs, the orchestrator says."""

from corpus.workflows import BatchWorkflow
from examples.team.workflows import AskWorkflow, InboxWorkflow
from ingest.workflows import SourceWorkflow
from workers.roles import orchestrator

# Every workflow whose histories are kept.
WORKFLOWS = (*orchestrator.WORKFLOWS, InboxWorkflow, AskWorkflow)
# Queue `freshet` without the sources' entities and their batches.
WITHOUT_ENTITIES = tuple(
    workflow
    for workflow in orchestrator.WORKFLOWS
    if workflow not in (SourceWorkflow, BatchWorkflow)
)
