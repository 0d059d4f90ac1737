"""How long a micro-batch waits because those before it are not published: fewer and larger ones for a service behind.

Each costs a file, a signal and a workflow task, and while a batch of its source runs it makes nothing searchable
sooner: the next batch takes all that waits.
"""

# Micro-batches of one reader that may be handed over and not published before the next one is delayed, and the delay
# per micro-batch beyond. The workflow must hold each reference (437 bytes) in the 2 MB that Temporal gives its state.
UNDELAYED_REFERENCES = 16
DELAY_SECONDS_PER_REFERENCE = 0.05
# Share of the time from hand-over to publication, beyond that of a service that keeps up: so a batch joins some three
# micro-batches per partition, however long batches take. With 200 sources and 1,000 events per second, 33 signals per
# second took all that Temporal had.
SHARE = 1 / 3
UNDELAYED_SECONDS = 0.5
MAX_SECONDS = 20.0


def seconds_to_wait(*, references: int, publishing: float) -> float:
    """Seconds from a micro-batch's first record to its hand-over.

    Args:
        references: handed over and not published, at least one.
        publishing: seconds that publishing takes, from the hand-over; 0: they do not count.
    """
    beyond = publishing - UNDELAYED_SECONDS
    excess = references - UNDELAYED_REFERENCES
    return max(
        0.0, min(MAX_SECONDS, beyond * SHARE), excess * DELAY_SECONDS_PER_REFERENCE
    )
