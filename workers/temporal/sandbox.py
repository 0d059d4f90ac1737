"""The workflow runner: what workflow code may not touch, each with its reason."""

import dataclasses

from temporalio.worker import WorkflowRunner
from temporalio.worker.workflow_sandbox import (
    SandboxedWorkflowRunner,
    SandboxMatcher,
    SandboxRestrictions,
)

# Heavy or full of I/O: in a workflow they are not slow, they break it. Named here, the error says so at once.
HEAVY = (
    "polars",
    "numpy",
    "torch",
    "sentence_transformers",
    "psycopg",
    "psycopg_pool",
    "pgvector",
    "confluent_kafka",
    "obstore",
)


def runner() -> WorkflowRunner:
    """The sandbox with our guard."""
    restrictions = SandboxRestrictions.default
    guarded = dataclasses.replace(
        restrictions,
        invalid_modules=restrictions.invalid_modules
        | SandboxMatcher(access=set(HEAVY)),
    )
    return SandboxedWorkflowRunner(restrictions=guarded)
