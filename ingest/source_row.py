"""How a source's entity follows the source's row: epoch, state, limits. The row is the truth; pure.

::

    the row's epoch        what waits                          a halt
    as known               stays                               as the row says
    newer (resume, rewind) of the older epoch: dropped         void, unless the row says so
    older (restored)       of the newer epoch: dropped         void, unless the row says so

What is dropped is counted, and Kafka holds it behind the position row, to which consumers seek in every new epoch.
"""

from collections.abc import Sequence

from corpus.batch import BatchRef, LoadedSource
from corpus.source import SourceStatus
from ingest.batch_failure import forget_failures
from ingest.source_state import (
    SourceState,
    accept,
    index_references,
)


def drop_forged(state: SourceState, reason: str) -> None:
    """Count a reference that no consumer of this source made; nothing is read for it.

    It is dropped, not a halt: whoever may send one could stop the source at will. Records that a genuine reference
    stood for are missed by the consumer's comparison, and handed over again.
    """
    state.forged += 1
    state.forged_reason = reason


def keep_undecided(state: SourceState, ref: BatchRef) -> None:
    """Let a reference of another epoch wait until the row is read.

    The entity cannot tell whether an older one was read before a rewind, or after an older database was restored;
    nor whether a newer one comes from a resume that it has not heard of, or from a database that is gone.
    """
    state.undecided.append(ref)
    state.loaded = False


def drop_outdated(state: SourceState, *, epoch: int) -> None:
    """Drop what was read before the rewind to `epoch`: Kafka holds it, behind the position row.

    References in flight are forgotten as well. If one is signalled once more it is accepted, and the position row in
    the publishing transaction recognises it. Runs that started before 2026-11-26 do so; newer ones `adopt_epoch`.
    """
    state.epoch = max(state.epoch, epoch)
    state.pending = [ref for ref in state.pending if ref.epoch >= state.epoch]
    state.in_flight = []
    index_references(state)


def drop_waiting(state: SourceState) -> None:
    """Drop what lies behind a batch that failed, where the rewind was refused; published without it, it would be a gap.

    The consumer reads it again, since the position row does not move.
    """
    state.outdated += len(state.pending)
    state.pending = []
    index_references(state)


def adopt_epoch(state: SourceState, *, epoch: int, decides: int) -> None:
    """Follow the row into its epoch, which is lower than the known one where an older database was restored.

    Of what waits, the references of this epoch stay: consumers that read in another one seek to the position row.
    References in flight are forgotten: if one is signalled once more it is accepted, and the position row in the
    publishing transaction recognises it.

    Args:
        state: to change.
        epoch: of the row.
        decides: how many of the undecided references came before the row was read, oldest first. Those of another
            epoch among them are dropped and counted; those that came later wait for the next reading.
    """
    undecided = state.undecided
    _count_dropped(state, [*state.pending, *undecided[:decides]], epoch)
    state.epoch = epoch
    state.pending = _of_epoch(state.pending, epoch)
    state.undecided = [ref for ref in undecided[decides:] if ref.epoch != epoch]
    state.in_flight = []
    index_references(state)
    for ref in _of_epoch(undecided, epoch):
        accept(state, ref)


def _of_epoch(refs: Sequence[BatchRef], epoch: int) -> list[BatchRef]:
    return [ref for ref in refs if ref.epoch == epoch]


def _count_dropped(state: SourceState, refs: Sequence[BatchRef], epoch: int) -> None:
    for ref in refs:
        if ref.epoch < epoch:
            state.outdated += 1
        elif ref.epoch > epoch:
            state.early += 1


def adopt_row(state: SourceState, loaded: LoadedSource, *, decides: int) -> None:
    """Follow the row in whether the source is halted, then in its epoch (`adopt_epoch`).

    A halt of an older epoch is void: a resume, or a source that was retired and is configured again, began a new one.
    A storer of a version before 2026-11-26 names no state; another epoch shows that a halt is over. A pause that an
    entity of such a version was signalled ends in the same way: `resume` may not have reached it, and `freshet apply`
    sends `reload` only where a paused source was retired in between.
    """
    is_known = bool(loaded.state)
    if loaded.state == SourceStatus.HALTED:
        state.halted = loaded.reason or "halted"
    elif state.halted and (is_known or loaded.epoch != state.epoch):
        state.halted = ""
        forget_failures(state)
    if loaded.state == SourceStatus.ACTIVE and loaded.epoch != state.epoch:
        state.paused = False
    state.row_state = loaded.state
    adopt_epoch(state, epoch=loaded.epoch, decides=decides)


def adopt_limits(state: SourceState, loaded: LoadedSource) -> None:
    """Follow the ledger's last number and the limits as configured now."""
    state.next_batch = max(state.next_batch, loaded.last_batch + 1)
    state.max_records = loaded.max_records
    state.max_bytes = loaded.max_bytes
    state.max_in_flight = loaded.max_in_flight
