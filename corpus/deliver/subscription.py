"""Which teams are notified of which source, and the state of each delivery.

::

    IDLE ──next notice──► DELIVERING ──acknowledged──► IDLE
                              │  ▲
           declined, or there │  │ resumed, or the time
           is no endpoint     │  │ of the next call
                              ▼  │
                            PARKED
"""

from dataclasses import dataclass
from enum import StrEnum

from corpus.service import BatchNotice


class DeliveryStatus(StrEnum):
    """`delivery.state` in the database."""

    IDLE = "idle"  # every published batch was acknowledged
    DELIVERING = "delivering"  # a notice is on its way, or its receiver does not answer
    PARKED = "parked"  # declined, or the endpoint is missing; `last_error` says which


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberSpec:
    """A team as configured: its sources, and the endpoint at which it is notified."""

    subscriber: str
    sources: tuple[str, ...]
    endpoint: str  # Nexus endpoint; `freshet apply` creates it where it is missing
    namespace: str  # the team's own Temporal namespace
    task_queue: str  # the queue that the team's handler polls
    from_start: bool = (
        True  # false: no notices of batches published before the subscription
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryInput:
    """Input of a DeliveryWorkflow. The cursor is not part of it; it is in the database."""

    subscriber: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeDeliveries:
    """A batch was published: wake the deliveries of these subscribers. Only a hint; the ledger is the truth."""

    source: str
    batch: int
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextNotice:
    """What a delivery does next."""

    ended: bool = False  # the subscription has ended, and so does the delivery
    endpoint: str = ""
    notice: BatchNotice | None = None  # None: every published batch was acknowledged


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """The team has stored the notice of this batch."""

    subscriber: str
    source: str
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parking:
    """A delivery is parked, or something holds it up."""

    subscriber: str
    source: str
    error: str  # one line for people
    parked: bool = (
        True  # false: it continues by itself, and `error` says what holds it up
    )


def delivery_workflow_id(subscriber: str, source: str) -> str:
    """Workflow id of a delivery."""
    return f"delivery:{subscriber}:{source}"
