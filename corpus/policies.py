"""The one table of timeouts, heartbeats and retries: a line an activity.

Heartbeats come every second (see `corpus.activities.heartbeats`), so a killed worker is noticed within the heartbeat timeout.
Transient failures are retried for ever, at most half a minute apart: a fix that is deployed heals what waits. What trying
again cannot help is raised as a permanent error and ends the batch.
"""

from dataclasses import replace
from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityConfig

from corpus import task_queues
from corpus.errors import MissingVectorError, StalePreparationError

_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=30),
)
_HEARTBEAT = timedelta(seconds=10)


def _policy(
    queue: str, longest: timedelta, *, heartbeat: bool = True, retry: RetryPolicy = _RETRY
) -> ActivityConfig:
    config = ActivityConfig(task_queue=queue, start_to_close_timeout=longest, retry_policy=retry)
    if heartbeat:
        config["heartbeat_timeout"] = _HEARTBEAT
    return config


PREPARE = _policy(task_queues.PREPARE, timedelta(hours=1))
EMBED = _policy(task_queues.EMBED, timedelta(hours=12))
# What preparing or embedding again heals comes back to the workflow at once instead of being tried again as it is.
_HEALED_ELSEWHERE = [StalePreparationError.__name__, MissingVectorError.__name__]
PUBLISH = _policy(
    task_queues.STORE,
    timedelta(hours=2),
    retry=replace(_RETRY, non_retryable_error_types=_HEALED_ELSEWHERE),
)
LOAD_SOURCE = _policy(task_queues.STORE, timedelta(seconds=30), heartbeat=False)
REWIND_SOURCE = _policy(task_queues.STORE, timedelta(seconds=30), heartbeat=False)
WAKE_DELIVERIES = _policy(task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False)
# Of a delivery (read the ledger, move the cursor, park) and of one look for somebody who waits.
DELIVERY_STEP = _policy(task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False)
LOOK = _policy(task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False)
# A check of freshness gives up on these and reports that it failed.
MEASURE = _policy(task_queues.WORKFLOWS, timedelta(seconds=60), heartbeat=False) | {
    "schedule_to_close_timeout": timedelta(minutes=2)
}
ORDER_EXPIRY = _policy(task_queues.WORKFLOWS, timedelta(seconds=15), heartbeat=False) | {
    "schedule_to_close_timeout": timedelta(minutes=2)
}
LOOK_FOR_EXPIRY = MEASURE
# What must be reported is usually that the database is away: wait for it.
RECORD_FRESHNESS = _policy(task_queues.WORKFLOWS, timedelta(seconds=30), heartbeat=False)
