"""The table of timeouts and retries."""

from datetime import timedelta
from typing import Any

import pytest

from corpus import errors, policies, task_queues

POLICIES: dict[str, Any] = {
    name: value
    for name, value in vars(policies).items()
    if isinstance(value, dict) and name.isupper()
}
QUEUES = {name: value for name, value in vars(task_queues).items() if name.isupper()}
# These end by themselves: the caller reports that they failed.
ENDING = {
    *("WAKE_DELIVERIES", "MEASURE", "ORDER_EXPIRY", "LOOK_FOR_EXPIRY"),
    *("REVALIDATE", "READ_AGAIN"),
}
# Its batch does without it.
OPTIONAL = "HELP_EMBED"
LIGHT = timedelta(minutes=1)


def test_the_table_is_read() -> None:
    assert {"PREPARE", "EMBED", "PUBLISH", "LOAD_SOURCE", "REWIND_SOURCE"} <= set(POLICIES)
    assert set(POLICIES) >= ENDING


@pytest.mark.parametrize("name", POLICIES)
def test_one_attempt_has_a_time_limit_and_a_queue(name: str) -> None:
    policy = POLICIES[name]
    assert policy["task_queue"] in QUEUES.values()
    assert policy["start_to_close_timeout"] > timedelta(0)


@pytest.mark.parametrize("name", POLICIES)
def test_an_attempt_that_may_take_long_is_noticed_when_its_worker_is_killed(name: str) -> None:
    policy = POLICIES[name]
    if policy["start_to_close_timeout"] > LIGHT:
        assert policy["heartbeat_timeout"] <= timedelta(seconds=10)
    else:
        assert "heartbeat_timeout" not in policy


def test_help_is_tried_once() -> None:
    assert POLICIES[OPTIONAL]["retry_policy"].maximum_attempts == 1


@pytest.mark.parametrize("name", sorted(POLICIES.keys() - {OPTIONAL}))
def test_what_may_pass_is_retried_without_end_and_at_least_twice_a_minute(name: str) -> None:
    retry = POLICIES[name]["retry_policy"]
    assert retry.maximum_attempts == 0
    assert retry.maximum_interval <= timedelta(seconds=30)
    assert ("schedule_to_close_timeout" in POLICIES[name]) == (name in ENDING)


@pytest.mark.parametrize("name", POLICIES)
def test_only_publishing_returns_what_to_prepare_again_fixes(name: str) -> None:
    not_retried = POLICIES[name]["retry_policy"].non_retryable_error_types or ()
    expected = policies.PREPARE_AGAIN_ERRORS if name == "PUBLISH" else ()
    assert tuple(not_retried) == expected


def test_what_to_prepare_again_fixes_is_transient() -> None:
    kinds = [getattr(errors, name) for name in policies.PREPARE_AGAIN_ERRORS]
    assert kinds == [errors.StalePreparationError, errors.MissingVectorError]
    assert all(issubclass(kind, errors.TransientError) for kind in kinds)


def test_queue_names_are_distinct_and_belong_to_freshet() -> None:
    assert len(set(QUEUES.values())) == len(QUEUES)
    assert all(name.startswith("freshet") for name in QUEUES.values())
