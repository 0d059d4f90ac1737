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
class CarriedAttempts:
    """What a run of a delivery leaves to the next run: the failures since its last acknowledgement, and its pause."""

    declines: int = 0
    retries: int = 0
    unanswered: int = 0
    pause_until_ms: int = 0  # epoch milliseconds; 0: no pause
    waiting_for: str = ""  # what the pause waits for, for people


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryInput:
    """Input of a DeliveryWorkflow. The cursor is not part of it; it is in the database."""

    subscriber: str
    source: str
    carried: CarriedAttempts | None = None  # None: it starts without failures


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeDeliveries:
    """Wake the deliveries of a batch's subscribers, as batches that a version before 2026-11-26 began ask for."""

    source: str
    batch: int
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeDue:
    """Wake the deliveries of a source that have a batch to read. Only a hint; the ledger is the truth."""

    source: str
    every: bool = False  # also those that were woken for it already


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeOutcome:
    """How many deliveries were woken, and how many could not be."""

    woken: int
    refused: int  # Temporal refused the signal, or did not answer in time


@dataclass(frozen=True, slots=True, kw_only=True)
class DueDelivery:
    """A delivery to wake (query `deliveries_to_wake`)."""

    subscriber: str
    batch: int  # newest of the source


@dataclass(frozen=True, slots=True, kw_only=True)
class WokenDeliveries:
    """These deliveries were woken when `batch` was the newest."""

    source: str
    batch: int
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextNotice:
    """What a delivery does next."""

    ended: bool = False  # the subscription has ended, and so does the delivery
    endpoint: str = ""
    notice: BatchNotice | None = None  # None: every published batch was acknowledged
    traceparent: str = ""  # of the batch's publishing; empty: no trace was made


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
