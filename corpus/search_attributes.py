"""Search attributes: what `temporal workflow list` and the Temporal UI filter by. No codec encrypts them."""

from temporalio.common import SearchAttributeKey

# Of an entity and its batches: the source.
SOURCE = SearchAttributeKey.for_keyword("FreshetSource")
# Of an entity: active, paused, rewinding or halted.
STATE = SearchAttributeKey.for_keyword("FreshetState")
# Of a schedule: hash of the configuration that it was created from.
SPEC_HASH = SearchAttributeKey.for_keyword("FreshetSpecHash")

ALL = (SOURCE, STATE, SPEC_HASH)
