"""Who is told of which source, and how its delivery stands.

::

    IDLE ──next notice──► DELIVERING ──acknowledged──► IDLE
                              │  ▲
              refused, no such│  │resume, or its time to try again
                     endpoint ▼  │
                            PARKED
"""

from dataclasses import dataclass
from enum import StrEnum

from corpus.service import BatchNotice


class DeliveryStatus(StrEnum):
    """`delivery.state` in the database."""

    IDLE = "idle"  # told of everything
    DELIVERING = "delivering"  # a notice is on its way, or its receiver is down
    PARKED = "parked"  # refused, or there is nobody to call; `last_error` says why


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberSpec:
    """A team as configured: whom to tell, of what, and where it listens."""

    subscriber: str
    sources: tuple[str, ...]
    endpoint: str  # Nexus endpoint, made by `freshet apply` where it is missing
    namespace: str  # the team's own Temporal namespace
    task_queue: str  # where the team's handler polls
    from_start: bool = True  # the first notice is of the ledger's first batch; else of the next one


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryInput:
    """Input of a DeliveryWorkflow. The cursor is not in it: it stands in the database."""

    subscriber: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WakeDeliveries:
    """Tell these subscribers that a batch was published; only a hint, the ledger is the truth."""

    source: str
    batch: int
    subscribers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NextNotice:
    """What a delivery does next."""

    ended: bool = False  # the subscription is gone: the delivery ends
    endpoint: str = ""
    notice: BatchNotice | None = None  # None: told of everything


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """The team holds the notice."""

    subscriber: str
    source: str
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parking:
    """Show that a delivery stands still, or what holds it up."""

    subscriber: str
    source: str
    error: str  # one line for people
    parked: bool = True  # false: it goes on by itself, and this is why it takes long


def delivery_workflow_id(subscriber: str, source: str) -> str:
    """Workflow id of a delivery."""
    return f"delivery:{subscriber}:{source}"
