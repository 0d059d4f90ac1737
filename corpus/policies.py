"""The one table of timeouts, heartbeats and retries: one line per activity.

Heartbeats come every second (see `corpus.activities.heartbeats`), so a killed worker is noticed within the heartbeat
timeout. Transient failures are retried for ever, at most ten seconds apart, so that work continues by itself once the
cause is fixed, and soon: a batch has three steps, and each may wait for its next attempt. An error that a retry cannot
help is raised as permanent and ends the batch. So is, after some attempts, an error that is none of ours, and the end
of the process that works on the step (`corpus.activities.heartbeats`).
"""

from dataclasses import replace
from datetime import timedelta

from temporalio.common import Priority, RetryPolicy
from temporalio.workflow import ActivityConfig

from corpus import task_queues
from corpus.errors import MissingVectorError, StalePreparationError

_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=10),
)
_HEARTBEAT = timedelta(seconds=10)
_MAX_KEY_CHARACTERS = 64  # of a fairness key, in bytes; names of sources are ASCII

# Raised by the publishing transaction before it changes anything. To prepare and embed once more fixes them, to publish
# once more does not, so they return to the workflow at once.
PREPARE_AGAIN_ERRORS = (StalePreparationError.__name__, MissingVectorError.__name__)


def _policy(
    queue: str,
    start_to_close: timedelta,
    *,
    heartbeat: bool = True,
    retry: RetryPolicy = _RETRY,
) -> ActivityConfig:
    config = ActivityConfig(
        task_queue=queue, start_to_close_timeout=start_to_close, retry_policy=retry
    )
    if heartbeat:
        config["heartbeat_timeout"] = _HEARTBEAT
    return config


def shared(policy: ActivityConfig, source: str, weight: float = 1.0) -> ActivityConfig:
    """A policy with the source for whose sake the activity runs: a server with fairness serves sources in turn.

    A server without it ignores the key and the weight.

    Args:
        policy: of the activity.
        source: its name.
        weight: of the source's share; of a step that every source has an equal share of, 1.
    """
    key = source[:_MAX_KEY_CHARACTERS]
    return policy | {"priority": Priority(fairness_key=key, fairness_weight=weight)}


PREPARE = _policy(task_queues.PREPARE, timedelta(hours=1))
EMBED = _policy(task_queues.EMBED, timedelta(hours=12))
# Not retried: the batch's own embed step sees to every text, and takes its share of the blame for one that kills.
HELP_EMBED = _policy(
    task_queues.EMBED_HELP, timedelta(hours=1), retry=RetryPolicy(maximum_attempts=1)
)
PUBLISH = _policy(
    task_queues.STORE,
    timedelta(hours=2),
    retry=replace(_RETRY, non_retryable_error_types=PREPARE_AGAIN_ERRORS),
)
LOAD_SOURCE = _policy(task_queues.STORE, timedelta(seconds=30), heartbeat=False)
REWIND_SOURCE = _policy(task_queues.STORE, timedelta(seconds=30), heartbeat=False)
# Best effort: its caller tries again later, with what is due then.
WAKE_DELIVERIES = _policy(
    task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False
) | {"schedule_to_close_timeout": timedelta(minutes=1)}
# One step of a delivery: read the ledger, move the cursor, park.
DELIVERY_STEP = _policy(task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False)
# One look at the positions for a caller of await_fresh.
LOOK = _policy(task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False)
# These have an end: a freshness check that cannot measure is reported as failed.
MEASURE = _policy(task_queues.WORKFLOWS, timedelta(seconds=60), heartbeat=False) | {
    "schedule_to_close_timeout": timedelta(minutes=2)
}
ORDER_EXPIRY = _policy(
    task_queues.WORKFLOWS, timedelta(seconds=15), heartbeat=False
) | {"schedule_to_close_timeout": timedelta(minutes=2)}
LOOK_FOR_EXPIRY = MEASURE
# Origins are asked for a minute at most; what was not asked then is asked by the next check.
REVALIDATE = _policy(task_queues.PREPARE, timedelta(minutes=4)) | {
    "schedule_to_close_timeout": timedelta(minutes=5)
}
READ_AGAIN = _policy(task_queues.WORKFLOWS, timedelta(seconds=60), heartbeat=False) | {
    "schedule_to_close_timeout": timedelta(minutes=2)
}
# This one has no end: what must be reported is usually that the database is down, so it waits for the database.
RECORD_FRESHNESS = _policy(
    task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False
)
# A page of an audit. It waits for a service as long as it takes; its row says since when it has not moved.
AUDIT_STEP = _policy(task_queues.PREPARE, timedelta(minutes=30))
AUDIT_END = _policy(task_queues.STORE, timedelta(minutes=10))
# Embedders may be scaled to zero: an audit goes on without its sample of vectors.
AUDIT_VECTORS = _policy(task_queues.EMBED, timedelta(minutes=30)) | {
    "schedule_to_start_timeout": timedelta(minutes=10)
}
# A part of a backfill: read and stage it; hand it over and wait a while for its batch.
BACKFILL_STAGE = _policy(task_queues.PREPARE, timedelta(minutes=30))
BACKFILL_PUBLISH = _policy(task_queues.STORE, timedelta(minutes=10))
BACKFILL_END = _policy(task_queues.STORE, timedelta(minutes=10))
# Some pages of a purge; what they remove is counted with them, so a page that is repeated is harmless.
PURGE_STEP = _policy(task_queues.STORE, timedelta(minutes=10))
