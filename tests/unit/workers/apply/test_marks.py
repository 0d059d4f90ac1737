"""What has the mark of another installation, and what makes no plan stale."""

import pytest

from workers.apply import schedules
from workers.apply.change import Action, Change
from workers.apply.kind import Target
from workers.apply.schedules import FreshnessSchedule, Schedules
from workers.apply.subscriptions import Subscription, Subscriptions
from workers.config.file import Config


@pytest.mark.parametrize(
    ("current", "is_valid"),
    [
        (None, True),  # as planned
        (
            Subscription(endpoint="team", is_running=False),
            True,
        ),  # another `apply` has just written it
        (Subscription(endpoint="other"), False),
    ],
)
def test_a_delivery_that_does_not_run_yet_makes_no_plan_stale(
    current: Subscription | None, is_valid: bool
) -> None:
    change = Change(
        kind="subscription",
        name="team:a",
        action=Action.CREATE,
        desired=Subscription(endpoint="team"),
    )
    assert Subscriptions().is_as_planned(current, change) is is_valid


# ── marks of installations ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("made_by", "has_source", "is_foreign"),
    [
        ("ours", True, False),
        ("ours", False, False),  # its source is gone: it is deleted
        ("former", False, False),
        ("theirs", True, True),
        ("theirs", False, True),
        (None, True, False),  # of an older Freshet
        (None, False, True),
    ],
)
def test_whose_a_schedule_is(made_by: str | None, has_source: bool, is_foreign: bool) -> None:
    assert schedules._is_foreign(made_by, {"ours", "former"}, has_source) is is_foreign


def test_a_foreign_schedule_is_named_and_stays() -> None:
    schedule = FreshnessSchedule("hash", is_foreign=True)
    target = Target(config=Config(sources=()), prune=True)
    change = Schedules().surplus("freshet/x/freshness", schedule, target)
    assert change is not None
    assert (change.action, change.is_needed) == (Action.FOREIGN, False)
