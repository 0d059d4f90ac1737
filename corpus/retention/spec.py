"""How long a source keeps what its corpus no longer shows: the settings of `[source.NAME.retention]`."""

from dataclasses import dataclass

_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSpec:
    """Ages after which a purge removes rows; None: they are kept for ever.

    The defaults remove what nobody can miss, and keep what cannot be had again: history and open dead letters.

    Every setting with its default, its unit and its meaning; the tables of `freshet.toml` take defaults from here.
    """

    # Since a version or a chunk was replaced, deleted or withdrawn: how far back a search as of an instant goes.
    history_seconds: int | None = None
    # Since a dead letter was redriven or discarded: its bytes are removed.
    dead_letters_seconds: int | None = 90 * _DAY
    # Since a dead letter came that nobody has dealt with: it is discarded, and its bytes are removed.
    open_dead_letters_seconds: int | None = None
    # Since a subscriber acknowledged a notice: who was notified of a batch is forgotten.
    notices_seconds: int | None = 365 * _DAY
    # Since a freshness report; the newest one stays.
    reports_seconds: int | None = 90 * _DAY
    # Since an audit ended; the newest one with a result stays.
    audits_seconds: int | None = 365 * _DAY
    # Since a vector was made that no chunk holds.
    embeddings_seconds: int | None = 7 * _DAY
    # Since a staged file was written that no batch needs.
    staged_files_seconds: int = _DAY
    # Interval of the purge.
    every_seconds: int = _DAY
    # Rows per second; 0: no limit.
    rate: int = 1_000
