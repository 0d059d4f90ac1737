"""Every workflow whose histories are kept, by the name that stands in them."""

from corpus.workflows import BatchWorkflow
from examples.team.workflows import AskWorkflow, InboxWorkflow
from ingest.workflows import SourceWorkflow
from workers import deliveries

WORKFLOWS = (SourceWorkflow, BatchWorkflow, *deliveries.WORKFLOWS, InboxWorkflow, AskWorkflow)
