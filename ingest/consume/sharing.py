"""Sources that share a partition: one that cannot go on steps aside for the others, and comes back.

librdkafka reads a partition at one place. A lane that must wait (a full buffer, too much unpublished) would stop all of them; one
that is far back would keep the others waiting until it has caught up. So a lane that has held up another one for
`PATIENCE_SECONDS` gives up its buffer, the others read on, and later reading goes back to where it stopped. What the others
have seen they leave out.
"""

from collections.abc import Collection

from ingest.consume.partition_state import AssignedPartition, PartitionReader

# Short, as the others wait meanwhile; long enough that a lane which only waits for one hand-over is not sent away: going back
# costs a fetch from the broker.
PATIENCE_SECONDS = 2.0
ASIDE_SECONDS = 1.0  # at least: what the others get between two turns


def position(slot: AssignedPartition) -> int | None:
    """Where the partition is to be read; None where no lane reads."""
    return min((lane.expected for lane in slot.lanes.values() if not lane.aside), default=None)


def is_blocked(slot: AssignedPartition, behind: Collection[str]) -> bool:
    """Whether the next record is for a lane that must wait, or for none."""
    at = position(slot)
    return at is None or any(
        _waits(lane, behind) and not lane.aside and lane.expected <= at
        for lane in slot.lanes.values()
    )


def take_turns(
    slot: AssignedPartition, behind: Collection[str], relieved: Collection[str], now: float
) -> None:
    """Let lanes step aside and come back; `slot.seek_to` says where to read then.

    Args:
        slot: the partition.
        behind: sources with too much unpublished.
        relieved: sources with less than half of that, so that coming back is worth it.
        now: monotonic seconds.
    """
    reading = [lane for lane in slot.lanes.values() if not lane.aside]
    changed = False
    for name, lane in slot.lanes.items():
        lasted = 0.0 if lane.turn_at is None else now - lane.turn_at
        if lane.aside:
            if name in relieved and lane.in_flight is None and lasted >= ASIDE_SECONDS:
                lane.aside, lane.turn_at, changed = False, None, True
        elif not any(_holds_up(lane, other, behind) for other in reading):
            # One that is barely below its limits will wait again at once: its patience is not given back.
            lane.turn_at = None if name in relieved else lane.turn_at
        elif lasted >= PATIENCE_SECONDS:
            lane.step_aside(now)
            reading.remove(lane)
            changed = True
        elif lane.turn_at is None:
            lane.turn_at = now
    if changed:
        slot.seek_to = position(slot)


def _waits(lane: PartitionReader, behind: Collection[str]) -> bool:
    return lane.is_full() or lane.spec.source in behind


def _holds_up(lane: PartitionReader, other: PartitionReader, behind: Collection[str]) -> bool:
    if lane is other or _waits(other, behind):
        return False
    return lane.expected < other.expected or (
        lane.expected == other.expected and _waits(lane, behind)
    )
