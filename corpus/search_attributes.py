"""Search attributes: what `temporal workflow list` and the Temporal UI filter by. They are plaintext, whatever the codec."""

from temporalio.common import SearchAttributeKey

SOURCE = SearchAttributeKey.for_keyword("FreshetSource")  # of an entity and its batches
STATE = SearchAttributeKey.for_keyword(
    "FreshetState"
)  # of an entity: active, paused, rewinding, halted
SPEC_HASH = SearchAttributeKey.for_keyword(
    "FreshetSpecHash"
)  # of a schedule: what it was built from

ALL = (SOURCE, STATE, SPEC_HASH)
