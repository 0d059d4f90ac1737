"""An order to expire is carried out by the rule that the source has when it is carried out."""

import pytest

from corpus.batch import Expire
from corpus.publish.expiry import as_configured
from corpus.source import FreshnessSpec

ORDER = Expire(request_id="1", rule="expire_after=60s", expire_after_seconds=60, max_ratio=0.25)


@pytest.mark.parametrize(
    ("seconds", "rule"),
    [
        (60, "expire_after=60s"),
        (90, "expires_at or expire_after=90s"),
        (None, "expires_at"),
    ],
)
def test_the_present_rule_counts_and_is_named(seconds: int | None, rule: str) -> None:
    policy = FreshnessSpec(expire_after_seconds=seconds, max_expiry_ratio=0.5)
    order = as_configured(ORDER, policy)
    assert (order.expire_after_seconds, order.rule, order.max_ratio) == (seconds, rule, 0.5)
    assert order.request_id == "1"
