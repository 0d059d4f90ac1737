"""Every workflow whose histories are kept, by the name that stands in them."""

from examples.team.workflows import AskWorkflow, InboxWorkflow
from workers.roles import orchestrator as deliveries

WORKFLOWS = (*deliveries.ALL_WORKFLOWS, InboxWorkflow, AskWorkflow)
